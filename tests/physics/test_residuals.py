from __future__ import annotations

import pytest
import torch

from roma_pyg.physics import Jet
from roma_pyg.physics.residuals import burgers, emergent, field_inputs

torch.manual_seed(0)
POINTS = torch.rand(6, 4, dtype=torch.float64)


def vector_field(points, order=2):
    """u = (sin(t) x1 x2, x2^2 x3, exp(x1) t)."""
    t, a, b, c = (Jet.coordinates(points, order)[..., i : i + 1] for i in range(4))
    return torch.cat([torch.sin(t) * a * b, b.square() * c, torch.exp(a) * t], dim=-1)


def test_field_inputs_by_hand():
    value, gradient, laplacian = field_inputs(vector_field(POINTS), spread=2.0)
    t, a, b, c = POINTS.T
    zero, sin = torch.zeros_like(t), torch.sin(t)
    assert torch.allclose(value, torch.stack([sin * a * b, b**2 * c, torch.exp(a) * t], -1))
    rows = [sin * b, sin * a, zero, zero, 2 * b * c, b**2, torch.exp(a) * t, zero, zero]
    assert torch.allclose(gradient, torch.stack(rows, -1) / 2)
    assert torch.allclose(laplacian, torch.stack([zero, 2 * c, torch.exp(a) * t], -1) / 4)


def test_field_inputs_carry_derivatives_of_order_three():
    parts = field_inputs(vector_field(POINTS, 3), spread=2.0)
    assert all(isinstance(part, Jet) and part.order == 1 for part in parts)
    plain = field_inputs(vector_field(POINTS), spread=2.0)
    for part, expected in zip(parts, plain, strict=True):
        torch.testing.assert_close(part.value, expected)
    # d/dx3 of the Laplacian of the second component, 2 x3, over spread squared.
    assert torch.allclose(parts[2].gradient[3, :, 1], torch.full((6,), 0.5, dtype=torch.float64))


@pytest.mark.parametrize("order", [2, 3])
def test_burgers_by_hand(order):
    field = vector_field(POINTS, order)
    residual = burgers(field, 2.0, 0.1)
    value = residual.value if isinstance(residual, Jet) else residual
    t, a, b, c = POINTS.T
    u1, u2 = torch.sin(t) * a * b, b**2 * c
    first = torch.cos(t) * a * b + 2 * (u1 * torch.sin(t) * b + u2 * torch.sin(t) * a)
    second = 2 * (u2 * 2 * b * c + torch.exp(a) * t * b**2) - 0.1 * 2 * c
    assert torch.allclose(value[:, 0], first)
    assert torch.allclose(value[:, 1], second)


def test_burgers_takes_coefficients_per_point():
    strength = torch.rand(6, 1, dtype=torch.float64)
    viscosity = torch.rand(6, 1, dtype=torch.float64)
    field = vector_field(POINTS)
    together = burgers(field, strength, viscosity)
    for i in range(6):
        alone = burgers(vector_field(POINTS[i : i + 1]), strength[i].item(), viscosity[i].item())
        assert torch.allclose(together[i], alone[0])


def test_burgers_needs_a_component_per_direction():
    with pytest.raises(ValueError, match="3 components"):
        burgers(vector_field(POINTS)[..., :2], 1.0, 1.0)


def test_partial_and_total_gradient_of_the_residual():
    # R = u_t - t u: explicitly dR/dt = -u; in all u_tt - u - t u_t.
    t, a = (Jet.coordinates(POINTS, 1)[..., i : i + 1] for i in range(2))
    for order in (2, 3):
        tt, aa = (Jet.coordinates(POINTS, order)[..., i : i + 1] for i in range(2))
        field = torch.sin(tt) * aa
        residual = emergent(field, t * field.value_jet())
        time, x = t.value, a.value
        u, rate = torch.sin(time) * x, torch.cos(time) * x
        expected = -u if order == 2 else -u - u - time * rate
        assert torch.allclose(residual.value, rate - time * u)
        assert torch.allclose(residual.gradient[0], expected)
