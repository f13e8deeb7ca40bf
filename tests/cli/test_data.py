from __future__ import annotations

from pathlib import Path

import pytest

from roma_pyg.cli.data import main
from roma_pyg.data.store import open_store

SMALL = ["--data.graph.nodes", "60", "--data.steps", "40", "--data.kuramoto.burn_in", "1"]


@pytest.fixture
def store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    words = ["generate", "--data.root", str(tmp_path), "--data.name", "small", *SMALL]
    assert main(words) == 0
    assert "samples T" in capsys.readouterr().out
    return tmp_path / "small"


def test_info(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(store)]) == 0
    rows = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if " " in line
    )
    assert rows["name"] == "small"
    assert "samples" in rows


def test_check(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(store)]) == 0
    assert "every file is whole" in capsys.readouterr().out


def test_check_finds_a_changed_byte(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    largest = max(store.rglob("*.npy"), key=lambda path: path.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[-1] ^= 1
    largest.write_bytes(content)
    assert main(["check", str(store)]) == 2
    assert largest.name in capsys.readouterr().err


def test_features_are_kept(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["features", "--data.root", str(store.parent), "--data.name", "small", *SMALL]
    words += ["--data.positional.eigenmaps", "3", "--data.positional.walk_embedding", "2"]
    assert main(words) == 0
    report = capsys.readouterr().out
    nodes = open_store(store).num_nodes
    assert f"6 features of {nodes} nodes" in report
    assert float(report.rsplit(maxsplit=1)[-1].rstrip(".")) < 1e-8
    (kept,) = (store.parent / ".cache").iterdir()
    before = kept.stat().st_mtime_ns
    assert main(words) == 0
    assert kept.stat().st_mtime_ns == before


def test_missing_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(tmp_path / "none")]) == 2
    assert "none" in capsys.readouterr().err


def test_own_files_are_not_generated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--edges", "e.csv", "--series", "s.npy"]) == 2
    assert "roma-train --edges" in capsys.readouterr().err


def test_misspelt_key(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "--data.graph.node", "9"]) == 2
    assert "Did you mean 'data.graph.nodes'?" in capsys.readouterr().err


def test_a_dry_run_only_says_what_it_would_take(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["generate", "--data.root", str(tmp_path), "--data.name", "small", *SMALL]
    assert main([*words, "--dry_run"]) == 0
    text = capsys.readouterr().out
    assert "directed edges, 40 samples" in text
    assert "GB on disk" in text
    assert list(tmp_path.iterdir()) == []
