"""Persistence: tomorrow is like today."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.graph import Graph, IntArray
from roma_pyg.models.forecaster import Group


class Persistence:
    r"""Repeats the last value, :math:`\hat y_i(t + q) = u_i(t)`.

    Args:
        horizon: Number of samples forecast.
    """

    group: ClassVar[Group] = "naive"
    name = "persistence"

    def __init__(self, horizon: int) -> None:
        """Keep the horizon; there is nothing to fit.

        Raises:
            ValueError: If the horizon is below 1.
        """
        if horizon < 1:
            raise ValueError(f"Expected 'horizon' to be at least 1 (got {horizon}).")
        self.horizon = horizon

    def forecast(
        self, history: NDArray[np.float32], graph: Graph, nodes: IntArray | None = None
    ) -> NDArray[np.float32]:
        """Forecast, shape ``(n, horizon)``; see :class:`~roma_pyg.models.forecaster.Forecaster`."""
        last = history[:, -1] if nodes is None else history[nodes, -1]
        return np.repeat(last[:, None], self.horizon, axis=1)
