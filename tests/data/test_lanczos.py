from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.data.lanczos import largest_eigenpairs


def solve(matrix, k, seed=0, tolerance=1e-10, limit=5000, draw=None):
    rng = np.random.default_rng(seed)
    draw = draw or (lambda: rng.standard_normal(len(matrix)))
    return largest_eigenpairs(lambda x: matrix @ x, draw, k, tolerance, limit)


def with_spectrum(values, seed=0):
    noise = np.random.default_rng(seed).standard_normal((len(values),) * 2)
    basis = np.linalg.qr(noise)[0]
    return basis @ np.diag(values) @ basis.T


@pytest.mark.parametrize("seed", range(3))
def test_against_dense(seed):
    noise = np.random.default_rng(seed).standard_normal((300, 300))
    matrix = noise + noise.T
    found = solve(matrix, 7, seed)
    values, vectors = np.linalg.eigh(matrix)
    assert found.converged == 7
    np.testing.assert_allclose(found.values, values[::-1][:7], rtol=1e-12)
    overlap = np.abs(np.sum(found.vectors * vectors[:, ::-1][:, :7], axis=0))
    np.testing.assert_allclose(overlap, 1, atol=1e-10)


@pytest.mark.parametrize("seed", range(10))
@pytest.mark.parametrize("copies", [2, 5, 12])
def test_repeated_eigenvalues_are_all_found(copies, seed):
    # A loose tolerance: rounding has no time to bring the copies in.
    matrix = with_spectrum(np.r_[np.full(copies, 3.0), np.linspace(-1, 2, 300 - copies)])
    found = solve(matrix, copies + 2, seed, tolerance=1e-5)
    np.testing.assert_allclose(found.values[:copies], 3, rtol=1e-8)
    assert found.values[copies] == pytest.approx(2, abs=1e-6)
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(copies + 2), atol=1e-12)


def test_invariant_subspaces_are_left():
    matrix = np.diag(np.r_[np.full(5, 2.0), np.zeros(95)])
    found = solve(matrix, 8)
    np.testing.assert_allclose(found.values, [2] * 5 + [0] * 3, atol=1e-12)
    np.testing.assert_allclose(found.vectors.T @ found.vectors, np.eye(8), atol=1e-12)


def test_start_vectors_bound_the_space():
    matrix = np.diag(np.arange(100.0))
    rng = np.random.default_rng(0)
    # The last ten coordinates do not exist for this iteration.
    mask = np.arange(100) < 90
    found = solve(matrix, 3, draw=lambda: mask * rng.standard_normal(100))
    np.testing.assert_allclose(found.values, [89, 88, 87], rtol=1e-10)


def test_ends_at_the_limit_and_says_so():
    matrix = np.diag(1 - np.linspace(0, 1, 2000) ** 3)
    found = solve(matrix, 4, limit=1)
    assert found.converged < 4
    assert found.applications == 28
    residual = matrix @ found.vectors - found.vectors * found.values
    assert np.linalg.norm(residual, axis=0).max() > 1e-8


def test_deterministic():
    matrix = with_spectrum(np.linspace(0, 1, 200) ** 2)
    first, second = solve(matrix, 5), solve(matrix, 5)
    np.testing.assert_array_equal(first.vectors, second.vectors)
