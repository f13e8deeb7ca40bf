from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from roma_pyg.analysis import node_map
from roma_pyg.analysis.layout import place_nodes
from roma_pyg.analysis.node_map import map_colors, node_map_figure, raster
from roma_pyg.config import GraphConfig
from roma_pyg.data.blocks import block_graph
from roma_pyg.data.graph import Graph


@pytest.fixture
def blocks():
    drawn = block_graph(GraphConfig(kind="blocks", nodes=300, blocks=[6], mixing=0.1), seed=0)
    return Graph.from_matrix(drawn.adjacency), drawn.blocks[0]


@pytest.mark.parametrize("single", [True, False])
def test_draws_every_size_of_graph(blocks, single, monkeypatch):
    graph, block = blocks
    if not single:
        monkeypatch.setattr(node_map, "SINGLE_NODES", 10)
    figure = node_map_figure(graph, place_nodes(graph), block, "Planted blocks")
    axis = figure.axes[0]
    assert bool(axis.images) != single
    assert f"{graph.num_nodes:,} nodes, 6 supernodes" in axis.get_title()
    assert [text.get_text() for text in axis.texts] == [
        str(n) for n in np.argsort(-np.bincount(block), kind="stable")
    ]
    figure.canvas.draw()


def test_coupled_supernodes_differ_in_colour():
    """Any planar map needs four colours; here a grid of squares with corners needs four too."""
    side = 7
    x, y = np.divmod(np.arange(side**2), side)
    near = np.maximum(abs(x[:, None] - x), abs(y[:, None] - y)) == 1
    color = map_colors(sp.csr_array(near.astype(float)))
    assert not near[color[:, None] == color].any()


def test_weak_couplings_yield_to_strong_ones():
    coupling = 1 - np.eye(7)
    coupling[0, 1] = coupling[1, 0] = 0.01
    color = map_colors(sp.csr_array(coupling))
    assert color[0] == color[1]
    assert len(set(color)) == 6


def test_pixels_have_the_colour_of_most_nodes():
    place = np.array([[-0.5, -0.5]] * 3 + [[0.5, 0.5]] * 9)
    color = np.array([0, 0, 1] + [2] * 9)
    image = raster(place, color, pixels=4)
    assert (image[0, 0] == 1).all()
    assert (image[3, 0] == 1).all()
    low, high = image[1, 1], image[3 - 1, 2]
    # Vermilion is mostly red, green is not; more nodes are darker.
    assert low[0] > low[2]
    assert high[0] < 0.1
    assert 1 - low.min() < 1 - high.min()


def test_rejects_what_does_not_fit(blocks):
    graph, block = blocks
    with pytest.raises(ValueError, match=r"Expected places of shape \(\d+, 2\)"):
        node_map_figure(graph, np.zeros((3, 2)), block)
