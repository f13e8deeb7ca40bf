"""Spectral density of a Laplacian, and the thermodynamics of diffusion on the graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy.linalg as sl
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components

from roma_pyg.data.eigenmaps import fill_limit
from roma_pyg.data.fill import analyze, factorize, probed_fill
from roma_pyg.data.lanczos import largest_eigenpairs

Vectors = NDArray[np.float64]

EXACT_NODES = 3000
"""Largest graph whose spectrum is computed exactly unless asked otherwise."""

SHIFT = 1e-2
"""Lanczos on ``(L + SHIFT)^{-1}`` tells eigenvalues from about ``SHIFT / m^2`` to ``SHIFT m^2``."""

TOLERANCE = 1e-9
MAX_APPLICATIONS = 20
"""Accuracy of single eigenvalues, and limit of the search for them, per eigenvalue."""


@dataclass(frozen=True)
class Spectrum:
    r"""Spectral density of a symmetric, positive semi-definite operator of dimension N.

    One row per independent estimate of the density, :math:`\mu(\lambda) = \sum_m w_m
    \delta(\lambda - \lambda_m)`; an exact spectrum is a single row with weights of one. With
    :math:`p_m = w_m e^{-\tau \lambda_m} / Z`, the density matrix of diffusion
    :math:`\rho = e^{-\tau L} / Z` has (Villegas et al. 2023, doi:10.1038/s41567-022-01866-8)

    .. math::
        Z = \sum_m w_m e^{-\tau \lambda_m}, \quad S = \ln Z + \tau \langle \lambda \rangle, \quad
        C = -\frac{dS}{d \ln \tau} = \tau^2 (\langle \lambda^2 \rangle - \langle \lambda \rangle^2)

    A plateau of C is half the spectral dimension: 1/2 on a ring, 1 on a torus of squares, 2/3 on
    critical random trees. (That publication divides S by ln N; it is in units of one here.)

    Attributes:
        values: Eigenvalues or quadrature nodes, shape ``(R, m)``, ascending in each row.
        weights: Eigenvalues that each stands for, non-negative, shape ``(R, m)``; rows sum to N.
        exact: Whether these are all eigenvalues.
    """

    values: Vectors
    weights: Vectors
    exact: bool

    @property
    def num_nodes(self) -> int:
        """Dimension N of the operator."""
        return round(float(self.weights[0].sum()))

    def log_partition(self, tau: ArrayLike) -> Vectors:
        """Logarithm of Z, shape of ``tau``."""
        return self._mean(tau)[0]

    def entropy(self, tau: ArrayLike) -> Vectors:
        """Entropy S of the diffusion, between 0 and ln N, shape of ``tau``."""
        log_z, first, _ = self._mean(tau)
        return log_z + np.asarray(tau, dtype=np.float64) * first

    def specific_heat(self, tau: ArrayLike) -> Vectors:
        """Specific heat C, shape of ``tau``."""
        _, first, second = self._mean(tau)
        return np.asarray(tau, dtype=np.float64) ** 2 * np.maximum(second - first**2, 0.0)

    def standard_error(self, quantity: Callable[[Spectrum], Vectors]) -> Vectors:
        """Standard error of a quantity by the jackknife over the rows; zero if exact.

        Args:
            quantity: Such as ``lambda s: s.specific_heat(tau)``.

        Example:
            >>> ring = np.roll(np.eye(6), 1, axis=0)
            >>> exact = exact_spectrum(2 * np.eye(6) - ring - ring.T)
            >>> exact.standard_error(lambda s: s.entropy([1.0])).tolist()
            [0.0]
        """
        rows = len(self.values)
        if self.exact or rows == 1:
            return np.zeros_like(quantity(self))
        everyone = np.arange(rows)
        left_out = np.stack(
            [
                quantity(Spectrum(self.values[keep], self.weights[keep], exact=False))
                for row in everyone
                for keep in [everyone != row]
            ]
        )
        spread = ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0)
        return np.sqrt(spread * (rows - 1) / rows)

    def count_below(self, value: float) -> float:
        """Number of eigenvalues below a value."""
        return float(np.where(self.values < value, self.weights, 0.0).sum(axis=1).mean())

    def _mean(self, tau: ArrayLike) -> tuple[Vectors, Vectors, Vectors]:
        """``ln Z`` and the first two moments of the eigenvalue, each of the shape of tau."""
        tau = np.asarray(tau, dtype=np.float64)
        if not (np.isfinite(tau) & (tau > 0)).all():
            raise ValueError("Expected positive, finite scales 'tau' (got another value).")
        values, weights = self.values.ravel(), self.weights.ravel() / len(self.weights)
        lowest = values.min()
        # Relative to the lowest eigenvalue, so that nothing underflows at large tau.
        parts = []
        for scale in tau.ravel():
            boltzmann = weights * np.exp(-scale * (values - lowest))
            total = boltzmann.sum()
            share = boltzmann / total
            parts.append((np.log(total) - scale * lowest, share @ values, share @ values**2))
        log_z, first, second = (
            np.array(column).reshape(tau.shape) for column in zip(*parts, strict=True)
        )
        return log_z, first, second


def exact_spectrum(operator: sp.csr_array | Vectors) -> Spectrum:
    """All eigenvalues by a dense decomposition, O(N^3) time and O(N^2) memory.

    Args:
        operator: Symmetric, shape ``(N, N)``.
    """
    dense = operator if isinstance(operator, np.ndarray) else operator.toarray()
    values = np.asarray(sl.eigvalsh(dense), dtype=np.float64)
    values[np.abs(values) < 1e-12 * np.abs(values).max(initial=0.0)] = 0.0
    return Spectrum(values[None], np.ones((1, len(values))), exact=True)


def estimate_spectrum(
    operator: sp.csr_array, probes: int = 16, steps: int = 80, lowest: int = 32, seed: int = 0
) -> Spectrum:
    r"""Spectral density by stochastic Lanczos quadrature (Ubaru, Chen & Saad 2017).

    For a random vector z of N signs, m Lanczos steps give the Gauss quadrature of the density
    seen by z, whose mean over z is that of the operator. Low eigenvalues, which rule at large
    tau, lie crowded at one end of a spectrum that reaches up to the largest degree; so Lanczos is
    run on :math:`(L + .01)^{-1}`, by a sparse factorisation, where its fill is affordable
    (:mod:`roma_pyg.data.fill`), and on L itself elsewhere. With a factorisation the lowest
    eigenvalues are also computed one by one (without, those that are zero), and only what is above
    them is estimated: a few eigenvalues are badly told by random vectors.

    Args:
        operator: Symmetric, positive semi-definite, shape ``(N, N)``.
        probes: Random vectors R; errors fall as ``1 / sqrt(R N)``.
        steps: Lanczos steps m of each.
        lowest: Eigenvalues k computed one by one; 0 for none.
        seed: Seed of the random vectors.

    Returns:
        Estimate with R rows. Time ``R m`` solutions or products and O(R m N k), memory O(E + N k)
        and the factor.

    Raises:
        ValueError: If a number is below 1 (``lowest``: below 0).

    Example:
        >>> import scipy.sparse as sp
        >>> estimate_spectrum(sp.eye_array(50, format="csr"), probes=2).values.round(6).tolist()
        [[1.0], [1.0]]
    """
    for name, value, least in (
        ("probes", probes, 1),
        ("steps", steps, 1),
        ("lowest", lowest, 0),
    ):
        if value < least:
            raise ValueError(f"Expected '{name}' to be at least {least} (got {value}).")
    matrix = operator
    nodes = matrix.shape[0]
    rng = np.random.default_rng(seed)
    # No eigenvalue is larger than the largest sum of a row (Gershgorin).
    largest = float(abs(matrix).sum(axis=1).max())
    solve = _shifted_solver(matrix)
    count = lowest if solve is not None else connected_components(matrix, directed=False)[0]
    low, basis = np.zeros(0), np.zeros((nodes, 0))
    if lowest > 0 and count < nodes // 3:
        invert = solve or (lambda x: largest * x - matrix @ x)
        applications = MAX_APPLICATIONS * (count + 20)
        pairs = largest_eigenpairs(
            invert, lambda: rng.standard_normal(nodes), count, TOLERANCE, applications
        )
        basis = pairs.vectors
        low = largest - pairs.values if solve is None else 1 / pairs.values - SHIFT

    def project(x: Vectors) -> Vectors:
        return x - basis @ (x @ basis) if basis.size else x

    def apply(x: Vectors) -> Vectors:
        return project(matrix @ x if solve is None else solve(x))

    rows = []
    for _ in range(probes):
        # Signs are as random in the order of the factor as in that of the nodes.
        start = project(rng.choice([-1.0, 1.0], size=nodes))
        points, weights = lanczos_quadrature(apply, start, steps)
        if solve is not None:
            points = 1 / np.maximum(points, 1 / (SHIFT + largest)) - SHIFT
        points = np.r_[low, points]
        weights = np.r_[np.ones(len(low)), (nodes - len(low)) * weights]
        order = np.argsort(points)
        rows.append((np.maximum(points[order], 0.0), weights[order]))
    # A Krylov space may end early: rows are filled up with points of no weight.
    longest = max(len(values) for values, _ in rows)
    values = np.stack([np.pad(v, (0, longest - len(v)), mode="edge") for v, _ in rows])
    padded = np.stack([np.pad(w, (0, longest - len(w))) for _, w in rows])
    return Spectrum(values, padded, exact=False)


def laplacian_spectrum(operator: sp.csr_array, seed: int = 0) -> Spectrum:
    """Exact up to 3,000 nodes, estimated above (:func:`estimate_spectrum`)."""
    if operator.shape[0] <= EXACT_NODES:
        return exact_spectrum(operator)
    return estimate_spectrum(operator, seed=seed)


def lanczos_quadrature(
    apply: Callable[[Vectors], Vectors], start: Vectors, steps: int
) -> tuple[Vectors, Vectors]:
    """Gauss quadrature of the spectral density that a vector sees (Golub & Meurant 1994).

    Args:
        apply: Symmetric operator, ``(N,) -> (N,)``.
        start: The vector, not zero.
        steps: Largest number of quadrature nodes.

    Returns:
        Nodes and weights, which sum to one; fewer where the Krylov space ends.

    Example:
        >>> diagonal = np.array([1.0, 2.0, 4.0])
        >>> nodes, weights = lanczos_quadrature(lambda x: diagonal * x, np.ones(3), 10)
        >>> nodes.round(6).tolist(), weights.round(6).tolist()
        ([1.0, 2.0, 4.0], [0.333333, 0.333333, 0.333333])
    """
    before, now = np.zeros_like(start), start / np.linalg.norm(start)
    alpha: list[float] = []
    beta: list[float] = []
    scale = 0.0
    for _ in range(min(steps, len(start))):
        image = apply(now)
        alpha.append(float(now @ image))
        image = image - alpha[-1] * now - (beta[-1] if beta else 0.0) * before
        length = float(np.linalg.norm(image))
        scale = max(scale, abs(alpha[-1]), length)
        if length <= 1e-12 * scale:
            break
        beta.append(length)
        before, now = now, image / length
    values, vectors = sl.eigh_tridiagonal(np.array(alpha), np.array(beta[: len(alpha) - 1]))
    return np.asarray(values, dtype=np.float64), np.asarray(vectors[0] ** 2)


def _shifted_solver(matrix: sp.csr_array) -> Callable[[Vectors], Vectors] | None:
    """Solves with ``L + SHIFT``, rows in another order; None where the factor is too large."""
    adjacency = sp.csr_array(matrix, copy=True)
    adjacency.setdiag(0)
    adjacency.eliminate_zeros()
    adjacency.data[:] = 1.0
    limit = fill_limit(adjacency.nnz + adjacency.shape[0])
    if adjacency.nnz == 0 or probed_fill(adjacency, limit) > limit:
        return None
    symbolic = analyze(adjacency)
    if symbolic.entries > limit:
        return None
    shifted = sp.csr_array(matrix + SHIFT * sp.eye_array(matrix.shape[0]))
    order = symbolic.order
    try:
        return factorize(shifted[order][:, order], ordered=True).solve
    except (MemoryError, RuntimeError):
        # SuperLU reports a failed allocation as either.
        return None
