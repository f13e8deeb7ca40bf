from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.analysis.layout import place_nodes, similarity_rank
from roma_pyg.config import GraphConfig
from roma_pyg.data.blocks import block_graph
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph


def test_known_places_are_kept():
    ring = Graph.from_edges(np.arange(4), np.roll(np.arange(4), 1), 4)
    extras = {"angle": np.array([0, 0.5, 1, 1.5]) * np.pi, "radius": np.array([2.0, 4, 1, 4])}
    expected = [[0.5, 0], [0, 1], [-0.25, 0], [0, -1]]
    np.testing.assert_allclose(place_nodes(ring, extras), expected, atol=1e-12)


def test_angles_of_a_hyperbolic_graph_are_found_again():
    """Nodes that are near in true angle are near in rank, wherever the circle starts."""
    drawn = hyperbolic_graph(GraphConfig(nodes=3000, average_degree=8), seed=0)
    graph = Graph.from_matrix(drawn.adjacency)
    place = place_nodes(graph)
    found = np.arctan2(place[:, 1], place[:, 0])
    # Agreement of two circular variables, either way round.
    turns = [np.abs(np.exp(1j * (found - way * drawn.angle)).mean()) for way in (1, -1)]
    assert max(turns) > 0.8


def test_blocks_are_sectors():
    drawn = block_graph(
        GraphConfig(kind="blocks", nodes=800, blocks=[8], mixing=0.05, average_degree=12), seed=0
    )
    graph = Graph.from_matrix(drawn.adjacency)
    block = drawn.blocks[0][np.argsort(similarity_rank(graph))]
    # Each of 8 blocks is nearly contiguous on the circle.
    assert np.count_nonzero(np.diff(block)) < 160


def test_hubs_lie_inside_and_all_in_the_disk():
    star = Graph.from_edges(np.arange(1, 50), np.zeros(49, dtype=int), 50)
    radius = np.linalg.norm(place_nodes(star), axis=1)
    assert radius.argmin() == 0
    assert radius[0] == pytest.approx(0.1)
    assert radius.max() == pytest.approx(1)


@pytest.mark.parametrize("nodes", [1, 2, 3, 30])
def test_small_graphs_and_isolated_nodes(nodes):
    graph = Graph.from_edges(np.arange(nodes // 3), np.arange(nodes // 3) + nodes // 3, nodes)
    place = place_nodes(graph)
    assert place.shape == (nodes, 2)
    assert np.isfinite(place).all()
    assert sorted(similarity_rank(graph)) == list(range(nodes))


def test_the_same_seed_gives_the_same_places():
    graph = Graph.from_matrix(hyperbolic_graph(GraphConfig(nodes=500), seed=1).adjacency)
    np.testing.assert_array_equal(place_nodes(graph, seed=2), place_nodes(graph, seed=2))
