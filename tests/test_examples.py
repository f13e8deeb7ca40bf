"""The example scripts run and write what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PNG = b"\x89PNG\r\n\x1a\n"


def test_figure_of_the_burgers_dynamics(tmp_path: Path) -> None:
    file = tmp_path / "images" / "burgers.png"
    script = ROOT / "examples" / "plot_burgers.py"
    arguments = ["--nodes", "600", "--samples", "40", "--output", str(file)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
    done = subprocess.run(
        [sys.executable, str(script), *arguments],
        env=environment, capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert file.read_bytes().startswith(PNG)
    assert [path.name for path in file.parent.iterdir()] == ["burgers.png"]


def test_the_shipped_figure_is_small() -> None:
    assert (ROOT / "docs" / "images" / "burgers.png").stat().st_size < 200_000
