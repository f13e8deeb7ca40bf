from __future__ import annotations

import numpy as np
import pytest
import torch

from roma_pyg.data.graph import Graph
from roma_pyg.models.community import CommunitySelect, balanced_communities


def cliques(count, size, seed=0):
    """Cliques joined in a ring by single edges, the nodes in random order."""
    order = np.random.default_rng(seed).permutation(count * size)
    inside = np.array(
        [(c * size + i, c * size + j) for c in range(count) for i in range(size) for j in range(i)]
    )
    between = np.array([(c * size, (c + 1) % count * size + 1) for c in range(count)])
    edges = order[np.concatenate([inside, between])]
    planted = np.empty(count * size, dtype=int)
    planted[order] = np.repeat(np.arange(count), size)
    return Graph.from_edges(edges[:, 0], edges[:, 1], count * size), planted


def test_finds_planted_communities():
    graph, planted = cliques(5, 6)
    label = balanced_communities(graph, 5)
    assert len({(a, b) for a, b in zip(label, planted, strict=True)}) == 5


@pytest.mark.parametrize("count", [1, 2, 4, 5, 6, 9, 30])
def test_gives_the_wanted_number_largest_first(count):
    graph, planted = cliques(5, 6)
    label = balanced_communities(graph, count)
    sizes = np.bincount(label)
    assert len(sizes) == count
    assert sizes.min() >= 1
    assert (np.diff(sizes) <= 0).all()
    if count <= 5:  # merging never cuts a community
        assert len({(a, b) for a, b in zip(label, planted, strict=True)}) == 5


def test_merges_along_edges():
    """Three cliques in a line with a bridge of two edges: it is crossed first."""
    graph, planted = cliques(4, 6)
    label = balanced_communities(graph, 3)
    joined = [c for c in range(3) if len(set(planted[label == c])) == 2]
    assert len(joined) == 1
    first, second = set(planted[label == joined[0]])
    assert (first - second) % 4 in (1, 3)  # neighbours in the ring


def test_isolated_nodes_are_someones():
    graph = Graph.from_edges(np.array([0]), np.array([1]), 6)
    assert np.bincount(balanced_communities(graph, 2)).sum() == 6


def test_rejects_more_communities_than_nodes():
    graph, _ = cliques(2, 3)
    with pytest.raises(ValueError, match=r"\[1, 6\] \(got 7\)"):
        balanced_communities(graph, 7)


def test_select_keeps_graphs_apart():
    graph, _ = cliques(3, 4)
    receiver = np.repeat(np.arange(12), graph.degree)
    one = torch.from_numpy(np.stack([graph.col, receiver]))
    edges = torch.cat([one, one + 12], dim=1)
    scores = CommunitySelect(3).scores(torch.zeros(24, 2), edges, num_graphs=2)
    assert scores.shape == (2, 12, 3)
    assert torch.equal(scores[0], scores[1])
    assert torch.equal(scores.sum(-1), torch.ones(2, 12))
