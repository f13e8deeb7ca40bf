from __future__ import annotations

import re
from itertools import pairwise

import networkit as nk
import numpy as np
import pytest

from roma_pyg.config import SplitConfig
from roma_pyg.data.graph import Graph
from roma_pyg.data.split import PARTS, communities, make_split

WINDOW, HORIZON = 6, 4
GAP = WINDOW + HORIZON


@pytest.fixture(scope="module")
def hyperbolic():
    nk.setSeed(3, False)
    network = nk.generators.HyperbolicGenerator(1500, 6, 2.5, 0).generate()
    edges = np.array([[u, v] for u, v in network.iterEdges()]).T
    return Graph.from_edges(*edges, network.numberOfNodes())


def cliques(count, size):
    """Cliques in a ring, joined by single edges."""
    inner = np.argwhere(np.triu(np.ones((size, size)), 1))
    edges = np.concatenate([inner + size * k for k in range(count)])
    links = np.stack(
        [size * np.arange(count), (size * np.arange(1, count + 1) + 1) % (count * size)]
    )
    return Graph.from_edges(*np.concatenate([edges.T, links], axis=1), count * size)


def cut(graph, nodes):
    """Share of the edges at ``nodes`` that lead out of them."""
    inside = np.zeros(graph.num_nodes)
    inside[nodes] = 1
    adjacency = graph.to_matrix(weighted=False)
    return 1 - inside @ (adjacency @ inside) / (inside @ graph.degree)


def samples(times):
    """Every sample that a part touches."""
    return {s for t in times for s in range(t - WINDOW, t + HORIZON)}


def test_nodes_are_disjoint_and_cover_everything(hyperbolic):
    split = make_split(hyperbolic, 400, SplitConfig(), WINDOW, HORIZON)
    joined = np.concatenate([split.nodes[part] for part in PARTS])
    np.testing.assert_array_equal(np.sort(joined), np.arange(1500))
    assert len(split.nodes["test"]) == 300
    assert len(split.nodes["val"]) == 75
    for part in PARTS:
        assert split.nodes[part].dtype == np.int64
        assert (np.diff(split.nodes[part]) > 0).all()


def test_visible_nodes_grow_from_part_to_part(hyperbolic):
    split = make_split(hyperbolic, 400, SplitConfig(), WINDOW, HORIZON)
    np.testing.assert_array_equal(split.visible("train"), split.nodes["train"])
    both = np.union1d(split.nodes["train"], split.nodes["val"])
    np.testing.assert_array_equal(split.visible("val"), both)
    np.testing.assert_array_equal(split.visible("test"), np.arange(1500))
    with pytest.raises(ValueError, match=r"Expected 'part' to be one of .* \(got 'valid'\)"):
        split.visible("valid")


@pytest.mark.parametrize("num_steps", [100, 137, 400, 1001])
@pytest.mark.parametrize("fractions", [(0.2, 0.1), (0.31, 0.17), (0.25, 0.4)])
def test_parts_are_separated_in_time(num_steps, fractions):
    config = SplitConfig(test_time=fractions[0], val_time=fractions[1])
    split = make_split(cliques(4, 5), num_steps, config, WINDOW, HORIZON)
    touched = [samples(split.times[part]) for part in PARTS]
    for before, after in pairwise(touched):
        assert min(after) - max(before) - 1 == GAP
    assert min(touched[0]) == 0
    assert max(touched[2]) == num_steps - 1
    assert len(touched[1]) == round(num_steps * fractions[1])
    assert len(touched[2]) == round(num_steps * fractions[0])


def test_times_by_hand():
    # 100 samples: 0 .. 49 train, 60 .. 69 validation, 80 .. 99 test.
    split = make_split(cliques(4, 5), 100, SplitConfig(), WINDOW, HORIZON)
    assert split.times == {"train": range(6, 47), "val": range(66, 67), "test": range(86, 97)}


def test_held_out_nodes_form_regions(hyperbolic):
    rng = np.random.default_rng(0)
    for seed in range(3):
        split = make_split(hyperbolic, 400, SplitConfig(), WINDOW, HORIZON, seed)
        for part in ("val", "test"):
            scattered = rng.choice(1500, len(split.nodes[part]), replace=False)
            assert cut(hyperbolic, split.nodes[part]) < 0.6 * cut(hyperbolic, scattered)
        scattered = rng.choice(1500, len(split.nodes["test"]), replace=False)
        assert cut(hyperbolic, split.nodes["test"]) < 0.35 * cut(hyperbolic, scattered)


def test_whole_communities_where_they_fit():
    config = SplitConfig(test_nodes=0.3, val_nodes=0.2)
    split = make_split(cliques(10, 8), 100, config, WINDOW, HORIZON, 5)
    for part in PARTS:
        assert (np.bincount(split.nodes[part] // 8, minlength=10) % 8 == 0).all()


def test_seeds(hyperbolic):
    first, same, other = (
        make_split(hyperbolic, 400, SplitConfig(), WINDOW, HORIZON, seed) for seed in (1, 1, 2)
    )
    for part in PARTS:
        np.testing.assert_array_equal(first.nodes[part], same.nodes[part])
        assert first.times[part] == other.times[part]
    common = np.intersect1d(first.nodes["test"], other.nodes["test"])
    assert len(common) < 0.8 * len(first.nodes["test"])


def test_communities_of_cliques():
    graph = cliques(6, 7)
    found = communities(graph)
    assert found.dtype == np.int64
    # One label per clique.
    assert len(np.unique(np.stack([found, np.arange(42) // 7]), axis=1).T) == 6
    assert found.max() == 5


def test_communities_ignore_directions():
    graph = cliques(6, 7)
    senders = graph.col
    receivers = np.repeat(np.arange(42), graph.degree)
    for once in (senders < receivers, senders > receivers):
        directed = Graph.from_edges(senders[once], receivers[once], 42, undirected=False)
        np.testing.assert_array_equal(communities(directed), communities(graph))


def test_communities_leave_the_threads_alone():
    before = nk.getMaxNumberOfThreads()
    communities(cliques(3, 4))
    assert nk.getMaxNumberOfThreads() == before


def test_isolated_nodes_and_no_edges():
    nothing = np.array([], dtype=int)
    assert sorted(communities(Graph.from_edges(nothing, nothing, 4))) == [0, 1, 2, 3]
    assert len(communities(Graph.from_edges(nothing, nothing, 0))) == 0
    split = make_split(Graph.from_edges([0], [1], 40), 100, SplitConfig(), WINDOW, HORIZON)
    assert sum(len(nodes) for nodes in split.nodes.values()) == 40


def test_graph_too_small():
    with pytest.raises(ValueError, match=r"got 6 nodes, of which 1 test and 0 validation"):
        make_split(cliques(2, 3), 400, SplitConfig(), WINDOW, HORIZON)
    empty = Graph.from_edges([], [], 0)
    with pytest.raises(ValueError, match=r"got 0 nodes"):
        make_split(empty, 400, SplitConfig(), WINDOW, HORIZON)


@pytest.mark.parametrize(
    "fractions", [(0.2, 0.1), (0.05, 0.4), (0.4, 0.03), (0.85, 0.1), (0.3, 0.37), (0.45, 0.45)]
)
def test_the_length_asked_for_is_enough_and_not_far_above(fractions):
    config = SplitConfig(test_time=fractions[0], val_time=fractions[1])
    graph = cliques(4, 5)
    with pytest.raises(ValueError, match=r"Expected at least \d+ samples .* \(got 9;") as caught:
        make_split(graph, 9, config, WINDOW, HORIZON)
    least = int(re.findall(r"at least (\d+)", str(caught.value))[0])
    make_split(graph, least, config, WINDOW, HORIZON)
    shortest = 1
    while True:
        try:
            make_split(graph, shortest, config, WINDOW, HORIZON)
        except ValueError:
            shortest += 1
        else:
            break
    assert shortest <= least <= 1.2 * shortest + 2


def test_the_error_names_the_empty_part():
    with pytest.raises(ValueError, match=r"nothing is left for val\)"):
        make_split(cliques(4, 5), 90, SplitConfig(), WINDOW, HORIZON)


@pytest.mark.parametrize(
    ("window", "horizon", "seed", "message"),
    [
        (0, 1, 0, "Expected 'window' to be at least 1"),
        (1, 0, 0, "Expected 'horizon' to be at least 1"),
        (1, 1, -1, r"Expected 'seed' to be at least 0 \(got -1\)"),
    ],
)
def test_impossible_arguments(window, horizon, seed, message):
    with pytest.raises(ValueError, match=message):
        make_split(cliques(4, 5), 400, SplitConfig(), window, horizon, seed)


def test_no_time_to_train():
    config = SplitConfig(test_time=0.5, val_time=0.6)
    with pytest.raises(ValueError, match=r"test_time \+ split.val_time below 1 \(got 1.1\)"):
        make_split(cliques(4, 5), 400, config, WINDOW, HORIZON)
