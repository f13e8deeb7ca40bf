from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.data.history import History

VALUES = np.random.default_rng(0).random((50, 30)).astype(np.float32)


def test_rows_are_those_of_the_series():
    history = History(VALUES, time=20, window=6)
    nodes = np.array([7, 3, 7])
    assert history.shape == (50, 6)
    np.testing.assert_array_equal(history[nodes], VALUES[nodes, 14:20])
    assert history[nodes].dtype == np.float32
    # A copy: the series is never changed.
    history[nodes][:] = 0
    assert VALUES[7, 14] != 0


def test_slides_into_a_forecast():
    forecast = 10 + np.arange(100, dtype=np.float32).reshape(50, 2).repeat(4, axis=1)
    joined = np.concatenate([VALUES[:, :20], forecast], axis=1)
    history, nodes = History(VALUES, 20, 6), np.array([2, 49])
    for shift in range(9):
        slid = history.slide(forecast, shift)
        np.testing.assert_array_equal(slid[nodes], joined[nodes, 14 + shift : 20 + shift])


def test_noise_belongs_to_node_and_sample():
    history = History(VALUES, 20, 6, noise=0.1, seed=3)
    everything = history[np.arange(50)]
    np.testing.assert_array_equal(history[np.array([31, 4])], everything[[31, 4]])
    slid = history.slide(np.zeros((50, 2)), 2)[np.arange(50)]
    # Samples keep their noise when the window slides on; forecasts get none.
    np.testing.assert_array_equal(slid, np.pad(everything[:, 2:], ((0, 0), (0, 2))))
    for other in (History(VALUES, 20, 6, 0.1, seed=4), History(VALUES, 21, 6, 0.1, seed=3)):
        assert not np.isclose(
            other[np.arange(50)] / other.values[:, other.time - 6 : other.time],
            everything / VALUES[:, 14:20],
        ).any()


def test_noise_is_log_normal():
    ones = np.ones((20_000, 8), dtype=np.float32)
    eta = np.log(History(ones, 8, 8, noise=0.04)[np.arange(20_000)].astype(np.float64))
    assert abs(eta.mean()) < 4 * 0.2 / 400
    assert abs(eta.var() - 0.04) < 4 * 0.04 * (2 / eta.size) ** 0.5
    # Neither skewed nor heavy-tailed, and no correlation along either axis.
    assert abs((eta**3).mean() / 0.2**3) < 0.03
    assert abs((eta**4).mean() / 0.04**2 - 3) < 0.06
    for a, b in ((eta[1:], eta[:-1]), (eta[:, 1:], eta[:, :-1])):
        assert abs((a * b).mean()) / 0.04 < 0.015


def test_only_the_rows_asked_for_are_read(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, VALUES)
    mapped = np.load(path, mmap_mode="r")
    np.testing.assert_array_equal(History(mapped, 30, 4)[np.array([1])], VALUES[[1], 26:])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time": 5}, r"'time' in \[6, 30\] for a window of 6 .* \(got 5\)"),
        ({"time": 31}, r"'time' in \[6, 30\] .* \(got 31\)"),
        ({"noise": -1.0}, r"'noise' to be finite and at least 0 \(got -1.0\)"),
        ({"noise": np.nan}, "'noise' to be finite"),
        ({"seed": -1}, r"'seed' to be at least 0 \(got -1\)"),
        ({"shift": 1}, r"'shift' in \[0, 0\]"),
    ],
)
def test_rejects_what_is_out_of_range(changes, message):
    with pytest.raises(ValueError, match=message):
        History(**({"values": VALUES, "time": 20, "window": 6} | changes))
