"""Elimination tree of a sparse symmetric matrix, and the exact fill of its factor."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import minimum_spanning_tree

from roma_pyg.data.short_indices import short_indices

Indices = NDArray[np.int64]


def elimination_tree(adjacency: sp.csr_array) -> Indices:
    """Elimination tree of a symmetric pattern (Liu 1990).

    ``parent[j] = min{i > j : L_ij != 0}``: the first i that a path from j reaches through nodes
    below i. That depends only on how the nodes ``0, ..., i`` are connected, for each i, which a
    spanning tree minimal in ``max(i, j)`` preserves: it replaces the graph, so that the loop in
    python sees N - 1 edges and not E.

    Args:
        adjacency: Symmetric pattern, shape ``(N, N)``, in the order of elimination.

    Returns:
        The parent of each node, its own number for a root, shape ``(N,)``. Time O(E log E),
        about 2 s per million nodes; memory O(N + E).

    Example:
        >>> path = sp.csr_array([[0, 0, 1], [0, 0, 1], [1, 1, 0]])
        >>> elimination_tree(path)
        array([2, 2, 2])
    """
    nodes = adjacency.shape[0]
    rows = np.repeat(np.arange(nodes), np.diff(adjacency.indptr))
    lower = adjacency.indices < rows
    # Weights start at 1, as zero would mean that there is no edge.
    weight = rows[lower] + 1.0
    pattern = sp.coo_array((weight, (rows[lower], adjacency.indices[lower])), shape=(nodes,) * 2)
    forest = minimum_spanning_tree(short_indices(sp.csr_array(pattern))).tocoo()
    above, below = np.maximum(forest.row, forest.col), np.minimum(forest.row, forest.col)
    rising = np.argsort(above, kind="stable")
    parent, ancestor = list(range(nodes)), list(range(nodes))
    for node, root in zip(above[rising].tolist(), below[rising].tolist(), strict=True):
        while ancestor[root] != root:
            # Path halving keeps the walks to the root short.
            ancestor[root] = ancestor[ancestor[root]]
            root = ancestor[root]
        ancestor[root] = parent[root] = node
    return np.array(parent, dtype=np.int64)


def postorder(parent: Indices) -> tuple[Indices, Indices]:
    """Number the nodes of a forest so that every subtree is an interval ending at its top.

    Args:
        parent: Parents, each of a higher number than its child; roots are their own parent.

    Returns:
        New number and size of the subtree of every node, each of shape ``(N,)``.

    Example:
        >>> postorder(np.array([2, 3, 3, 3]))
        (array([1, 0, 2, 3]), array([1, 1, 2, 4]))
    """
    above = parent.tolist()
    size = [1] * len(above)
    for node, top in enumerate(above):
        if top != node:
            size[top] += size[node]
    position, free = [0] * len(above), [0] * len(above)
    end = len(above) - 1
    for node in range(len(above) - 1, -1, -1):
        top = above[node]
        if top == node:
            position[node] = end
            end -= size[node]
        else:
            position[node] = free[top]
            free[top] -= size[node]
        free[node] = position[node] - 1
    return np.array(position, dtype=np.int64), np.array(size, dtype=np.int64)


def factor_entries(adjacency: sp.csr_array, parent: Indices, first: Indices) -> int:
    r"""Entries of L and U together for a symmetric pattern, without computing them.

    Row i of L has the nodes of the row subtree, the paths in the elimination tree from the
    neighbours ``j < i`` up to i. With its leaves ``j_1 < j_2 < ...`` in postorder, it has

    .. math:: \sum_t d(j_t) - d(\mathrm{lca}(j_{t-1}, j_t)), \qquad \mathrm{lca}(j_0, j_1) = i

    entries left of the diagonal, d the depth (Gilbert, Ng & Peyton 1994).

    Args:
        adjacency: Symmetric pattern without diagonal, shape ``(N, N)``, indices sorted, in a
            postorder of its elimination tree.
        parent: The elimination tree, shape ``(N,)``.
        first: First node of the subtree of each node, shape ``(N,)``.

    Returns:
        ``2 |L| + 2 N`` with ``|L|`` the entries below the diagonal: what SuperLU reports. Time
        O(E log N), memory O(N log N + E).

    Example:
        >>> ring = sp.csr_array([[0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0]])
        >>> factor_entries(ring, np.array([1, 2, 3, 3]), np.zeros(4, dtype=int))
        18
    """
    nodes = adjacency.shape[0]
    levels = _ancestors(parent)
    depth = _depth(levels)
    rows = np.repeat(np.arange(nodes), np.diff(adjacency.indptr))
    lower = adjacency.indices < rows
    rows, below = rows[lower], adjacency.indices[lower].astype(np.int64)
    start = np.ones(len(rows), dtype=bool)
    start[1:] = rows[1:] != rows[:-1]
    # A neighbour whose subtree holds the one before is passed on the way up.
    leaf = start.copy()
    leaf[1:] |= first[below[1:]] > below[:-1]
    rows, below, start = rows[leaf], below[leaf], start[leaf]
    entries = int(depth[below].sum()) - int(depth[rows[start]].sum())
    again = np.flatnonzero(~start)
    here, right = below[again - 1], below[again]
    for level in reversed(levels):
        there = level[here]
        here = np.where(there < right, there, here)
    return 2 * (entries - int(depth[parent[here]].sum())) + 2 * nodes


def _ancestors(parent: Indices) -> list[NDArray[np.int32]]:
    """Ancestors 1, 2, 4, ... steps up, as far as there are any."""
    levels = [parent.astype(np.int32)]
    while True:
        twice = levels[-1][levels[-1]]
        if np.array_equal(twice, levels[-1]):
            return levels
        levels.append(twice)


def _depth(levels: list[NDArray[np.int32]]) -> Indices:
    """Steps from every node to its root."""
    parent = levels[0]
    here = np.arange(len(parent), dtype=np.int32)
    depth = np.zeros(len(parent), dtype=np.int64)
    for step in range(len(levels) - 1, -1, -1):
        there = levels[step][here]
        # Only jumps that end below the root have their full length.
        short = there != parent[there]
        depth += np.where(short, 1 << step, 0)
        here = np.where(short, there, here)
    return depth + (here != parent[here])
