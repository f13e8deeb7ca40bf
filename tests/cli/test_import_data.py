from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from roma_pyg.cli.data import main
from roma_pyg.data.store import open_store

N, T = 12, 20
VALUES = np.random.default_rng(0).uniform(0.1, 1, (N, T)).astype(np.float32)


@pytest.fixture
def files(tmp_path: Path) -> Path:
    ring = np.arange(N)
    pd.DataFrame({"i": ring, "j": (ring + 1) % N}).to_parquet(tmp_path / "edges_km.parquet")
    for stem in ("x_km", "pe_dim20_km"):
        frame = pd.DataFrame(VALUES, columns=[str(i) for i in range(T)])
        frame.to_parquet(tmp_path / f"{stem}.parquet")
    return tmp_path


def test_folder_in_the_layout_of_the_authors(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(files), "--name", "own", "--root", str(files), "--dt", "0.5"]) == 0
    series = open_store(files / "own")
    np.testing.assert_array_equal(series.values, VALUES)
    np.testing.assert_array_equal(series.extras["position"], VALUES)
    assert series.dt == 0.5
    assert "12 nodes x 20 samples" in capsys.readouterr().out
    assert main(["check", str(files / "own")]) == 0
    assert main(["info", str(files / "own")]) == 0


def test_files_by_name(files: Path) -> None:
    np.save(files / "v.npy", VALUES)
    words = ["--edges", str(files / "edges_km.parquet"), "--series", str(files / "v.npy")]
    assert main(["import", *words, "--name", "own", "--root", str(files)]) == 0
    assert "position" not in open_store(files / "own").extras


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Expected FOLDER, or both --edges and --series (got neither)."),
        (["--edges", "e.csv"], "Expected FOLDER, or both --edges and --series (got neither)."),
        (["here", "--edges", "e.csv"], "Expected FOLDER, or --edges and --series (got both)."),
        (["--edges", "e.csv", "--series", "s.npy"], "s.npy: Expected a file with series"),
        (["nowhere/km"], "Expected series as 'x_km.parquet'"),
    ],
)
def test_impossible_requests(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", *words, "--name", "own"]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("name", ["a/b", ".hidden"])
def test_bad_names(files: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(files), "--name", name, "--root", str(files)]) == 2
    assert "plain folder name" in capsys.readouterr().err
