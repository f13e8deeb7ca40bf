from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from roma_pyg.training.schedule import learning_rate_factor, make_schedule


@pytest.mark.parametrize(
    ("step", "factor"),
    [
        (0, 1 / 21),
        (9, 10 / 21),
        (19, 20 / 21),
        (20, 1.0),
        # A third, half and two thirds of the way down: cos(pi/3) = 1/2, cos(pi/2) = 0, ...
        (80, 0.01 + 0.99 * 0.75),
        (110, 0.01 + 0.99 * 0.5),
        (140, 0.01 + 0.99 * 0.25),
        (200, 0.01),
        (1000, 0.01),
    ],
)
def test_hand_computed_points(step, factor):
    assert learning_rate_factor(step, 200, warmup=0.1) == pytest.approx(factor)


def test_without_warmup_it_starts_at_the_peak():
    assert learning_rate_factor(0, 10, warmup=0.0, floor=0.2) == 1.0
    assert learning_rate_factor(10, 10, warmup=0.0, floor=0.2) == pytest.approx(0.2)


@pytest.mark.parametrize("warmup", [0.0, 0.05, 0.999])
@pytest.mark.parametrize("max_steps", [1, 2, 37])
def test_rises_then_falls_and_stays_in_range(warmup, max_steps):
    factors = [learning_rate_factor(s, max_steps, warmup) for s in range(max_steps + 2)]
    peak = round(warmup * max_steps)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)
    assert all(0 < f <= 1 and math.isfinite(f) for f in factors)


def test_scheduler_follows_the_function():
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=3.0)
    schedule = make_schedule(optimizer, 20, warmup=0.2)
    for step in range(20):
        assert optimizer.param_groups[0]["lr"] == pytest.approx(
            3.0 * learning_rate_factor(step, 20, 0.2)
        )
        optimizer.step()
        schedule.step()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_steps": 0}, r"'max_steps' to be at least 1 \(got 0\)"),
        ({"max_steps": 5, "warmup": 1.0}, r"'warmup' to be in \[0, 1\) \(got 1\.0\)"),
        ({"max_steps": 5, "floor": -0.1}, r"'floor' to be in \[0, 1\] \(got -0\.1\)"),
    ],
)
def test_errors(options, message):
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    with pytest.raises(ValueError, match=message):
        make_schedule(optimizer, **options)
