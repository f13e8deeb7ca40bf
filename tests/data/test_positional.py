from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from roma_pyg.config import PositionalConfig
from roma_pyg.data import positional
from roma_pyg.data.graph import Graph
from roma_pyg.data.positional import (
    compute_positional,
    node_positions,
    positional_features,
    scale_to_unit,
)
from roma_pyg.data.series import GraphSeries

CONFIG = PositionalConfig(eigenmaps=3, walk_embedding=4, walk_window=3)


def lopsided_tree(nodes=40):
    # Every spectrum of this graph that is used is simple, and no symmetry leaves a sign open.
    rng = np.random.default_rng(0)
    parents = np.array([rng.integers(i) for i in range(1, nodes)])
    return np.stack([np.arange(1, nodes), parents])


@pytest.fixture
def graph():
    return Graph.from_edges(*lopsided_tree(), 40)


@pytest.fixture
def counted(monkeypatch):
    calls = []
    compute = positional._compute

    def spy(graph, config):
        calls.append(config)
        return compute(graph, config)

    monkeypatch.setattr(positional, "_compute", spy)
    return calls


def test_star_by_hand():
    star = Graph.from_edges(np.zeros(4, dtype=int), np.arange(1, 5), 5)
    features = positional_features(star, PositionalConfig(eigenmaps=0, walk_embedding=0), None)
    np.testing.assert_array_equal(features, [[1], [0], [0], [0], [0]])
    both = positional_features(star, PositionalConfig(eigenmaps=4, walk_embedding=0), None)
    # The vector of eigenvalue 2 is (1, -1/2, ...)/sqrt 2 with the largest entry positive.
    np.testing.assert_allclose(both[:, 3], [1, 0, 0, 0, 0], atol=1e-6)


@pytest.mark.parametrize(
    ("config", "channels"),
    [
        (CONFIG, 8),
        (PositionalConfig(eigenmaps=0, walk_embedding=2, degree=False), 2),
        (PositionalConfig(eigenmaps=60, walk_embedding=60), 121),
    ],
)
def test_shape_range_and_type(graph, config, channels):
    features = positional_features(graph, config, None)
    assert features.shape == (40, channels)
    assert features.dtype == np.float32
    for column in features.T:
        full = column.min() == 0 and column.max() == 1
        assert full or (column == 0.5).all()


def test_constant_features_become_one_half():
    nodes = np.arange(12)
    ring = Graph.from_edges(nodes, (nodes + 1) % 12, 12)
    features = positional_features(ring, PositionalConfig(eigenmaps=2, walk_embedding=2), None)
    np.testing.assert_array_equal(features[:, -1], 0.5)


def test_rounding_noise_counts_as_constant():
    noisy = 3.0 + 1e-13 * np.random.default_rng(0).standard_normal((9, 1))
    np.testing.assert_array_equal(scale_to_unit(noisy), 0.5)
    np.testing.assert_array_equal(scale_to_unit(np.zeros((4, 2))), 0.5)


def test_renumbering_permutes_the_features_up_to_sign(graph):
    order = np.random.default_rng(1).permutation(40)
    renumbered = Graph.from_edges(*order[lopsided_tree()], 40)
    config = PositionalConfig(eigenmaps=5, walk_embedding=0)
    first = positional_features(graph, config, None)
    second = positional_features(renumbered, config, None)[order]
    for a, b in zip(first.T, second.T, strict=True):
        assert min(np.abs(a - b).max(), np.abs(a - (1 - b)).max()) < 1e-5


def test_cache_is_used_and_keeps_everything(graph, tmp_path, counted):
    folder = tmp_path / "made" / "on demand"
    first = compute_positional(graph, CONFIG, folder)
    second = compute_positional(graph, CONFIG, folder)
    assert len(counted) == 1
    np.testing.assert_array_equal(first.values, second.values)
    np.testing.assert_array_equal(first.eigenvalues, second.eigenvalues)
    assert first.residual == second.residual
    assert 0 < second.residual < 1e-10
    assert [p.suffix for p in folder.iterdir()] == [".npz"]
    np.testing.assert_array_equal(positional_features(graph, CONFIG, None), first.values)


def test_other_graph_or_configuration_is_computed(graph, tmp_path, counted):
    compute_positional(graph, CONFIG, tmp_path)
    compute_positional(graph, PositionalConfig(3, 4, walk_window=4), tmp_path)
    compute_positional(Graph.from_edges(*lopsided_tree()[:, 1:], 40), CONFIG, tmp_path)
    assert len(counted) == 3
    assert len(list(tmp_path.iterdir())) == 3


def corrupt(path, how):
    data = path.read_bytes()
    if how == "truncated":
        path.write_bytes(data[: len(data) // 2])
    elif how == "flipped":
        # In the middle of the features, where only the check sum of the archive notices.
        path.write_bytes(data[:400] + bytes([data[400] ^ 255]) + data[401:])
    elif how == "empty":
        path.write_bytes(b"")
    elif how == "foreign":
        np.savez(path, values=np.zeros((2, 2)))
    else:
        with np.load(path) as stored:
            content = dict(stored)
        content["values"] = content["values"][:-1]
        np.savez(path, **content)


@pytest.mark.parametrize("how", ["truncated", "flipped", "empty", "foreign", "reshaped"])
def test_damaged_cache_is_named_and_replaced(graph, tmp_path, counted, how):
    first = compute_positional(graph, CONFIG, tmp_path)
    (path,) = tmp_path.iterdir()
    corrupt(path, how)
    with pytest.warns(UserWarning, match=rf"{path.name}: .*damaged"):
        second = compute_positional(graph, CONFIG, tmp_path)
    np.testing.assert_array_equal(first.values, second.values)
    third = compute_positional(graph, CONFIG, tmp_path)
    np.testing.assert_array_equal(first.values, third.values)
    assert len(counted) == 2


def test_failed_write_leaves_nothing(graph, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(positional.np, "savez", fail)
    with pytest.raises(OSError, match="disk full"):
        compute_positional(graph, CONFIG, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_isolated_nodes_are_finite():
    graph = Graph.from_edges(np.array([0, 1, 3]), np.array([1, 2, 4]), 6)
    features = positional_features(graph, CONFIG, None)
    assert np.isfinite(features).all()


def test_stored_features_stand_beside_the_computed_ones_or_alone(graph, tmp_path, counted):
    count = graph.num_nodes
    own = np.random.default_rng(0).random((count, 3)).astype(np.float32)
    series = GraphSeries(graph, np.ones((count, 2), np.float32), extras={"position": own})
    both = node_positions(series, replace(CONFIG, stored=3), tmp_path)
    np.testing.assert_array_equal(both[:, -3:], own)
    np.testing.assert_array_equal(both[:, :-3], node_positions(series, CONFIG, tmp_path))
    assert len(counted) == 1, "the cache does not depend on stored features"
    alone = PositionalConfig(eigenmaps=0, walk_embedding=0, degree=False, stored=3)
    assert node_positions(series, alone, None) is own


@pytest.mark.parametrize(("extras", "found"), [({}, 0), ({"position": np.ones((40, 2))}, 2)])
def test_missing_stored_features(graph, extras, found):
    series = GraphSeries(graph, np.ones((graph.num_nodes, 2), np.float32), extras=extras)
    with pytest.raises(ValueError, match=rf"brings with it, {found} \(got 3\)"):
        node_positions(series, replace(CONFIG, stored=3), None)


def test_the_walk_method_is_a_choice(graph, tmp_path):
    factorised = positional_features(graph, CONFIG, tmp_path)
    sampled = positional_features(graph, replace(CONFIG, walk_method="node2vec"), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
    np.testing.assert_array_equal(factorised[:, [0, 1, 2, 7]], sampled[:, [0, 1, 2, 7]])
    assert np.abs(factorised[:, 3:7] - sampled[:, 3:7]).max() > 0.1
