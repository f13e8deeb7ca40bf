"""Linear extrapolation: the least-squares line through the last samples of a node."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.graph import Graph, IntArray
from roma_pyg.models.baselines.samples import Windows
from roma_pyg.models.forecaster import Group

CANDIDATES = (2, 3, 4, 6, 8, 12, 16)


class LinearExtrapolation:
    r"""Continues the least-squares line through the last ``points`` samples.

    With samples at :math:`s = 1 - p, \dots, 0` and their mean :math:`\bar s = (1 - p) / 2`

    .. math:: \hat y(q) = \sum_s \left( \frac1p + \frac{(q - \bar s)(s - \bar s)}
        {\sum_r (r - \bar s)^2} \right) u(s)

    Two points follow a clean series best, one step ahead; noise and longer horizons need more. So
    the number is chosen for each step ahead, see :meth:`fit`.

    Args:
        window: History length K, in samples.
        points: Number of points p, in [2, K], one for all steps ahead or shape ``(horizon,)``.
        horizon: Number of samples forecast.
    """

    group: ClassVar[Group] = "naive"
    name = "linear extrapolation"

    def __init__(self, window: int, horizon: int, points: int | IntArray = 2) -> None:
        """Set up the weights of the samples; O(K horizon) memory.

        Raises:
            ValueError: If the number of points does not fit the window.
        """
        points = np.broadcast_to(np.asarray(points, dtype=np.int64), (horizon,))
        if points.min() < 2 or points.max() > window:
            raise ValueError(
                f"Expected 'points' in [2, {window}], the window (got {points.min()} to "
                f"{points.max()})."
            )
        self.window = window
        self.horizon = horizon
        self.points = points
        self.weight = np.stack(
            [_line(window, int(p), q) for q, p in enumerate(points, start=1)], axis=1
        )

    @classmethod
    def fit(cls, samples: Iterable[Windows], window: int, horizon: int) -> LinearExtrapolation:
        """Choose the number of points per step ahead by the mean sMSPE on training windows.

        Args:
            samples: Training windows, noisy as in use.
            window: History length K, in samples; at least 2.
            horizon: Number of samples forecast.

        Raises:
            ValueError: If there are no samples.
        """
        sizes = [p for p in CANDIDATES if p <= window]
        lines = [cls(window, horizon, p) for p in sizes]
        error = np.zeros((len(sizes), horizon))
        count = 0
        for windows in samples:
            count += len(windows)
            for row, line in enumerate(lines):
                guess = line.apply(windows.lags[:, :window])
                scale = np.abs(guess) + np.abs(windows.target) + 1e-4
                error[row] += (((windows.target - guess) / scale) ** 2).sum(0, dtype=np.float64)
        if count == 0:
            raise ValueError("Expected at least one training window (got none).")
        return cls(window, horizon, np.asarray(sizes)[error.argmin(0)])

    def apply(self, history: NDArray[np.float32]) -> NDArray[np.float32]:
        """Forecast from own lags of shape ``(n, K)``, shape ``(n, horizon)``."""
        return (history @ self.weight).astype(np.float32)

    def forecast(
        self, history: NDArray[np.float32], graph: Graph, nodes: IntArray | None = None
    ) -> NDArray[np.float32]:
        """Forecast, shape ``(n, horizon)``; see :class:`~roma_pyg.models.forecaster.Forecaster`."""
        return self.apply(history if nodes is None else history[nodes])


def _line(window: int, points: int, ahead: int) -> NDArray[np.float64]:
    """Weights of K samples in the value of their line ``ahead`` samples later, shape ``(K,)``."""
    centred = np.arange(points) - (points - 1) / 2
    reach = ahead + (points - 1) / 2
    weight = np.zeros(window)
    weight[-points:] = 1 / points + reach * centred / np.square(centred).sum()
    return weight
