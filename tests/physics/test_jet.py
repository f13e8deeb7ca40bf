from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import jacfwd
from torch.nn import functional as F

from roma_pyg.physics.fused import NormLinear, Pointwise
from roma_pyg.physics.jet import Jet, channels
from roma_pyg.physics.pointwise import rule

DIM = 4
torch.manual_seed(0)
WEIGHT = torch.randn(5, DIM, dtype=torch.float64)
MATRIX = torch.randn(DIM, 3, dtype=torch.float64)
CONSTANT = torch.randn(1, DIM, dtype=torch.float64)
SCALE = torch.rand(5, dtype=torch.float64) + 0.5


def explicit_layer_norm(x: Tensor, weight: Tensor, bias: Tensor, eps: float = 1e-5) -> Tensor:
    """Layer normalisation without the fused kernel, safe to differentiate twice."""
    centered = x - x.mean(-1, keepdim=True)
    return centered * (centered.square().mean(-1, keepdim=True) + eps).rsqrt() * weight + bias


# Every operation that jets know, as functions of coordinates (Q, 4); values are positive where
# they need to be.
OPERATIONS: dict[str, Callable] = {
    "identity": lambda x: x,
    "add": lambda x: x + x.sin(),
    "add constant": lambda x: 2.0 + x + CONSTANT,
    "subtract": lambda x: x.sin() - x.square(),
    "constant minus": lambda x: CONSTANT - x.sin(),
    "number minus": lambda x: 1.0 - x.sin(),
    "negative": lambda x: -x.sin(),
    "multiply": lambda x: x.sin() * (2 * x).cos(),
    "multiply constant": lambda x: CONSTANT * x.sin() * 3.0,
    "product of different coordinates": lambda x: x[..., :2] * x[..., 2:].sin(),
    "three factors": lambda x: x[..., :1] * x[..., 1:2].cos() * x[..., 2:].exp(),
    "divide": lambda x: x.sin() / (2 + x.cos()),
    "constant over": lambda x: CONSTANT / (2 + x.sin()),
    "number over": lambda x: 1.0 / (2 + x.sin()),
    "power": lambda x: (2 + x.sin()) ** 1.5,
    "linear": lambda x: F.linear(x.sin(), WEIGHT, SCALE),
    "matmul": lambda x: x.sin() @ MATRIX,
    "constant matmul": lambda x: torch.ones(2, 3, dtype=x.dtype) @ x.sin(),
    "cat": lambda x: torch.cat([x, x.cos(), x.sin()], dim=-1),
    "cat constant": lambda x: torch.cat([x.sin(), CONSTANT.expand(3, -1)], dim=1),
    "sum": lambda x: (x.sin() * x.cos()).sum(-1, keepdim=True),
    "mean": lambda x: (x * x[..., :1]).mean(dim=1),
    "norm": lambda x: torch.linalg.vector_norm(x.sin() + 2, dim=-1),
    "unsqueeze": lambda x: x.sin().unsqueeze(-2) + torch.ones(2, DIM, dtype=x.dtype),
    "squeeze": lambda x: x.sin()[..., :1].squeeze(-1),
    "sqrt": lambda x: (x.square() + 1).sqrt(),
    "rsqrt": lambda x: (x.square() + 1).rsqrt(),
    "log": lambda x: (x.square() + 1).log(),
    "silu": lambda x: F.silu(F.linear(x, WEIGHT)),
    "gelu": lambda x: F.gelu(F.linear(x, WEIGHT)),
    "softplus": lambda x: F.softplus(F.linear(x, WEIGHT)),
    "tanh": lambda x: torch.tanh(F.linear(x, WEIGHT)),
    "sigmoid": lambda x: torch.sigmoid(F.linear(x, WEIGHT)),
    "layer norm": lambda x: layer_norm(F.linear(x.sin(), WEIGHT)),
}


def layer_norm(x: Tensor | Jet) -> Tensor | Jet:
    bias = SCALE.flip(0)
    if isinstance(x, Jet):
        return F.layer_norm(x, (5,), SCALE, bias)
    return explicit_layer_norm(x, SCALE, bias)


def nested(function: Callable[[Tensor], Tensor], points: Tensor) -> list[Tensor]:
    """Jacobians of first, second and third order at each of the points, ``(..., C, D, D, D)``.

    Functions act on each point by itself, so only blocks on the diagonal are not zero.
    """
    orders, derived = [], function
    for order in range(3):
        derived = jacfwd(derived)
        result = derived(points)
        # (out..., Q, D, Q, D, ...): sum over the points an output does not depend on.
        for axis in range(order + 1):
            result = result.sum(function(points).ndim + axis)
        orders.append(result)
    return orders


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("name", OPERATIONS)
def test_against_nested_forward_mode(name: str, order: int) -> None:
    generator = torch.Generator().manual_seed(1)
    points = torch.randn(3, DIM, dtype=torch.float64, generator=generator)
    function = OPERATIONS[name]
    jet = function(Jet.coordinates(points, order))
    first, second, third = nested(function, points)
    close = {"rtol": 1e-9, "atol": 1e-10}
    torch.testing.assert_close(jet.value, function(points), **close)
    torch.testing.assert_close(jet.gradient.movedim(0, -1), first, **close)
    torch.testing.assert_close(jet.time, first[..., 0], **close)
    if order == 1:
        return
    laplacian = sum(second[..., i, i] for i in range(1, DIM))
    torch.testing.assert_close(jet.laplacian, laplacian, **close)
    if order == 2:
        return
    torch.testing.assert_close(jet.second.movedim((0, 1), (-2, -1)), second, **close)
    gradient = sum(third[..., i, i, :] for i in range(1, DIM))
    torch.testing.assert_close(jet.laplacian_jet().gradient.movedim(0, -1), gradient, **close)
    torch.testing.assert_close(jet.time_jet().gradient.movedim(0, -1), second[..., 0, :], **close)
    torch.testing.assert_close(jet.space_jet().gradient.movedim(0, -1), second[..., 1:, :], **close)
    torch.testing.assert_close(jet.value_jet().gradient.movedim(0, -1), first, **close)


def stencil(function: Callable[[Tensor], Tensor], point: Tensor, axis: int, order: int) -> Tensor:
    """Central difference of the first or second derivative, extrapolated to order eight."""
    unit = torch.zeros_like(point)
    unit[..., axis] = 1
    weights = {1: (4 / 5, -1 / 5, 4 / 105, -1 / 280), 2: (8 / 5, -1 / 5, 8 / 315, -1 / 560)}[order]
    step = 2e-2
    total = -205 / 72 * function(point) if order == 2 else torch.zeros_like(function(point))
    for reach, weight in enumerate(weights, start=1):
        ahead, back = (function(point + sign * reach * step * unit) for sign in (1, -1))
        total = total + weight * (ahead + back if order == 2 else ahead - back)
    return total / step**order


def test_layer_norm_against_finite_differences() -> None:
    # Through torch's own kernel: values alone are asked of it.
    norm = nn.LayerNorm(5).double()
    nn.init.uniform_(norm.weight, 0.5, 1.5)
    inner = nn.Linear(DIM, 5).double()

    def function(x: Tensor | Jet) -> Tensor | Jet:
        return norm(torch.sin(inner(x)))

    points = torch.randn(6, DIM, dtype=torch.float64)
    with torch.no_grad():
        jet = function(Jet.coordinates(points))
        for axis in range(DIM):
            expected = stencil(function, points, axis, 1)
            assert (jet.gradient[axis] - expected).norm() < 1e-8 * expected.norm()
        expected = sum(stencil(function, points, axis, 2) for axis in range(1, DIM))
        assert (jet.laplacian - expected).norm() < 1e-8 * expected.norm()


def random_jet(order: int, shared: bool = False) -> tuple[Tensor, Tensor]:
    value = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    shape = (channels(DIM, order), 1 if shared else 3, 2, 5)
    return value, torch.randn(shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("shape", [None, (4, 5), (3, 4, 5)], ids=str)
def test_norm_linear(order: int, shared: bool, shape: tuple[int, ...] | None) -> None:
    # Derivatives shared by all tokens, and weights that differ between them, exclude each other.
    value, derivatives = random_jet(order, shared and (shape is None or len(shape) == 2))
    weight = None if shape is None else torch.randn(shape, dtype=torch.float64, requires_grad=True)

    def at_once(value: Tensor, derivatives: Tensor, weight: Tensor | None) -> tuple[Tensor, ...]:
        return NormLinear.apply(value, derivatives, weight, DIM, order, 1e-5)

    assert torch.autograd.gradcheck(at_once, (value, derivatives, weight))
    jet = Jet(value, derivatives, DIM, order)
    centered = jet - jet.mean(-1, keepdim=True)
    expected = centered * (centered.square().mean(-1, keepdim=True) + 1e-5).rsqrt()
    if weight is not None:
        expected = expected @ weight.mT
    found = at_once(value, derivatives, weight)
    torch.testing.assert_close(found[0], expected.value)
    torch.testing.assert_close(found[1], expected.full(expected.derivatives))


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("name", ["silu", "tanh", "gelu"])
def test_backward_of_pointwise(order: int, shared: bool, name: str) -> None:
    parts = random_jet(order, shared)
    function = rule(name)
    assert torch.autograd.gradcheck(lambda v, d: Pointwise.apply(v, d, DIM, order, function), parts)


def test_layer_norm_of_order_three_agrees_with_order_two() -> None:
    points = torch.randn(3, DIM, dtype=torch.float64)
    two, three = (OPERATIONS["layer norm"](Jet.coordinates(points, order)) for order in (2, 3))
    torch.testing.assert_close(two.laplacian, three.laplacian)


def test_functions_of_own_make() -> None:
    # sin(t) x y^2: everything by hand.
    points = torch.tensor([[0.3, 2.0, 3.0]], dtype=torch.float64)
    t, x, y = (Jet.coordinates(points, 3)[..., i : i + 1] for i in range(3))
    field = torch.sin(t) * x * y.square()
    sin, cos = math.sin(0.3), math.cos(0.3)
    assert field.value.item() == pytest.approx(18 * sin)
    assert field.gradient.flatten().tolist() == pytest.approx([18 * cos, 9 * sin, 12 * sin])
    assert field.laplacian.item() == pytest.approx(4 * sin)
    assert field.second[1, 2].item() == pytest.approx(6 * sin)
    laplacian = field.laplacian_jet().gradient.flatten().tolist()
    assert laplacian == pytest.approx([4 * cos, 2 * sin, 0])


def test_coordinates_are_shared_by_tokens() -> None:
    points = torch.randn(2, DIM, dtype=torch.float64)
    tokens = torch.randn(7, 1, DIM, dtype=torch.float64)
    shared = Jet.coordinates(points).sin() + tokens
    assert shared.shape == (7, 2, DIM)
    assert shared.derivatives.shape == (5, 1, 2, DIM)
    assert shared.gradient.shape == (4, 7, 2, DIM)
    copied = Jet.coordinates(points.expand(7, 2, DIM)).sin() + tokens
    for one, other in ((shared, copied), (shared.silu(), copied.silu())):
        torch.testing.assert_close(one.gradient, other.gradient)
        torch.testing.assert_close(one.laplacian, other.laplacian)
    both = torch.cat([shared, tokens.expand(-1, 2, -1)], dim=-1)
    assert both.shape == (7, 2, 2 * DIM)
    assert not both.laplacian[..., DIM:].any()


def test_modules() -> None:
    network = nn.Sequential(nn.Linear(DIM, 8), nn.GELU(), nn.LayerNorm(8), nn.Linear(8, 2)).double()
    jet = network(Jet.coordinates(torch.randn(3, DIM, dtype=torch.float64)))
    assert jet.laplacian.shape == (3, 2)
    jet.laplacian.sum().backward()
    assert network[0].weight.grad.abs().sum() > 0


def test_unknown_functions_are_refused() -> None:
    jet = Jet.coordinates(torch.randn(3, DIM))
    for function in (torch.relu, lambda x: F.gelu(x, approximate="tanh"), torch.trace):
        with pytest.raises(NotImplementedError, match="on a jet"):
            function(jet)
    with pytest.raises(NotImplementedError, match="softplus with its defaults"):
        F.softplus(jet, 2.0)
    with pytest.raises(NotImplementedError, match="factor of a matrix product"):
        jet @ jet
    with pytest.raises(NotImplementedError, match="2-norm"):
        torch.linalg.vector_norm(jet, 1)
    with pytest.raises(NotImplementedError, match="no dropout"):
        F.dropout(jet, 0.5)
    with pytest.raises(NotImplementedError, match="last dimension"):
        F.layer_norm(jet, (3, DIM))
    with pytest.raises(NotImplementedError, match="constant power"):
        jet**jet
    with pytest.raises(NotImplementedError, match="constant weights"):
        F.linear(torch.ones(DIM), jet)
    with pytest.raises(AttributeError, match="relu"):
        _ = jet.relu
    assert F.dropout(jet, 0.5, training=False) is jet


def test_errors() -> None:
    with pytest.raises(ValueError, match="'order' to be 1, 2 or 3"):
        Jet.coordinates(torch.zeros(1, 4), 4)
    with pytest.raises(ValueError, match="one dimension more"):
        Jet(torch.zeros(2), torch.zeros(5), 4, 2)
    one, two = Jet.coordinates(torch.zeros(1, 4), 1), Jet.coordinates(torch.zeros(1, 4), 2)
    with pytest.raises(ValueError, match="same dim and order"):
        one + two
    with pytest.raises(ValueError, match="order 2 or more for the Laplacian"):
        _ = one.laplacian
    with pytest.raises(ValueError, match="order 3 or more for second derivatives"):
        _ = two.second
    with pytest.raises(IndexError, match=r"start with '\.\.\.'"):
        one[0]


def test_parameters_are_differentiated_once() -> None:
    points = torch.randn(3, DIM, requires_grad=True)
    value = torch.nn.functional.silu(Jet.coordinates(points)).laplacian.sum()
    with pytest.raises(RuntimeError, match="gradient of first order"):
        torch.autograd.grad(value, points, create_graph=True)
