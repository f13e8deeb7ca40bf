from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from roma_pyg.training.run import validation_interval

steps = st.integers(1, 100_000)


@given(steps, steps)
def test_the_last_validation_is_at_the_end(count: int, wanted: int) -> None:
    interval = validation_interval(count, wanted)
    assert 1 <= interval <= count
    validations = count // interval
    # As near to the end as intervals of equal length allow.
    assert count - validations * interval < validations
    if wanted <= count:
        assert 0.5 * wanted - 1 < interval < 2 * wanted
