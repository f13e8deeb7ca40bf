from __future__ import annotations

import networkit as nk
import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from roma_pyg.config import GraphConfig
from roma_pyg.data.hyperbolic import disk_radius, hyperbolic_graph


def distances(graph):
    r, angle = graph.radius, graph.angle
    inner = np.cosh(r[:, None]) * np.cosh(r) - np.sinh(r[:, None]) * np.sinh(r) * np.cos(
        angle[:, None] - angle
    )
    return np.arccosh(np.maximum(inner, 1))


def test_nodes_are_linked_exactly_below_the_threshold():
    graph = hyperbolic_graph(GraphConfig(nodes=400), seed=1)
    distance = distances(graph)
    linked = graph.adjacency.toarray() > 0
    np.fill_diagonal(distance, np.inf)
    # networkit computes distances in the Poincare disk: leave out ties to the last digits.
    clear = np.abs(distance - graph.disk) > 1e-6
    np.testing.assert_array_equal(linked[clear], (distance < graph.disk)[clear])


def test_component_is_connected_symmetric_and_without_loops():
    adjacency = hyperbolic_graph(GraphConfig(nodes=2000), seed=0).adjacency
    assert connected_components(adjacency)[0] == 1
    assert (adjacency != adjacency.T).nnz == 0
    assert adjacency.diagonal().sum() == 0
    assert set(np.unique(adjacency.data)) == {1.0}


def test_mean_degree_and_exponent():
    config = GraphConfig(nodes=40_000, average_degree=8.0, exponent=2.5)
    graph = hyperbolic_graph(config, seed=0)
    degree = np.asarray(graph.adjacency.sum(axis=1)).ravel()
    # Nodes outside the largest component have low degrees, but their number is known.
    assert degree.sum() / config.nodes == pytest.approx(8.0, rel=0.1)
    # Maximum-likelihood exponent of the tail (Clauset et al. 2009, discrete approximation).
    tail = degree[degree >= 20]
    exponent = 1 + len(tail) / np.log(tail / 19.5).sum()
    assert exponent == pytest.approx(2.5, abs=0.2)


@pytest.mark.parametrize("temperature", [0.0, 0.4])
def test_deterministic_whatever_the_number_of_threads(temperature):
    config = GraphConfig(nodes=1500, temperature=temperature)
    before = nk.getMaxNumberOfThreads()
    graphs = []
    for threads in (1, 2):
        nk.setNumberOfThreads(threads)
        graphs.append(hyperbolic_graph(config, seed=5))
        assert nk.getMaxNumberOfThreads() == threads
    nk.setNumberOfThreads(before)
    np.testing.assert_array_equal(graphs[0].adjacency.indices, graphs[1].adjacency.indices)
    np.testing.assert_array_equal(graphs[0].adjacency.indptr, graphs[1].adjacency.indptr)
    other = hyperbolic_graph(config, seed=6)
    assert other.adjacency.shape != graphs[0].adjacency.shape or (
        (other.adjacency != graphs[0].adjacency).nnz > 0
    )


def test_temperature_links_beyond_the_threshold_and_keeps_the_degree():
    config = GraphConfig(nodes=3000, temperature=0.5)
    graph = hyperbolic_graph(config, seed=2)
    rows, columns = graph.adjacency.nonzero()
    far = distances(graph)[rows, columns] > graph.disk
    assert 0.05 < far.mean() < 0.7
    degree = graph.adjacency.sum() / config.nodes
    assert degree == pytest.approx(config.average_degree, rel=0.35)


def test_disk_radius_grows_with_the_number_of_nodes():
    small, large = (disk_radius(GraphConfig(nodes=n)) for n in (1000, 4000))
    assert large - small == pytest.approx(2 * np.log(4))
