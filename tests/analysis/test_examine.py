from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.analysis.examine import examine
from roma_pyg.data.history import History
from roma_pyg.data.series import GraphSeries
from roma_pyg.models.forecast import RomaForecaster


@pytest.fixture
def subject(tiny):
    series = GraphSeries(tiny.graph(), tiny.values())
    return RomaForecaster(tiny.model(), series.graph, tiny.position()), series


def test_forecasts_are_those_of_the_forecaster(subject):
    forecaster, series = subject
    found = examine(forecaster, series, [10, 30])
    for place, time in enumerate((10, 30)):
        history = History(series.values, time, 5)
        expected = forecaster.forecast(history, series.graph)
        np.testing.assert_allclose(found.forecast[place], expected, atol=1e-6)
        assert np.array_equal(found.truth[place], series.values[:, time : time + 4])
        assert np.array_equal(found.history[place], series.values[:, time - 5 : time])


def test_some_nodes(subject):
    forecaster, series = subject
    found = examine(forecaster, series, [20], np.array([7, 3, 7]))
    assert found.nodes.tolist() == [3, 7]
    assert found.forecast.shape == (1, 2, 4)
    assert np.isfinite(found.forecast).all()


def test_node_errors_by_hand(subject):
    forecaster, series = subject
    found = examine(forecaster, series, [10, 30])
    guess, truth = found.forecast[:, :, 1].astype(float), found.truth[:, :, 1].astype(float)
    expected = ((guess - truth) / (np.abs(guess) + np.abs(truth) + 1e-4)) ** 2
    np.testing.assert_allclose(found.node_errors(2), expected.mean(axis=0), rtol=1e-5)
    steps = [found.node_errors(step) for step in (1, 2, 3, 4)]
    np.testing.assert_allclose(found.node_errors(), np.mean(steps, axis=0), rtol=1e-6)


def test_two_ways_to_the_coarse_future(subject):
    """One error per coarse level, and no gap where the coarse forecast is the pooled one."""
    forecaster, series = subject
    found = examine(forecaster, series, [20])
    assert len(found.consistency) == 2
    results = found.consistency[0].results()
    assert set(results) == {"coarse", "pooled", "persistence", "gap"}
    # Every core node of every subgraph of the cover is pooled, at four steps.
    assert results["coarse"].count % 4 == 0
    assert all((result.smspe > 0).all() for result in results.values())


def test_persistence_of_what_stands_still_is_exact_on_every_level(subject):
    forecaster, series = subject
    still = GraphSeries(series.graph, np.full_like(series.values, 0.5))
    for errors in examine(forecaster, still, [20]).consistency:
        assert np.all(errors.results()["persistence"].smspe < 1e-12)


def test_noise_is_on_the_history_alone(subject):
    forecaster, series = subject
    clean, noisy = (examine(forecaster, series, [20], noise=v) for v in (0.0, 1e-2))
    assert np.array_equal(clean.truth, noisy.truth)
    assert not np.array_equal(clean.history, noisy.history)


@pytest.mark.parametrize("time", [4, 37])
def test_rejects_times_without_room(subject, time):
    with pytest.raises(ValueError, match=rf"times in \[5, 36\].*got {time}"):
        examine(*subject, [time])
