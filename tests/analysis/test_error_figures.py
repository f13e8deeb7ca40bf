from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.analysis.error_figures import (
    consistency_figure,
    curves_figure,
    degree_classes,
    error_by_degree_figure,
    error_by_supernode_figure,
    levels_over_time_figure,
)
from roma_pyg.analysis.examine import Consistency
from roma_pyg.analysis.power_law import power_law


def test_classes_of_degree_are_filled():
    rng = np.random.default_rng(0)
    degree = rng.zipf(2.0, 3000).clip(1, 500)
    low = degree_classes(degree, smallest=5)
    group = np.searchsorted(low, degree, side="right") - 1
    assert (np.bincount(group, minlength=len(low)) >= 5).all()
    assert low[0] == 1


def test_isolated_nodes_are_a_class():
    assert degree_classes(np.array([0] * 6 + [1] * 6)).tolist() == [0, 1]
    assert degree_classes(np.zeros(3, dtype=int)).tolist() == [0]


def test_error_by_degree_shows_medians():
    degree = np.array([1] * 6 + [4] * 6)
    errors = {"1 ahead": np.r_[np.full(6, 0.1), np.full(6, 0.01)]}
    axis, below = error_by_degree_figure(degree, errors).axes
    assert axis.lines[0].get_xdata() == pytest.approx([1, 4])
    assert axis.lines[0].get_ydata() == pytest.approx([0.1, 0.01])
    assert [bar.get_height() for bar in below.patches] == [6, 6]


def test_supernodes_stand_by_falling_error():
    label = np.array([5, 5, 2, 2, 9])
    error = np.array([0.1, 0.3, 0.01, 0.03, 0.5])
    axis = error_by_supernode_figure(label, {"16 ahead": error}).axes[0]
    assert [text.get_text() for text in axis.get_xticklabels()] == ["9", "5", "2"]
    heights = np.asarray(axis.collections[0].get_offsets())[:, 1]
    assert heights == pytest.approx([0.5, 0.2, 0.02])


def test_consistency_has_a_panel_per_level():
    levels = []
    for _ in range(2):
        errors = Consistency.empty(3)
        for each in vars(errors).values():
            each.update(np.full((4, 3), 0.4), np.full((4, 3), 0.5))
        levels.append(errors)
    figure = consistency_figure(levels, dt=0.1)
    assert [axis.get_title() for axis in figure.axes] == ["Level 1", "Level 2"]
    assert figure.axes[0].lines[0].get_xdata() == pytest.approx([0.1, 0.2, 0.3])


def test_levels_over_time_shows_means():
    past, future = [np.zeros((4, 2)), np.zeros((2, 2))], [np.ones((4, 3)), np.ones((2, 3))]
    figure = levels_over_time_figure(past, future, future, 1.0, "u")
    assert len(figure.axes) == 2
    assert figure.axes[1].get_title(loc="left") == "2 supernodes of level 1"
    assert figure.axes[0].lines[1].get_ydata() == pytest.approx([1, 1, 1])


def test_curves_with_their_law():
    steps = np.array([10, 20, 40, 80])
    law = power_law(steps.tolist(), (3.0 / steps).tolist())
    figure = curves_figure({"validation": (steps, 3.0 / steps)}, {"validation": law})
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[0] == "validation"
    assert labels[1].startswith("validation: steps^-1.00")
