from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.sparse.csgraph import laplacian as scipy_laplacian

from roma_pyg.data.graph import Graph
from roma_pyg.renormalization.laplacian import laplacian, symmetric_adjacency


def weights(seed=0, nodes=12):
    """Symmetric, a third of the entries; the last node is isolated."""
    rng = np.random.default_rng(seed)
    half = np.triu(rng.random((nodes, nodes)) * (rng.random((nodes, nodes)) < 1 / 3), 1)
    half[:, -1] = 0
    return half + half.T


@pytest.mark.parametrize("kind", ["combinatorial", "normalized"])
@pytest.mark.parametrize("form", [sp.csr_array, sp.coo_array, np.asarray])
def test_equals_scipy(kind, form):
    matrix = weights()
    expected = scipy_laplacian(matrix, normed=kind == "normalized")
    np.testing.assert_allclose(laplacian(form(matrix), kind).toarray(), expected, atol=1e-14)


def test_a_graph_counts_edges_whatever_their_couplings():
    graph = Graph.from_edges(np.array([0, 1, 1]), np.array([1, 2, 3]), 4, np.array([1.0, 5.0, 2.0]))
    expected = [[1, -1, 0, 0], [-1, 3, -1, -1], [0, -1, 1, 0], [0, -1, 0, 1]]
    np.testing.assert_array_equal(laplacian(graph).toarray(), expected)


@pytest.mark.parametrize("kind", ["combinatorial", "normalized"])
def test_one_zero_eigenvalue_per_component(kind):
    matrix = weights()
    components = sp.csgraph.connected_components(matrix)[0]
    values = np.linalg.eigvalsh(laplacian(matrix, kind).toarray())
    assert components >= 2
    assert (np.abs(values) < 1e-12).sum() == components
    assert values.min() > -1e-12


def test_loops_are_dropped_and_the_input_is_kept():
    matrix = weights() + np.eye(12)
    before = matrix.copy()
    assert symmetric_adjacency(matrix).diagonal().max() == 0
    np.testing.assert_array_equal(matrix, before)


def test_rejects_what_is_no_undirected_graph():
    with pytest.raises(ValueError, match=r"square matrix of couplings \(got shape \(2, 3\)\)"):
        laplacian(np.ones((2, 3)))
    with pytest.raises(ValueError, match=r"symmetric couplings \(got a difference of 1 between"):
        laplacian(np.array([[0.0, 1.0], [2.0, 0.0]]))
    with pytest.raises(ValueError, match="finite, non-negative couplings"):
        laplacian(np.array([[0.0, -1.0], [-1.0, 0.0]]))
    with pytest.raises(ValueError, match=r"'combinatorial' or 'normalized' \(got 'random'\)"):
        laplacian(np.zeros((2, 2)), "random")
