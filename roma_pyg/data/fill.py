"""Fill of a sparse factorisation, known exactly before it is computed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order, connected_components, minimum_spanning_tree

Indices = NDArray[np.int64]

PROBE_NODES = (2048, 4096, 8192, 16384)
"""Sizes of the balls from which the growth of the fill is extrapolated."""


class Symbolic(NamedTuple):
    """A symbolic factorisation: all about the factor but its values.

    Attributes:
        order: Nodes in the order of their elimination, shape ``(N,)``.
        entries: Entries of L and U together, both with their diagonal.
    """

    order: Indices
    entries: int


def factorize(matrix: sp.sparray, *, ordered: bool = False) -> sla.SuperLU:
    """Factorise a positive definite matrix, by minimum degree or, if ``ordered``, as it stands."""
    # Minimum degree on the symmetric pattern: on hyperbolic graphs it fills in a fifth as much as
    # the default, which orders for pivoting that a positive definite matrix does not need.
    # Relaxed supernodes pad the many small ones of a tree-like graph: without them the solves take
    # half the time (21 instead of 39 ms at 306 thousand nodes).
    return sla.splu(
        sp.csc_array(matrix),
        permc_spec="NATURAL" if ordered else "MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        relax=1,
        options={"SymmetricMode": True},
    )


def analyze(adjacency: sp.csr_array) -> Symbolic:
    """Order the nodes by minimum degree and count the entries of the factor.

    The order is a postorder of the elimination tree, which leaves the fill as it is and keeps
    subtrees together in memory.

    Args:
        adjacency: Symmetric 0/1 matrix without diagonal, shape ``(N, N)``.

    Returns:
        Order and entries. Time that of the ordering and O(E log E), memory O(E + N log N).

    Example:
        >>> star = sp.csr_array([[0, 1, 1], [1, 0, 0], [1, 0, 0]])
        >>> analyze(star).entries  # no fill: two edges and three pivots, twice
        10
    """
    order = minimum_degree(adjacency)
    parent = elimination_tree(sp.csr_array(adjacency[order][:, order]))
    position, size = postorder(parent)
    chosen = np.empty_like(order)
    chosen[position] = order
    tree = np.empty_like(parent)
    tree[position] = position[parent]
    first = np.empty_like(parent)
    first[position] = position - size + 1
    ordered = sp.csr_array(adjacency[chosen][:, chosen])
    ordered.sort_indices()
    return Symbolic(chosen, factor_entries(ordered, tree, first))


def minimum_degree(adjacency: sp.csr_array) -> Indices:
    """Order the nodes by multiple minimum degree (Liu 1985), as SuperLU does.

    SuperLU does not offer its ordering alone; an incomplete factorisation that drops all that can
    be dropped costs little more. The ordering itself is slow on large expanders (20 s for 40
    thousand nodes of degree 6): see :func:`probed_fill`.

    Args:
        adjacency: Symmetric 0/1 matrix without diagonal, shape ``(N, N)``.

    Returns:
        Nodes in the order of their elimination, shape ``(N,)``. Memory O(N + E).

    Example:
        >>> star = sp.csr_array([[0, 1, 1], [1, 0, 0], [1, 0, 0]])
        >>> int(minimum_degree(star)[0]) in (1, 2)
        True
    """
    degree = np.diff(adjacency.indptr)
    # Positive definite, so that no pivot vanishes whatever is dropped.
    matrix = sp.csc_array(sp.diags_array(degree + 1.0) - adjacency)
    incomplete = sla.spilu(
        matrix,
        drop_tol=1.0,
        fill_factor=1.0,
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    return np.argsort(incomplete.perm_c).astype(np.int64)


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
    forest = minimum_spanning_tree(pattern.tocsr()).tocoo()
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


def probed_fill(adjacency: sp.csr_array, limit: float) -> float:
    """Extrapolate the entries of the factor from those of growing balls around one node.

    A breadth-first ball of an expander fills in ever more per entry as it grows; that of a
    tree-like or planar graph hardly. This is the quick refusal before :func:`minimum_degree`,
    which would take hours on a large expander.

    Args:
        adjacency: Symmetric 0/1 matrix, shape ``(N, N)``.
        limit: The growth of the balls ends once this is exceeded.

    Returns:
        Predicted number of entries; 0 if the largest component is below 4,096 nodes. Takes at
        most a few seconds, and O(N + E) memory.
    """
    _, component = connected_components(adjacency, directed=False)
    members = np.flatnonzero(component == np.bincount(component).argmax())
    order = breadth_first_order(adjacency, members[0], return_predecessors=False)
    entries = adjacency.nnz + adjacency.shape[0]
    ratio = predicted = 0.0
    for size in PROBE_NODES:
        if 2 * size > len(order) or predicted > limit:
            break
        ball = np.sort(order[:size])
        inner = sp.csr_array(adjacency[ball][:, ball])
        degree = np.diff(inner.indptr)
        now = factorize(sp.diags_array(degree + 1.0) - inner).nnz / (inner.nnz + size)
        slope = max(0.0, math.log2(now / ratio)) if ratio else 0.0
        predicted = entries * now * (len(order) / size) ** slope
        ratio = now
    return predicted
