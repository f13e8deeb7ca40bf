from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.analysis.hierarchy_figures import (
    Spread,
    couplings_figure,
    spread_figure,
    tree_figure,
)
from roma_pyg.models.hierarchy import Hierarchy


@pytest.fixture
def hierarchy():
    """Ten nodes in supernodes of 5, 3, 2; of these the first and the last are one."""
    label = np.array([0, 0, 0, 0, 0, 1, 1, 1, 2, 2])
    first = np.eye(3, dtype=np.float32)[label] / np.bincount(label)
    second = np.array([[0.5, 0.0], [0.0, 1.0], [0.5, 0.0]], dtype=np.float32)
    coupling = np.array([[0, 1, 3], [1, 0, 2], [3, 2, 0]], dtype=np.float32)
    return Hierarchy([first, second], [coupling, np.array([[0, 1], [1, 0]], dtype=np.float32)])


def test_spread_of_hard_and_of_even_assignments(hierarchy):
    hard = Spread.of(hierarchy.assignments[0])
    np.testing.assert_allclose(hard.supernodes_per_node, 1)
    np.testing.assert_allclose(hard.nodes_per_supernode, [5, 3, 2], rtol=1e-6)
    even = Spread.of(np.full((20, 4), 0.05))
    np.testing.assert_allclose(even.supernodes_per_node, 4)
    np.testing.assert_allclose(even.nodes_per_supernode, 20)


def test_spread_by_hand():
    """Row shares 3/4 and 1/4; a column with masses 1/2, 1/4, 1/4."""
    spread = Spread.of(np.array([[0.5, 0.5 / 3], [0.25, 0.5], [0.25, 1 / 3]]))
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert spread.supernodes_per_node[0] == pytest.approx(np.exp(entropy))
    assert spread.nodes_per_supernode[0] == pytest.approx(np.exp(1.5 * np.log(2)))


def test_a_node_without_mass_belongs_to_one():
    assert Spread.of(np.array([[0.0, 0.0], [1.0, 1.0]])).supernodes_per_node[0] == 1


def test_children_lie_below_their_parent(hierarchy):
    axis = tree_figure(hierarchy).axes[0]
    bars = {(p.get_y(), p.get_x()): p.get_width() for p in axis.patches}
    assert bars == {(0, 0): 5, (0, 5): 2, (0, 7): 3, (1, 0): 7, (1, 7): 3}
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["Level 1", "Level 2"]


def test_figures_name_their_levels(hierarchy):
    spread = spread_figure(hierarchy)
    labels = [axis.get_xlabel() for axis in spread.axes]
    assert labels == [
        "Effective supernodes of level 1 per node",
        "Effective nodes per supernode of level 1",
        "Effective supernodes of level 2 per supernode of level 1",
        "Effective supernodes of level 1 per supernode of level 2",
    ]
    couplings = couplings_figure(hierarchy)
    assert couplings.axes[0].get_title() == "Level 1: 3 supernodes"
    shown = couplings.axes[0].images[0].get_array()
    np.testing.assert_allclose(shown.sum(axis=1), 1)
    for figure in (spread, couplings):
        figure.canvas.draw()
