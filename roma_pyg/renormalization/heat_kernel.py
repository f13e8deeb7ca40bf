"""The heat kernel exp(-tau L) of a graph, and its entries on edges without the whole matrix."""

from __future__ import annotations

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import ive

Vectors = NDArray[np.float64]

CHUNK = 16
"""Columns that are diffused at a time."""

ACCURACY = 1e-8
"""Largest coefficient of the Chebyshev series that is left out."""


def heat_kernel(operator: sp.csr_array, tau: float) -> Vectors:
    """The whole kernel, ``(N, N)``, by a dense decomposition: O(N^3) time.

    Args:
        operator: Laplacian L, symmetric, shape ``(N, N)``.
        tau: Scale, in units of one over the operator; positive.

    Example:
        >>> from roma_pyg.renormalization.laplacian import laplacian
        >>> kernel = heat_kernel(laplacian(np.array([[0.0, 1.0], [1.0, 0.0]])), 1e3)
        >>> kernel.round(6)
        array([[0.5, 0.5],
               [0.5, 0.5]])
    """
    _check(tau)
    values, vectors = sl.eigh(operator.toarray())
    return np.asarray((vectors * np.exp(-tau * values)) @ vectors.T)


def diffuse(operator: sp.csr_array, tau: float, block: Vectors) -> Vectors:
    r"""Apply the kernel to a block of vectors by its Chebyshev series.

    With the spectrum in [0, b] and :math:`z = \tau b / 2`, :math:`e^{-\tau L} = e^{-z} I_0(z) + 2
    \sum_k (-1)^k e^{-z} I_k(z) T_k(L / (b / 2) - 1)`. About :math:`6 \sqrt z` products for large
    z, three blocks of memory.

    Args:
        operator: Laplacian L, symmetric and positive semi-definite, shape ``(N, N)``.
        tau: Scale, positive.
        block: Vectors, shape ``(N, c)``.

    Returns:
        ``exp(-tau L) block``, shape ``(N, c)``, to about eight digits.
    """
    _check(tau)
    half = max(float(abs(operator).sum(axis=1).max()), np.finfo(float).tiny) / 2
    z = tau * half

    def step(x: Vectors) -> Vectors:
        return (operator @ x) / half - x

    before, now = block, step(block)
    result = ive(0, z) * before - 2 * ive(1, z) * now
    order = 2
    while (coefficient := float(ive(order, z))) > ACCURACY:
        before, now = now, 2 * step(now) - before
        result += (2 if order % 2 == 0 else -2) * coefficient * now
        order += 1
    return np.asarray(result)


def sketch_heat_kernel(
    operator: sp.csr_array, tau: float, pairs: NDArray[np.int64], columns: int = 256, seed: int = 0
) -> tuple[Vectors, Vectors]:
    r"""Estimate entries of the kernel for pairs of nodes, and its diagonal.

    With random signs :math:`\Omega` of shape (N, c), :math:`G = e^{-\tau L / 2} \Omega / \sqrt c`
    has rows whose scalar products are, in the mean, the entries of the kernel. Their standard
    error is :math:`\sqrt{(K_{ii} K_{jj} + K_{ij}^2) / c}`.

    Args:
        operator: Laplacian L, symmetric and positive semi-definite, shape ``(N, N)``.
        tau: Scale, positive.
        pairs: Nodes i and j, shape ``(2, p)``.
        columns: Random vectors c.
        seed: Seed of the signs.

    Returns:
        Entries, shape ``(p,)``, and diagonal, shape ``(N,)``. Memory O(N + p) and a few blocks of
        16 vectors.

    Raises:
        ValueError: If ``columns`` is below 1, or the scale is not positive.
    """
    if columns < 1:
        raise ValueError(f"Expected 'columns' to be at least 1 (got {columns}).")
    rng = np.random.default_rng(seed)
    nodes = operator.shape[0]
    entries, diagonal = np.zeros(pairs.shape[1]), np.zeros(nodes)
    for first in range(0, columns, CHUNK):
        width = min(CHUNK, columns - first)
        signs = rng.choice([-1.0, 1.0], size=(nodes, width))
        rows = diffuse(operator, tau / 2, signs)
        diagonal += np.einsum("ic,ic->i", rows, rows)
        for column in rows.T:
            entries += column[pairs[0]] * column[pairs[1]]
    return entries / columns, diagonal / columns


def _check(tau: float) -> None:
    if not (np.isfinite(tau) and tau > 0):
        raise ValueError(f"Expected a positive, finite scale 'tau' (got {tau}).")
