"""Thick-restart Lanczos iteration for the largest eigenvalues of a symmetric operator."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float64]

CHECK_STEPS = 30
"""Steps, from a new random start, of the search for missed copies of repeated eigenvalues."""

LOOK_STEPS = 8
"""Steps between two looks at whether all pairs have converged."""

CHUNK = 65536
"""Columns of the basis that are rotated at a time."""


class RitzPairs(NamedTuple):
    """Approximate eigenpairs.

    Attributes:
        vectors: Shape ``(N, k)``, orthonormal.
        values: Shape ``(k,)``, descending.
        converged: How many of them satisfy the tolerance.
        applications: How often the operator was applied.
    """

    vectors: Vectors
    values: Vectors
    converged: int
    applications: int


def largest_eigenpairs(
    apply: Callable[[Vectors], Vectors],
    draw: Callable[[], Vectors],
    k: int,
    tolerance: float,
    max_applications: int,
) -> RitzPairs:
    """Largest eigenpairs by Lanczos with thick restart (Wu & Simon 2000).

    The basis is kept fully orthogonal. A Krylov space holds one vector of a repeated eigenvalue
    only; the others would appear by rounding, late or never. So once all k pairs have converged,
    the iteration starts again from a random vector orthogonal to them, and ends if that finds
    nothing larger.

    Args:
        apply: The operator, symmetric, ``(N,) -> (N,)``.
        draw: Returns a random vector of the space that the operator acts in; called for the
            start, at invariant subspaces, and for the check.
        k: Number of pairs, in [1, N / 2).
        tolerance: A pair has converged if its residual is below ``tolerance`` times its value.
        max_applications: The iteration ends, converged or not, at the first restart after so
            many applications, at least one.

    Returns:
        The pairs, converged or not. Memory ``(2 k + 20) N`` float64, time O(N k) per application
        besides the operator.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> diagonal = np.r_[np.linspace(0, 1, 98), 2.0, 2.0]
        >>> found = largest_eigenpairs(
        ...     lambda x: diagonal * x, lambda: rng.standard_normal(100), 3, 1e-9, 1000
        ... )
        >>> found.values.round(6), found.converged
        (array([2., 2., 1.]), 3)
    """
    start = draw()
    size = min(2 * k + 20, len(start))
    basis = np.empty((size + 1, len(start)))
    small = np.zeros((size, size))
    basis[0] = start / np.linalg.norm(start)
    kept = applications = 0
    end = size
    checked: float | None = None
    while True:
        first = kept
        while True:
            last = min(end, first + LOOK_STEPS if first > k else k + LOOK_STEPS)
            for step in range(first, last):
                applications += 1
                beta = _extend(apply, draw, basis, small, step, fresh=step == kept)
            first = last
            values, rotation = np.linalg.eigh(small[:last, :last])
            values, rotation = values[::-1], rotation[:, ::-1]
            small_enough = np.abs(beta * rotation[-1]) <= tolerance * np.abs(values)
            converged = int(small_enough[:k].sum())
            # A check goes its full length: what it searches for comes up late.
            if last == end or (converged == k and checked is None):
                break
        end = last
        # A check has passed if nothing above the k-th value has turned up since.
        limit = tolerance * abs(values[k - 1])
        done = converged == k and (checked is not None and values[k - 1] <= checked + limit)
        if done or applications >= max_applications or size == len(start):
            break
        check = converged == k
        checked = float(values[k - 1]) if check else None
        # Beyond the wanted ones, what is kept speeds up convergence but leaves less room. A check
        # forgets the residual of what it keeps, so it keeps only what has converged.
        extra = int(small_enough[k : k + 5].cumprod().sum())
        kept = k + extra if check else min(k + max(2, (end - k) // 2), end - 2)
        _rotate(basis, rotation[:, :kept], end)
        small[:] = 0
        small[np.arange(kept), np.arange(kept)] = values[:kept]
        if check:
            basis[kept] = _orthonormal(draw(), basis[:kept])
            end = min(size, kept + CHECK_STEPS)
        else:
            basis[kept] = basis[end]
            end = size
    _rotate(basis, rotation[:, :k], end)
    return RitzPairs(basis[:k].copy().T, values[:k], converged, applications)


def _extend(
    apply: Callable[[Vectors], Vectors],
    draw: Callable[[], Vectors],
    basis: Vectors,
    small: Vectors,
    step: int,
    *,
    fresh: bool,
) -> float:
    """Append one vector to the basis and one column to the projected operator."""
    image = apply(basis[step])
    scale = np.linalg.norm(image)
    known = basis[: step + 1]
    # After a restart the image has a part along all vectors, else along the last two: removing
    # these first leaves one full pass to restore what rounding spoils.
    near = known if fresh else known[-2:]
    part = near @ image
    image = image - part @ near
    again = known @ image
    image -= again @ known
    column = again
    column[-len(part) :] += part
    small[: step + 1, step] = small[step, : step + 1] = column
    beta = float(np.linalg.norm(image))
    if beta > 1e-13 * scale:
        basis[step + 1] = image / beta
        return beta
    # The space is invariant: go on in another one, not coupled to it.
    basis[step + 1] = 0.0 if step + 1 >= basis.shape[1] else _orthonormal(draw(), known)
    return 0.0


def _orthonormal(vector: Vectors, basis: Vectors) -> Vectors:
    for _ in range(3):
        vector = vector - (basis @ vector) @ basis
        vector = vector / max(float(np.linalg.norm(vector)), np.finfo(float).tiny)
    return vector


def _rotate(basis: Vectors, rotation: Vectors, end: int) -> None:
    """Replace the first rows by combinations of the first ``end`` ones, without a second copy."""
    turn = np.ascontiguousarray(rotation.T)
    for first in range(0, basis.shape[1], CHUNK):
        part = basis[:, first : first + CHUNK]
        part[: len(turn)] = turn @ part[:end]
