from __future__ import annotations

import math

import pytest
import torch

from roma_pyg.geometry import poincare as pb

CURVATURES = (0.125, 1.0, 3.0)
TOLERANCE = {torch.float32: 2e-4, torch.float64: 1e-9}
DTYPES = tuple(TOLERANCE)
SEEDS = (0, 1)


@pytest.fixture(params=SEEDS)
def generator(request):
    return torch.Generator().manual_seed(request.param)


@pytest.fixture(params=CURVATURES)
def c(request):
    return request.param


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request):
    return request.param


def points(generator, c, dtype, count=64, channels=5, radius=2.0):
    """Points whose hyperbolic radius sqrt(c) |v| is uniform in [0, radius]."""
    direction = torch.randn(count, channels, generator=generator, dtype=torch.float64)
    length = radius * torch.rand(count, 1, generator=generator, dtype=torch.float64) / c**0.5
    tangent = direction / direction.norm(dim=-1, keepdim=True) * length
    return pb.expmap0(tangent.to(dtype), c)


def close(actual, expected, dtype):
    torch.testing.assert_close(actual, expected, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_log_inverts_exp(generator, c, dtype):
    tangent = 2.0 / c**0.5 * torch.rand(64, 3, generator=generator, dtype=dtype) / 3**0.5
    close(pb.logmap0(pb.expmap0(tangent, c), c), tangent, dtype)


def test_distance_to_the_origin_is_twice_the_tangent_length(generator, c, dtype):
    tangent = torch.rand(64, 3, generator=generator, dtype=dtype) / c**0.5
    point = pb.expmap0(tangent, c)
    close(pb.distance(point, torch.zeros_like(point), c), 2 * tangent.norm(dim=-1), dtype)


def test_distance_on_a_line_by_hand():
    # On a diameter of the unit ball distances are differences of 2 artanh.
    x, y = torch.tensor([[0.5, 0.0]]), torch.tensor([[-0.25, 0.0]])
    expected = 2 * (math.atanh(0.5) + math.atanh(0.25))
    assert pb.distance(x, y, 1.0).item() == pytest.approx(expected, rel=1e-6)
    assert pb.squared_distance(x, y, 1.0).item() == pytest.approx(expected**2, rel=1e-6)


def test_distance_equals_the_arcosh_form(generator, c):
    x, y = (points(generator, c, torch.float64) for _ in range(2))
    gap = (1 - c * x.square().sum(-1)) * (1 - c * y.square().sum(-1))
    expected = torch.acosh(1 + 2 * c * (x - y).square().sum(-1) / gap) / c**0.5
    close(pb.distance(x, y, c), expected, torch.float64)


def test_distance_is_the_length_of_the_mobius_difference(generator, c, dtype):
    x, y = (points(generator, c, dtype) for _ in range(2))
    difference = pb.mobius_add(-x, y, c)
    expected = 2 * torch.atanh(c**0.5 * difference.norm(dim=-1)) / c**0.5
    torch.testing.assert_close(pb.distance(x, y, c), expected, rtol=2e-3, atol=1e-5)


def test_distance_is_a_metric(generator, c, dtype):
    x, y, z = (points(generator, c, dtype) for _ in range(3))
    close(pb.distance(x, y, c), pb.distance(y, x, c), dtype)
    assert torch.equal(pb.distance(x, x, c), torch.zeros(64, dtype=dtype))
    slack = pb.distance(x, y, c) + pb.distance(y, z, c) - pb.distance(x, z, c)
    assert (slack > -1e-3).all()


def test_mobius_translation_keeps_distances(generator, c):
    x, y, z = (points(generator, c, torch.float64, radius=1.0) for _ in range(3))
    moved = pb.distance(pb.mobius_add(z, x, c), pb.mobius_add(z, y, c), c)
    close(moved, pb.distance(x, y, c), torch.float64)


def test_mobius_add_cancels_on_the_left(generator, c, dtype):
    x, y = (points(generator, c, dtype, radius=1.5) for _ in range(2))
    again = pb.mobius_add(-x, pb.mobius_add(x, y, c), c)
    torch.testing.assert_close(again, y, rtol=2e-3, atol=1e-3 if dtype == torch.float32 else 1e-8)


def test_mobius_add_equals_the_textbook_form(generator, c):
    x, y = (points(generator, c, torch.float64) for _ in range(2))
    xy, x2, y2 = ((a * b).sum(-1, keepdim=True) for a, b in ((x, y), (x, x), (y, y)))
    expected = ((1 + 2 * c * xy + c * y2) * x + (1 - c * x2) * y) / (
        1 + 2 * c * xy + c**2 * x2 * y2
    )
    close(pb.mobius_add(x, y, c), expected, torch.float64)


def test_mobius_add_has_the_origin_as_neutral_element(generator, c, dtype):
    x = points(generator, c, dtype)
    zero = torch.zeros_like(x)
    close(pb.mobius_add(x, zero, c), x, dtype)
    close(pb.mobius_add(zero, x, c), x, dtype)
    close(pb.mobius_add(x, -x, c), zero, dtype)


def test_mobius_matvec_with_the_identity(generator, c, dtype):
    x = points(generator, c, dtype)
    close(pb.mobius_matvec(torch.eye(5, dtype=dtype), x, c), x, dtype)


def test_mobius_matvec_equals_the_gyrovector_form(generator, c):
    x = points(generator, c, torch.float64)
    weight = torch.randn(3, 5, generator=generator, dtype=torch.float64) / 2
    image = x @ weight.T
    norm, image_norm = (v.norm(dim=-1, keepdim=True) for v in (x, image))
    scale = torch.tanh(image_norm / norm * torch.atanh(c**0.5 * norm)) / (image_norm * c**0.5)
    close(pb.mobius_matvec(weight, x, c), scale * image, torch.float64)


def test_mobius_matvec_composes(generator, c):
    x = points(generator, c, torch.float64, radius=1.0)
    a, b = (torch.randn(5, 5, generator=generator, dtype=torch.float64) / 3 for _ in range(2))
    twice = pb.mobius_matvec(a, pb.mobius_matvec(b, x, c), c)
    close(twice, pb.mobius_matvec(a @ b, x, c), torch.float64)


def test_mobius_matvec_maps_the_kernel_to_the_origin():
    weight = torch.tensor([[0.0, 1.0]])
    assert pb.mobius_matvec(weight, torch.tensor([[0.5, 0.0]]), 1.0).tolist() == [[0.0]]


def test_project_changes_only_points_near_the_edge(c, dtype):
    limit = (1 - pb.edge_margin(dtype)) / c**0.5
    x = torch.tensor([[0.5 * limit, 0.0], [2.0 * limit, 0.0], [0.0, 1e10]], dtype=dtype)
    projected = pb.project(x, c)
    assert torch.equal(projected[0], x[0])
    close(projected[1:].norm(dim=-1), torch.full((2,), limit, dtype=dtype), dtype)
    assert (c**0.5 * projected.norm(dim=-1) < 1).all()


def test_conformal_factor_by_hand():
    x = torch.tensor([[0.5, 0.0], [0.0, 0.0]])
    assert pb.conformal_factor(x, 1.0).flatten().tolist() == pytest.approx([8 / 3, 2.0])


MAPS = {
    "project": pb.project,
    "expmap0": pb.expmap0,
    "logmap0": pb.logmap0,
    "mobius_add": lambda x, c: pb.mobius_add(x, x.detach().flip(-1), c),
    "mobius_add_right": lambda x, c: pb.mobius_add(x.detach().flip(-1), x, c),
    "mobius_add_opposite": lambda x, c: pb.mobius_add(-x, x.detach(), c),
    "mobius_matvec": lambda x, c: pb.mobius_matvec(x.new_tensor([[1.0, 2.0], [0.0, 0.0]]), x, c),
    "distance": lambda x, c: pb.distance(x, x.detach().flip(-1), c),
    "distance_same": lambda x, c: pb.distance(x, x.detach(), c),
    "squared_distance": lambda x, c: pb.squared_distance(x, -x.detach(), c),
    "conformal_factor": pb.conformal_factor,
}


@pytest.mark.parametrize("name", MAPS)
def test_finite_values_and_gradients_from_zero_to_the_edge(name, c, dtype):
    edge = 1 / c**0.5
    for magnitude in (0.0, 1e-30, 1e-15, 1e-8, 1e-4, 1e-2, 0.5, 1 - 1e-3, 1 - 1e-7, 1.0, 1e3):
        for direction in ((1.0, 0.0), (0.6, 0.8)):
            x = torch.tensor([direction], dtype=dtype) * magnitude * edge
            # Outside of the ball only the maps that take any vector are defined.
            if magnitude >= 1.0 and name not in ("project", "expmap0"):
                x = pb.project(x, c)
            x.requires_grad_()
            value = MAPS[name](x, c)
            (gradient,) = torch.autograd.grad(value.sum(), x)
            assert torch.isfinite(value).all(), (magnitude, value)
            assert torch.isfinite(gradient).all(), (magnitude, gradient)


@pytest.mark.parametrize("magnitude", [1e-15, 1e-10, 1e-5])
def test_small_vectors_are_mapped_exactly(magnitude, c, dtype):
    x = torch.tensor([[0.6, -0.8]], dtype=dtype) * magnitude
    for function in (pb.expmap0, pb.logmap0):
        torch.testing.assert_close(function(x, c), x, rtol=1e-5, atol=0.0)
    x.requires_grad_()
    (gradient,) = torch.autograd.grad(pb.expmap0(x, c)[0, 0], x)
    torch.testing.assert_close(gradient, x.new_tensor([[1.0, 0.0]]), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("radius", [1e-3, 0.7, 0.999])
def test_gradcheck(radius, c):
    x = torch.tensor([[0.6, 0.8], [-0.8, 0.6]], dtype=torch.float64) * radius / c**0.5
    y = torch.tensor([[0.3, -0.2], [0.1, 0.5]], dtype=torch.float64) / c**0.5
    weight = torch.tensor([[0.5, 0.2], [-0.1, 0.7]], dtype=torch.float64)
    for tensor in (x, y, weight):
        tensor.requires_grad_()
    check = {"eps": 1e-7, "atol": 1e-4, "rtol": 1e-3}
    assert torch.autograd.gradcheck(lambda v: pb.expmap0(v, c), (x,), **check)
    assert torch.autograd.gradcheck(lambda v: pb.logmap0(v, c), (x,), **check)
    assert torch.autograd.gradcheck(lambda a, b: pb.mobius_add(a, b, c), (x, y), **check)
    assert torch.autograd.gradcheck(lambda w, a: pb.mobius_matvec(w, a, c), (weight, x), **check)
    assert torch.autograd.gradcheck(lambda a, b: pb.squared_distance(a, b, c), (x, y), **check)


def test_fermi_dirac_by_hand():
    logits, probability = pb.fermi_dirac(torch.tensor([2.0, 4.0]), radius=2.0, temperature=0.5)
    assert logits.tolist() == [0.0, -4.0]
    assert probability.tolist() == pytest.approx([0.5, 1 / (1 + math.exp(4))])


def test_fermi_dirac_names_a_bad_temperature():
    with pytest.raises(ValueError, match=r"Expected 'temperature' to be positive \(got 0\)"):
        pb.fermi_dirac(torch.zeros(1), 1.0, 0)
