"""Every block of the tutorial runs, in order, on a system that is smaller than the printed one."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(bash|python|yaml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
CONFIG = next(text for language, text in BLOCKS if language == "yaml")
SMALLER = {
    "steps: 2400": "steps: 800",
    "nodes: 1200": "nodes: 300",
    "window: 32": "window: 12",
    "nodes_per_graph: 128": "nodes_per_graph: 48",
    "sizes: [32, 8]": "sizes: [8, 4], width: 8",
    "max_steps: 400": "max_steps: 4",
}
# The dashboard stays open until it is closed, and the installation is tested in tests/packaging.
COMMANDS = {
    "pip": ":",
    "roma-train": "-m roma_pyg.cli.train --evaluate quick",
    "roma-analyze": "-m roma_pyg.cli.analyze --times 1",
    "roma-predict": "-m roma_pyg.cli.predict",
    "roma-data": "-m roma_pyg.cli.data",
    "tensorboard": "-m tensorboard.main --inspect",
}


def smaller(text: str) -> str:
    for printed, run in SMALLER.items():
        text = text.replace(printed, run)
    # The last script trains for fewer steps, too.
    return text.replace('"training.max_steps": 100', '"training.max_steps": 2')


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Commands of the page on the path, run by this python."""
    folder = tmp_path / "commands"
    folder.mkdir()
    for name, line in COMMANDS.items():
        path = folder / name
        call = line if line == ":" else f"exec '{sys.executable}' {line} \"$@\""
        path.write_text(f"#!/bin/sh\n{call}\n", encoding="utf-8")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    search = os.pathsep.join([str(folder), os.environ["PATH"]])
    source = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    return os.environ | {"PATH": search, "PYTHONPATH": source, "MPLBACKEND": "Agg"}


def test_sizes_of_the_page_are_made_smaller() -> None:
    assert [printed for printed in SMALLER if printed not in CONFIG] == []
    assert '"training.max_steps": 100' in PAGE
    yaml.safe_load(smaller(CONFIG))


def test_every_command_is_known() -> None:
    lines = [line for language, text in BLOCKS if language == "bash" for line in text.splitlines()]
    assert {line.split()[0] for line in lines} == set(COMMANDS)


@pytest.mark.slow
def test_blocks_run_in_their_order(tmp_path: Path, environment: dict[str, str]) -> None:
    for language, text in BLOCKS:
        if language == "yaml":
            (tmp_path / "tutorial.yaml").write_text(smaller(text), encoding="utf-8")
            continue
        words = ["bash", "-euo", "pipefail"] if language == "bash" else [sys.executable]
        done = subprocess.run(
            [*words, "-c", smaller(text)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{text}\n{done.stdout}\n{done.stderr}"
    assert (tmp_path / "series.png").is_file()
    assert (tmp_path / "forecast.parquet").is_file()
    assert (tmp_path / "runs" / "tutorial" / "analysis" / "report.md").is_file()
