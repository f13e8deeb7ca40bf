from __future__ import annotations

import pytest
import torch

from roma_pyg.geometry import FlatSpace, PoincareBall, make_space


@pytest.mark.parametrize("channels", [1, 3, 96])
@pytest.mark.parametrize("curvature", [0.125, 1.0])
def test_radius_is_the_root_mean_square_whatever_the_width(channels, curvature):
    space = PoincareBall(curvature)
    point = space.from_tangent(torch.full((1, channels), 0.01))
    origin = torch.zeros_like(point)
    distance = space.squared_distance(point, origin).sqrt() * curvature**0.5
    assert distance.item() == pytest.approx(2 * 0.01, rel=1e-4)


@pytest.mark.parametrize("curvature", [0.125, 1.0])
def test_chart_inverts_up_to_the_soft_bound(curvature):
    space = PoincareBall(curvature)
    tangent = torch.randn(16, 8, generator=torch.Generator().manual_seed(0))
    bound = torch.sqrt(1 + tangent.square().mean(-1, keepdim=True) / 9)
    again = space.to_tangent(space.from_tangent(tangent))
    torch.testing.assert_close(again, tangent / bound, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_any_tangent_vector_lands_inside_with_a_gradient(dtype):
    space = PoincareBall(0.125)
    tangent = torch.tensor([[0.0, 0.0], [1e-15, 0.0], [30.0, 40.0], [1e8, -1e8]], dtype=dtype)
    tangent.requires_grad_()
    point = space.from_tangent(tangent)
    (gradient,) = torch.autograd.grad(point[:, 0].sum(), tangent)
    assert (0.125**0.5 * point.norm(dim=-1) < 1).all()
    assert torch.isfinite(gradient).all()
    assert gradient[2, 0] != 0


def test_mobius_linear_of_the_ball_with_bias_moves_the_origin():
    space = PoincareBall(1.0)
    bias = torch.tensor([0.2, -0.1, 0.0])
    moved = space.linear(torch.zeros(1, 2), torch.randn(3, 2), bias)
    torch.testing.assert_close(moved[0], space.from_tangent(bias))


@pytest.mark.parametrize("size", [1e-3, 1.0, 30.0])
@pytest.mark.parametrize("curvature", [0.125, 1.0])
def test_gradients_of_the_ball(size, curvature):
    space = PoincareBall(curvature)
    generator = torch.Generator().manual_seed(0)
    double = {"dtype": torch.float64, "generator": generator}
    tangent, weight = size * torch.randn(3, 4, **double), torch.randn(2, 4, **double)
    points, bias = space.from_tangent(tangent), torch.randn(2, **double)
    for tensor in (tangent, weight, points, bias):
        tensor.requires_grad_()
    assert torch.autograd.gradcheck(space.from_tangent, (tangent,))
    assert torch.autograd.gradcheck(space.to_tangent, (points,))
    assert torch.autograd.gradcheck(space.linear, (points, weight, bias))


def test_the_ball_can_be_differentiated_once():
    x = torch.randn(3, 2, requires_grad=True)
    points = PoincareBall(1.0).from_tangent(x)
    with pytest.raises(RuntimeError, match="gradient of first order"):
        torch.autograd.grad(points.sum(), x, create_graph=True)


def test_flat_space_is_plain_algebra():
    space = make_space("euclidean", 1.0)
    x, y = torch.tensor([[1.0, 2.0]]), torch.tensor([[4.0, 6.0]])
    assert isinstance(space, FlatSpace)
    assert space.from_tangent(x) is x
    assert space.to_tangent(x) is x
    assert space.squared_distance(x, y).tolist() == [25.0]
    assert space.linear(x, torch.tensor([[1.0, -1.0]]), torch.tensor([0.5])).tolist() == [[-0.5]]


def test_errors():
    with pytest.raises(ValueError, match=r"Expected 'curvature' to be positive \(got 0\)"):
        PoincareBall(0)
    with pytest.raises(ValueError, match=r"Expected 'geometry' to be .* \(got 'spherical'\)"):
        make_space("spherical", 1.0)
