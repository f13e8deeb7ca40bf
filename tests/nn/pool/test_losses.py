from __future__ import annotations

import math

import networkx as nx
import numpy as np
import pytest
import torch

from roma_pyg.geometry import PoincareBall
from roma_pyg.nn.pool import (
    assign,
    assignment_entropy,
    edge_entropy,
    link_loss,
    modularity_loss,
    sample_negatives,
)


def test_assignment_entropy_by_hand():
    shares = torch.tensor([[[1.0, 0.25], [0.0, 0.25], [0.0, 0.25], [0.0, 0.25]]])
    assert assignment_entropy(shares).item() == pytest.approx(0.5)
    assert assignment_entropy(torch.ones(2, 1, 3)).item() == 0.0


def test_edge_entropy_by_hand():
    one = torch.zeros(1, 3, 3)
    one[0, 0, 2] = 5.0
    assert edge_entropy(one).item() == pytest.approx(0.0)
    assert edge_entropy(torch.full((1, 3, 3), 0.2)).item() == pytest.approx(1.0)
    half = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert edge_entropy(half).item() == pytest.approx(0.5)
    assert edge_entropy(torch.cat([one[:, :2, :2], half])).item() == pytest.approx(0.25)


def test_entropies_lie_between_zero_and_one():
    for seed in range(5):
        generator = torch.Generator().manual_seed(seed)
        shares = assign(torch.randn(2, 9, 4, generator=generator))
        assert 0 < assignment_entropy(shares) < 1
        assert 0 < edge_entropy(shares.mT @ shares) < 1


@pytest.mark.parametrize("scale", [0.0, 1e-30, 1.0, 1e20])
def test_entropies_have_finite_gradients(scale):
    adjacency = (torch.eye(3).unsqueeze(0) * scale).requires_grad_()
    edge_entropy(adjacency).backward()
    assert torch.isfinite(adjacency.grad).all()
    shares = torch.eye(3).unsqueeze(0).requires_grad_()
    assignment_entropy(shares).backward()
    assert torch.isfinite(shares.grad).all()


def test_entropy_gradcheck():
    shares = assign(torch.randn(2, 5, 3, dtype=torch.float64)).requires_grad_()
    assert torch.autograd.gradcheck(assignment_entropy, (shares,))
    adjacency = torch.rand(2, 3, 3, dtype=torch.float64).add(0.1).requires_grad_()
    assert torch.autograd.gradcheck(edge_entropy, (adjacency,))


def test_link_loss_by_hand():
    # On a diameter of the unit ball; two channels.
    points = torch.tensor([[0.0, 0.0], [0.5, 0.0], [-0.5, 0.0]])
    near, far = (2 * math.atanh(0.5)) ** 2 / 2, (4 * math.atanh(0.5)) ** 2 / 2
    edge_index = torch.tensor([[1, 7], [0, 0]])  # sender 7 lies outside
    loss = link_loss(points, edge_index, torch.tensor([[1], [2]]), 1.0, 2.0, 0.5)
    expected = 0.5 * math.log1p(math.exp((near - 2) / 0.5))
    expected += 0.5 * math.log1p(math.exp((2 - far) / 0.5))
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_link_loss_with_another_divisor():
    points = torch.tensor([[0.0, 0.0], [0.5, 0.0]])
    pair, empty = torch.tensor([[1], [0]]), torch.zeros(2, 0, dtype=torch.long)
    logit = (2 * math.atanh(0.5)) ** 2 / 4 - 2
    loss = link_loss(points, pair, empty, 1.0, 2.0, 1.0, divisor=4.0)
    assert loss.item() == pytest.approx(0.5 * math.log1p(math.exp(logit)), rel=1e-5)


def test_link_loss_in_flat_space():
    points = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
    pair = torch.tensor([[1], [0]])
    assert link_loss(points, pair, pair, 0.0, 2.0, 1.0).item() == pytest.approx(math.log(2))


def test_link_loss_is_balanced_and_empty_lists_count_zero():
    points = PoincareBall(1.0).from_tangent(torch.randn(5, 3))
    pair, empty = torch.tensor([[0], [1]]), torch.zeros(2, 0, dtype=torch.long)
    many = pair.expand(2, 10)
    loss = link_loss(points, pair, pair, 1.0, 1.0, 1.0)
    torch.testing.assert_close(link_loss(points, many, pair, 1.0, 1.0, 1.0), loss)
    parts = link_loss(points, pair, empty, 1.0, 1.0, 1.0) + link_loss(
        points, empty, pair, 1.0, 1.0, 1.0
    )
    torch.testing.assert_close(parts, loss)


@pytest.mark.parametrize("temperature", [1e-3, 1.0])
def test_link_loss_has_finite_gradients(temperature):
    tangent = torch.tensor([[0.0, 0.0], [0.0, 0.0], [1e-15, 0.0], [1e5, 0.0]], requires_grad=True)
    points = PoincareBall(0.125).from_tangent(tangent)
    pairs = torch.tensor([[0, 1, 2], [1, 2, 3]])
    loss = link_loss(points, pairs, pairs, 0.125, 2.0, temperature)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(tangent.grad).all()


def test_link_loss_learns_to_separate_two_cliques():
    generator = torch.Generator().manual_seed(0)
    clique = torch.tensor([(i, j) for i in range(4) for j in range(4) if i != j]).T
    edge_index = torch.cat([clique, clique + 4], 1)
    negatives = torch.cartesian_prod(torch.arange(4), torch.arange(4, 8)).T
    tangent = torch.randn(8, 2, generator=generator).requires_grad_()
    space, optimizer = PoincareBall(0.125), torch.optim.Adam([tangent], lr=0.1)
    for _ in range(60):
        optimizer.zero_grad()
        loss = link_loss(space.from_tangent(tangent), edge_index, negatives, 0.125, 20.0, 5.0)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1


def test_negatives_are_unlinked_pairs_of_one_graph():
    generator = torch.Generator().manual_seed(0)
    edge_index = torch.stack(
        [torch.randint(0, 20, (60,), generator=generator), torch.arange(20).repeat_interleave(3)]
    )
    edge_index[0] += edge_index[1] // 20 * 20
    edge_index = torch.cat([edge_index, edge_index + 20, torch.tensor([[45], [3]])], 1)
    negatives = sample_negatives(edge_index, 20, 2, generator)
    first, second = negatives
    linked = {frozenset(pair) for pair in edge_index.T.tolist()}
    assert negatives.shape == (2, 120)
    assert (first != second).all()
    assert torch.equal(first // 20, second // 20)
    assert not linked & {frozenset(pair) for pair in negatives.T.tolist()}
    assert set(negatives.flatten().tolist()) == set(range(40))


def test_negatives_repeat_with_the_seed():
    edge_index = torch.tensor([[1, 0], [0, 1]])
    first, second = (
        sample_negatives(edge_index, 9, 1, torch.Generator().manual_seed(3), 5) for _ in range(2)
    )
    assert first.shape == (2, 5)
    assert torch.equal(first, second)


def test_complete_and_trivial_graphs_have_no_negatives():
    complete = torch.tensor([[1, 2, 2], [0, 0, 1]])
    assert sample_negatives(complete, 3, 1, num_samples=50).shape == (2, 0)
    assert sample_negatives(torch.zeros(2, 0, dtype=torch.long), 1, 3).shape == (2, 0)


def test_errors():
    with pytest.raises(ValueError, match=r"Expected 'assignment' of shape \(G, n, m\)"):
        assignment_entropy(torch.zeros(3, 2))
    with pytest.raises(ValueError, match=r"Expected 'adjacency' of shape \(G, m, m\)"):
        edge_entropy(torch.zeros(1, 3, 2))
    pair = torch.tensor([[1], [0]])
    with pytest.raises(ValueError, match=r"Expected 'curvature' to be non-negative \(got -1.0\)"):
        link_loss(torch.zeros(2, 2), pair, pair, -1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match="Expected 'temperature' to be positive"):
        link_loss(torch.zeros(2, 2), pair, pair, 1.0, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"Expected 'divisor' to be positive \(got 0\)"):
        link_loss(torch.zeros(2, 2), pair, pair, 1.0, 1.0, 1.0, 0)


def random_graph(seed: int, nodes: int = 14) -> tuple[nx.DiGraph, torch.Tensor, torch.Tensor]:
    graph = nx.gnp_random_graph(nodes, 0.3, seed=seed, directed=True)
    rng = np.random.default_rng(seed)
    for _, _, edge in graph.edges(data=True):
        edge["weight"] = float(rng.random())
    sender, receiver, weight = zip(*graph.edges(data="weight"), strict=True)
    return graph, torch.tensor([sender, receiver]), torch.tensor(weight, dtype=torch.float64)


@pytest.mark.parametrize("seed", range(4))
def test_modularity_of_hard_communities_is_that_of_networkx(seed):
    graph, edges, weight = random_graph(seed)
    label = np.random.default_rng(seed).integers(0, 3, 14)
    parts = [set(np.flatnonzero(label == k).tolist()) for k in range(3)]
    expected = nx.community.modularity(graph, parts, weight="weight")
    member = torch.eye(3, dtype=torch.float64)[label]
    # The mass of a supernode does not matter: S has columns that sum to one.
    found = 1 - modularity_loss((member / member.sum(0)).unsqueeze(0), edges, weight)
    hard = 1 - modularity_loss(member.unsqueeze(0), edges, weight)
    assert hard.item() == pytest.approx(expected)
    assert found.item() == pytest.approx(expected)


@pytest.mark.parametrize("shares", [torch.full((1, 14, 3), 0.2), torch.eye(3)[[0] * 14][None]])
def test_modularity_of_one_part_or_of_even_shares_is_zero(shares):
    _, edges, weight = random_graph(0)
    assert modularity_loss(shares.double(), edges, weight).item() == pytest.approx(1)


def test_modularity_is_a_mean_over_graphs_that_do_not_see_each_other():
    _, edges, weight = random_graph(1)
    generator = torch.Generator().manual_seed(0)
    shares = assign(torch.randn(2, 14, 3, generator=generator, dtype=torch.float64))
    beyond = torch.tensor([[28], [3]])
    both = torch.cat([edges, edges + 14, beyond], dim=1)
    weights = torch.cat([weight, weight, weight.new_ones(1)])
    single = [modularity_loss(shares[g : g + 1], edges, weight) for g in range(2)]
    assert modularity_loss(shares, both, weights) == pytest.approx((sum(single) / 2).item())


def test_modularity_without_coupling():
    shares = assign(torch.randn(1, 5, 2)).requires_grad_()
    value = modularity_loss(shares, torch.zeros(2, 0, dtype=torch.int64), torch.zeros(0))
    value.backward()
    assert value.item() == 1
    assert torch.isfinite(shares.grad).all()


def test_gradient_of_modularity():
    _, edges, weight = random_graph(2, nodes=6)
    shares = torch.rand(1, 6, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda s: modularity_loss(s, edges, weight), shares)
