from __future__ import annotations

import warnings

import numpy as np
import pytest

from roma_pyg.data.affine import AffineScaling
from roma_pyg.data.graph import Graph
from roma_pyg.data.validate import (
    Assembly,
    Edges,
    Series,
    assemble,
    check_edges,
    check_length,
    check_values,
    resolve_labels,
    to_model_values,
    warn_if_disconnected,
)

PATH = np.array([[0, 1], [1, 2]])
VALUES = np.array([[0.1, 0.2], [0.5, 0.4], [0.9, 1.0]], dtype=np.float32)


def test_values_in_range_are_neither_copied_nor_scaled():
    series = assemble(Series(VALUES, "v"), Edges(PATH, None, "e"), Assembly())
    assert series.values is VALUES
    assert series.metadata["scaling"] is None
    assert AffineScaling.from_metadata(series.metadata) is None


@pytest.mark.parametrize("dtype", [np.float64, np.float16, np.int32, ">f4"])
def test_scaling_is_affine_and_can_be_inverted(dtype):
    raw = np.array([[-4, 0], [1, 6], [2, 3]]).astype(dtype)
    series = assemble(Series(raw, "v"), Edges(PATH, None, "e"), Assembly())
    # Hand: (x + 4) / 10 of the way from .02 to 1.
    hand = 0.02 + 0.98 * np.array([[0, 0.4], [0.5, 1], [0.6, 0.7]])
    np.testing.assert_allclose(series.values, hand, atol=1e-7)
    assert series.values.dtype == np.float32
    scaling = AffineScaling.from_metadata(series.metadata)
    assert scaling is not None
    np.testing.assert_allclose(scaling.invert(series.values), raw, atol=1e-5)


def test_zero_is_outside_the_range_and_scaled():
    series = assemble(
        Series(np.array([[0.0, 0.5], [0.5, 0.5], [1.0, 1.0]]), "v"),
        Edges(PATH, None, "e"),
        Assembly(),
    )
    assert series.values.min() == np.float32(0.02)
    assert series.values.max() == 1


def test_constant_values_outside_the_range_become_constant_inside():
    values, scaling = to_model_values(np.full((2, 3), 7.0), 7.0, 7.0)
    assert scaling is not None
    np.testing.assert_array_equal(values, np.float32(0.51))
    np.testing.assert_array_equal(scaling.invert(values), 7.0)


def test_small_variation_on_a_large_mean_survives_float32():
    values, _ = to_model_values(np.array([[1e9, 1e9 + 1, 1e9 + 2]]), 1e9, 1e9 + 2)
    np.testing.assert_allclose(values, [[0.02, 0.51, 1.0]], atol=1e-6)


def test_column_major_values_become_node_major():
    values, _ = to_model_values(np.asfortranarray(VALUES), 0.1, 1.0)
    assert values.flags.c_contiguous
    np.testing.assert_array_equal(values, VALUES)


def test_tiny_positive_float64_does_not_become_zero():
    raw = np.array([[1e-60, 0.5]])
    values, scaling = to_model_values(raw, 1e-60, 0.5)
    assert scaling is not None
    assert values.min() > 0


def test_range_too_wide_is_refused():
    with pytest.raises(ValueError, match="finite range"):
        to_model_values(np.array([[-1.7e308, 1.7e308]]), -1.7e308, 1.7e308)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_values_are_named(bad):
    values = VALUES.copy()
    values[2, 1] = bad
    with pytest.raises(ValueError, match=rf"v: row 2, column 1: .*finite.*{abs(bad)}"):
        check_values(Series(values, "v"))


def test_non_finite_value_beyond_the_first_block_is_named(monkeypatch):
    monkeypatch.setattr("roma_pyg.data.validate.BLOCK", 4)
    values = np.full((9, 2), 0.5)
    values[7, 1] = np.nan
    with pytest.raises(ValueError, match="row 7, column 1"):
        check_values(Series(values, "v"))
    assert check_values(Series(values[:7], "v")) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        (np.ones(3), ValueError, r"shape \(N, T\)"),
        (np.ones((0, 3)), ValueError, "empty"),
        (np.ones((3, 0)), ValueError, "empty"),
        (np.array([["a"]]), TypeError, "real numbers"),
        (np.array([[None]]), TypeError, "object"),
        (np.ones((2, 2), dtype=complex), TypeError, "complex"),
    ],
)
def test_impossible_values(values, error, message):
    with pytest.raises(error, match=message):
        check_values(Series(values, "v"))


@pytest.mark.parametrize(
    ("index", "weight", "message"),
    [
        ([[0, 3], [1, 2]], None, r"row 0, column 1: .*\[0, 3\).*got 3"),
        ([[0, 1], [-1, 2]], None, r"row 1, column 0: .*got -1"),
        ([[1, 2], [2, 3]], None, "count from 1"),
        ([[0.0, 1.5], [1, 2]], None, r"row 0, column 1: .*integer node id \(got 1.5"),
        ([[0.0, np.nan], [1, 2]], None, "integer node id"),
        ([[0, 1], [1, 2], [2, 0]], None, r"shape \(2, E\)"),
        ([[0, 1], [1, 2]], [1.0, -2.0], r"weight of edge 1: .*non-negative weight \(got -2"),
        ([[0, 1], [1, 2]], [1.0, np.inf], "finite, non-negative"),
        ([[0, 1], [1, 2]], [1.0], "one weight per edge"),
        (np.zeros((2, 0), dtype=int), None, "empty"),
    ],
)
def test_impossible_edges(index, weight, message):
    weight = None if weight is None else np.array(weight)
    with pytest.raises(ValueError, match=message):
        check_edges(Edges(np.array(index), weight, "e"), 3)


def test_transposed_edges_get_a_hint():
    with pytest.raises(ValueError, match=r"\(5, 2\)\)\. Transpose"):
        check_edges(Edges(np.zeros((5, 2), dtype=int), None, "e"), 3)


def test_integral_floats_are_ids():
    index = check_edges(Edges(PATH.astype(float), None, "e"), 3)
    assert index.dtype == np.int64


def test_too_short_names_both_numbers():
    with pytest.raises(ValueError, match=r"at least 128 samples, window 64.*got 100"):
        check_length(100, 128, "window 64 + horizon 64", "v")
    check_length(128, 128, "", "v")


def test_labels_in_any_order():
    edges = Edges(np.array([[30, -5], [7, 30]]), None, "e")
    found = resolve_labels(edges, np.array([7, 30, -5])).index
    np.testing.assert_array_equal(found, [[1, 2], [0, 1]])


@pytest.mark.parametrize(
    ("index", "labels", "message"),
    [
        ([[30], [8]], [7, 30], r"row 1, column 0: .*such as 7, 30 \(got 8"),
        ([["a"], ["zz"]], ["b", "a"], r"row 1, column 0: .*'b', 'a' \(got 'zz'"),
    ],
)
def test_unknown_labels(index, labels, message):
    with pytest.raises(ValueError, match=message):
        resolve_labels(Edges(np.array(index), None, "e"), np.array(labels))


def test_disconnected_graph_warns_with_counts():
    graph = Graph.from_edges(np.array([0, 1, 3]), np.array([1, 2, 4]), 6)
    with pytest.warns(UserWarning, match="3 components, the largest has 3 of 6 nodes"):
        warn_if_disconnected(graph, "e")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_disconnected(Graph.from_edges(PATH[0], PATH[1], 3), "e")


@pytest.mark.parametrize("dt", [0.0, -1.0, np.inf, np.nan])
def test_impossible_dt(dt):
    with pytest.raises(ValueError, match="'dt' to be positive"):
        assemble(Series(VALUES, "v"), Edges(PATH, None, "e"), Assembly(dt=dt))


def test_only_self_loops():
    with pytest.raises(ValueError, match="self-loops"):
        assemble(Series(VALUES, "v"), Edges(np.array([[1], [1]]), None, "e"), Assembly())
