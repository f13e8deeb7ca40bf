"""Laplacian eigenmaps: the slowest modes of diffusion on the graph, as node coordinates."""

from __future__ import annotations

import inspect
import math
import os
import warnings
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp
import scipy.sparse.linalg as sla
from numpy.typing import NDArray
from scipy.sparse.csgraph import breadth_first_order, connected_components

from roma_pyg.data.graph import Graph

Vectors = NDArray[np.float64]

SHIFT = 1e-3
"""The inverse is taken of ``L + SHIFT``, which is positive definite."""

DENSE_NODES = 256
PROBE_NODES = 8192


class Eigenmaps(NamedTuple):
    """Eigenvectors, eigenvalues and their quality.

    Attributes:
        vectors: Shape ``(N, k)``, float64, orthonormal columns.
        values: Shape ``(k,)``, float64, ascending, in (0, 2].
        residual: ``max_i |L v_i - lambda_i v_i|``.
    """

    vectors: Vectors
    values: Vectors
    residual: float


def undirected_adjacency(graph: Graph) -> sp.csr_array:
    """Return the symmetric 0/1 adjacency, float64, without self-loops; O(N + E)."""
    ones = graph.to_matrix(weighted=False).astype(np.float64)
    ones.setdiag(0)
    matrix = sp.csr_array(ones.maximum(ones.T.tocsr()))
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


def fix_signs(vectors: Vectors) -> Vectors:
    """Flip columns so that the entry of largest magnitude is positive; the first one on ties.

    Entries within a millionth of the largest count as ties, so that rounding cannot flip a
    symmetric vector such as those of a path.

    Example:
        >>> fix_signs(np.array([[-0.7], [0.1], [0.7]]))[:, 0]
        array([ 0.7, -0.1, -0.7])
    """
    if vectors.size == 0:
        return vectors
    size = np.abs(vectors)
    first = (size >= size.max(axis=0) * (1 - 1e-6)).argmax(axis=0)
    sign = np.where(vectors[first, np.arange(vectors.shape[1])] < 0, -1.0, 1.0)
    # Adding zero turns -0.0 into 0.0.
    return vectors * sign + 0.0


def laplacian_eigenmaps(graph: Graph, k: int, seed: int = 0) -> Eigenmaps:
    r"""Lowest nontrivial eigenvectors of ``L = I - D^{-1/2} A D^{-1/2}`` (Belkin & Niyogi 2003).

    ``A`` is the undirected 0/1 adjacency. Every connected component, isolated nodes included
    (their row of L is zero), has exactly one eigenvalue zero, with eigenvector ``D^{1/2} 1``
    on that component. All of these are skipped: the result starts at the lowest positive
    eigenvalue of any component. Isolated nodes are zero in all vectors.

    The trivial vectors are known in closed form and projected out of the operator, so a graph
    with many components costs no more than a connected one. The inverse of ``L + 1e-3`` is
    applied by a sparse factorisation; where that would fill up, as on expanders, Lanczos on the
    adjacency is used instead.

    Args:
        graph: The graph with N nodes; direction and weight are ignored.
        k: Number of vectors, at least 0.
        seed: Seed of the start vector. Vectors of a repeated eigenvalue depend on it.

    Returns:
        Vectors ``(N, k)``, eigenvalues ``(k,)`` and residual. If the graph has fewer than k
        nontrivial eigenvectors (N minus the number of components), the last columns and
        eigenvalues are zero. Memory O(E + N k) and the factor, at most a quarter of the machine.

    Raises:
        ValueError: If ``k`` is negative.

    Warns:
        UserWarning: If the iteration ended before it converged; see the residual.

    Example:
        >>> path = Graph.from_edges(np.array([0, 1]), np.array([1, 2]), 3)
        >>> laplacian_eigenmaps(path, 2).values.round(6)
        array([1., 2.])
    """
    if k < 0:
        raise ValueError(f"Expected 'k' to be non-negative (got {k}).")
    adjacency = undirected_adjacency(graph)
    degree = np.diff(adjacency.indptr)
    linked = np.flatnonzero(degree > 0)
    vectors, values = np.zeros((graph.num_nodes, k)), np.zeros(k)
    residual = 0.0
    if linked.size and k:
        core = adjacency if len(linked) == len(degree) else adjacency[linked][:, linked]
        found, lowest, residual = _lowest(sp.csr_array(core), k, seed)
        vectors[linked, : found.shape[1]] = found
        values[: found.shape[1]] = lowest
    return Eigenmaps(vectors, values, residual)


class _Diffusion:
    """Normalised adjacency of a graph without isolated nodes, and its trivial eigenvectors."""

    def __init__(self, adjacency: sp.csr_array) -> None:
        degree = np.diff(adjacency.indptr).astype(np.float64)
        scale = sp.diags_array(1 / np.sqrt(degree))
        self.adjacency = adjacency
        self.normalized = sp.csr_array(scale @ adjacency @ scale)
        self.num_components, self.component = connected_components(adjacency, directed=False)
        volume = np.bincount(self.component, weights=degree)
        self.trivial = np.sqrt(degree / volume[self.component])

    def project(self, x: Vectors) -> Vectors:
        """Remove the trivial eigenvectors from a vector or block of vectors; O(N) per column."""
        if x.ndim == 2:
            return np.stack([self.project(column) for column in x.T], axis=1)
        share = np.bincount(self.component, weights=self.trivial * x)
        return np.asarray(x - self.trivial * share[self.component])


def _lowest(adjacency: sp.csr_array, k: int, seed: int) -> Eigenmaps:
    diffusion = _Diffusion(adjacency)
    nodes = adjacency.shape[0]
    k = min(k, nodes - diffusion.num_components)
    if nodes <= DENSE_NODES or k > nodes // 3:
        vectors = _dense(diffusion, k)
    else:
        rng = np.random.default_rng(seed)
        start = diffusion.project(rng.standard_normal(nodes))
        # Older releases of scipy restart from a state of their own.
        extra: dict[str, Any] = (
            {"rng": rng} if "rng" in inspect.signature(sla.eigsh).parameters else {}
        )
        vectors = _sparse(diffusion, k, start, extra)
    # Rayleigh-Ritz: orthonormal, ordered, and with eigenvalues good to the square of the error.
    basis, _ = np.linalg.qr(diffusion.project(vectors))
    small = basis.T @ (basis - diffusion.normalized @ basis)
    values, rotation = np.linalg.eigh(0.5 * (small + small.T))
    vectors = fix_signs(basis @ rotation)
    error = vectors - diffusion.normalized @ vectors - vectors * values
    residual = float(np.linalg.norm(error, axis=0).max(initial=0.0))
    return Eigenmaps(vectors, values, residual)


def _dense(diffusion: _Diffusion, k: int) -> Vectors:
    laplacian = np.eye(len(diffusion.trivial)) - diffusion.normalized.toarray()
    # The spectrum ends at 2: this moves the trivial vectors behind all others.
    same = diffusion.component[:, None] == diffusion.component
    laplacian += 3.0 * np.where(same, np.outer(diffusion.trivial, diffusion.trivial), 0.0)
    return np.asarray(sl.eigh(laplacian)[1][:, :k])


def _sparse(diffusion: _Diffusion, k: int, start: Vectors, extra: dict[str, Any]) -> Vectors:
    try:
        factor = _factorize(diffusion.adjacency, diffusion.normalized)
    except (MemoryError, RuntimeError):
        # SuperLU reports a failed allocation as either.
        factor = None
    if factor is None:
        return _lanczos(diffusion, k, start, extra)
    nodes = len(start)
    solve = factor.solve

    # 1 / (lambda + SHIFT) in [.5, 1000] for the wanted vectors, 0 for the trivial ones.
    def inverse(x: Vectors) -> Vectors:
        return diffusion.project(solve(diffusion.project(np.ravel(x))))

    operator = sla.LinearOperator((nodes, nodes), matvec=inverse, dtype=np.float64)
    try:
        return np.asarray(sla.eigsh(operator, k=k, which="LA", v0=start, **extra)[1])
    except sla.ArpackNoConvergence as error:
        return _polish(diffusion, k, np.real(error.eigenvectors), start)


def _factorize(adjacency: sp.csr_array, normalized: sp.csr_array) -> sla.SuperLU | None:
    """Factor of ``L + SHIFT``, or None if it is predicted to fill up memory."""
    nodes = adjacency.shape[0]
    if nodes > PROBE_NODES and predicted_fill(adjacency) > _fill_limit(adjacency.nnz + nodes):
        return None
    return _factor(sp.eye_array(nodes) * (1 + SHIFT) - normalized)


def _factor(matrix: sp.sparray) -> sla.SuperLU:
    # Minimum degree on the symmetric pattern: on hyperbolic graphs it fills in a fifth as much
    # as the default, which orders for pivoting that a positive definite matrix does not need.
    return sla.splu(
        sp.csc_array(matrix),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )


def _fill_limit(entries: int) -> float:
    """Entries of the factor that are affordable, in time (50 per entry) and memory."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        memory = 8 * 2**30
    return min(memory / 4 / 16, max(2e7, 50 * entries))


def predicted_fill(adjacency: sp.csr_array) -> float:
    """Predict the entries of the factor from those of growing balls around one node.

    A breadth-first ball of an expander fills in ever more per entry as it grows; that of a
    tree-like or planar graph hardly. The trend is extrapolated to the whole graph.

    Args:
        adjacency: Symmetric 0/1 matrix.

    Returns:
        Predicted number of entries. Costs at most about as much as the factorisation itself, and
        little where the answer is large.
    """
    _, component = connected_components(adjacency, directed=False)
    members = np.flatnonzero(component == np.bincount(component).argmax())
    order = breadth_first_order(adjacency, members[0], return_predecessors=False)
    entries = adjacency.nnz + adjacency.shape[0]
    limit = _fill_limit(entries)
    ratio = predicted = 0.0
    size = PROBE_NODES // 4
    while 2 * size <= len(order):
        ball = np.sort(order[:size])
        inner = sp.csr_array(adjacency[ball][:, ball])
        degree = np.diff(inner.indptr)
        probe = _factor(sp.diags_array(degree + 1.0) - inner)
        now = probe.nnz / (inner.nnz + size)
        slope = max(0.0, math.log2(now / ratio)) if ratio else 0.0
        predicted = entries * now * (len(order) / size) ** slope
        if predicted > limit:
            break
        ratio, size = now, 2 * size
    return predicted


def _lanczos(diffusion: _Diffusion, k: int, start: Vectors, extra: dict[str, Any]) -> Vectors:
    """Highest vectors of the normalised adjacency without a factorisation; O(E + N k) memory."""
    nodes = len(start)
    operator = sla.LinearOperator((nodes, nodes), matvec=_shifted(diffusion), dtype=np.float64)
    try:
        found = sla.eigsh(
            operator, k=k, which="LA", v0=start, tol=1e-8, ncv=min(nodes, 4 * k + 20), **extra
        )
        return np.asarray(found[1])
    except sla.ArpackNoConvergence as error:
        return _polish(diffusion, k, np.real(error.eigenvectors), start)


def _shifted(diffusion: _Diffusion) -> Any:  # noqa: ANN401 - scipy has no name for a matvec
    # 2 + A in [1, 3] for the nontrivial vectors, 0 for the trivial ones.
    def apply(x: Vectors) -> Vectors:
        x = diffusion.project(x if x.ndim == 1 or x.shape[1] > 1 else x.ravel())
        return diffusion.project(2 * x + diffusion.normalized @ x)

    return apply


def _polish(diffusion: _Diffusion, k: int, found: Vectors, start: Vectors) -> Vectors:
    """Complete a partly converged set by LOBPCG and say so."""
    nodes = len(start)
    block = np.random.default_rng(len(start)).standard_normal((nodes, k))
    block[:, 0] = start
    block[:, : found.shape[1]] = found
    apply = _shifted(diffusion)
    operator = sla.LinearOperator((nodes, nodes), matvec=apply, matmat=apply, dtype=np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        vectors = sla.lobpcg(operator, diffusion.project(block), largest=True, maxiter=200)[1]
    warnings.warn(
        f"Laplacian eigenmaps: only {found.shape[1]} of {k} vectors converged; the others are "
        "approximate, see the residual.",
        stacklevel=2,
    )
    return np.asarray(vectors)
