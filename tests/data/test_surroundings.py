"""Means of neighbours: weights, strata of hubs, gaps, and who sees whom."""

from __future__ import annotations

import numpy as np

from roma_pyg.data import surroundings
from roma_pyg.data.graph import Graph
from roma_pyg.data.history import History
from roma_pyg.data.surroundings import MOST_NEIGHBORS, Surroundings


def whole(values: np.ndarray) -> History:
    return History(values, values.shape[1], values.shape[1])


def test_means_are_those_of_the_graph(tiny):
    graph, values = tiny.graph(30, isolated=2), tiny.values(30)
    nodes = np.array([4, 29, 0, 13])
    mean = Surroundings(graph).neighbor_mean(whole(values), nodes)
    expected = graph.to_matrix() @ values.astype(np.float64)
    expected[28:] = values[28:]
    np.testing.assert_allclose(mean, expected[nodes], rtol=1e-6)


def test_nodes_see_no_later_stage(tiny):
    graph, values = tiny.graph(), tiny.values(30)
    stage = np.arange(30) // 20
    mean = Surroundings(graph, stage=stage).neighbor_mean(whole(values), np.arange(30))
    inner = graph.induced(np.arange(20))
    np.testing.assert_allclose(mean[:20], inner.to_matrix() @ values[:20].astype(float), rtol=1e-6)
    np.testing.assert_allclose(
        mean[20:], (graph.to_matrix() @ values.astype(float))[20:], rtol=1e-6
    )


def test_strata_stand_for_the_neighbours_of_a_hub():
    rng = np.random.default_rng(0)
    count = 50 * MOST_NEIGHBORS + 7
    hub, leaves = np.zeros(count, int), 1 + np.arange(count)
    graph = Graph.from_edges(leaves, hub, count + 1, 0.1 + rng.random(count))
    # Neighbours that are near in the list are alike.
    values = np.sin(np.linspace(0, 7, count + 1))[:, None] * np.ones(3)
    read = []

    class Counted(History):
        def __getitem__(self, nodes):
            read.append(len(nodes))
            return super().__getitem__(nodes)

    history = Counted(values.astype(np.float32), 3, 3)
    mean = Surroundings(graph).neighbor_mean(history, np.array([0, 5]))
    assert max(read) <= MOST_NEIGHBORS + 1
    exact = (graph.to_matrix() @ values)[[0, 5]]
    np.testing.assert_allclose(mean, exact, atol=5e-3)
    constant = Surroundings(graph).neighbor_mean(whole(np.full((count + 1, 2), 0.7)), np.array([0]))
    np.testing.assert_allclose(constant, 0.7, rtol=1e-6)


def test_a_graph_without_edges():
    graph = Graph.from_edges(np.zeros(0, int), np.zeros(0, int), 4)
    values = np.random.default_rng(0).random((4, 6), dtype=np.float32)
    mean = Surroundings(graph).neighbor_mean(whole(values), np.array([2, 0]))
    np.testing.assert_array_equal(mean, values[[2, 0]])


def test_neighbours_are_read_in_pieces(tiny, monkeypatch):
    graph, values = tiny.graph(), tiny.values(30)
    values[3, 4] = np.nan
    at_once = Surroundings(graph).neighbor_mean(whole(values), np.arange(30))
    monkeypatch.setattr(surroundings, "_VALUES", 3 * values.shape[1])
    pieces = Surroundings(graph).neighbor_mean(whole(values), np.arange(30))
    np.testing.assert_allclose(pieces, at_once, rtol=1e-12)


def test_gaps_are_left_out():
    graph = Graph.from_edges(np.array([1, 2]), np.array([0, 0]), 3, np.array([1.0, 3.0]))
    values = np.array([[9, 8, 7], [1, np.nan, np.nan], [5, 5, np.nan]], np.float32)
    mean = Surroundings(graph).neighbor_mean(whole(values), np.array([0]))
    np.testing.assert_allclose(mean, [[4, 5, 7]])
