from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.config import BurgersConfig
from roma_pyg.data.graph import Graph
from roma_pyg.data.series import GraphSeries
from roma_pyg.dynamics.burgers_simulation import BurgersSimulation, true_forecast

PAIR = Graph.from_edges(np.array([0]), np.array([1]), 2)


def simulate(seed=0, steps=120, **options):
    """Observables of all samples, undivided, and the simulation."""
    simulation = BurgersSimulation(PAIR, BurgersConfig(**{"burn_in": 15.0, **options}), seed)
    burn_in = simulation.burn_in
    states = list(simulation.states(simulation.initial(), -burn_in, burn_in + steps))[burn_in:]
    return np.stack([simulation.observe(state, 0) for state in states]), simulation, states


def test_the_peak_brings_the_largest_value_to_one():
    for seed in range(3):
        values, simulation, states = simulate(seed)
        scalars = [simulation.scalars(state) for state in states]
        whole = {name: np.array([row[name] for row in scalars]) for name in scalars[0]}
        peak = simulation.peak(whole)
        assert values.dtype == np.float32
        assert (values / np.float32(peak)).max() == 1
        assert values.min() > 0
        regime = simulation.regime(whole, states[0], states[-1])
        assert regime["activity_mean"] == pytest.approx((values / peak).mean(), rel=1e-5)
        assert regime["bursts_per_node"] > 0


def test_it_goes_on_from_any_state():
    _, simulation, states = simulate()
    again = list(simulation.states(states[70], 70, 50))
    np.testing.assert_array_equal(np.stack(again), np.stack(states[70:]))


def test_without_burn_in_it_starts_at_rest():
    values, simulation, states = simulate(steps=20, burn_in=0.0, memory=0.0)
    np.testing.assert_array_equal(states[0], simulation.system.rest().to_array())
    assert values.min() > 0
    assert (np.diff(values, axis=0) > 0).all()  # nothing is forgotten


def test_seeds_differ_and_repeat():
    first, again, other = (simulate(seed, steps=30)[0] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_series_without_states_have_no_forecast():
    series = GraphSeries(PAIR, np.ones((2, 5), dtype=np.float32), name="own")
    with pytest.raises(ValueError, match=r"got 'own' without states and burst_key and parameters"):
        true_forecast(series, 0, 1)
