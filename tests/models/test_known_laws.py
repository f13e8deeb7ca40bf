"""Laws that are known must be found from exact solutions."""

from __future__ import annotations

import pytest
import torch

from roma_pyg.config import EffectiveConfig
from roma_pyg.models.effective import EffectiveDynamics
from roma_pyg.nn.trunk import DeepONet, FourierFeatures
from roma_pyg.physics import Jet

NU, MODES, TOKENS = 0.1, 3, 8


def make_law(kind, inputs):
    torch.manual_seed(0)

    def operator(field):
        return DeepONet(2, 1, 16, 32, 1, FourierFeatures(8, 0.3), field)

    return EffectiveDynamics(EffectiveConfig(kind=kind, inputs=inputs), operator, spread=1.0)


def waves(seed):
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(3, MODES, generator=generator)
    wave = direction / direction.norm(dim=0)
    wave = wave * (0.5 + 1.5 * torch.rand(MODES, generator=generator))
    amplitude = torch.randn(3, 1, TOKENS, 1, MODES, generator=generator)
    phase = 6.3 * torch.rand(3, 1, TOKENS, 1, MODES, generator=generator)
    return wave, amplitude, phase


def heat(seed, points, viscosity=NU):
    """Three scalar solutions of u_t = nu lap u."""
    wave, amplitude, phase = waves(seed)
    jet = Jet.coordinates(points)
    fading = torch.exp(jet[..., :1] @ (-viscosity * wave.square().sum(0, keepdim=True)))
    parts = [
        (fading * a * torch.cos(jet[..., 1:] @ wave + p)).sum(-1, keepdim=True)
        for a, p in zip(amplitude, phase, strict=True)
    ]
    return torch.cat(parts, dim=-1)


def cole_hopf(seed, points, viscosity=NU):
    """A solution of Burgers' equation, -2 nu grad log phi with phi of the heat equation."""
    wave, amplitude, phase = waves(seed)
    share = 0.8 * amplitude[0] / amplitude[0].abs().sum(-1, keepdim=True)
    jet = Jet.coordinates(points)
    fading = torch.exp(jet[..., :1] @ (-viscosity * wave.square().sum(0, keepdim=True))) * share
    angle = jet[..., 1:] @ wave + phase[0]
    phi = (fading * torch.cos(angle)).sum(-1, keepdim=True) + 1.0
    return (2 * viscosity) * ((fading * torch.sin(angle)) @ wave.T) / phi


def points_of(seed, count=32):
    points = torch.rand(count, 4, generator=torch.Generator().manual_seed(seed))
    return points * torch.tensor([1.0, 2, 2, 2]) - torch.tensor([0.0, 1, 1, 1])


def residual(law, field, points):
    return law(points, field, torch.zeros(1, TOKENS, 2), torch.zeros(1, TOKENS, 1))


def unexplained(law, field, points):
    found = residual(law, field, points)
    return float(found.value.square().mean() / found.rate.square().mean())


def fit(law, solution, steps, rate):
    optimizer = torch.optim.Adam(law.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    for step in range(steps):
        points = points_of(step)
        found = residual(law, solution(step, points), points)
        loss = found.value.square().mean() / found.rate.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return law.eval()


@pytest.mark.slow
def test_emergent_law_finds_the_heat_equation():
    law = fit(make_law("emergent", ["field", "gradient", "laplacian"]), heat, 800, 5e-3)
    points = points_of(10**6, 100)
    with torch.no_grad():
        field = heat(10**6, points)
        assert unexplained(law, field, points) < 0.01
        # The field of another viscosity has the same shapes at another pace.
        assert unexplained(law, heat(10**6, points, 2 * NU), points) > 0.2
        source = field.time - residual(law, field, points).value
        design = torch.stack([field.laplacian.flatten(), field.value.flatten()], dim=1)
        found = torch.linalg.lstsq(design, source.flatten()[:, None]).solution.flatten()
    assert found[0].item() == pytest.approx(NU, rel=0.05)
    assert abs(found[1].item()) < 0.01


@pytest.mark.slow
def test_burgers_law_finds_its_numbers():
    law = fit(make_law("burgers", []), cole_hopf, 500, 3e-2)
    points = points_of(10**6, 100)
    with torch.no_grad():
        assert unexplained(law, cole_hopf(10**6, points), points) < 0.01
        assert unexplained(law, cole_hopf(10**6, points, 2 * NU), points) > 0.1
        nothing = torch.zeros(1, TOKENS, 1)
        strength = law.operator(0 * points, torch.zeros(1, TOKENS, 2), nothing).mean()
    assert strength.item() == pytest.approx(1.0, rel=0.1)
    assert law.viscosity.item() == pytest.approx(NU, rel=0.1)
