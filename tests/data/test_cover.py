from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.config import GraphConfig
from roma_pyg.data.cover import Cover
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph
from roma_pyg.data.sampling import SubgraphSampler


@pytest.fixture(scope="module")
def hyperbolic():
    """Connected graph with hubs."""
    return Graph.from_matrix(hyperbolic_graph(GraphConfig(nodes=4000), seed=1).adjacency)


def ring(nodes):
    return Graph.from_edges(np.arange(nodes), (np.arange(nodes) + 1) % nodes, nodes)


def draw(graph, size, length, targets, seed=0):
    cover = Cover(SubgraphSampler(graph, size, length))
    return list(cover.draw(np.asarray(targets), np.random.default_rng(seed)))


@pytest.mark.parametrize("count", [1, 60, 700])
def test_contains_all_targets(hyperbolic, count):
    wanted = np.random.default_rng(0).choice(hyperbolic.num_nodes, count, replace=False)
    cores = draw(hyperbolic, 64, 16, wanted)
    assert all(len(core) == len(np.unique(core)) == 64 for core in cores)
    assert np.isin(wanted, np.concatenate(cores)).all()
    # Each core has something new, and far more than one node of it where much is missing.
    left = set(wanted.tolist())
    for core in cores:
        assert left & set(core.tolist())
        left -= set(core.tolist())
    assert len(cores) <= 1 + count / 3


@pytest.mark.parametrize("length", [4, 16])
def test_few_cores_are_enough(hyperbolic, length):
    cores = draw(hyperbolic, 256, length, np.arange(hyperbolic.num_nodes))
    # Plain walks from nodes that are not covered yet take 2 and 3 times the least number.
    assert len(cores) < {4: 1.6, 16: 1.9}[length] * hyperbolic.num_nodes / 256


def test_cores_are_as_local_as_in_training(hyperbolic):
    sampler, rng = SubgraphSampler(hyperbolic, 256, 4), np.random.default_rng(0)
    adjacency = hyperbolic.to_matrix(weighted=False)

    def inside(core):
        return adjacency[core][:, core].sum()

    trained = np.mean([inside(sampler.sample(rng).core) for _ in range(20)])
    covered = np.mean([inside(core) for core in draw(hyperbolic, 256, 4, np.arange(3000))])
    assert covered > 0.7 * trained


def test_equal_seeds_give_equal_cores(hyperbolic):
    one, two, other = (draw(hyperbolic, 64, 4, np.arange(900), seed) for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert not np.array_equal(one[0], other[0])


def test_is_drawn_as_it_is_used(hyperbolic):
    cover = Cover(SubgraphSampler(hyperbolic, 64, 4))
    cores = cover.draw(np.arange(900), np.random.default_rng(0))
    assert len(next(cores)) == 64


def test_walks_around_a_ring_never_turn_back():
    # A plain walk of 15 steps meets about 5 nodes, a walk to uncovered nodes 16.
    assert len(draw(ring(64), 16, 15, np.arange(64))) <= 5


def test_disconnected_small_and_no_targets():
    lonely = Graph.from_edges(np.array([], dtype=int), np.array([], dtype=int), 50)
    cores = draw(lonely, 8, 16, np.arange(50))
    np.testing.assert_array_equal(np.unique(np.concatenate(cores)), np.arange(50))
    assert len(cores) == 7
    whole = draw(ring(6), 100, 4, np.array([2], dtype=np.int32))
    assert [core.tolist() for core in whole] == [[0, 1, 2, 3, 4, 5]]
    for size in (3, 100):
        assert draw(ring(6), size, 4, np.array([], dtype=int)) == []


def test_targets_given_twice_count_once():
    cores = draw(ring(8), 4, 3, [2, 2, 3])
    assert np.isin([2, 3], np.concatenate(cores)).all()


def test_rejects_targets_out_of_range():
    with pytest.raises(ValueError, match=r"Expected 'targets' in \[0, 6\) \(got 6"):
        draw(ring(6), 3, 4, [6])
