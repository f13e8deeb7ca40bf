"""The commands of the README run as they stand, on configurations made tiny."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
# A marked block: the comment, then a fence of bash or python.
BLOCK = re.compile(r"<!-- test -->\n+```(bash|python)\n(.*?)```", re.DOTALL)
BLOCKS = [
    (page, language, text)
    for page in ("README.md", "docs/own_data.md", "docs/analysis.md")
    for language, text in BLOCK.findall((ROOT / page).read_text(encoding="utf-8"))
]
TINY: dict[str, Any] = {
    "data": {
        "steps": 800,
        "graph": {"nodes": 300},
        "kuramoto": {"burn_in": 1.0},
        "positional": {"eigenmaps": 2, "walk_embedding": 2},
        "window": 8,
        "horizon": 8,
        "nodes_per_graph": 24,
    },
    "model": {
        "features": 8,
        "encoder": {"width": 8, "layers": 1},
        "pool": {"sizes": [4], "width": 8},
        "operator": {"width": 8, "layers": 1, "heads": 2, "num_functions": 2},
        "trunk": {"basis": 4, "width": 8, "layers": 1, "fourier_features": 4},
    },
    "training": {"max_steps": 2, "val_interval": 2, "val_batches": 1, "workers": 0},
}


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Lay one nested dictionary over another."""
    merged = dict(base)
    for name, value in over.items():
        inner = isinstance(value, dict) and isinstance(base.get(name), dict)
        merged[name] = merge(base[name], value) if inner else value
    return merged


def write_command(folder: Path, name: str, line: str) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\nexec '{sys.executable}' {line}\n", encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like a checkout, with tiny configurations and the commands on its path."""
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copytree(ROOT / "examples", folder / "examples")
    for path in (ROOT / "configs").rglob("*.yaml"):
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        content = merge(yaml.safe_load(path.read_text(encoding="utf-8")), TINY)
        target.write_text(yaml.safe_dump(content), encoding="utf-8")
    commands = folder / "commands"
    commands.mkdir()
    write_command(commands, "python", '"$@"')
    for name, module, more in (
        ("roma-train", "train", " --evaluate quick"),
        ("roma-eval", "evaluate", " --times 2 --no-baselines"),
        ("roma-predict", "predict", ""),
        ("roma-analyze", "analyze", " --times 1"),
        ("roma-data", "data", ""),
        ("roma-doctor", "doctor", ""),
    ):
        write_command(commands, name, f'-m roma_pyg.cli.{module} "$@"{more}')
    return folder


def run(words: list[str], workspace: Path) -> None:
    path = os.pathsep.join([str(workspace / "commands"), os.environ["PATH"]])
    source = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    environment = os.environ | {"PATH": path, "PYTHONPATH": source}
    done = subprocess.run(
        words, cwd=workspace, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


def test_readme_has_commands_and_library_use() -> None:
    assert {language for page, language, _ in BLOCKS if page == "README.md"} == {"bash", "python"}


@pytest.mark.slow
def test_blocks_run_in_their_order(workspace: Path) -> None:
    # One test, since later blocks use the runs and files of earlier ones.
    for _, language, text in BLOCKS:
        words = ["bash", "-euo", "pipefail"] if language == "bash" else [sys.executable]
        run([*words, "-c", text], workspace)
