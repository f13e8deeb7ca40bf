"""Coarse graining of a whole graph, S^T X and S^T A S, in blocks of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from roma_pyg.data.export import row_blocks
from roma_pyg.data.graph import FloatArray, Graph

_EDGES = 1 << 18
"""Edges of a block of receivers."""


def pool_nodes(assignment: FloatArray, values: NDArray[Any]) -> NDArray[np.float64]:
    """Coarse-grain values of all nodes, ``S^T X N / M``.

    Args:
        assignment: S, columns summing to one, shape ``(N, M)``; may be a memory map.
        values: X, a value or series per node, shape ``(N, T)``; may be a memory map.

    Returns:
        Shape ``(M, T)``, float64. Time O(N M T), memory one block of rows and the result.

    Raises:
        ValueError: If the numbers of nodes differ.

    Example:
        >>> share = np.array([[0.5, 0.0], [0.5, 0.0], [0.0, 1.0]], dtype=np.float32)
        >>> pool_nodes(share, np.array([[2.0], [4.0], [6.0]]))
        array([[4.5],
               [9. ]])
    """
    if len(assignment) != len(values) or values.ndim != 2:
        raise ValueError(
            f"Expected 'values' of shape ({len(assignment)}, T), as the assignment has "
            f"{len(assignment)} nodes (got {values.shape})."
        )
    nodes, supernodes = assignment.shape
    total = np.zeros((supernodes, values.shape[1]))
    width = supernodes + values.shape[1]
    for part in row_blocks((nodes, width)):
        total += assignment[part].astype(np.float64).T @ values[part].astype(np.float64)
    return total * (nodes / supernodes)


def couple_supernodes(graph: Graph, assignment: FloatArray) -> FloatArray:
    """Coarse couplings ``S^T A S``.

    The rows of A are taken in blocks, of which each reads the rows of S of its senders:
    ``sum over blocks R of S_R^T (A_R S)``. Time O(E M + N M^2); memory is one block (about 260,000
    edges times M), so that S may be a memory map larger than memory.

    Args:
        graph: The graph, N nodes.
        assignment: S, shape ``(N, M)``.

    Returns:
        Shape ``(M, M)``, float32, row = receiver.

    Raises:
        ValueError: If S has not N rows.

    Example:
        >>> pair = Graph.from_edges(np.array([0]), np.array([1]), 2)
        >>> couple_supernodes(pair, np.array([[0.25, 1.0], [0.75, 0.0]], dtype=np.float32))
        array([[0.375, 0.75 ],
               [0.75 , 0.   ]], dtype=float32)
    """
    if len(assignment) != graph.num_nodes:
        raise ValueError(
            f"Expected an assignment of {graph.num_nodes} nodes (got {len(assignment)})."
        )
    total = np.zeros((assignment.shape[1],) * 2)
    for part in _receivers(graph):
        first, last = graph.rowptr[part.start], graph.rowptr[part.stop]
        senders, place = np.unique(graph.col[first:last], return_inverse=True)
        block = sp.csr_array(
            (graph.weight[first:last], place, graph.rowptr[part.start : part.stop + 1] - first),
            shape=(part.stop - part.start, len(senders)),
        )
        received = block @ assignment[senders].astype(np.float64)
        total += assignment[part].astype(np.float64).T @ received
    return total.astype(np.float32)


def _receivers(graph: Graph) -> Iterator[slice]:
    """Ranges of nodes that have about ``_EDGES`` edges, and no more nodes than that."""
    start = 0
    while start < graph.num_nodes:
        full = int(np.searchsorted(graph.rowptr, graph.rowptr[start] + _EDGES, side="right")) - 1
        stop = min(max(full, start + 1), start + _EDGES, graph.num_nodes)
        yield slice(start, stop)
        start = stop
