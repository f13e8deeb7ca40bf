from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg as sl

from roma_pyg.renormalization.heat_kernel import diffuse, heat_kernel, sketch_heat_kernel
from roma_pyg.renormalization.laplacian import laplacian


@pytest.mark.parametrize("tau", [1e-3, 0.5, 20.0])
@pytest.mark.parametrize("kind", ["combinatorial", "normalized"])
def test_equals_the_matrix_exponential(graphs, tau, kind):
    operator = laplacian(graphs.cliques(4, 5), kind)
    expected = sl.expm(-tau * operator.toarray())
    np.testing.assert_allclose(heat_kernel(operator, tau), expected, atol=1e-12)
    np.testing.assert_allclose(diffuse(operator, tau, np.eye(20)), expected, atol=1e-7)


def test_heat_is_conserved_with_a_large_hub():
    hub = np.zeros((400, 400))
    hub[0, 1:] = hub[1:, 0] = 1.0
    operator = laplacian(hub)
    rows = diffuse(operator, 30.0, np.eye(400)[:, :3])
    np.testing.assert_allclose(rows.sum(axis=0), 1.0, atol=1e-6)
    assert rows.min() > -1e-7


def test_sketch_is_within_its_error(graphs):
    operator = laplacian(graphs.random_tree(300, 0))
    pairs = np.stack(np.triu(operator.toarray(), 1).nonzero()).astype(np.int64)
    columns = 500
    entries, diagonal = sketch_heat_kernel(operator, 1.5, pairs, columns, seed=1)
    kernel = heat_kernel(operator, 1.5)
    exact, size = kernel[tuple(pairs)], kernel.diagonal()
    error = np.sqrt((size[pairs[0]] * size[pairs[1]] + exact**2) / columns)
    # Signs, not normal numbers: somewhat less than that.
    assert np.sqrt(np.mean(((entries - exact) / error) ** 2)) < 1.1
    assert np.abs((diagonal - size) / (size * np.sqrt(2 / columns))).max() < 5
    assert abs(np.mean((entries - exact) / error)) < 0.3


def test_rejects_impossible_numbers(graphs):
    operator = laplacian(graphs.cliques(2, 3))
    with pytest.raises(ValueError, match=r"positive, finite scale 'tau' \(got 0\)"):
        heat_kernel(operator, 0)
    with pytest.raises(ValueError, match=r"positive, finite scale 'tau' \(got nan\)"):
        diffuse(operator, np.nan, np.eye(6))
    with pytest.raises(ValueError, match=r"'columns' to be at least 1 \(got 0\)"):
        sketch_heat_kernel(operator, 1.0, np.zeros((2, 1), dtype=np.int64), 0)
