from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.config import BurgersConfig
from roma_pyg.data.graph import Graph
from roma_pyg.data.series import GraphSeries
from roma_pyg.dynamics.burgers_simulation import BurgersSimulation, true_forecast

PAIR = Graph.from_edges(np.array([0]), np.array([1]), 2)


def simulate(seed=0, **options):
    simulation = BurgersSimulation(PAIR, BurgersConfig(steps=120, burn_in=15.0, **options), seed)
    return simulation, simulation.survey()


def test_the_largest_value_is_one_and_none_is_zero():
    for seed in range(3):
        simulation, survey = simulate(seed)
        values = np.stack([values for _, values in simulation.samples(survey)])
        assert values.shape == (120, 2)
        assert values.dtype == np.float32
        assert values.max() == 1
        assert values.min() > 0


def test_the_survey_counts_the_samples_and_ends_the_burn_in():
    calls = []
    simulation = BurgersSimulation(PAIR, BurgersConfig(steps=120, burn_in=15.0), 0)
    survey = simulation.survey(lambda: calls.append(1))
    assert len(calls) == 15 + 120
    states = list(simulation.system.integrate(simulation.system.rest(), 16, -15))
    np.testing.assert_array_equal(survey.start.total, states[-1].total)


def test_without_burn_in_it_starts_at_rest():
    simulation = BurgersSimulation(PAIR, BurgersConfig(steps=20, burn_in=0.0, memory=0.0), 0)
    survey = simulation.survey()
    np.testing.assert_array_equal(survey.start.total, simulation.system.rest().total)
    values = np.stack([values for _, values in simulation.samples(survey)])
    assert values.min() > 0
    assert (np.diff(values, axis=0) > 0).all()  # nothing is forgotten


def test_seeds_differ_and_repeat():
    first, again, other = (next(s.samples(v))[1] for s, v in map(simulate, (0, 0, 1)))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_series_without_states_have_no_forecast():
    series = GraphSeries(PAIR, np.ones((2, 5), dtype=np.float32), name="own")
    with pytest.raises(ValueError, match=r"got 'own' without states and burst_key and parameters"):
        true_forecast(series, 0, 1)
