from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from roma_pyg.data.graph import Graph
from roma_pyg.dynamics.kuramoto import coupling_matrix
from roma_pyg.dynamics.rms_coupling import RmsCoupling


def column(values):
    return torch.tensor(np.asarray(values, dtype=np.float64))[:, None].contiguous()


def random_graph(nodes=30, seed=0):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((nodes, nodes)) < 0.15, 1)
    adjacency = sp.csr_array((upper | upper.T).astype(np.float64))
    return Graph.from_matrix(coupling_matrix(adjacency)), rng


# A path 0 - 1 - 2 - 3 with couplings 1/4 and 3/4 at node 1, 1/2 and 1/2 at node 2.
PATH = SimpleNamespace(
    rowptr=np.array([0, 1, 3, 5, 6]),
    col=np.array([1, 0, 2, 1, 3, 2]),
    weight=np.array([1, 0.25, 0.75, 0.5, 0.5, 1], dtype=np.float32),
)


@pytest.mark.parametrize(
    "backend", ["torch", "scipy", pytest.param("torch-sparse", marks=pytest.mark.kernels)]
)
def test_a_round_by_hand(backend):
    coupling = RmsCoupling(PATH, strength=0.5, response=0.8, backend=backend)
    squares, own = column([1.0, 4.0, 0.0, 16.0]), column([4.0, 0.0, 2.0, 0.0])
    coupling.round(squares, own)
    received = [4.0, 0.25 * 1 + 0.75 * 0, 0.5 * 4 + 0.5 * 16, 0.0]
    expected = [
        0.2 * h + 0.8 * (0.5 * a + 0.5 * r)
        for h, a, r in zip([1, 4, 0, 16], [4, 0, 2, 0], received, strict=True)
    ]
    np.testing.assert_allclose(squares[:, 0], expected, rtol=1e-14)


def test_it_is_a_root_mean_square():
    coupling = RmsCoupling(PATH, strength=0.999999, response=1.0)
    squares = coupling.round(column([9.0, 0.0, 1.0, 0.0]), column([0.0] * 4))
    assert np.sqrt(squares[1].item()) == pytest.approx(np.sqrt(0.25 * 9 + 0.75), rel=1e-5)
    # Above the mean of 3 and 1, below their maximum.
    assert 0.25 * 3 + 0.75 * 1 < np.sqrt(squares[1].item()) < 3


def test_no_node_exceeds_the_largest_activity_nor_falls_below_the_least():
    graph, rng = random_graph()
    coupling = RmsCoupling(graph, strength=0.7, response=0.6)
    linked = np.diff(graph.rowptr) > 0
    squares, own = column(rng.random(30)), column(rng.random(30))
    low = min(squares.min(), own.min()).item()
    high = max(squares.max(), own.max()).item()
    for _ in range(50):
        coupling.round(squares, own)
        assert squares.max() <= high * (1 + 1e-6)
        assert squares.numpy()[linked].min() >= low * (1 - 1e-6)


def test_influence_goes_one_edge_a_round_and_fades_by_the_coupling():
    coupling = RmsCoupling(PATH, strength=0.5, response=1.0)
    squares, own = column([0.0, 0.0, 0.0, 1.0]), column([0.0] * 4)
    largest = []
    for reached in (2, 1, 0):
        coupling.round(squares, own)
        assert squares[reached] > 0
        assert (squares[:reached] == 0).all()
        largest.append(squares.max().item())
    np.testing.assert_array_less(largest, [0.5 + 1e-12, 0.25 + 1e-12, 0.125 + 1e-12])


def test_rounds_approach_the_resolvent():
    graph, rng = random_graph()
    own = rng.random(30)
    weight = graph.to_matrix().toarray().astype(np.float64)
    expected = 0.4 * np.linalg.solve(np.eye(30) - 0.6 * weight, own)
    coupling, squares = RmsCoupling(graph, strength=0.6, response=0.5), column(np.zeros(30))
    for _ in range(200):
        coupling.round(squares, column(own))
    np.testing.assert_allclose(squares[:, 0], expected, rtol=1e-8)


def test_permuted_nodes_give_permuted_activities():
    graph, rng = random_graph()
    squares, own, order = rng.random(30), rng.random(30), rng.permutation(30)
    matrix = sp.csr_array(graph.to_matrix())
    permuted = Graph.from_matrix(sp.csr_array(matrix[order][:, order]))
    here = RmsCoupling(graph, 0.5, 0.7).round(column(squares), column(own))
    there = RmsCoupling(permuted, 0.5, 0.7).round(column(squares[order]), column(own[order]))
    np.testing.assert_allclose(here.numpy()[order], there, rtol=1e-12)


def test_doubled_activities_give_doubled_activities():
    graph, rng = random_graph()
    squares, own = rng.random(30), rng.random(30)
    coupling = RmsCoupling(graph, 0.5, 0.7)
    once = coupling.round(column(squares), column(own)).clone()
    np.testing.assert_array_equal(coupling.round(column(4 * squares), column(4 * own)), 4 * once)


def test_errors():
    with pytest.raises(ValueError, match=r"Expected couplings to be non-negative \(got -1.0\)"):
        RmsCoupling(SimpleNamespace(**{**vars(PATH), "weight": -PATH.weight}), 0.5, 1.0)
    with pytest.raises(ValueError, match=r"each row to sum to at most one \(got 2.0\)"):
        RmsCoupling(SimpleNamespace(**{**vars(PATH), "weight": 2 * PATH.weight}), 0.5, 1.0)
