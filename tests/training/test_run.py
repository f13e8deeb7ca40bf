from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roma_pyg.config import DataConfig, RunConfig
from roma_pyg.training.restore import Checkpoint
from roma_pyg.training.run import _compare_batches, validation_interval

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


def test_another_joint_batch_is_warned_of() -> None:
    before = RunConfig(data=DataConfig(graphs_per_batch=2))
    checkpoint = Checkpoint(before, {}, 10, Path("last.ckpt"), ranks=4)
    with pytest.warns(
        UserWarning, match=r"Expected 8 subgraphs per step, .* 1 x 2 instead of 4 x 2"
    ):
        _compare_batches(before, checkpoint)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _compare_batches(RunConfig(data=DataConfig(graphs_per_batch=8)), checkpoint)
