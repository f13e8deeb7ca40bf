"""Ridge regression per node: every node has coefficients of its own."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor

from roma_pyg.data.graph import Graph, IntArray
from roma_pyg.data.noise import add_noise
from roma_pyg.data.series import GraphSeries
from roma_pyg.models.forecaster import Group

PENALTIES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
_NODES = 64


class NodeRidge:
    r"""An autoregression of each node on its own lags, for each step ahead.

    .. math:: \hat y_i(t + q) = a_{iq} + \sum_k b_{iqk} u_i(t - k)

    It is fitted on the series of the node itself at training times, so that it knows the past of
    nodes that are held out for all other methods, and cannot be scored on those times: an
    evaluation leaves it out where times are not held out (``knows_training_times``).
    Coefficients are fitted when a node is first forecast, and those of the last set of nodes are
    kept: O(n K horizon) memory.

    Args:
        series: The series, N nodes; its values may be a memory map.
        times: Forecast times to fit on.
        window: History length K, in samples.
        horizon: Number of samples forecast.
        noise: Variance of the multiplicative noise on lags and targets.
        penalty: Penalty of each step ahead relative to lags of variance one, shape ``(horizon,)``.
        seed: Seed of the noise.
    """

    group: ClassVar[Group] = "baseline"
    name = "ridge per node"
    knows_training_times = True

    def __init__(
        self,
        series: GraphSeries,
        times: range,
        window: int,
        horizon: int,
        noise: float,
        penalty: NDArray[np.floating],
        seed: int = 0,
    ) -> None:
        """Keep what is needed to fit nodes later."""
        self.series, self.times = series, times
        self.window, self.horizon, self.noise, self.seed = window, horizon, noise, seed
        self.penalty = torch.from_numpy(np.asarray(penalty, dtype=np.float64))
        self._fitted: tuple[IntArray, Tensor] | None = None

    @classmethod
    def fit(
        cls,
        series: GraphSeries,
        nodes: IntArray,
        times: range,
        later: range,
        window: int,
        horizon: int,
        noise: float,
        seed: int = 0,
    ) -> NodeRidge:
        """Choose the penalty of each step ahead on later times of some nodes.

        Args:
            series: The series.
            nodes: Nodes to choose on, shape ``(n,)``; 128 of them are used.
            times: Forecast times to fit on.
            later: Forecast times to choose on.
            window: History length K, in samples.
            horizon: Number of samples forecast.
            noise: Variance of the multiplicative noise.
            seed: Seed of nodes and noise.
        """
        rng = np.random.default_rng([0x4D, seed])
        chosen = np.sort(rng.choice(nodes, min(128, len(nodes)), replace=False))
        errors = []
        for penalty in PENALTIES:
            method = cls(series, times, window, horizon, noise, np.full(horizon, penalty), seed)
            lags, target = method._windows(chosen, later, seed + 1)
            guess = _apply(method._coefficients(chosen), lags)
            errors.append((guess - target).square().mean((0, 1)))
        best = torch.stack(errors).argmin(0).numpy()
        return cls(series, times, window, horizon, noise, np.asarray(PENALTIES)[best], seed)

    def on(self, series: GraphSeries, times: range) -> NodeRidge:
        """The same method for the nodes of another series, fitted on the past of these.

        Args:
            series: The other series.
            times: Forecast times to fit on.
        """
        penalty = self.penalty.numpy()
        return NodeRidge(series, times, self.window, self.horizon, self.noise, penalty, self.seed)

    def forecast(
        self, history: NDArray[np.float32], graph: Graph, nodes: IntArray | None = None
    ) -> NDArray[np.float32]:
        """Forecast, shape ``(n, horizon)``; see :class:`~roma_pyg.models.forecaster.Forecaster`."""
        wanted = np.arange(len(history)) if nodes is None else nodes
        if self._fitted is None or not np.array_equal(self._fitted[0], wanted):
            self._fitted = wanted, self._coefficients(wanted).float()
        lags = torch.from_numpy(np.ascontiguousarray(history[wanted])).unsqueeze(1)
        return _apply(self._fitted[1], lags).squeeze(1).numpy()

    def _coefficients(self, nodes: IntArray) -> Tensor:
        """Slopes, and the intercepts behind them, shape ``(n, K + 1, horizon)``."""
        parts = np.array_split(nodes, -(-len(nodes) // _NODES)) if len(nodes) else []
        fitted = [self._solve(*self._windows(part, self.times, self.seed)) for part in parts]
        return torch.cat(fitted)

    def _windows(self, nodes: IntArray, times: range, seed: int) -> tuple[Tensor, Tensor]:
        """Noisy lags ``(n, T, K)`` and targets ``(n, T, horizon)`` of some nodes."""
        first, stop = times.start - self.window, times[-1] + self.horizon
        values = np.asarray(self.series.values[nodes, first:stop], dtype=np.float32)
        # A value has one noise, whichever windows it is in and with whichever nodes it is read.
        noisy = np.stack(
            [
                add_noise(row, self.noise, np.random.default_rng([0x4E, seed, int(node)]))
                for node, row in zip(nodes, values, strict=True)
            ]
        )
        pieces = sliding_window_view(noisy, self.window + self.horizon, axis=1)
        joint = torch.from_numpy(np.ascontiguousarray(pieces))
        return joint[..., : self.window], joint[..., self.window :]

    def _solve(self, lags: Tensor, target: Tensor) -> Tensor:
        """Ridge regression of each node, in standardised lags."""
        center, level = lags.mean(1, keepdim=True), target.mean(1, keepdim=True)
        x, y = lags - center, target - level
        gram = (x.mT @ x).double() / x.shape[1]
        cross = (x.mT @ y).double() / x.shape[1]
        std = gram.diagonal(dim1=-2, dim2=-1).sqrt().clamp_min(1e-9)
        values, vectors = torch.linalg.eigh(gram / std.unsqueeze(-1) / std.unsqueeze(-2))
        projected = vectors.mT @ (cross / std.unsqueeze(-1))
        gain = 1 / (values.clamp_min(0).unsqueeze(-1) + self.penalty + 1e-9)
        slope = vectors @ (gain * projected) / std.unsqueeze(-1)
        intercept = level.double() - center.double() @ slope
        return torch.cat([slope, intercept], dim=1)


def _apply(coefficients: Tensor, lags: Tensor) -> Tensor:
    """Forecast of windows ``(n, T, K)``, shape ``(n, T, horizon)``."""
    coefficients = coefficients.to(lags.dtype)
    return lags @ coefficients[:, :-1] + coefficients[:, -1:]
