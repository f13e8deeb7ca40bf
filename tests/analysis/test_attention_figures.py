from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.analysis.attention_figures import (
    components_figure,
    distance_figure,
    fine_to_coarse_figure,
    levels_figure,
)


def test_levels_are_written_into_the_cells():
    shares = np.array([[[[0.75, 0.25], [0.5, 0.5]], [[0.65, 0.35], [0.4, 0.6]]]])
    axis = levels_figure(shares).axes[0]
    assert axis.texts[0].get_text() == "0.70\n(0.65-0.75)"
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["nodes", "level 1"]


def test_distances_without_pairs_are_left_out():
    weights = np.array([[[2.0, 1.0, np.nan, 0.5]], [[3.0, 1.0, np.nan, 0.25]]])
    axis = distance_figure(weights, np.array([5, 4, 0, 2])).axes[0]
    assert axis.lines[0].get_xdata().tolist() == [0, 1, 3]
    assert axis.lines[1].get_ydata().tolist() == [3.0, 1.0, 0.25]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["0", "1", "≥ 3"]


def test_fine_to_coarse_is_ordered_and_in_units_of_the_row_mean():
    attention = np.array([[0.1, 0.3], [0.2, 0.2]])
    order = np.array([1, 0])
    figure = fine_to_coarse_figure(attention, order, order, np.array([[1.0, 0.0], [0.0, 1.0]]))
    left, right = (axis.images[0].get_array() for axis in figure.axes[:2])
    assert np.asarray(left) == pytest.approx(np.array([[1.0, 1.0], [1.5, 0.5]]))
    assert np.asarray(right) == pytest.approx(np.array([[2.0, 0.0], [0.0, 2.0]]))


def test_components_by_level():
    coordinates = np.arange(20.0).reshape(2, 5, 2)
    figure = components_figure(coordinates, np.array([[0.5, 0.25]] * 2), [3, 2])
    fine, coarse = figure.axes[0].collections
    assert (len(fine.get_offsets()), len(coarse.get_offsets())) == (3, 2)
    assert figure.axes[1].get_xlabel() == "Component 1 (50 % of variance)"
