from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from roma_pyg.data.graph import Graph
from roma_pyg.data.node2vec import biased_walks, node2vec


def two_cliques(size=8):
    """Two cliques joined by one edge, and a node without edges."""
    clique = np.array([(i, j) for i in range(size) for j in range(i)])
    edges = np.concatenate([clique, clique + size, [[0, size]]])
    return Graph.from_edges(edges[:, 0], edges[:, 1], 2 * size + 1)


def matrix(edges, nodes):
    rows, columns = np.array(edges).T
    half = sp.coo_array((np.ones(len(rows)), (rows, columns)), shape=(nodes, nodes)).tocsr()
    whole = sp.csr_array(half + half.T)
    whole.sort_indices()
    return whole


def test_nodes_of_a_clique_are_near_and_others_are_not():
    vectors = node2vec(two_cliques(), channels=4, window=3, epochs=40)
    assert vectors.shape == (17, 4)
    np.testing.assert_allclose(np.linalg.norm(vectors[:16], axis=1), 1)
    assert (vectors[16] == 0).all()
    cosine = vectors[:16] @ vectors[:16].T
    same = (cosine[:8, :8].sum() + cosine[8:, 8:].sum() - 16) / 112
    assert same > 0.8
    assert cosine[:8, 8:].mean() < same - 0.5


def test_equal_seeds_give_equal_embeddings():
    first, again, other = (node2vec(two_cliques(), 3, 2, seed=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


@pytest.mark.parametrize(("p", "q"), [(1.0, 1.0), (0.25, 2.0), (4.0, 0.5)])
def test_steps_follow_the_weights(p, q):
    # From 0 over 1: back to 0, on to 2 (a neighbour of 0), or to 3 (none).
    adjacency = matrix([(0, 1), (0, 2), (1, 2), (1, 3)], 4)
    walks = biased_walks(adjacency, np.zeros(60_000, int), 2, p, q, np.random.default_rng(0))
    over = walks[walks[:, 1] == 1][:, 2]
    weights = np.array([1 / p, 1.0, 1 / q])
    seen = np.array([(over == node).mean() for node in (0, 2, 3)])
    np.testing.assert_allclose(seen, weights / weights.sum(), atol=0.012)


def test_walks_go_along_edges():
    adjacency = matrix([(0, 1), (1, 2), (2, 3), (3, 0), (1, 3)], 4)
    walks = biased_walks(adjacency, np.arange(4), 30, 0.3, 3.0, np.random.default_rng(1))
    assert (adjacency.toarray()[walks[:, :-1], walks[:, 1:]] == 1).all()


def test_no_channels_and_no_edges():
    assert node2vec(two_cliques(), 0, 2).shape == (17, 0)
    lonely = Graph.from_edges(np.array([], int), np.array([], int), 3)
    assert (node2vec(lonely, 2, 2) == 0).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": -1, "window": 2}, "'channels' >= 0"),
        ({"channels": 2, "window": 0}, "'window' >= 1"),
        ({"channels": 2, "window": 2, "p": 0.0}, "'p' and 'q' to be positive"),
    ],
)
def test_impossible_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        node2vec(two_cliques(), **options)
