from __future__ import annotations

import numpy as np
import pytest
import torch

from roma_pyg.analysis.attention import AttentionMaps, attention_maps, cluster_order


@pytest.fixture
def maps(tiny):
    return attention_maps(tiny.model(), tiny.batch(2), graph=1)


def test_maps_are_those_of_the_forward_pass(tiny):
    model, batch = tiny.model(), tiny.batch(2)
    maps = attention_maps(model, batch, graph=1)
    assert maps.maps.shape == (2, 2, 19, 19)
    assert maps.sizes == [12, 4, 3]
    np.testing.assert_allclose(maps.maps.sum(-1), 1, atol=1e-6)
    with torch.no_grad():
        levels, _ = model.hierarchy(model.encode(batch))
        tokens = model.tokens(levels)
        first = model.blocks[0].attention_map(tokens)[1]
        tokens = model.blocks[0](tokens, model.couplings(levels))
        second = model.blocks[1].attention_map(tokens)[1]
    np.testing.assert_allclose(maps.maps[0], first.numpy(), atol=1e-6)
    np.testing.assert_allclose(maps.maps[1], second.numpy(), atol=1e-6)
    assert [assignment.shape for assignment in maps.assignments] == [(12, 4), (4, 3)]
    np.testing.assert_array_equal(maps.node_id, batch.node_id[12:])


def test_edges_are_those_of_the_subgraph(tiny):
    graph, batch = tiny.graph(), tiny.batch(2)
    maps = attention_maps(tiny.model(), batch, graph=1)
    sender, receiver = maps.node_id[maps.edge_index]
    assert len(sender) > 0
    assert (graph.to_matrix().toarray()[receiver, sender] > 0).all()


def test_shares_of_the_levels_by_hand():
    """Two fine tokens and one coarse; the coarse one gets a half and a quarter."""
    rows = np.array([[0.25, 0.25, 0.5], [0.75, 0.0, 0.25], [0.1, 0.2, 0.7]])
    maps = AttentionMaps(rows[None, None], [2, 1], np.arange(2), np.zeros((2, 0), int), [])
    np.testing.assert_allclose(maps.by_level()[0, 0], [[0.625, 0.375], [0.3, 0.7]])
    np.testing.assert_allclose(maps.between(0, 1)[0, 0], [[0.5], [0.25]])


def test_shares_sum_to_one(maps):
    np.testing.assert_allclose(maps.by_level().sum(-1), 1, atol=1e-6)


def test_attention_by_distance_on_a_path():
    rows = np.array([[0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7]])
    path = np.array([[0, 1, 1, 2], [1, 0, 2, 1]])
    maps = AttentionMaps(rows[None, None], [3], np.arange(3), path, [])
    mean, pairs = maps.by_distance(longest=3)
    assert pairs.tolist() == [3, 4, 2, 0]
    np.testing.assert_allclose(mean[0, 0, :3], 3 * np.array([1.8 / 3, 0.9 / 4, 0.3 / 2]))
    assert np.isnan(mean[0, 0, 3])


def test_even_attention_does_not_depend_on_the_distance(maps):
    even = AttentionMaps(
        np.full_like(maps.maps, 1 / 19), maps.sizes, maps.node_id, maps.edge_index, []
    )
    mean, pairs = even.by_distance()
    np.testing.assert_allclose(mean[..., pairs > 0], 1.0)


def test_components_reproduce_the_distances_of_the_rows(maps):
    coordinates, share = maps.components(19)
    rows = maps.maps.mean(axis=1)
    for layer in range(2):
        wanted = np.linalg.norm(rows[layer][:, None] - rows[layer], axis=-1)
        found = np.linalg.norm(coordinates[layer][:, None] - coordinates[layer], axis=-1)
        np.testing.assert_allclose(found, wanted, atol=1e-9)
    np.testing.assert_allclose(share.sum(-1), 1)
    assert (np.diff(share) <= 1e-12).all()


def test_clusters_are_contiguous():
    rng = np.random.default_rng(0)
    group = rng.permutation(np.repeat(np.arange(4), 6))
    rows = rng.normal(size=(4, 30))[group] + 0.05 * rng.normal(size=(24, 30))
    assert np.count_nonzero(np.diff(group[cluster_order(rows)])) == 3


def test_fine_to_coarse_orders_both_sides(maps):
    mean, rows, columns = maps.fine_to_coarse(1)
    np.testing.assert_allclose(mean, maps.maps[:, :, :12, 12:16].mean(axis=(0, 1)))
    assert sorted(rows) == list(range(12))
    assert sorted(columns) == list(range(4))


def test_rejects_a_missing_subgraph(tiny):
    with pytest.raises(ValueError, match=r"'graph' in \[0, 1\).*\(got 1\)"):
        attention_maps(tiny.model(), tiny.batch(1), graph=1)
