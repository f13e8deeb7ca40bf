from __future__ import annotations

import pytest
import torch

from roma_pyg.config import ModelConfig
from roma_pyg.nn.companding import WindowViews, compand

VALUES = torch.linspace(-2, 2, 401, dtype=torch.float64)


@pytest.mark.parametrize("knee", [1e-3, 0.05, 1.0])
def test_is_odd_rising_and_keeps_zero_and_one(knee):
    found = compand(VALUES, knee)
    torch.testing.assert_close(found, -compand(-VALUES, knee))
    assert (found.diff() > 0).all()
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(compand(ends, knee), ends)


def test_a_relative_error_moves_all_values_above_the_knee_alike():
    values = torch.tensor([0.05, 0.2, 0.8], dtype=torch.float64)
    plain, companded = (
        compand(1.02 * values, knee) - compand(values, knee) for knee in (1e3, 0.005)
    )
    assert plain.max() / plain.min() == pytest.approx(16)
    assert companded.max() / companded.min() < 1.01


def test_views_are_standardised():
    torch.manual_seed(0)
    values = torch.rand(50, 6) ** 3
    views = WindowViews(0.05)
    views.fit(values)
    plain, companded = views(values).split(6, dim=-1)
    torch.testing.assert_close(plain, (values - values.mean()) / values.std())
    torch.testing.assert_close(plain, views.plain(values))
    other = compand(values, 0.05)
    torch.testing.assert_close(companded, (other - other.mean()) / other.std())


def test_without_a_knee_there_is_one_view():
    views = WindowViews(0.0)
    views.fit(torch.rand(50, 6))
    assert views(torch.rand(2, 3, 6)).shape == (2, 3, 6)
    views.fit(torch.full((50, 6), 0.5))
    assert not views(torch.full((2, 6), 0.5)).any()


@pytest.mark.parametrize("knee", [-0.1, float("nan"), float("inf")])
def test_bad_knees_are_refused(knee):
    with pytest.raises(ValueError, match=r"model\.compand"):
        ModelConfig(compand=knee)
