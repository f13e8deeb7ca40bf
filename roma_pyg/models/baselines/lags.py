"""The inputs of the regression baselines: own lags and neighbour-mean lags."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.graph import Graph, IntArray


def lag_features(
    history: NDArray[np.float32], graph: Graph, nodes: IntArray | None, *, neighbors: bool
) -> NDArray[np.float32]:
    """Own lags, and behind them the coupling-weighted mean of the lags of the neighbours.

    Args:
        history: Last K samples of every node, shape ``(N, K)``.
        graph: The graph of the N nodes.
        nodes: Nodes wanted, shape ``(n,)``; all if None. The cost then grows with the edges into
            these nodes, not with E.
        neighbors: Whether to append the neighbour means.

    Returns:
        Shape ``(n, 2 K)``, or ``(n, K)`` without neighbours, float32.

    Raises:
        ValueError: If the history does not have one row per node of the graph.

    >>> pair = Graph.from_edges(np.array([0]), np.array([1]), 2)
    >>> past = np.array([[1, 2], [3, 4]], dtype=np.float32)
    >>> lag_features(past, pair, np.array([1]), neighbors=True)
    array([[3., 4., 1., 2.]], dtype=float32)
    """
    if history.ndim != 2 or history.shape[0] != graph.num_nodes:
        raise ValueError(
            f"Expected 'history' of shape (N, K) with N = {graph.num_nodes} nodes "
            f"(got {tuple(history.shape)})."
        )
    own = history if nodes is None else history[nodes]
    if not neighbors:
        return np.asarray(own, dtype=np.float32)
    mean = graph.neighbor_mean(history) if nodes is None else graph.to_matrix()[nodes] @ history
    return np.concatenate([own, mean], axis=1, dtype=np.float32)
