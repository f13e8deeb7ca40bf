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


@pytest.mark.parametrize(("x", "y"), [([1.0, 2.0], [1.0, 2.0]), ([1.0] * 4, [1.0] * 4)])
def test_power_law_needs_points(x, y):
    with pytest.raises(ValueError, match="three points"):
        power_law(x, y)
