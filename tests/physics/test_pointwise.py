from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from roma_pyg.physics.pointwise import power, register, rule

POINTS = torch.linspace(0.2, 2.5, 12, dtype=torch.float64)
ANYWHERE = torch.linspace(-3, 3, 13, dtype=torch.float64)
FUNCTIONS = [
    ("sin", torch.sin, ANYWHERE),
    ("cos", torch.cos, ANYWHERE),
    ("exp", torch.exp, ANYWHERE),
    ("log", torch.log, POINTS),
    ("sqrt", torch.sqrt, POINTS),
    ("rsqrt", torch.rsqrt, POINTS),
    ("reciprocal", torch.reciprocal, POINTS),
    ("square", torch.square, ANYWHERE),
    ("tanh", torch.tanh, ANYWHERE),
    ("sigmoid", torch.sigmoid, ANYWHERE),
    ("softplus", F.softplus, ANYWHERE),
    ("silu", F.silu, ANYWHERE),
    ("gelu", F.gelu, ANYWHERE),
]


def nested(function, points: Tensor) -> list[Tensor]:
    """Value and three derivatives by reverse mode, again and again."""
    x = points.clone().requires_grad_()
    parts = [function(x)]
    for _ in range(3):
        parts.append(torch.autograd.grad(parts[-1].sum() + 0 * x.sum(), x, create_graph=True)[0])
    return parts


@pytest.mark.parametrize(("name", "function", "points"), FUNCTIONS, ids=lambda x: str(x)[:12])
def test_derivatives(name: str, function, points: Tensor) -> None:
    found = rule(name)(points)
    for order, (ours, reference) in enumerate(zip(found, nested(function, points), strict=True)):
        torch.testing.assert_close(ours, reference.detach(), rtol=1e-12, atol=1e-12, msg=str(order))


@pytest.mark.parametrize("exponent", [-1.5, -1, 0.5, 2.5, 3])
def test_power(exponent: float) -> None:
    found = power(exponent)(POINTS)
    for ours, reference in zip(found, nested(lambda x: x**exponent, POINTS), strict=True):
        torch.testing.assert_close(ours, reference.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("exponent", [0, 1, 2])
def test_integer_power_at_zero(exponent: int) -> None:
    factor = math.perm(exponent, exponent)
    parts = [float(part) for part in power(exponent)(torch.zeros((), dtype=torch.float64))]
    assert parts == [float(factor) if order == exponent else 0.0 for order in range(4)]


def test_of_torch_functions_by_gradcheck() -> None:
    # Differentiable themselves: what order 3 needs.
    x = ANYWHERE.clone().requires_grad_()
    for name in ("silu", "gelu", "tanh"):
        assert torch.autograd.gradcheck(lambda x, name=name: rule(name)(x)[2], x)


def test_unknown_name() -> None:
    assert rule("relu") is None


def test_register() -> None:
    from roma_pyg.physics import pointwise

    try:
        register("sinc3")(lambda x: (x, x, x, x))
        assert rule("sinc3") is not None
    finally:
        del pointwise._RULES["sinc3"]
