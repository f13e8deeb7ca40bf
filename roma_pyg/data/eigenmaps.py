"""Laplacian eigenmaps: the slowest modes of diffusion on the graph, as node coordinates."""

from __future__ import annotations

import os
import warnings
from typing import NamedTuple

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp
from numpy.typing import NDArray

from roma_pyg.data.diffusion import Diffusion
from roma_pyg.data.fill import Symbolic, analyze, factorize, probed_fill
from roma_pyg.data.graph import Graph
from roma_pyg.data.lanczos import RitzPairs, largest_eigenpairs

Vectors = NDArray[np.float64]

SHIFT = 1e-5
"""The inverse is taken of ``L + SHIFT``, which is positive definite."""

DENSE_NODES = 256

TOLERANCE = 1e-9
"""Relative residual of the inverse for convergence; that of L is at most twice as large."""

FILTER_TOLERANCE = 1e-7
"""The same for the filtered adjacency. The residual of L is smaller by the slope of the filter."""

FILTER_DEGREE = (8, 80)
MAX_APPLICATIONS = 40
"""The iteration ends after ``40 (k + 20)`` applications, converged or not."""


class Eigenmaps(NamedTuple):
    """Eigenvectors, eigenvalues and their quality.

    Attributes:
        vectors: Shape ``(N, k)``, float64, orthonormal columns.
        values: Shape ``(k,)``, float64, ascending, in (0, 2].
        residual: ``max_i |L v_i - lambda_i v_i|``.
        method: ``dense``, ``shift-invert`` or ``filtered``; ``none`` if nothing was to be done.
        fill: Entries of the factor, exact where it was made and predicted where it was refused; 0
            where there was no need to know.
    """

    vectors: Vectors
    values: Vectors
    residual: float
    method: str = "none"
    fill: float = 0.0


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

    The trivial vectors are known in closed form and projected out, so a graph with many
    components costs no more than a connected one. Two ways, chosen by the fill that the
    elimination tree predicts exactly (:mod:`roma_pyg.data.fill`):

    - *shift-invert*: Lanczos on ``(L + 1e-5)^{-1}``, applied by a sparse factorisation, where
      that fits in a quarter of the memory. Residual below 1e-8.
    - *filtered*: Lanczos on a Chebyshev polynomial of the normalised adjacency, O(E + N k)
      memory, for expanders, whose factor would fill up. Their low eigenvalues crowd at the edge
      of a continuum (32 of an Erdos-Renyi graph of 300 thousand nodes: spacings of 1e-4 at .21),
      so vectors need a residual well below the spacing; that reached is about 1e-8. If it is
      not, the span of the vectors is still meaningful where the single ones are not.

    Args:
        graph: The graph with N nodes; direction and weight are ignored.
        k: Number of vectors, at least 0.
        seed: Seed of the start vector. Vectors of a repeated eigenvalue depend on it.

    Returns:
        Vectors ``(N, k)``, eigenvalues ``(k,)`` and residual. If the graph has fewer than k
        nontrivial eigenvectors (N minus the number of components), the last columns and
        eigenvalues are zero. Memory O(E + N k), about ``2 k + 20`` vectors, and the factor.

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
    if linked.size == 0 or k == 0:
        return Eigenmaps(vectors, values, 0.0)
    if len(linked) < len(degree):
        adjacency = sp.csr_array(adjacency[linked][:, linked])
    found = _lowest(adjacency, k, seed)
    size = found.vectors.shape[1]
    vectors[linked, :size] = found.vectors
    values[:size] = found.values
    return found._replace(vectors=vectors, values=values)


def _lowest(adjacency: sp.csr_array, k: int, seed: int) -> Eigenmaps:
    nodes = adjacency.shape[0]
    diffusion = Diffusion(adjacency)
    k = min(k, nodes - diffusion.num_components)
    if nodes <= DENSE_NODES or k > nodes // 3:
        return _rayleigh_ritz(diffusion, _dense(diffusion, k), "dense", 0.0)
    symbolic, fill = _affordable(adjacency)
    if symbolic is not None:
        # All is done in the order of elimination, where neighbours are close in memory.
        order = symbolic.order
        ordered = Diffusion(sp.csr_array(adjacency[order][:, order]))
        try:
            pairs = _shift_invert(ordered, k, seed)
        except (MemoryError, RuntimeError):
            # SuperLU reports a failed allocation as either.
            pass
        else:
            _warn(pairs, k)
            found = _rayleigh_ritz(ordered, pairs.vectors, "shift-invert", fill)
            vectors = np.empty_like(found.vectors)
            vectors[order] = found.vectors
            # Again, as the first of several largest entries depends on the order.
            return found._replace(vectors=fix_signs(vectors))
    pairs = _filtered(diffusion, k, seed)
    _warn(pairs, k)
    return _rayleigh_ritz(diffusion, pairs.vectors, "filtered", fill)


def _rayleigh_ritz(diffusion: Diffusion, vectors: Vectors, method: str, fill: float) -> Eigenmaps:
    """Orthonormal and ordered vectors, eigenvalues good to the square of the error."""
    # Row by row, so that no copy of the block in another layout is made.
    rows = np.stack([diffusion.project(column) for column in vectors.T])
    walked = np.stack([diffusion.normalized @ row for row in rows])
    gram = rows @ rows.T
    small = gram - rows @ walked.T
    values, rotation = sl.eigh(0.5 * (small + small.T), 0.5 * (gram + gram.T))
    rows, walked = rotation.T @ rows, rotation.T @ walked
    walked -= rows * (1 - values[:, None])
    residual = float(np.linalg.norm(walked, axis=1).max(initial=0.0))
    return Eigenmaps(fix_signs(rows.T), values, residual, method, fill)


def _dense(diffusion: Diffusion, k: int) -> Vectors:
    laplacian = np.eye(len(diffusion.trivial)) - diffusion.normalized.toarray()
    # The spectrum ends at 2: this moves the trivial vectors behind all others.
    same = diffusion.component[:, None] == diffusion.component
    laplacian += 3.0 * np.where(same, np.outer(diffusion.trivial, diffusion.trivial), 0.0)
    return np.asarray(sl.eigh(laplacian)[1][:, :k])


def _affordable(adjacency: sp.csr_array) -> tuple[Symbolic | None, float]:
    """Order and entries of the factor, without the order if the factor would be too large."""
    limit = fill_limit(adjacency.nnz + adjacency.shape[0])
    probed = probed_fill(adjacency, limit)
    if probed > limit:
        return None, probed
    symbolic = analyze(adjacency)
    return (symbolic if symbolic.entries <= limit else None), float(symbolic.entries)


def fill_limit(entries: int) -> float:
    """Entries of the factor that are affordable, in time (50 per entry) and memory."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        memory = 8 * 2**30
    return min(memory / 4 / 16, max(2e7, 50 * entries))


def _shift_invert(diffusion: Diffusion, k: int, seed: int) -> RitzPairs:
    nodes = len(diffusion.trivial)
    factor = factorize(sp.eye_array(nodes) * (1 + SHIFT) - diffusion.normalized, ordered=True)
    rng = np.random.default_rng(seed)
    # 1 / (lambda + SHIFT) in [.5, 1e5] for the wanted vectors; the trivial ones are projected out.
    return largest_eigenpairs(
        lambda x: diffusion.project(factor.solve(x)),
        lambda: diffusion.project(rng.standard_normal(nodes)),
        k,
        TOLERANCE,
        MAX_APPLICATIONS * (k + 20),
    )


def _filtered(diffusion: Diffusion, k: int, seed: int) -> RitzPairs:
    """Highest vectors of the normalised adjacency without a factorisation.

    The filter is the Chebyshev polynomial that stays in [-1, 1] below a cutoff and grows above it
    (Zhou, Saad, Tiago & Chelikowsky 2006). Ritz values of a short iteration lie below the
    eigenvalues, so that at least k of these are above the k-th Ritz value, the cutoff.
    """
    nodes = len(diffusion.trivial)
    rng = np.random.default_rng(seed)

    def draw() -> Vectors:
        return diffusion.project(rng.standard_normal(nodes))

    def walk(x: Vectors) -> Vectors:
        return diffusion.project(diffusion.normalized @ x)

    # One pass of 2 k + 20 steps.
    cutoff = float(largest_eigenpairs(walk, draw, k, 0.0, 1).values[-1])
    # Beyond the cutoff T_d(1 + x) = cosh(d sqrt(2 x)): a tenfold growth at the end of the spectrum.
    low, high = FILTER_DEGREE
    gap = max(2 * (1 - cutoff) / (1 + cutoff), 1e-6)
    degree = int(np.clip(np.arccosh(100.0) / np.sqrt(2 * gap), low, high))

    def polynomial(x: Vectors) -> Vectors:
        before, now = x, diffusion.chebyshev_argument(x, cutoff)
        for _ in range(degree - 1):
            before, now = now, 2 * diffusion.chebyshev_argument(now, cutoff) - before
        return diffusion.project(now)

    return largest_eigenpairs(polynomial, draw, k, FILTER_TOLERANCE, MAX_APPLICATIONS * (k + 20))


def _warn(pairs: RitzPairs, k: int) -> None:
    if pairs.converged < k:
        warnings.warn(
            f"Laplacian eigenmaps: only {pairs.converged} of {k} vectors converged in "
            f"{pairs.applications} steps; the others are approximate, see the residual.",
            stacklevel=4,
        )
