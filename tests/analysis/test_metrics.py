from __future__ import annotations

import math

import numpy as np
import pytest

from roma_pyg.analysis.metrics import HorizonErrors, r2, rmse, skill, smape, smspe


def make_pair(seed, n=50, steps=4):
    rng = np.random.default_rng(seed)
    truth = rng.random((n, steps)).astype(np.float32)
    return (truth + 0.1 * rng.standard_normal(truth.shape)).astype(np.float32), truth


def test_hand_computed():
    truth, guess = np.array([1.0, 0.0, -2.0]), np.array([3.0, 0.0, 2.0])
    first, last = 2 / 4.0001, 4 / 4.0001
    assert smspe(guess, truth) == pytest.approx((first**2 + last**2) / 3, rel=1e-12)
    assert smape(guess, truth) == pytest.approx((first + last) / 3, rel=1e-12)
    assert rmse(guess, truth) == pytest.approx(math.sqrt((4 + 16) / 3), rel=1e-12)
    # Mean of the truth -1/3, spread (16 + 1 + 25) / 9.
    assert r2(guess, truth) == pytest.approx(1 - 20 / (42 / 9), rel=1e-12)


def test_scale_of_the_relative_error():
    assert smspe(np.zeros(3), np.ones(3)) == pytest.approx((1 / 1.0001) ** 2)
    assert smspe(np.zeros(3), np.zeros(3)) == 0


def test_r2_of_the_mean_is_zero_and_of_the_truth_one():
    truth = np.array([1.0, 2.0, 6.0])
    assert r2(np.full(3, 3.0), truth) == pytest.approx(0, abs=1e-15)
    assert r2(truth, truth) == 1
    assert math.isnan(r2(truth, np.full(3, 0.1)))


def test_streaming_equals_direct_formulas_per_step():
    guess, truth = make_pair(0)
    errors = HorizonErrors(4)
    for start, stop in ((0, 1), (1, 1), (1, 30), (30, 50)):
        errors.update(guess[start:stop], truth[start:stop])
    result = errors.result()
    assert result.count == 50
    for name, formula in (("smspe", smspe), ("smape", smape), ("rmse", rmse), ("r2", r2)):
        expected = [formula(guess[:, q], truth[:, q]) for q in range(4)]
        np.testing.assert_allclose(getattr(result, name), expected, rtol=1e-12)


def test_merging_in_any_order_equals_one_stream():
    pieces = [make_pair(seed, n=10 * (seed + 1)) for seed in range(3)]
    whole = HorizonErrors(4)
    whole.update(*(np.concatenate(parts) for parts in zip(*pieces, strict=True)))
    for order in ([0, 1, 2], [2, 0, 1]):
        merged = HorizonErrors(4)
        for place in order:
            part = HorizonErrors(4)
            part.update(*pieces[place])
            merged.merge(part)
        merged.merge(HorizonErrors(4))
        for name in ("smspe", "smape", "rmse", "r2"):
            np.testing.assert_allclose(
                getattr(merged.result(), name), getattr(whole.result(), name), rtol=1e-12
            )


def test_r2_survives_a_large_offset():
    guess, truth = make_pair(0)
    errors = HorizonErrors(4)
    for half in (slice(0, 25), slice(25, 50)):
        errors.update(guess[half].astype(np.float64) + 1e6, truth[half].astype(np.float64) + 1e6)
    expected = [r2(guess[:, q], truth[:, q]) for q in range(4)]
    np.testing.assert_allclose(errors.result().r2, expected, rtol=1e-6)


def test_constant_truth_has_no_r2():
    errors = HorizonErrors(1)
    for n in (3, 7):
        errors.update(np.zeros((n, 1)), np.full((n, 1), 0.1))
    assert math.isnan(errors.result().r2[0])
    assert errors.result().rmse[0] == pytest.approx(0.1)


def test_a_diverged_forecast_gives_no_number_and_no_warning():
    errors = HorizonErrors(2)
    errors.update(np.array([[np.inf, 0.5]], dtype=np.float32), np.ones((1, 2), dtype=np.float32))
    result = errors.result()
    assert math.isnan(result.smspe[0])
    assert result.rmse.tolist() == [math.inf, 0.5]


def test_errors():
    errors = HorizonErrors(2)
    with pytest.raises(ValueError, match="Expected at least one forecast"):
        errors.result()
    with pytest.raises(ValueError, match=r"shape \(n, 2\) \(got \(3, 1\) and \(3, 1\)\)"):
        errors.update(np.ones((3, 1)), np.ones((3, 1)))
    with pytest.raises(ValueError, match="Expected finite truth"):
        errors.update(np.ones((1, 2)), np.array([[1, np.nan]]))
    with pytest.raises(ValueError, match="Expected 2 steps"):
        errors.merge(HorizonErrors(3))


def test_skill():
    assert skill(0.5, 2.0) == 0.75
    assert skill(3.0, 2.0) == -0.5
    assert skill(0.0, 0.0) == 0.0
    assert skill(0.1, 0.0) == -math.inf
    assert math.isnan(skill(math.nan, 0.0))
    assert math.isnan(skill(0.1, math.nan))
