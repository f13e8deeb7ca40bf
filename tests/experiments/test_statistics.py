from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from roma_pyg.experiments.statistics import paired_ratio


def test_agrees_with_the_paired_t_test_of_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.random(5) + 0.5, rng.random(5) + 0.5
    found = paired_ratio(a.tolist(), b.tolist())
    expected = stats.ttest_rel(np.log(a), np.log(b))
    interval = expected.confidence_interval(0.95)
    assert found.p == pytest.approx(expected.pvalue)
    assert found.ratio == pytest.approx(stats.gmean(a / b))
    assert (found.low, found.high) == pytest.approx(
        (math.exp(interval.low), math.exp(interval.high))
    )


def test_pairs_take_out_how_hard_a_seed_is():
    hard = [1.0, 10.0, 100.0]
    found = paired_ratio([0.9, 9.1, 89.0], hard)
    assert found.high < 1
    assert found.p < 0.01


def test_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(1)
    inside = 0
    for _ in range(400):
        found = paired_ratio(np.exp(0.3 + 0.2 * rng.normal(size=3)).tolist(), [1.0, 1.0, 1.0])
        inside += found.low <= math.exp(0.3) <= found.high
    assert 0.92 < inside / 400 < 0.98


def test_one_pair_says_nothing_of_the_spread():
    found = paired_ratio([1.0], [2.0])
    assert found.ratio == 0.5
    assert math.isnan(found.p)


@pytest.mark.parametrize(("a", "b"), [([], []), ([1.0], [1.0, 2.0])])
def test_rejects_unequal_numbers(a, b):
    with pytest.raises(ValueError, match="as many errors"):
        paired_ratio(a, b)
