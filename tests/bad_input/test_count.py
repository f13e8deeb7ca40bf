"""How many cases there are."""

from __future__ import annotations

import pytest

from tests.bad_input import (
    test_checkpoints,
    test_experiments,
    test_files,
    test_objects,
    test_options,
    test_places,
    test_stores,
)

MODULES = (
    test_checkpoints,
    test_experiments,
    test_files,
    test_objects,
    test_options,
    test_places,
    test_stores,
)


def test_there_are_hundreds(capsys: pytest.CaptureFixture[str]) -> None:
    """Those made by hand; `test_mutations` and the properties make another two thousand."""
    counts = {module.__name__.rpartition(".")[2]: module.HAND_MADE for module in MODULES}
    with capsys.disabled():
        print(f"\nbad input, made by hand: {sum(counts.values())} cases {counts}")  # noqa: T201
    assert sum(counts.values()) >= 200
