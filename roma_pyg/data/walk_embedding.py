"""A random-walk embedding by matrix factorisation and spectral propagation."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from roma_pyg.data.eigenmaps import fix_signs, undirected_adjacency
from roma_pyg.data.graph import Graph

NEGATIVE_POWER = 0.75
"""Exponent of the distribution of negative samples, as in word2vec."""

CENTER, SHARPNESS = 0.2, 0.5
"""Centre mu and sharpness theta of the spectral filter, as published."""

OVERSAMPLING = 10
POWER_STEPS = 4

CHUNK = 65536
"""Rows that are orthogonalised at a time."""

GROUP = 8
"""Channels that are propagated at a time."""


def walk_embedding(graph: Graph, channels: int, window: int, seed: int = 0) -> NDArray[np.float64]:
    r"""Embed nodes by a factorised co-occurrence of neighbours, smoothed along random walks.

    This is a *factorisation* in the manner of ProNE (Zhang et al., "ProNE: Fast and Scalable
    Network Representation Learning", IJCAI 2019), not node2vec: no walks are sampled.

    1. With ``p_ij = A_ij / d_i`` and ``q_j ~ (sum_i p_ij)^{3/4}``, the sparse matrix
       ``M_ij = log p_ij - log q_j`` over the edges, the optimum of skip-gram with one negative
       sample, is factorised by a randomised truncated SVD, ``R = U S^{1/2}``.
    2. ``R <- P (1 - g(I - P)) R`` with the walk ``P = D^{-1}(A + I)`` and the Gaussian filter
       ``g(x) = exp(-theta/2 ((x - mu)^2 - 1))``. ProNE expands g in Bessel functions of a
       quadratic in P; here g is interpolated at the Chebyshev nodes by a polynomial of degree
       ``window - 1`` in P itself, so that walks of at most ``window`` steps count.
    3. R is made orthogonal again, ``U S^{1/2}``, and its rows scaled to unit length.

    Args:
        graph: The graph with N nodes; direction and weight are ignored.
        channels: Channels C, at least 0.
        window: Order of the propagation: longest walk, in steps, at least 1.
        seed: Seed of the randomised SVD.

    Returns:
        Shape ``(N, C)``, float64, with the sign of ``fix_signs`` before the rows are scaled.
        Isolated nodes, and channels beyond the rank, are zero. Time O(window E C + N C^2),
        memory O(E + N C), four blocks of ``(N, C + 10)`` at most.

    Raises:
        ValueError: If ``channels`` is negative or ``window`` is below 1.

    Example:
        >>> ring = Graph.from_edges(np.arange(6), (np.arange(6) + 1) % 6, 6)
        >>> walk_embedding(ring, channels=2, window=3).shape
        (6, 2)
    """
    if channels < 0 or window < 1:
        raise ValueError(
            f"Expected 'channels' >= 0 and 'window' >= 1 (got {channels} and {window})."
        )
    out = np.zeros((graph.num_nodes, channels))
    adjacency = undirected_adjacency(graph)
    linked = np.diff(adjacency.indptr) > 0
    if channels == 0 or not linked.any():
        return out
    core = sp.csr_array(adjacency[linked][:, linked])
    rows, scale = randomized_svd(cooccurrence(core), channels, np.random.default_rng(seed))
    rows *= np.sqrt(scale)
    rows = propagate(core, rows, window)
    left, scale, _ = np.linalg.svd(orthonormalize(rows))
    # Directions of rounding noise would become full-size channels under the row scaling.
    scale = np.where(scale > 1e-10 * scale.max(initial=0.0), scale, 0.0)
    rows = fix_signs(rows @ (left * np.sqrt(scale)))
    length = np.sqrt(np.einsum("nc,nc->n", rows, rows))[:, None]
    rows /= np.where(length > 0, length, 1.0)
    out[linked, : rows.shape[1]] = rows
    return out


def cooccurrence(adjacency: sp.csr_array) -> sp.csr_array:
    """Matrix ``M_ij = log p_ij - log q_j`` over the edges of a graph without isolated nodes.

    Args:
        adjacency: Symmetric 0/1 matrix, shape ``(N, N)``.

    Returns:
        A matrix of the same pattern.

    Example:
        >>> star = sp.csr_array([[0, 1, 1], [1, 0, 0], [1, 0, 0]])
        >>> cooccurrence(star).toarray().round(3)
        array([[0.   , 0.881, 0.881],
               [0.535, 0.   , 0.   ],
               [0.535, 0.   , 0.   ]])
    """
    degree = np.diff(adjacency.indptr)
    walk = np.repeat(1.0 / degree, degree)
    received = np.bincount(adjacency.indices, weights=walk, minlength=len(degree))
    negative = received**NEGATIVE_POWER
    negative /= negative.sum()
    data = np.log(walk) - np.log(negative[adjacency.indices])
    return sp.csr_array((data, adjacency.indices, adjacency.indptr), shape=adjacency.shape)


def randomized_svd(
    matrix: sp.csr_array, rank: int, rng: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Leading left singular vectors and singular values (Halko, Martinsson & Tropp 2011).

    Args:
        matrix: Shape ``(N, N)``.
        rank: Number of vectors; fewer are returned if N is smaller.
        rng: Draws the test matrix.

    Returns:
        Vectors ``(N, r)`` and values ``(r,)``, descending. Memory O(N (rank + 10)).
    """
    width = min(rank + OVERSAMPLING, matrix.shape[0])
    transposed = matrix.T.tocsr()
    basis = matrix @ rng.standard_normal((matrix.shape[1], width))
    orthonormalize(basis)
    for _ in range(POWER_STEPS):
        basis = transposed @ basis
        orthonormalize(basis)
        basis = matrix @ basis
        orthonormalize(basis)
    left, values, _ = np.linalg.svd(orthonormalize(transposed @ basis).T)
    keep = min(rank, width)
    return basis @ left[:, :keep], values[:keep]


def orthonormalize(block: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormalise the columns of a tall block in place, by chunks of rows.

    Each chunk is factorised by Householder reflections, then the triangles on top of each other
    are (Demmel, Grigori, Hoemmen & Langou 2012): as accurate as one factorisation of the block,
    which would hold two copies of it.

    Args:
        block: Shape ``(N, C)``, N >= C; replaced by its orthonormal factor.

    Returns:
        The triangular factor R, ``old = new @ R``, shape ``(C, C)``.

    Example:
        >>> block = np.array([[3.0], [4.0]])
        >>> abs(orthonormalize(block)).round(6)
        array([[5.]])
        >>> abs(block)
        array([[0.6],
               [0.8]])
    """
    width = block.shape[1]
    # Parts of equal size: none has fewer rows than columns.
    parts = np.array_split(block, max(1, len(block) // max(CHUNK, width)))
    triangles = np.empty((len(parts) * width, width))
    for index, part in enumerate(parts):
        part[:], triangles[index * width : (index + 1) * width] = np.linalg.qr(part)
    turn, triangle = np.linalg.qr(triangles)
    for index, part in enumerate(parts):
        part[:] = part @ turn[index * width : (index + 1) * width]
    return triangle


def propagate(
    adjacency: sp.csr_array, features: NDArray[np.float64], window: int
) -> NDArray[np.float64]:
    """Apply ``P (1 - g(I - P))``, g interpolated by a polynomial of degree ``window - 1``.

    Args:
        adjacency: Symmetric 0/1 matrix, shape ``(N, N)``.
        features: Shape ``(N, C)``.
        window: Longest walk that is counted.

    Returns:
        Shape ``(N, C)``. Some channels at a time, so that little more than this is held.
    """
    lazy = sp.csr_array(adjacency + sp.eye_array(adjacency.shape[0]))
    walk = sp.csr_array(sp.diags_array(1.0 / np.diff(lazy.indptr)) @ lazy)
    # The eigenvalues y of P lie in [-1, 1], where the Chebyshev polynomials are bounded.
    nodes = np.polynomial.chebyshev.chebpts1(window)
    target = 1 - np.exp(-0.5 * SHARPNESS * ((1 - nodes - CENTER) ** 2 - 1))
    series = np.polynomial.chebyshev.chebfit(nodes, target, window - 1)
    result = np.empty(features.shape)
    for first in range(0, features.shape[1], GROUP):
        before = features[:, first : first + GROUP].copy()
        now = np.asarray(walk @ before)
        total = series[0] * before
        for coefficient in series[1:]:
            total += coefficient * now
            before, now = now, 2 * (walk @ now) - before
        result[:, first : first + GROUP] = walk @ total
    return result
