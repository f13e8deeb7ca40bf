from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.analysis.evaluation import CEILING, evaluate
from roma_pyg.config import BurgersConfig, DataConfig, GraphConfig, SplitConfig
from roma_pyg.data.generate import generate
from roma_pyg.data.load import load_series
from roma_pyg.data.split import make_split
from roma_pyg.data.store import open_store
from roma_pyg.dynamics.burgers import observable
from roma_pyg.dynamics.burgers_simulation import true_forecast
from roma_pyg.models.baselines.persistence import Persistence


def small(root, **changes):
    options = {
        "name": "bd",
        "system": "burgers",
        "graph": GraphConfig(nodes=120),
        "steps": 120,
        "burgers": BurgersConfig(burn_in=20.0),
    }
    return DataConfig(root=str(root), **{**options, **changes})


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return generate(small(tmp_path_factory.mktemp("data")), progress=False)


def test_the_store_is_whole_and_says_how_it_was_made(path):
    series = open_store(path, verify="full")
    assert series.num_steps == 120
    assert series.dt == 1.0
    assert series.metadata["parameters"]["system"] == "burgers"
    assert series.metadata["parameters"]["burgers"]["interval"] == 50.0
    assert "kuramoto" not in series.metadata["parameters"]
    sources = {f"burst_{name}" for name in ("interval", "phase", "rate", "size", "key")}
    known = {"angle", "radius", "total_mean", "total_max", "states"}
    assert set(series.extras) == sources | known
    assert series.extras["states"].shape == (3, 2, series.num_nodes)
    assert 0 < series.values.min() < series.values.max() == 1
    mean = series.extras["total_mean"] / series.metadata["peak"]
    np.testing.assert_allclose(mean, series.values.mean(0), rtol=1e-5)
    regime = series.metadata["regime"]
    assert regime["activity_mean"] == pytest.approx(series.values.mean(), rel=1e-5)
    interval = series.extras["burst_interval"].astype(float)
    assert regime["bursts_per_node"] == pytest.approx((120 / interval).sum(0).mean())


def test_checkpoints_are_the_states_of_their_samples(path):
    series = open_store(path)
    for row, (squares, total) in enumerate(series.extras["states"]):
        seen = observable(total, series.metadata["peak"])
        np.testing.assert_array_equal(series.values[:, 50 * row], seen)
        assert (squares > 0).all()


@pytest.mark.parametrize(("time", "horizon"), [(0, 120), (49, 5), (50, 5), (73, 9), (119, 1)])
def test_the_exact_forecast_repeats_the_store(path, time, horizon):
    series = open_store(path)
    expected = series.values[:, time : time + horizon]
    np.testing.assert_array_equal(true_forecast(series, time, horizon), expected)


def test_the_exact_forecast_goes_on_beyond_the_store(path, tmp_path):
    longer = small(tmp_path, steps=160)
    truth, known = open_store(generate(longer, progress=False)), open_store(path)
    scale = truth.metadata["peak"] / known.metadata["peak"]
    found = true_forecast(known, 110, 50)
    np.testing.assert_allclose(found, scale * truth.values[:, 110:160], rtol=1e-6)


def test_impossible_forecasts(path):
    for time, horizon in ((-1, 3), (0, 0)):
        with pytest.raises(ValueError, match="Expected 'time' at least 0 and 'horizon' at least 1"):
            true_forecast(open_store(path), time, horizon)


def test_equal_parameters_give_equal_bytes_and_other_seeds_do_not(path, tmp_path):
    again = generate(small(tmp_path), progress=False)
    for file in path.iterdir():
        assert file.read_bytes() == (again / file.name).read_bytes(), file.name
    other = generate(small(tmp_path, name="other", seed=1), progress=False)
    assert (other / "values.npy").read_bytes() != (path / "values.npy").read_bytes()


def test_a_store_of_another_system_is_refused(path):
    with pytest.raises(ValueError, match=r"system = kuramoto \(there burgers\)"):
        generate(small(path.parent, system="kuramoto"), progress=False)


def test_load_series_and_evaluate_with_the_ceiling(path):
    series = load_series(small(path.parent), progress=False)
    split = make_split(series.graph, 120, SplitConfig(), 4, 4)
    result = evaluate([Persistence(4)], series, split, 4, (1, 4), (0.0,), 2, modes=("direct",))
    rows = result.select(method=CEILING)
    assert rows
    assert all((row.smspe, row.r2) == (0, 1) for row in rows)
