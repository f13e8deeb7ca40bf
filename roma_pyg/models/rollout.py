"""Forecasts of any length by feeding a method its own output."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.graph import Graph
from roma_pyg.models.forecaster import Forecaster


def rollout(
    forecaster: Forecaster,
    history: NDArray[np.float32],
    graph: Graph,
    steps: int,
    stride: int,
    *,
    first: NDArray[np.float32] | None = None,
) -> NDArray[np.float32]:
    """Forecast ``steps`` samples of all nodes: shift the window by the forecast and repeat.

    Each round keeps the first ``stride`` samples of the direct forecast, appends them to the
    window, drops the oldest ones and forecasts again. All nodes are forecast in every round,
    because a method may look at neighbours. Memory is O(N (K + horizon + steps)).

    Args:
        forecaster: Direct method.
        history: Last K samples of every node, shape ``(N, K)``; not modified.
        graph: The graph of the N nodes.
        steps: Number of samples to forecast, at least 1.
        stride: Samples kept per round, in [1, forecaster.horizon].
        first: Direct forecast of all nodes from ``history``, if it is known already.

    Returns:
        Forecast, shape ``(N, steps)``. With ``stride == horizon == steps`` it is the direct one.

    Raises:
        ValueError: If ``steps`` or ``stride`` is out of range.

    >>> from roma_pyg.models.baselines import Persistence
    >>> pair = Graph.from_edges(np.array([0]), np.array([1]), 2)
    >>> past = np.array([[1, 2], [3, 4]], dtype=np.float32)
    >>> rollout(Persistence(horizon=1), past, pair, steps=3, stride=1)
    array([[2., 2., 2.], [4., 4., 4.]], dtype=float32)
    """
    if steps < 1:
        raise ValueError(f"Expected 'steps' to be at least 1 (got {steps}).")
    if not 1 <= stride <= forecaster.horizon:
        raise ValueError(
            f"Expected 'stride' in [1, {forecaster.horizon}], the direct horizon of "
            f"'{forecaster.name}' (got {stride})."
        )
    window = history.shape[1]
    result = np.empty((history.shape[0], steps), dtype=np.float32)
    for start in range(0, steps, stride):
        block, first = first, None
        if block is None:
            block = forecaster.forecast(history, graph)
        kept = block[:, : min(stride, steps - start)]
        result[:, start : start + kept.shape[1]] = kept
        if start + stride < steps:
            history = np.concatenate([history, kept], axis=1)[:, -window:]
    return result
