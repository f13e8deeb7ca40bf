from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.data.export import Header, RowWriter
from roma_pyg.data.history import History
from roma_pyg.models.forecast import RomaForecaster
from roma_pyg.models.predict import predict
from roma_pyg.models.rollout import rollout


def run(tiny, tmp_path, steps, stride=None, report=None, **options):
    made = RomaForecaster(tiny.model(), tiny.graph(), tiny.position())
    past = History(tiny.values(30, 40), 25, 5, **options)
    count = steps if isinstance(steps, int) else len(steps)
    path = tmp_path / "f.npy"
    with RowWriter(path, 30, Header([str(i) for i in range(count)]), overwrite=True) as writer:
        predict(made, past, writer, steps, stride, report)
    return made, past[np.arange(30)], np.load(path)


@pytest.mark.parametrize("steps", [1, 3, 4])
def test_up_to_the_horizon_it_is_the_direct_forecast(tiny, tmp_path, steps):
    made, window, result = run(tiny, tmp_path, steps)
    expected = made.forecast(window, made.graph)[:, :steps]
    np.testing.assert_allclose(result, expected, rtol=1e-5)


@pytest.mark.parametrize(("steps", "stride"), [(5, 4), (11, 3), (9, 1), (13, None)])
def test_beyond_the_horizon_it_is_the_rollout(tiny, tmp_path, steps, stride):
    made, window, result = run(tiny, tmp_path, steps, stride)
    expected = rollout(made, window, made.graph, steps, stride or 4)
    np.testing.assert_allclose(result, expected, rtol=1e-4)


def test_some_steps(tiny, tmp_path):
    made, window, result = run(tiny, tmp_path, [4, 1])
    expected = made.forecast(window, made.graph)[:, [3, 0]]
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def test_noise_is_that_of_the_history(tiny, tmp_path):
    made, window, result = run(tiny, tmp_path, 4, noise=0.01)
    np.testing.assert_allclose(result, made.forecast(window, made.graph), rtol=1e-5)
    assert not np.allclose(result, run(tiny, tmp_path, 4)[2])


def test_progress_counts_every_node_once_per_round(tiny, tmp_path):
    counts = []
    run(tiny, tmp_path, 10, 4, counts.append)
    assert sum(counts) == 3 * 30


@pytest.mark.parametrize(
    ("steps", "stride", "message"),
    [
        (0, None, r"'steps' to be at least 1 \(got 0\)"),
        (4, 5, r"'stride' in \[1, 4\], .* \(got 5\)"),
        ([2, 5], None, r"'steps' in \[1, 4\], the horizon"),
    ],
)
def test_rejects_what_is_out_of_range(tiny, tmp_path, steps, stride, message):
    made = RomaForecaster(tiny.model(), tiny.graph(), tiny.position())
    with (
        pytest.raises(ValueError, match=message),
        RowWriter(tmp_path / "f.npy", 30, Header(["1", "2"])) as writer,
    ):
        predict(made, History(tiny.values(), 25, 5), writer, steps, stride)
    assert list(tmp_path.iterdir()) == []
