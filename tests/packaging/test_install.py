"""The wheel works in a clean environment. That installs for a minute, so it runs when asked for."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASKED = os.environ.get("ROMA_TEST_INSTALL")


@pytest.mark.slow
@pytest.mark.skipif(not ASKED, reason="ROMA_TEST_INSTALL=1 installs the wheel and uses it")
def test_wheel_in_a_clean_environment() -> None:
    """The torch that is installed here, and the lowest declared version of everything else."""
    script = Path(__file__).with_name("check_versions.py")
    torch = f"torch=={importlib.metadata.version('torch').partition('+')[0]}"
    tests = ["tests/geometry", "tests/nn", "tests/data/test_graph.py", "tests/data/test_cover.py"]
    done = subprocess.run(
        [sys.executable, str(script), "lowest", "--torch", torch, "--tests", *tests],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    # Seconds and versions, for the log.
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout
