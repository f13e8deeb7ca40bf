"""What ranks tell each other, and matrices that they write together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from roma_pyg import exchange, ranks

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks processes")


def test_a_process_alone() -> None:
    value = torch.ones(2)
    with exchange.connected(1), exchange.joint(), exchange.first():
        assert exchange.place() == (0, 1)
        assert exchange.total(value) is value
        assert exchange.mean(value) is value
        assert exchange.tell(lambda: 3) == exchange.largest(3) == 3
        assert exchange.gather(3) == [3]
    with pytest.raises(ValueError, match="mine"), exchange.blaming():
        raise ValueError("mine")


def test_ranks_are_told_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    # As of a scheduler that sets a part of them for purposes of its own.
    monkeypatch.setenv("WORLD_SIZE", "8")
    monkeypatch.setenv("RANK", "5")
    assert (ranks.rank(), ranks.size(), ranks.local_rank(), ranks.local_size()) == (0, 1, 0, 1)
    for key, value in {"LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(key, value)
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")
    monkeypatch.setenv("MASTER_PORT", "1")
    assert (ranks.rank(), ranks.size(), ranks.local_rank(), ranks.local_size()) == (5, 8, 1, 4)
    assert ranks.title("roma-train") == "roma-train, rank 5 of 8"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("exchange")


@pytest.fixture(scope="module")
def codes(folder: Path) -> dict[str, list[int]]:
    driver = Path(__file__).parent / "faults" / "exchange_driver.py"
    result = subprocess.run(
        [sys.executable, str(driver), str(folder)], capture_output=True, text=True, timeout=200
    )
    assert result.returncode == 0, result.stderr
    sys.stderr.write(result.stderr)
    return json.loads(result.stdout)


@needs_fork
def test_numbers(codes: dict[str, list[int]]) -> None:
    assert codes["numbers"] == [0, 0, 0]


@needs_fork
def test_pairs_without_a_link_are_those_of_the_joint_batch(codes: dict[str, list[int]]) -> None:
    assert codes["links"] == [0, 0]


@needs_fork
def test_a_matrix_that_all_ranks_write(codes: dict[str, list[int]], folder: Path) -> None:
    expected = 2 * np.stack([np.arange(10), np.arange(10) + 0.5], 1)
    assert codes["whole"] == [0, 0, 0]
    np.testing.assert_array_equal(np.load(folder / "whole.npy"), expected)
    assert codes["slow"] == [0, 0]
    np.testing.assert_array_equal(pd.read_parquet(folder / "slow.parquet"), expected)


@needs_fork
def test_an_error_of_one_rank_leaves_nothing(codes: dict[str, list[int]], folder: Path) -> None:
    assert codes["error"] == codes["missing"] == [1, 1]
    assert sorted(path.name for path in folder.iterdir()) == ["slow.parquet", "whole.npy"]


@needs_fork
def test_a_rank_that_does_not_come(codes: dict[str, list[int]]) -> None:
    assert codes["hanging"] == [2, -signal.SIGKILL]
