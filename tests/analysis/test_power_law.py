from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.analysis.power_law import power_law


def test_power_law_with_its_interval():
    rng = np.random.default_rng(2)
    x = np.repeat([1e5, 1e6, 1e7], 3)
    inside = 0
    for _ in range(300):
        law = power_law(x.tolist(), (5 * x**-0.2 * np.exp(0.05 * rng.normal(size=9))).tolist())
        inside += law.low <= 0.2 <= law.high
    assert 0.92 < inside / 300 < 0.98
    assert law(np.array([1e6]))[0] == pytest.approx(5 * 1e6**-0.2, rel=0.2)


def test_groups_have_prefactors_of_their_own():
    """What differs between the groups is not in the interval, which is exact with them."""
    rng = np.random.default_rng(3)
    x = np.tile([1e5, 1e6, 1e7], 3)
    groups = np.repeat(["a", "b", "c"], 3)
    factor = np.repeat([1.0, 3.0, 10.0], 3)
    inside, widths = 0, []
    for _ in range(300):
        y = 5 * factor * x**-0.2 * np.exp(0.05 * rng.normal(size=9))
        law = power_law(x.tolist(), y.tolist(), groups.tolist())
        pooled = power_law(x.tolist(), y.tolist())
        assert law.exponent == pytest.approx(pooled.exponent)
        assert law.prefactor == pytest.approx(pooled.prefactor)
        inside += law.low <= 0.2 <= law.high
        widths.append((pooled.high - pooled.low) / (law.high - law.low))
    assert 0.92 < inside / 300 < 0.98
    assert np.median(widths) > 10
    assert law.prefactors["c"] / law.prefactors["a"] == pytest.approx(10, rel=0.2)
    assert law(np.array([1e6]), "b")[0] == pytest.approx(15 * 1e6**-0.2, rel=0.2)


def test_the_order_of_points_and_unequal_groups():
    """The fit is that of linear regression with an indicator of each group."""
    rng = np.random.default_rng(4)
    groups = np.array([2, 0, 1, 0, 2, 2, 0])  # group 1 has one point, which cannot tell a slope
    x, y = rng.uniform(1, 100, 7), rng.uniform(1, 2, 7)
    law = power_law(x.tolist(), y.tolist(), groups.tolist())
    design = np.column_stack([-np.log(x)] + [groups == g for g in range(3)])
    found, rest, _, _ = np.linalg.lstsq(design, np.log(y), rcond=None)
    assert law.exponent == pytest.approx(found[0])
    assert [law.prefactors[g] for g in range(3)] == pytest.approx(np.exp(found[1:]))
    error = np.sqrt(rest[0] / 3 * np.linalg.inv(design.T @ design)[0, 0])
    assert law.high - law.exponent == pytest.approx(3.182446 * error, rel=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "groups", "needed"),
    [
        ([1.0, 2.0], [1.0, 2.0], None, "at least 3 points in 1 groups"),
        ([1.0] * 4, [1.0] * 4, None, "two sizes in one of them"),
        ([1.0, 2.0, 1.0], [1.0, 2.0, 2.0], [0, 0, 1], "at least 4 points in 2 groups"),
        ([1.0, 1.0, 2.0, 2.0], [1.0] * 4, [0, 0, 1, 1], "two sizes in one of them"),
        ([], [], None, "at least 2 points"),
        ([1.0, 2.0, 3.0], [1.0, 2.0], None, "got 3, 2 and 3"),
        ([1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [0], "got 3, 3 and 1"),
    ],
)
def test_power_law_needs_points(x, y, groups, needed):
    with pytest.raises(ValueError, match=needed):
        power_law(x, y, groups)
