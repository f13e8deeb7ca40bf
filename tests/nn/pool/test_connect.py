from __future__ import annotations

import pytest
import torch

from roma_pyg.nn.pool import (
    ConnectOutput,
    assign,
    coarse_adjacency,
    coarsen_dense,
    dense_to_edges,
)


def batch(seed=0, graphs=3, n=7, m=4, halo=5):
    """Edges inside three graphs and from halo nodes, with the dense couplings."""
    generator = torch.Generator().manual_seed(seed)
    dense = torch.rand(graphs, n, n, generator=generator, dtype=torch.float64)
    dense = dense * (dense > 0.6)
    graph, receiver, sender = dense.nonzero(as_tuple=True)
    weight = dense[graph, receiver, sender]
    extra = torch.arange(halo)
    edge_index = torch.stack(
        [
            torch.cat([sender + graph * n, graphs * n + extra]),
            torch.cat([receiver + graph * n, extra]),
        ]
    )
    order = edge_index[1].argsort(stable=True)
    weight = torch.cat([weight, torch.full((halo,), 9.0, dtype=torch.float64)])
    logits = torch.randn(graphs, n, m, generator=generator, dtype=torch.float64)
    return assign(logits), edge_index[:, order], weight[order], dense


@pytest.mark.parametrize("seed", [0, 1])
def test_coarse_adjacency_equals_the_dense_product(seed):
    shares, edge_index, weight, dense = batch(seed)
    expected = torch.einsum("gia,gij,gjb->gab", shares, dense, shares)
    torch.testing.assert_close(coarse_adjacency(shares, edge_index, weight, 7), expected)
    torch.testing.assert_close(coarsen_dense(shares, dense), expected)


def test_coarse_adjacency_by_hand():
    # Nodes 0, 1 form supernode 0 and node 2 supernode 1; node 2 pulls node 0 by 0.6.
    shares = torch.tensor([[[0.5, 0.0], [0.5, 0.0], [0.0, 1.0]]])
    edge_index = torch.tensor([[1, 2], [0, 0]])
    coarse = coarse_adjacency(shares, edge_index, torch.tensor([0.4, 0.6]), 3)
    torch.testing.assert_close(coarse, torch.tensor([[[0.1, 0.3], [0.0, 0.0]]]))


def test_hard_assignment_conserves_the_coupling_between_groups():
    shares, edge_index, weight, dense = batch()
    whole = torch.full((3, 7, 1), 1 / 7, dtype=torch.float64)
    coarse = coarse_adjacency(whole, edge_index, weight, 7)
    torch.testing.assert_close(coarse.flatten() * 49, dense.sum((1, 2)))
    assert shares.shape == (3, 7, 4)


def test_gradients():
    shares, edge_index, weight, _ = batch()
    assert torch.autograd.gradcheck(
        lambda s, w: coarse_adjacency(s, edge_index, w, 7),
        (shares.requires_grad_(), weight.requires_grad_()),
    )


def test_coarse_adjacency_without_edges():
    shares, *_ = batch()
    empty = torch.zeros(2, 0, dtype=torch.long)
    coarse = coarse_adjacency(shares, empty, torch.zeros(0, dtype=torch.float64), 7)
    assert torch.equal(coarse, torch.zeros(3, 4, 4, dtype=torch.float64))


def test_dense_to_edges_by_hand():
    couplings = torch.tensor([[[9.0, 1.0, 3.0], [0.0, 9.0, 2.0], [5.0, 5.0, 9.0]]])
    edges = dense_to_edges(couplings, k=2)
    assert edges.edge_index.tolist() == [[1, 2, 0, 2, 0, 1], [0, 0, 1, 1, 2, 2]]
    assert edges.edge_weight.tolist() == [0.25, 0.75, 0.0, 1.0, 0.5, 0.5]
    assert edges.num_nodes == 3


@pytest.mark.parametrize("k", [1, 3, 8, None])
def test_dense_to_edges_keeps_the_strongest_of_every_graph(k):
    couplings = torch.rand(2, 6, 6, generator=torch.Generator().manual_seed(0))
    edges = dense_to_edges(couplings, k)
    sender, receiver = edges.edge_index
    size = 5 if k is None else min(k, 5)
    assert (receiver.diff() >= 0).all()
    assert torch.equal(sender // 6, receiver // 6)
    assert (sender != receiver).all()
    for node in range(12):
        own = couplings[node // 6, node % 6].clone()
        own[node % 6] = -1
        strongest = own.topk(size).indices + node // 6 * 6
        assert set(sender[receiver == node].tolist()) == set(strongest.tolist())
    total = torch.zeros(12).index_add(0, receiver, edges.edge_weight)
    torch.testing.assert_close(total, torch.ones(12))


def test_dense_to_edges_without_coupling_and_with_one_supernode():
    couplings = torch.zeros(1, 3, 3, requires_grad=True)
    edges = dense_to_edges(couplings, k=2)
    assert edges.edge_weight.tolist() == [0.5] * 6
    edges.edge_weight.sum().backward()
    assert torch.isfinite(couplings.grad).all()
    assert dense_to_edges(torch.ones(2, 1, 1)).edge_index.shape == (2, 0)


def test_dense_to_edges_weights_are_differentiable():
    couplings = torch.rand(1, 4, 4, dtype=torch.float64).add(0.1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a: dense_to_edges(a, None).edge_weight, (couplings,))


def test_errors():
    shares, edge_index, weight, dense = batch()
    with pytest.raises(ValueError, match=r"Expected 'num_nodes_per_graph' to be 7.*\(got 6\)"):
        coarse_adjacency(shares, edge_index, weight, 6)
    with pytest.raises(ValueError, match=r"Expected 'assignment' of shape \(G, n, m\)"):
        coarse_adjacency(shares[0], edge_index, weight, 7)
    with pytest.raises(ValueError, match=r"Expected 'adjacency' of shape \(3, 7, 7\)"):
        coarsen_dense(shares, dense[:, :5])
    with pytest.raises(ValueError, match=r"Expected 'adjacency' of shape \(G, m, m\)"):
        dense_to_edges(dense[0])
    with pytest.raises(ValueError, match=r"Expected 'k' to be at least 1 or None \(got 0\)"):
        dense_to_edges(dense, 0)
    with pytest.raises(ValueError, match=r"Expected 'edge_weight' of shape \(2,\) \(got \(3,\)\)"):
        ConnectOutput(torch.zeros(2, 2), torch.zeros(3), 2)
    with pytest.raises(ValueError, match=r"Expected 'edge_index' of shape \(2, e\)"):
        ConnectOutput(torch.zeros(3, 2), torch.zeros(2), 2)
