from __future__ import annotations

import pytest
import torch

from roma_pyg.nn.pool import assign, lift, pool


def assignment(n=6, m=2):
    generator = torch.Generator().manual_seed(0)
    return assign(torch.randn(3, n, m, generator=generator, dtype=torch.float64))


def test_pool_by_hand():
    shares = torch.tensor([[[0.5, 0.0], [0.5, 0.0], [0.0, 0.25], [0.0, 0.75]]])
    x = torch.tensor([[[1.0], [3.0], [4.0], [8.0]]])
    assert pool(shares, x).tolist() == [[[4.0], [14.0]]]


def test_pool_of_ones_counts_the_nodes_per_supernode():
    ones = torch.ones(3, 6, 1, dtype=torch.float64)
    torch.testing.assert_close(pool(assignment(), ones), torch.full_like(ones[:, :2], 3.0))


def test_lift_after_pool_keeps_constants():
    x = torch.full((3, 6, 2), 0.7, dtype=torch.float64)
    torch.testing.assert_close(lift(assignment(), pool(assignment(), x)), x)


def test_lift_inverts_pool_for_a_permutation():
    shares = torch.eye(4)[[2, 0, 3, 1]].unsqueeze(0)
    x = torch.randn(1, 4, 3)
    torch.testing.assert_close(lift(shares, pool(shares, x)), x)


def test_lift_gives_zero_without_a_supernode():
    shares = torch.tensor([[[1.0], [0.0]]], requires_grad=True)
    result = lift(shares, torch.ones(1, 1, 1))
    assert result.flatten().tolist() == [0.5, 0.0]
    result[:, :1].sum().backward()
    assert torch.isfinite(shares.grad).all()


def test_gradcheck():
    shares, x = assignment().requires_grad_(), torch.randn(3, 6, 2, dtype=torch.float64)
    assert torch.autograd.gradcheck(pool, (shares, x.requires_grad_()))
    assert torch.autograd.gradcheck(lambda s: lift(s, x[:, :2]), (shares,))


def test_errors():
    with pytest.raises(ValueError, match=r"Expected 'x' of shape \(G, n, C\) = \(3, 6, C\)"):
        pool(assignment(), torch.zeros(3, 5, 1))
    with pytest.raises(ValueError, match=r"Expected 'x' of shape \(G, m, C\) = \(3, 2, C\)"):
        lift(assignment(), torch.zeros(3, 6, 1))
    with pytest.raises(ValueError, match=r"Expected 'assignment' of shape \(G, n, m\)"):
        pool(torch.zeros(6, 2), torch.zeros(3, 6, 1))
