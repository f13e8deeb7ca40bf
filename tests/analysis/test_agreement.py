from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.analysis.agreement import agreement, shuffled


def test_by_hand():
    """Two parts of two against one of three: I = ln 2 - (3/4) H(1/3)."""
    found = agreement([0, 0, 1, 1], [0, 0, 0, 1])
    entropy = np.log(2)
    other = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    mutual = entropy - 0.75 * -(2 / 3 * np.log(2 / 3) + 1 / 3 * np.log(1 / 3))
    assert found.nmi == pytest.approx(2 * mutual / (entropy + other))
    # One of 2 + 3 pairs that are together is together in both; 1 is expected: (1 - 1) / ...
    assert found.ari == pytest.approx(0.0)


def test_names_do_not_matter():
    first, second = np.random.default_rng(0).integers(5, size=(2, 200))
    same = agreement(first, second)
    renamed = agreement(10 - first, second * 7)
    assert (same.ami, same.nmi, same.ari) == pytest.approx((renamed.ami, renamed.nmi, renamed.ari))


def test_chance_is_zero_after_adjustment_only():
    labels = np.random.default_rng(0).integers(40, size=300)
    chance = [agreement(labels, shuffled(labels, seed)) for seed in range(10)]
    assert abs(np.mean([found.ami for found in chance])) < 0.02
    assert abs(np.mean([found.ari for found in chance])) < 0.02
    assert np.mean([found.nmi for found in chance]) > 0.4


@pytest.mark.parametrize(("first", "second"), [([], []), ([1, 2], [1]), ([[1]], [[1]])])
def test_rejects_what_does_not_fit(first, second):
    with pytest.raises(ValueError, match="two partitions of the same nodes"):
        agreement(first, second)
