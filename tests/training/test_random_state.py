from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch

from roma_pyg.training.random_state import RandomState, random_state, set_random_state


def draws() -> tuple[float, ...]:
    return (
        random.random(),
        random.gauss(0, 1),
        np.random.standard_normal(),  # noqa: NPY002
        float(torch.randn(())),
    )


@pytest.mark.parametrize("before", [0, 1])
def test_all_generators_go_on(before):
    """Also with a second normal draw in store, as the generators have after the first."""
    for _ in range(before):
        draws()
    content = io.BytesIO()
    torch.save(random_state(), content)
    expected = [draws() for _ in range(5)]
    content.seek(0)
    set_random_state(torch.load(content, weights_only=True))
    assert [draws() for _ in range(5)] == expected


def test_the_callback_restores_once_training_starts():
    callback = RandomState()
    state = callback.state_dict()
    expected = draws()
    callback.on_train_start(None, None)
    assert draws() != expected
    callback.load_state_dict(state)
    draws()
    callback.on_train_start(None, None)
    assert draws() == expected
