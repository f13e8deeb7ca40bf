"""Order of a sparse factorisation, and its fill before it is computed."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order, connected_components

from roma_pyg.data.elimination import elimination_tree, factor_entries, postorder

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
