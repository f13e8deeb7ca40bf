from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.stats import rankdata

from roma_pyg.data import walk_embedding as module
from roma_pyg.data.eigenmaps import undirected_adjacency
from roma_pyg.data.graph import Graph
from roma_pyg.data.walk_embedding import (
    CENTER,
    SHARPNESS,
    cooccurrence,
    orthonormalize,
    propagate,
    randomized_svd,
    walk_embedding,
)


def block_pairs(sizes, inside, between, rng):
    nodes = sum(sizes)
    block = np.repeat(np.arange(len(sizes)), sizes)
    upper = np.triu(rng.random((nodes, nodes)), 1)
    limit = np.where(block[:, None] == block, inside, between)
    return np.argwhere((upper > 0) & (upper < limit)), block


def geometric_pairs(nodes, rng):
    # Popularity and similarity (Papadopoulos et al. 2012): hyperbolic disc with radius 2 ln N.
    radius = 2 * np.log(np.arange(1, nodes + 1))
    angle = rng.uniform(0, 2 * np.pi, nodes)
    gap = np.pi - np.abs(np.pi - np.abs(angle[:, None] - angle))
    distance = radius[:, None] + radius + 2 * np.log(np.maximum(gap, 1e-9) / 2)
    close = np.triu(distance < np.quantile(distance, 12 / nodes), 1)
    return np.argwhere(close)


def auc(positive, negative):
    ranks = rankdata(np.concatenate([positive, negative]))
    n, m = len(positive), len(negative)
    return (ranks[:n].sum() - n * (n + 1) / 2) / (n * m)


def held_out_auc(pairs, nodes, rng):
    test = rng.random(len(pairs)) < 0.2
    graph = Graph.from_edges(*pairs[~test].T, nodes)
    # A held-out edge of a node that has lost all its edges cannot be predicted.
    known = (graph.degree[pairs] > 0).all(axis=1)
    linked = np.flatnonzero(graph.degree > 0)
    other = rng.choice(linked, size=(4000, 2))
    edges = set(map(tuple, np.concatenate([pairs, pairs[:, ::-1]]).tolist()))
    other = np.array([p for p in other.tolist() if tuple(p) not in edges and p[0] != p[1]])
    z = walk_embedding(graph, 16, 5)
    return auc(*((z[e[:, 0]] * z[e[:, 1]]).sum(axis=1) for e in (pairs[test & known], other)))


def test_embedding_separates_two_blocks():
    pairs, block = block_pairs([100, 120], 0.1, 0.01, np.random.default_rng(1))
    z = walk_embedding(Graph.from_edges(*pairs.T, 220), 8, 5)
    z -= z.mean(axis=0)
    direction = np.linalg.svd(z, full_matrices=False)[2][0]
    guess = z @ direction > np.median(z @ direction)
    agreement = (guess == (block == 1)).mean()
    assert max(agreement, 1 - agreement) > 0.9


def test_held_out_edges_of_blocks_are_predicted():
    rng = np.random.default_rng(2)
    pairs, _ = block_pairs([60] * 8, 0.2, 0.003, rng)
    assert held_out_auc(pairs, 480, rng) > 0.85


def test_held_out_edges_of_a_hyperbolic_graph_are_predicted():
    rng = np.random.default_rng(3)
    assert held_out_auc(geometric_pairs(800, rng), 800, rng) > 0.8


def test_held_out_edges_without_structure_are_not_predicted():
    # The law behind the two tests above: no information gives an area of one half.
    rng = np.random.default_rng(4)
    pairs, _ = block_pairs([500], 0.016, 0.0, rng)
    assert abs(held_out_auc(pairs, 500, rng) - 0.5) < 0.1


def test_cooccurrence_by_formula():
    pairs, _ = block_pairs([12], 0.4, 0.0, np.random.default_rng(0))
    adjacency = undirected_adjacency(Graph.from_edges(*pairs.T, 12))
    a = adjacency.toarray()
    p = a / a.sum(axis=1, keepdims=True)
    q = p.sum(axis=0) ** 0.75
    q /= q.sum()
    with np.errstate(divide="ignore"):
        expected = np.where(a > 0, np.log(p) - np.log(q), 0)
    np.testing.assert_allclose(cooccurrence(adjacency).toarray(), expected, atol=1e-12)


def test_randomized_svd_against_dense():
    rng = np.random.default_rng(0)
    low_rank = rng.standard_normal((80, 6)) @ rng.standard_normal((6, 80))
    left, values = randomized_svd(sp.csr_array(low_rank), 5, np.random.default_rng(1))
    u, s, _ = np.linalg.svd(low_rank)
    np.testing.assert_allclose(values, s[:5], rtol=1e-9)
    np.testing.assert_allclose(np.abs(np.sum(left * u[:, :5], axis=0)), 1, atol=1e-9)


@pytest.mark.parametrize("nodes", [6, 64, 65, 997])
@pytest.mark.parametrize("rank", [3, 6])
def test_orthonormal_by_chunks(monkeypatch, nodes, rank):
    monkeypatch.setattr(module, "CHUNK", 32)
    rng = np.random.default_rng(0)
    before = rng.standard_normal((nodes, rank)) @ rng.standard_normal((rank, 6))
    block = before.copy()
    triangle = orthonormalize(block)
    np.testing.assert_allclose(block.T @ block, np.eye(6), atol=1e-13)
    np.testing.assert_allclose(block @ triangle, before, atol=1e-12)
    np.testing.assert_array_equal(triangle, np.triu(triangle))


def test_propagation_of_many_channels_is_that_of_each():
    pairs, _ = block_pairs([30], 0.2, 0.0, np.random.default_rng(0))
    adjacency = undirected_adjacency(Graph.from_edges(*pairs.T, 30))
    x = np.random.default_rng(1).standard_normal((30, 2 * module.GROUP + 3))
    expected = np.stack([propagate(adjacency, c[:, None], 4)[:, 0] for c in x.T], axis=1)
    np.testing.assert_allclose(propagate(adjacency, x, 4), expected, atol=1e-14)


def test_propagation_approaches_the_exact_filter():
    pairs, _ = block_pairs([30], 0.2, 0.0, np.random.default_rng(0))
    graph = Graph.from_edges(*pairs.T, 30)
    adjacency = undirected_adjacency(graph)
    lazy = adjacency.toarray() + np.eye(30)
    walk = lazy / lazy.sum(axis=1, keepdims=True)
    y, basis = np.linalg.eig(walk)
    gain = y * (1 - np.exp(-SHARPNESS / 2 * ((1 - y - CENTER) ** 2 - 1)))
    exact = ((basis * gain) @ np.linalg.inv(basis)).real
    errors = [np.abs(propagate(adjacency, np.eye(30), w) - exact).max() for w in (2, 4, 8, 14)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-9


@pytest.mark.parametrize("window", [1, 2, 4])
def test_propagation_reaches_exactly_window_steps(window):
    nodes = np.arange(9)
    adjacency = undirected_adjacency(Graph.from_edges(nodes[:-1], nodes[1:], 9))
    reached = np.abs(propagate(adjacency, np.eye(9)[:, :1], window)[:, 0]) > 1e-12
    np.testing.assert_array_equal(np.flatnonzero(reached), np.arange(window + 1))


def test_rows_have_unit_length_and_isolated_nodes_are_zero():
    pairs, _ = block_pairs([40], 0.2, 0.0, np.random.default_rng(0))
    z = walk_embedding(Graph.from_edges(*pairs.T, 42), 6, 3)
    np.testing.assert_allclose(np.linalg.norm(z[:40], axis=1), 1, atol=1e-12)
    np.testing.assert_array_equal(z[40:], 0)


def test_renumbering_permutes_the_rows():
    rng = np.random.default_rng(0)
    pairs, _ = block_pairs([50, 60], 0.2, 0.02, rng)
    order = rng.permutation(110)
    # The test matrix differs, so compare inner products, which do not depend on the basis.
    first = walk_embedding(Graph.from_edges(*pairs.T, 110), 110, 4)
    second = walk_embedding(Graph.from_edges(*order[pairs].T, 110), 110, 4)[order]
    np.testing.assert_allclose(first @ first.T, second @ second.T, atol=1e-6)


def test_deterministic_by_seed():
    pairs, _ = block_pairs([60], 0.2, 0.0, np.random.default_rng(0))
    graph = Graph.from_edges(*pairs.T, 60)
    first = walk_embedding(graph, 5, 3, seed=1)
    np.testing.assert_array_equal(first, walk_embedding(graph, 5, 3, seed=1))
    assert not np.array_equal(first, walk_embedding(graph, 5, 3, seed=2))


def test_more_channels_than_nodes_are_zero():
    z = walk_embedding(Graph.from_edges(np.array([0, 1]), np.array([1, 2]), 4), 7, 2)
    assert z.shape == (4, 7)
    assert np.isfinite(z).all()
    np.testing.assert_array_equal(z[:, 3:], 0)
    assert np.abs(z[:3]).sum() > 0


def test_no_edges():
    empty = np.array([], dtype=int)
    np.testing.assert_array_equal(walk_embedding(Graph.from_edges(empty, empty, 3), 2, 2), 0)


@pytest.mark.parametrize(("channels", "window"), [(-1, 2), (2, 0)])
def test_impossible_sizes(channels, window):
    graph = Graph.from_edges(np.array([0]), np.array([1]), 2)
    with pytest.raises(ValueError, match="'channels' >= 0 and 'window' >= 1"):
        walk_embedding(graph, channels, window)
