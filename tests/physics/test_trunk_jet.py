"""Jets through the operator networks of the model, in double precision."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacfwd

from roma_pyg.nn.trunk import DeepONet, FourierFeatures, Nomad
from roma_pyg.physics import Jet


class PlainLayerNorm(nn.Module):
    """Without torch's fused kernel, whose second derivatives in forward mode were wrong once."""

    def forward(self, x: Tensor) -> Tensor:
        centered = x - x.mean(-1, keepdim=True)
        return centered * (centered.square().mean(-1, keepdim=True) + 1e-5).rsqrt()


def plain(operator):
    """Return a copy with plain layer norms."""
    result = copy.deepcopy(operator)
    for block in result.trunk.blocks:
        block.norm = PlainLayerNorm()
    result.trunk.norm = PlainLayerNorm()
    return result


@pytest.fixture(params=[(DeepONet, 0.0), (DeepONet, 0.1), (Nomad, 0.0), (Nomad, 0.1)])
def operator(request):
    torch.manual_seed(0)
    kind, onset = request.param
    return kind(6, 4, 5, 12, 2, FourierFeatures(8, 0.5), 3, onset).double()


@pytest.fixture
def inputs(operator):
    torch.manual_seed(1)
    double = {"dtype": torch.float64}
    points = torch.randn(2, 4, **double) / 3
    points[:, 0].abs_()  # the time ahead
    start = {} if operator.onset is None else {"start": torch.randn(3, 6, **double)}
    return start | {
        "points": points,
        "branch": torch.randn(3, 6, **double),
        "token": torch.randn(3, 4, **double),
        "field": torch.randn(3, 2, 3, **double),
    }


def derivatives(operator, points, branch, token, field, start=None):
    """Value, first, second and third derivatives at each point by nested forward mode."""

    def at(q):
        return lambda p: operator(p[None], branch, token, field[:, q : q + 1], start)[:, 0]

    orders = []
    for order in range(4):
        parts = []
        for q, point in enumerate(points):
            function = at(q)
            for _ in range(order):
                function = jacfwd(function)
            parts.append(function(point))
        orders.append(torch.stack(parts, dim=1))
    return orders


def relative(found, expected):
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize("order", [1, 2, 3])
def test_derivatives(operator, inputs, order):
    points = inputs.pop("points")
    value, first, second, third = derivatives(plain(operator), points, **inputs)
    jet = operator(Jet.coordinates(points, order), **inputs)
    assert relative(jet.value, value) < 1e-12
    assert relative(jet.gradient.movedim(0, -1), first) < 1e-12
    if order > 1:
        assert relative(jet.laplacian, sum(second[..., i, i] for i in (1, 2, 3))) < 1e-12
    if order > 2:
        assert relative(jet.second.movedim((0, 1), (-2, -1)), second) < 1e-12
        gradient = sum(third[..., i, i, :] for i in (1, 2, 3))
        assert relative(jet.laplacian_jet().gradient.movedim(0, -1), gradient) < 1e-12


@pytest.mark.parametrize("order", [2, 3])
def test_gradients_of_parameters_and_inputs(operator, inputs, order):
    reference = plain(operator)
    for part in inputs.values():
        part.requires_grad_()
    points = inputs.pop("points").detach()

    def loss(value, first, laplacian):
        weight = torch.arange(1, 5, dtype=torch.float64)
        return value.square().sum() + (weight * first.sin()).sum() + laplacian.square().sum()

    value, first, second, _ = derivatives(reference, points, **inputs)
    expected = loss(value, first, sum(second[..., i, i] for i in (1, 2, 3)))
    jet = operator(Jet.coordinates(points, order), **inputs)
    found = loss(jet.value, jet.gradient.movedim(0, -1), jet.laplacian)
    sources = list(inputs.values())
    ours = torch.autograd.grad(found, [*operator.parameters(), *sources])
    theirs = torch.autograd.grad(expected, [*reference.parameters(), *sources])
    for one, other in zip(ours, theirs, strict=True):
        assert relative(one, other) < 1e-8


def test_gradients_of_parameters_by_finite_differences(operator, inputs):
    points = inputs.pop("points")
    parameter = operator.trunk.blocks[0].inner.weight
    direction = torch.randn_like(parameter)

    def loss():
        jet = operator(Jet.coordinates(points), **inputs)
        return jet.laplacian.square().sum() + jet.time.square().sum()

    (gradient,) = torch.autograd.grad(loss(), parameter)
    start, step = parameter.detach().clone(), 1e-2
    slope = 0.0
    with torch.no_grad():
        for reach, weight in enumerate((4 / 5, -1 / 5, 4 / 105, -1 / 280), start=1):
            for sign in (1, -1):
                parameter.copy_(start + sign * reach * step * direction)
                slope += sign * weight * float(loss())
    slope /= step
    assert float((gradient * direction).sum()) == pytest.approx(slope, rel=1e-8)
