from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.data.noise import add_noise, noise_generator, noisy_history


def test_the_log_of_the_factor_is_normal_with_the_given_variance():
    values = np.full((400, 500), 0.5, dtype=np.float32)
    eta = np.log(add_noise(values, 1e-2, np.random.default_rng(3)).astype(np.float64) / 0.5)
    count = eta.size
    # Four standard errors of mean, variance and fourth moment of a normal sample.
    assert abs(eta.mean()) < 4 * (1e-2 / count) ** 0.5
    assert abs(eta.var() - 1e-2) < 4 * 1e-2 * (2 / count) ** 0.5
    assert abs((eta**4).mean() / eta.var() ** 2 - 3) < 4 * (24 / count) ** 0.5


def test_values_are_independent():
    eta = np.log(add_noise(np.ones((300, 300), dtype=np.float32), 1.0, np.random.default_rng(0)))
    assert abs((eta[:, 1:] * eta[:, :-1]).mean()) < 4 / 300
    assert abs((eta[1:] * eta[:-1]).mean()) < 4 / 300


def test_zero_stays_zero_and_signs_are_kept():
    noisy = add_noise(np.array([0.0, -1.0, 2.0], dtype=np.float32), 0.1, np.random.default_rng(0))
    assert noisy[0] == 0
    assert noisy[1] < 0 < noisy[2]
    assert noisy.dtype == np.float32


def test_no_variance_copies_and_draws_nothing():
    values = np.array([1.0, 2.0], dtype=np.float32)
    rng = np.random.default_rng(0)
    noisy = add_noise(values, 0.0, rng)
    noisy[0] = 9
    assert values.tolist() == [1.0, 2.0]
    assert rng.random() == np.random.default_rng(0).random()


def test_input_is_not_modified():
    values = np.ones(10, dtype=np.float32)
    values.flags.writeable = False
    assert (add_noise(values, 0.1, np.random.default_rng(0)) != 1).all()


@pytest.mark.parametrize("variance", [-1e-9, float("nan"), float("inf")])
def test_impossible_variance(variance):
    with pytest.raises(ValueError, match="Expected 'variance' to be finite and at least 0"):
        add_noise(np.ones(2, dtype=np.float32), variance, np.random.default_rng(0))


def test_noise_depends_on_seed_and_time_alone():
    first, same = noise_generator(1, 7).random(4), noise_generator(1, 7).random(4)
    np.testing.assert_array_equal(first, same)
    for seed, time in ((1, 8), (2, 7), (7, 1)):
        assert (noise_generator(seed, time).random(4) != first).all()


def test_noisy_history_reads_the_samples_before_the_time():
    values = np.arange(12, dtype=np.float32).reshape(2, 6)
    np.testing.assert_array_equal(noisy_history(values, 5, 3, 0.0, 0), [[2, 3, 4], [8, 9, 10]])
    noisy = noisy_history(values, 5, 3, 1e-2, 0)
    np.testing.assert_array_equal(noisy, noisy_history(values, 5, 3, 1e-2, 0))
    expected = values[:, 2:5] * np.exp(
        0.1 * noise_generator(0, 5).standard_normal((2, 3), dtype=np.float32)
    )
    np.testing.assert_allclose(noisy, expected, rtol=1e-6)


@pytest.mark.parametrize("time", [2, 7])
def test_window_outside_the_series(time):
    with pytest.raises(ValueError, match=r"Expected 'time' in \[3, 6\]"):
        noisy_history(np.ones((2, 6), dtype=np.float32), time, 3, 0.0, 0)
