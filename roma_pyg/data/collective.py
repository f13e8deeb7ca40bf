"""How a whole graph moves, in a few modes, and how these go on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from roma_pyg.data.crossfit import block_edges, kept_times
from roma_pyg.data.graph import IntArray
from roma_pyg.data.history import History

PROBES = 1024
PROBED_VALUES = 1 << 25
"""Most nodes that modes are found from and read from; most values of theirs, in long series."""

LOADING_PENALTY = 1e-3
FORECAST_PENALTY = 3e-2
LAG_PARTS = (16, 8, 4, 2)
"""Lags that modes are forecast from: these parts of a window, besides its last and first sample."""

_Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class CollectiveModes:
    r"""Modes of a graph's motion, their forecast, and how every node takes part in them.

    The modes :math:`z(t) \in R^C` are the principal components of the series of some nodes, the
    probes (proper orthogonal decomposition: Sirovich 1987), each with variance one. They are
    forecast linearly from a few of their own lags (Penland 1989), and node i follows them by its
    loadings :math:`\phi_i`, least squares on its own past:

    .. math:: \hat y_i(t + q) = \bar y_i + \phi_i \cdot \hat z(t + q)

    A rotation of the modes changes nothing in these forecasts, so that they mean the same on every
    graph, while modes do not. The cost of modes does not depend on the number of nodes.

    What is fitted at some times is better there than elsewhere. Therefore everything but the modes
    themselves is found several times: row b forgets block b of the times, the last row none.

    Attributes:
        probes: Nodes that the modes are read from, shape ``(n,)``.
        level: Mean of their series, shape ``(n,)``.
        weight: Modes from deviations of the probes, shape ``(C, n)``.
        lags: Samples before the last one of a window, shape ``(L,)``.
        forecasts: Coefficients of modes to come, shape ``(rows, L C + 1, Q C)``.
        path: Modes at all samples that were seen, shape ``(C, S)``.
        loads: Loadings of a node from its samples, shape ``(rows, S, C)``.
        kept: One for samples that count, else zero, shape ``(rows, S)``.
        center: Mean of the modes over these, shape ``(rows, C)``.
        first: First sample that was seen.
    """

    probes: IntArray
    level: _Float
    weight: _Float
    lags: IntArray
    forecasts: _Float
    path: _Float
    loads: _Float
    kept: _Float
    center: _Float
    first: int

    @classmethod
    def find(
        cls,
        values: NDArray[np.floating],
        nodes: IntArray,
        times: range,
        *,
        window: int,
        steps: IntArray,
        count: int,
        blocks: int,
        noise: float = 0.0,
        seed: int = 0,
    ) -> CollectiveModes:
        """Find the modes of a series.

        Args:
            values: Series, shape ``(N, T)``, may be a memory map; gaps count as the mean.
            nodes: Nodes to take probes from, shape ``(n,)``.
            times: Forecast times to learn from; at least one.
            window: History length K, in samples.
            steps: Steps ahead that are forecast, ascending, shape ``(Q,)``.
            count: Number of modes C; modes of zero where the series has fewer.
            blocks: Blocks of the times that are forgotten in turn.
            noise: Variance of the multiplicative noise on the series.
            seed: Seed of probes and noise.

        Raises:
            ValueError: If there is no node or no time.
        """
        if len(nodes) == 0 or len(times) == 0:
            raise ValueError(
                f"Expected nodes and times to find modes from (got {len(nodes)} and {len(times)})."
            )
        first, stop = times.start - window, times[-1] + int(steps[-1])
        most = min(PROBES, max(count, PROBED_VALUES // (stop - first)))
        rng = np.random.default_rng([0xC0, seed])
        probes = np.sort(rng.choice(nodes, min(most, len(nodes)), replace=False))
        series = History(values, stop, stop - first, noise, seed)[probes].astype(np.float64)
        known = np.isfinite(series)
        series[~known] = 0.0
        level = series.sum(1) / np.maximum(known.sum(1), 1)
        series = np.where(known, series - level[:, None], 0.0)
        size = min(count, len(probes))
        _, vectors = scipy.linalg.eigh(
            series @ series.T, subset_by_index=[len(probes) - size, len(probes) - 1]
        )
        weight = np.zeros((count, len(probes)))
        weight[:size] = vectors.T[::-1]
        path = weight @ series
        spread = path.std(1)
        scale = np.where(spread > 1e-6 * max(spread.max(), 1e-6), spread, np.inf)[:, None]
        weight, path = weight / scale, path / scale
        lags = np.unique([0, *(window // part for part in LAG_PARTS), window - 1])
        rows = [
            _fit(
                path,
                first,
                kept_times(row, times, blocks, int(steps[-1])),
                block_edges(row, times, blocks),
                lags,
                steps,
            )
            for row in range(blocks + 1)
        ]
        forecasts, loads, kept, center = (np.stack(parts) for parts in zip(*rows, strict=True))
        return cls(probes, level, weight, lags, forecasts, path, loads, kept, center, first)

    @property
    def size(self) -> int:
        """Number of modes C."""
        return len(self.weight)

    @property
    def blocks(self) -> int:
        """Number of blocks that are forgotten in turn."""
        return len(self.forecasts) - 1

    @property
    def least_times(self) -> int:
        """Fewest times that their forecast should be fitted to, two for each coefficient."""
        return 2 * self.forecasts.shape[1]

    @property
    def span(self) -> slice:
        """Samples that were seen."""
        return slice(self.first, self.first + self.path.shape[1])

    def loadings(self, series: NDArray[np.floating]) -> NDArray[np.float32]:
        """Loadings of nodes from their series, and their means.

        Args:
            series: Their values in `span`, shape ``(n, S)``; gaps count as the mean.

        Returns:
            Loadings, and the means behind them, shape ``(rows, n, C + 1)``.
        """
        values = np.asarray(series, np.float64)
        known = np.isfinite(values)
        values = np.where(known, values, 0.0)
        weight = self.kept[:, None] * known
        mean = (weight * values).sum(-1) / np.maximum(weight.sum(-1), 1e-12)
        deviation = np.where(known, values - mean[..., None], 0.0)
        slope = deviation @ self.loads
        level = mean[..., None] - slope @ self.center[..., None]
        return np.concatenate([slope, level], -1).astype(np.float32)

    def read(self, history: History | NDArray[np.floating]) -> _Float:
        """Modes in a window of all nodes.

        Args:
            history: Window of all nodes, shape ``(N, K)``; rows of probes are read.

        Returns:
            Modes at the lags, shape ``(L C,)``.
        """
        window = np.asarray(history[self.probes], np.float64)[:, -1 - self.lags]
        deviation = np.nan_to_num(window - self.level[:, None])
        return (self.weight @ deviation).T.ravel()

    def knows(self, time: int) -> bool:
        """Whether the window before a time was seen."""
        return self.lags[-1] <= time - 1 - self.first < self.path.shape[1]

    def before(self, time: int) -> _Float:
        """Modes in the window before a time that was seen, noise and all, shape ``(L C,)``."""
        return self.path[:, time - 1 - self.first - self.lags].T.ravel()

    def forecast(self, modes: _Float, row: int) -> NDArray[np.float32]:
        """Modes to come, and a one behind them.

        Args:
            modes: Modes at the lags, shape ``(L C,)``.
            row: Block that is forgotten; ``blocks`` for none.

        Returns:
            Shape ``(C + 1, Q)``; loadings times this are the courses of nodes.
        """
        table = self.forecasts[row]
        ahead = (modes @ table[:-1] + table[-1]).reshape(-1, self.size).T
        return np.concatenate([ahead, np.ones((1, ahead.shape[1]))]).astype(np.float32)


def _fit(
    path: _Float,
    first: int,
    grid: IntArray,
    forgotten: tuple[int, int],
    lags: IntArray,
    steps: IntArray,
) -> tuple[_Float, _Float, _Float, _Float]:
    """Forecast, loads, kept samples and their mean from all but a block of times."""
    begin, end = forgotten
    kept = np.ones(path.shape[1])
    if begin < end:
        kept[begin - first : end - 1 + int(steps[-1]) - first] = 0
    last = grid[:, None] - 1 - first
    past, ahead = (
        path[:, last + shift].transpose(1, 2, 0).reshape(len(grid), len(path) * len(shift))
        for shift in (-lags, steps)
    )
    forecast = np.zeros((past.shape[1] + 1, ahead.shape[1]))
    if len(grid):
        middle, level = past.mean(0), ahead.mean(0)
        forecast[:-1] = _inverse(past - middle, FORECAST_PENALTY) @ (ahead - level)
        forecast[-1] = level - middle @ forecast[:-1]
    loads, center = np.zeros(path.shape[::-1]), np.zeros(len(path))
    inside = kept > 0
    if inside.any():
        modes = path[:, inside].T
        center = modes.mean(0)
        loads[inside] = _inverse(modes - center, LOADING_PENALTY).T
    return forecast, loads, kept, center


def _inverse(inputs: _Float, penalty: float) -> _Float:
    """Matrix that gives the ridge solution, with a penalty relative to a variance of one."""
    gram = inputs.T @ inputs / len(inputs) + penalty * np.eye(inputs.shape[1])
    solution = np.linalg.solve(gram, inputs.T / len(inputs)).astype(np.float64, copy=False)
    return solution
