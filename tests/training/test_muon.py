from __future__ import annotations

import pytest
import torch
from torch import nn

from roma_pyg.training import muon
from roma_pyg.training.muon import (
    Muon,
    _iterate,
    _iterate_on_gram,
    has_bfloat16_units,
    orthogonalize,
)
from roma_pyg.training.optimizer import make_optimizer


@pytest.mark.parametrize("shape", [(6, 6), (4, 9), (9, 4)])
def test_orthogonalize_keeps_singular_vectors_and_levels_singular_values(shape):
    matrix = torch.randn(shape, dtype=torch.float64)
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    result = u.mT @ orthogonalize(matrix) @ vh.mT
    # In the basis of the singular vectors the result is diagonal.
    assert torch.allclose(result, torch.diag(result.diagonal()), atol=1e-9)
    big = s / s.norm() > 0.05
    assert result.diagonal()[big].min() > 0.6
    assert result.diagonal()[big].max() < 1.3


def test_orthogonalize_of_zero_is_zero():
    assert torch.equal(orthogonalize(torch.zeros(3, 5)), torch.zeros(3, 5))


def test_both_iterations_are_the_same():
    x = torch.randn(3, 5, 9, dtype=torch.float64)
    x = x / torch.linalg.matrix_norm(x, keepdim=True)
    torch.testing.assert_close(_iterate(x), _iterate_on_gram(x))


@pytest.mark.parametrize("units", [False, True])
def test_single_precision_with_and_without_bfloat16_units(units, monkeypatch):
    monkeypatch.setattr(muon, "has_bfloat16_units", lambda device: units)
    torch.manual_seed(0)
    matrix = torch.randn(2, 16, 48)
    result = orthogonalize(matrix)
    assert result.dtype == torch.float32
    values = torch.linalg.svdvals(result)
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert muon.has_bfloat16_units("cpu") == units


def test_no_bfloat16_units_on_unknown_devices():
    assert not has_bfloat16_units("mps")


def test_first_matrix_step_by_hand():
    # One singular value: the direction is e1 e1^T whatever the length of the gradient.
    weight = nn.Parameter(torch.zeros(2, 8, dtype=torch.float64))
    optimizer = Muon([{"params": [weight], "orthogonal": True}], learning_rate=0.1)
    weight.grad = torch.zeros_like(weight)
    weight.grad[0, 0] = 7.0
    optimizer.step()
    x = 1.0
    for _ in range(5):
        x = 3.4445 * x - 4.7750 * x**3 + 2.0315 * x**5
    expected = -0.1 * 0.2 * 8**0.5 * x
    assert weight[0, 0].item() == pytest.approx(expected, rel=1e-5)
    assert weight.detach().abs().sum().item() == pytest.approx(abs(expected), rel=1e-5)


def test_rest_follows_adamw():
    torch.manual_seed(0)
    ours = nn.Parameter(torch.randn(5))
    theirs = nn.Parameter(ours.detach().clone())
    mine = Muon([{"params": [ours], "weight_decay": 0.1}], learning_rate=0.05)
    adamw = torch.optim.AdamW([theirs], lr=0.05, weight_decay=0.1, betas=(0.9, 0.99))
    for _ in range(7):
        gradient = torch.randn(5)
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        mine.step()
        adamw.step()
    assert torch.allclose(ours, theirs, atol=1e-6)


def test_matrix_of_three_axes_counts_as_a_matrix():
    flat = nn.Parameter(torch.zeros(3, 8))
    deep = nn.Parameter(torch.zeros(3, 4, 2))
    gradient = torch.randn(3, 8)
    flat.grad, deep.grad = gradient.clone(), gradient.view(3, 4, 2).clone()
    groups = [{"params": [flat, deep], "orthogonal": True}]
    Muon(groups, learning_rate=0.1).step()
    assert torch.allclose(flat.view(3, 4, 2), deep)


def test_state_dict_round_trip_continues_exactly():
    def steps(model, optimizer, seeds):
        for seed in seeds:
            x = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
            optimizer.zero_grad()
            model(x).square().sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    whole, parts = nn.Linear(3, 2), nn.Linear(3, 2)
    parts.load_state_dict(whole.state_dict())
    one = make_optimizer(whole, 0.1, 0.01, "muon")
    first = make_optimizer(parts, 0.1, 0.01, "muon")
    steps(whole, one, range(6))
    steps(parts, first, range(3))
    second = make_optimizer(parts, 0.1, 0.01, "muon")
    second.load_state_dict(first.state_dict())
    steps(parts, second, range(3, 6))
    assert torch.equal(whole.weight, parts.weight)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": 0.0}, "Expected 'learning_rate' to be positive"),
        ({"learning_rate": 0.1, "momentum": 1.0}, r"Expected 'momentum' in \[0, 1\)"),
    ],
)
def test_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        Muon([{"params": [nn.Parameter(torch.zeros(2, 2))]}], **arguments)


def test_a_vector_has_nothing_to_orthogonalise():
    with pytest.raises(ValueError, match="at least two axes"):
        Muon([{"params": [nn.Parameter(torch.zeros(2))], "orthogonal": True}], 0.1)
