from __future__ import annotations

import numpy as np
import pytest
import torch

from roma_pyg.data import walks as module
from roma_pyg.data.graph import Graph
from roma_pyg.data.walks import random_walks
from roma_pyg.kernels import SWITCH


def random_graph(seed, nodes=60, edges=120, *, undirected=True):
    rng = np.random.default_rng(seed)
    return Graph.from_edges(*rng.integers(nodes, size=(2, edges)), nodes, undirected=undirected)


def star(leaves):
    return Graph.from_edges(np.zeros(leaves, dtype=int), np.arange(1, leaves + 1), leaves + 1)


@pytest.mark.parametrize("undirected", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_walks_step_along_edges_and_stay_at_dead_ends(seed, undirected):
    graph = random_graph(seed, edges=70, undirected=undirected)
    assert not graph.has_no_isolated_node
    adjacency = graph.to_matrix(weighted=False).toarray()
    stuck = adjacency.sum(1) == 0
    roots = np.arange(60)
    walks = random_walks(graph, roots, 9, np.random.default_rng(seed))
    assert walks.shape == (60, 10)
    np.testing.assert_array_equal(walks[:, 0], roots)
    here, there = walks[:, :-1], walks[:, 1:]
    np.testing.assert_array_equal(here[stuck[here]], there[stuck[here]])
    assert adjacency[here, there][~stuck[here]].all()


def test_steps_are_uniform_over_the_neighbours():
    # The hub of a star and back: every other step is a fresh draw.
    walks = random_walks(star(5), np.zeros(400, dtype=int), 20, np.random.default_rng(0))
    assert (walks[:, ::2] == 0).all()
    counts = np.bincount(walks[:, 1::2].ravel(), minlength=6)[1:]
    expected = 400 * 10 / 5
    # Chi-square with 4 degrees of freedom: 23.5 is passed with probability 1e-4.
    assert ((counts - expected) ** 2 / expected).sum() < 23.5


def test_the_same_state_gives_the_same_walks():
    graph, roots = random_graph(0), np.arange(20)
    first, same, other = (
        random_walks(graph, roots, 8, np.random.default_rng(seed)) for seed in (4, 4, 5)
    )
    np.testing.assert_array_equal(first, same)
    assert (first != other).any()


def test_one_number_is_drawn_and_global_generators_are_left_alone(monkeypatch):
    rng, reference = np.random.default_rng(7), np.random.default_rng(7)
    state = torch.get_rng_state()
    # It would also seed the generators of other devices.
    monkeypatch.setattr(torch, "manual_seed", None)
    random_walks(random_graph(0), np.arange(20), 8, rng)
    assert torch.equal(torch.get_rng_state(), state)
    reference.integers(2**62)
    assert rng.random() == reference.random()


def test_default_type_of_torch_does_not_matter():
    graph, roots = random_graph(1), np.arange(30)
    expected = random_walks(graph, roots, 6, np.random.default_rng(0))
    torch.set_default_dtype(torch.float64)
    try:
        walks = random_walks(graph, roots, 6, np.random.default_rng(0))
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(walks, expected)


def test_the_last_neighbour_is_the_limit(monkeypatch):
    # The largest number below one, times a degree, may round up to the degree.
    ones = torch.full((1, 1), 1.0)
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setattr(module.torch, "rand", lambda *_, **__: ones)
    walks = random_walks(star(7), np.array([0]), 1, np.random.default_rng(0))
    assert walks.tolist() == [[0, 7]]


def test_no_roots_no_steps_no_edges():
    rng = np.random.default_rng(0)
    assert random_walks(star(2), np.array([], dtype=int), 3, rng).shape == (0, 4)
    assert random_walks(star(2), np.array([2, 0]), 0, rng).tolist() == [[2], [0]]
    edgeless = Graph.from_edges([], [], 3)
    assert random_walks(edgeless, np.array([1, 2]), 2, rng).tolist() == [[1] * 3, [2] * 3]


def test_indices_of_any_width_and_read_only_arrays(tmp_path):
    graph = random_graph(2)
    arrays = []
    for name in ("rowptr", "col", "weight"):
        np.save(tmp_path / f"{name}.npy", getattr(graph, name))
        arrays.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    roots = np.arange(10, dtype=np.int32)
    roots.flags.writeable = False
    walks = random_walks(Graph(*arrays), roots, 5, np.random.default_rng(0))
    expected = random_walks(graph, np.arange(10), 5, np.random.default_rng(0))
    np.testing.assert_array_equal(walks, expected)


def test_errors():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"Expected 'roots' in \[0, 3\) \(got 3 at position 1\)"):
        random_walks(star(2), np.array([0, 3]), 2, rng)
    with pytest.raises(ValueError, match=r"Expected 'length' to be at least 0 \(got -1\)"):
        random_walks(star(2), np.array([0]), -1, rng)


@pytest.mark.kernels
@pytest.mark.parametrize("undirected", [True, False])
@pytest.mark.parametrize("edges", [60, 400])
def test_torch_sparse_and_the_plain_path_give_the_same_walks(monkeypatch, edges, undirected):
    graph = random_graph(3, edges=edges, undirected=undirected)
    roots = np.random.default_rng(0).integers(60, size=100)
    used = []
    kernel = torch.ops.torch_sparse.random_walk
    ops = type("Ops", (), {"random_walk": lambda *args: used.append(1) or kernel(*args[-4:])})
    monkeypatch.setattr(torch.ops, "torch_sparse", ops)
    compiled = random_walks(graph, roots, 12, np.random.default_rng(1))
    # Isolated nodes of an undirected graph are no hindrance.
    assert bool(used) == (not graph.has_dead_end)
    assert undirected <= (not graph.has_dead_end)
    monkeypatch.setenv(SWITCH, "1")
    plain = random_walks(graph, roots, 12, np.random.default_rng(1))
    assert len(used) <= 1
    np.testing.assert_array_equal(compiled, plain)
