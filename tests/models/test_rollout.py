from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from roma_pyg.data.graph import Graph
from roma_pyg.models.baselines import LinearExtrapolation, Ridge
from roma_pyg.models.rollout import rollout

PATH = Graph.from_edges(np.array([0, 1]), np.array([1, 2]), 3)


class Recorder:
    """Forecasts the last value plus 1, 2, ...; remembers what it saw."""

    name = "recorder"
    horizon = 3

    def __init__(self):
        self.seen = []

    def forecast(self, history, graph, nodes=None):
        assert nodes is None
        self.seen.append(history.copy())
        return history[:, -1:] + np.arange(1, 4, dtype=np.float32)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("steps", [1, 2, 3, 7])
def test_the_window_is_shifted_by_the_forecast(stride, steps):
    history = np.arange(12, dtype=np.float32).reshape(3, 4)
    method = Recorder()
    forecast = rollout(method, history, PATH, steps, stride)
    np.testing.assert_array_equal(forecast, history[:, -1:] + np.arange(1, steps + 1))
    assert len(method.seen) == -(-steps // stride)
    whole = np.concatenate([history, forecast], axis=1)
    for turn, window in enumerate(method.seen):
        np.testing.assert_array_equal(window, whole[:, turn * stride : turn * stride + 4])


def test_a_stride_beyond_the_window_keeps_the_newest_samples():
    method = Recorder()
    history = np.zeros((3, 2), dtype=np.float32)
    rollout(method, history, PATH, steps=6, stride=3)
    np.testing.assert_array_equal(method.seen[1], np.tile([2, 3], (3, 1)))


def test_a_known_first_forecast_is_used_and_nothing_is_modified():
    history = np.ones((3, 4), dtype=np.float32)
    history.flags.writeable = False
    method = Recorder()
    first = np.full((3, 3), 5, dtype=np.float32)
    forecast = rollout(method, history, PATH, steps=4, stride=2, first=first)
    assert len(method.seen) == 1
    np.testing.assert_array_equal(forecast[0], [5, 5, 6, 7])


def test_a_line_is_continued_for_ever():
    history = np.stack([1 + 0.5 * np.arange(6), 3 - np.arange(6), np.zeros(6)]).astype(np.float32)
    forecast = rollout(LinearExtrapolation(6, 2, points=4), history, PATH, 9, 2)
    ahead = np.arange(6, 15)
    expected = np.stack([1 + 0.5 * ahead, 3.0 - ahead, np.zeros(9)])
    np.testing.assert_allclose(forecast, expected, atol=1e-4)


def test_neighbours_are_forecast_too():
    # Every node takes the mean of its neighbours, so a rollout applies powers of the coupling.
    slope = np.array([[0.0], [1.0]])
    method = Ridge(slope, np.zeros(1), neighbors=True)
    history = np.array([[1], [0], [3]], dtype=np.float32)
    coupling = np.array([[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]])
    expected = [np.linalg.matrix_power(coupling, q) @ history[:, 0] for q in (1, 2, 3)]
    np.testing.assert_allclose(rollout(method, history, PATH, 3, 1), np.stack(expected, axis=1))


def test_errors():
    history = np.ones((3, 4), dtype=np.float32)
    with pytest.raises(ValueError, match="Expected 'steps' to be at least 1"):
        rollout(Recorder(), history, PATH, 0, 1)
    for stride in (0, 4):
        with pytest.raises(ValueError, match=r"Expected 'stride' in \[1, 3\].*'recorder'"):
            rollout(Recorder(), history, PATH, 5, stride)


def test_push_forward_by_hand(tiny):
    model, batch = tiny.model(), tiny.batch(2, steps=(2, 4))
    halo = len(batch.window) - batch.num_core
    generator = torch.Generator().manual_seed(0)
    later = torch.rand(2, halo, model.data.window, generator=generator)
    rolled = model.push_forward(replace(batch, later=later))

    count, horizon, window = batch.num_core, model.data.horizon, batch.window
    for halo_window in later:
        whole = replace(batch, window=window, steps=torch.arange(1, horizon + 1), target=None)
        forecast = model(whole).levels[0].prediction.detach().reshape(count, horizon)
        core = torch.cat([window[:count], forecast], dim=1)[:, -model.data.window :]
        window = torch.cat([core, halo_window])
    torch.testing.assert_close(rolled.window, window)
    assert rolled.later is None
    assert torch.equal(rolled.steps, batch.steps)
    assert torch.equal(rolled.target, batch.target)
    assert not rolled.window.requires_grad


def test_push_forward_of_a_direct_batch(tiny):
    model, batch = tiny.model(), tiny.batch()
    assert torch.equal(model.push_forward(batch).window, batch.window)
