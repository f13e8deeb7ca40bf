"""Laplacians of weighted undirected graphs."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from roma_pyg.data.eigenmaps import undirected_adjacency
from roma_pyg.data.graph import Graph

Kind = Literal["combinatorial", "normalized"]
KINDS: tuple[Kind, ...] = ("combinatorial", "normalized")


def symmetric_adjacency(graph: Graph | sp.sparray | NDArray[np.floating]) -> sp.csr_array:
    """Adjacency of the undirected graph, float64, without loops, shape ``(N, N)``.

    Args:
        graph: A graph, of which direction and couplings are ignored (entries 0 and 1), or a
            symmetric matrix of non-negative weights, which are kept.

    Raises:
        ValueError: If a matrix is not square or not symmetric, or a weight is negative or not
            finite.

    Example:
        >>> symmetric_adjacency(np.array([[5.0, 2.0], [2.0, 0.0]])).toarray()
        array([[0., 2.],
               [2., 0.]])
    """
    if isinstance(graph, Graph):
        return undirected_adjacency(graph)
    # The stubs know constructors of concrete formats only.
    matrix: Any = sp.csr_array(graph, dtype=np.float64)  # type: ignore[arg-type]
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"Expected a square matrix of couplings (got shape {matrix.shape}).")
    if not (np.isfinite(matrix.data) & (matrix.data >= 0)).all():
        raise ValueError("Expected finite, non-negative couplings (got another value).")
    largest = matrix.data.max(initial=0.0)
    difference = abs(matrix - matrix.T).max() if matrix.nnz else 0.0
    if difference > 1e-6 * largest:
        raise ValueError(
            f"Expected symmetric couplings (got a difference of {difference:.3g} between A and its "
            "transpose): use (A + A.T) / 2."
        )
    matrix = sp.csr_array((matrix + matrix.T) / 2)
    matrix.setdiag(0.0)
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return sp.csr_array(matrix)


def laplacian(
    graph: Graph | sp.sparray | NDArray[np.floating], kind: Kind = "combinatorial"
) -> sp.csr_array:
    r"""Laplacian of an undirected graph, float64, shape ``(N, N)``; O(N + E) memory.

    .. math:: L = D - A, \qquad L_{norm} = I - D^{-1/2} A D^{-1/2}

    Both are symmetric, with as many eigenvalues zero as there are components; an isolated node is
    a zero row.

    Args:
        graph: As for :func:`symmetric_adjacency`.
        kind: ``combinatorial`` or ``normalized``.

    Raises:
        ValueError: If the graph is not as expected, or the kind is unknown.

    Example:
        >>> laplacian(Graph.from_edges(np.array([0]), np.array([1]), 2)).toarray()
        array([[ 1., -1.],
               [-1.,  1.]])
    """
    if kind not in KINDS:
        raise ValueError(f"Expected 'kind' to be 'combinatorial' or 'normalized' (got {kind!r}).")
    adjacency = symmetric_adjacency(graph)
    degree = np.asarray(adjacency.sum(axis=1))
    if kind == "normalized":
        inverse = np.divide(1.0, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
        adjacency = sp.csr_array(sp.diags_array(inverse) @ adjacency @ sp.diags_array(inverse))
        degree = (degree > 0).astype(np.float64)
    return sp.csr_array(sp.diags_array(degree) - adjacency)
