from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.config import GraphConfig
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph
from roma_pyg.renormalization import supernodes
from roma_pyg.renormalization.laplacian import laplacian
from roma_pyg.renormalization.spectrum import Spectrum, exact_spectrum
from roma_pyg.renormalization.supernodes import (
    by_size,
    coarsen,
    geometric_supernodes,
    laplacian_supernodes,
    peak_scale,
)


@pytest.mark.parametrize("kind", ["combinatorial", "normalized"])
@pytest.mark.parametrize("exact", [True, False])
def test_cliques_are_supernodes_at_their_scale(graphs, kind, exact, monkeypatch):
    if not exact:
        monkeypatch.setattr(supernodes, "EXACT_NODES", 10)
    graph = graphs.cliques(6, 8)
    tau = 2.0 if kind == "combinatorial" else 8.0
    found = laplacian_supernodes(graph, tau, kind, columns=4000)
    planted = np.repeat(np.arange(6), 8)
    assert len(set(zip(found, planted, strict=True))) == len(set(found)) == 6


def test_all_nodes_alone_at_small_scales_and_together_at_large_ones(graphs):
    graph = graphs.cliques(3, 4)
    assert len(set(laplacian_supernodes(graph, 1e-3))) == 12
    assert set(laplacian_supernodes(graph, 1e3)) == {0}


def test_supernodes_do_not_depend_on_the_order_of_the_nodes(graphs):
    graph = graphs.cliques(4, 6)
    order = np.random.default_rng(0).permutation(24)
    matrix = laplacian(graph).toarray()
    adjacency = np.diag(np.diag(matrix)) - matrix
    found = laplacian_supernodes(adjacency, 1.0)
    moved = laplacian_supernodes(adjacency[np.ix_(order, order)], 1.0)
    assert len(set(zip(found[order], moved, strict=True))) == len(set(found))


def test_peak_of_the_specific_heat_of_cliques(graphs):
    """Within a clique of n nodes heat is even after about 1 / n; the peak of C tells that."""
    spectrum = exact_spectrum(laplacian(graphs.cliques(6, 8)))
    tau = np.geomspace(1e-2, 1e3, 120)
    peak = peak_scale(spectrum, tau)
    assert 0.2 < peak < 0.6
    levels = Spectrum(np.array([[0.0, 1.0]]), np.ones((1, 2)), exact=True)
    # C = (tau / 2 / cosh(tau / 2))^2 is largest where (tau / 2) tanh(tau / 2) = 1.
    assert peak_scale(levels, np.linspace(1, 4, 3001)) == pytest.approx(2.3994, abs=1e-3)


def test_peak_without_a_maximum_is_the_largest():
    levels = Spectrum(np.array([[0.0, 1.0]]), np.ones((1, 2)), exact=True)
    assert peak_scale(levels, [0.1, 0.2, 0.3]) == 0.3


def test_coarsen_keeps_the_couplings_between_supernodes():
    rng = np.random.default_rng(0)
    half = np.triu(rng.random((9, 9)), 1)
    matrix = half + half.T
    label = np.array([0, 2, 1, 0, 1, 2, 2, 0, 1])
    member = np.eye(3)[label]
    expected = member.T @ matrix @ member
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(coarsen(matrix, label).toarray(), expected)


def test_coarse_ring_of_blocks_is_a_ring(graphs):
    coarse = coarsen(graphs.ring(12), geometric_supernodes(np.arange(12) * np.pi / 6, 3))
    np.testing.assert_array_equal(coarse.toarray(), coarsen(graphs.ring(4), np.arange(4)).toarray())


def test_blocks_have_equal_sizes_and_neighbouring_angles():
    angle = np.random.default_rng(1).uniform(-9, 9, 101)
    label = geometric_supernodes(angle, 4)
    assert np.bincount(label).tolist() == [4] * 25 + [1]
    turned = np.mod(angle, 2 * np.pi)
    for block in range(25):
        assert turned[label == block].max() <= turned[label == block + 1].min()


def test_hyperbolic_graphs_are_self_similar_under_geometric_blocks():
    """Degrees in units of their mean keep their distribution, and the mean hardly grows."""
    places = hyperbolic_graph(GraphConfig(nodes=20_000, average_degree=8.0), seed=1)
    graph = Graph.from_matrix(places.adjacency)

    def mean_and_shares(label):
        degree = np.diff(coarsen(graph, label).indptr)
        degree = degree[degree > 0]
        shares = [(degree > threshold * degree.mean()).mean() for threshold in (1, 2, 4, 8)]
        return degree.mean(), np.array(shares)

    mean, shares = mean_and_shares(np.arange(graph.num_nodes))
    for size in (2, 4):
        coarse_mean, coarse_shares = mean_and_shares(geometric_supernodes(places.angle, size))
        assert 1 < coarse_mean / mean < 1.4
        np.testing.assert_allclose(coarse_shares, shares, rtol=0.15)
    # Blocks drawn at random have nearly all edges between them, and lose the hubs.
    label = np.random.default_rng(0).permutation(graph.num_nodes) // 4
    random_mean, random_shares = mean_and_shares(label)
    assert random_mean / mean > 3
    assert random_shares[-1] < 0.75 * shares[-1]


def test_labels_by_size():
    assert by_size(np.array([5, 1, 1, 5, 9, 1])).tolist() == [1, 0, 0, 1, 2, 0]


def test_rejects_what_does_not_fit(graphs):
    with pytest.raises(ValueError, match=r"a supernode for each of 5 nodes \(got shape \(4,\)\)"):
        coarsen(graphs.ring(5), np.zeros(4, dtype=np.int64))
    with pytest.raises(ValueError, match=r"finite angles of shape \(N,\)"):
        geometric_supernodes([0.0, np.nan])
    with pytest.raises(ValueError, match=r"'size' to be at least 1 \(got 0\)"):
        geometric_supernodes([0.0, 1.0], 0)
