from __future__ import annotations

import pytest
import torch
from torch import nn

from roma_pyg.config import EffectiveConfig
from roma_pyg.training.balance import ResidualWeights, gradient_norm


def values(weights: ResidualWeights) -> dict[str, float]:
    return {name: float(value) for name, value in weights().items()}


def balanced(**options) -> ResidualWeights:
    shares = {"residual": 0.5, "residual_gradient": 0.1}
    return ResidualWeights(EffectiveConfig(**(shares | options)))


def test_fixed_weights_stay():
    weights = balanced(weighting="fixed")
    assert values(weights) == pytest.approx({"residual": 0.5, "residual_gradient": 0.1})
    weights.update(3.0, {"residual": 1.0, "residual_gradient": 1.0})
    assert values(weights) == pytest.approx({"residual": 0.5, "residual_gradient": 0.1})


def test_balanced_weights_by_hand():
    weights = balanced()
    assert values(weights) == {"residual": 0.0, "residual_gradient": 0.0}
    weights.update(2.0, {"residual": 4.0, "residual_gradient": 0.5})
    assert values(weights) == pytest.approx({"residual": 0.25, "residual_gradient": 0.4})
    weights.update(1.0, {"residual": 1.0, "residual_gradient": 1.0})
    expected = {"residual": 0.9 * 0.25 + 0.05, "residual_gradient": 0.9 * 0.4 + 0.01}
    assert values(weights) == pytest.approx(expected)


def test_a_term_without_gradient_keeps_its_weight():
    weights = balanced()
    weights.update(2.0, {"residual": 4.0, "residual_gradient": 0.0})
    assert values(weights) == pytest.approx({"residual": 0.25, "residual_gradient": 0.0})


def test_weights_are_saved():
    one, other = balanced(), balanced()
    one.update(2.0, {"residual": 4.0, "residual_gradient": 0.5})
    other.load_state_dict(one.state_dict())
    for weights in (one, other):
        weights.update(1.0, {"residual": 1.0, "residual_gradient": 1.0})
    assert values(one) == values(other)


def test_gradient_norm_by_hand():
    x = nn.Parameter(torch.tensor([1.0, 2.0]))
    y, unused = nn.Parameter(torch.tensor(3.0)), nn.Parameter(torch.zeros(2))
    value = (x.square().sum() + 4 * y) / 2
    assert gradient_norm(value, [x, y, unused]) == pytest.approx((1 + 4 + 4) ** 0.5)
    assert gradient_norm(value, [unused]) == 0.0
    value.backward()  # the graph is still there
    assert x.grad is not None
