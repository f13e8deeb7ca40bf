from __future__ import annotations

import itertools
import math

import pytest
import torch

from roma_pyg.dynamics.integrators import Workspace, rk4_step


def pendulum(time, state, out):
    out[0] = state[1]
    out[1] = -torch.sin(state[0]) + 0.3 * math.cos(time)


def integrate(steps, duration=2.0):
    state = torch.tensor([1.0, 0.0], dtype=torch.float64)
    work = Workspace.like(state)
    for index in range(steps):
        rk4_step(pendulum, index * duration / steps, state, duration / steps, work)
    return state


def test_convergence_order_is_four():
    exact = integrate(2000)
    errors = [float((integrate(steps) - exact).norm()) for steps in (10, 20, 40, 80)]
    orders = [math.log2(a / b) for a, b in itertools.pairwise(errors)]
    assert all(3.8 < order < 4.3 for order in orders), orders


def test_one_step_of_decay_by_hand():
    state = torch.ones(1, dtype=torch.float64)
    rk4_step(lambda t, y, out: torch.neg(y, out=out), 0.0, state, 0.5, Workspace.like(state))
    h = 0.5
    assert state.item() == pytest.approx(1 - h + h**2 / 2 - h**3 / 6 + h**4 / 24, abs=1e-15)


def test_a_negative_step_goes_back():
    state = integrate(50)
    work = Workspace.like(state)
    for index in range(50, 0, -1):
        rk4_step(pendulum, index * 0.04, state, -0.04, work)
    assert torch.allclose(state, torch.tensor([1.0, 0.0], dtype=torch.float64), atol=1e-6)


def test_an_error_of_the_right_hand_side_leaves_the_state():
    state = torch.ones(2, dtype=torch.float64)

    def broken(time, y, out):
        if time > 0:
            raise RuntimeError("no slope")
        out.copy_(y)

    with pytest.raises(RuntimeError, match="no slope"):
        rk4_step(broken, 0.0, state, 0.1, Workspace.like(state))
    assert torch.equal(state, torch.ones(2, dtype=torch.float64))
