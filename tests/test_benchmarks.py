"""The benchmarks of a training step run, each with its cheapest options."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def run(script, *options):
    words = [sys.executable, str(BENCHMARKS / script), *options, "--repeats", "1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("size", ["published", "quickstart"])
def test_step(size):
    row = run("step.py", "--one", size)
    assert row["seconds"] > 0
    assert row["parameters"] > 1e5


def test_all_ways_to_take_derivatives_agree():
    methods = ("ours", "nested", "ours, sampled", "nested, sampled")
    ours, nested, sampled, along = (
        run("derivatives.py", "--one", method, "--times", "1", "--steps-ahead", "1")["loss"]
        for method in methods
    )
    assert nested == pytest.approx(ours, rel=1e-4)
    assert along == pytest.approx(sampled, rel=1e-4)
    assert sampled != pytest.approx(ours, rel=1e-3)


def table(script, *words):
    """Cells of the Markdown table that a script prints, without its head."""
    done = subprocess.run(
        [sys.executable, str(BENCHMARKS / script), *words],
        capture_output=True,
        text=True,
        timeout=600,
        cwd=BENCHMARKS.parent,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def test_memory(tmp_path):
    rows = table("memory.py", "--config", "configs/tiny.yaml", "--data.root", str(tmp_path))
    assert len(rows) == 8
    for row in rows:
        errors = [float(cell.split("/")[0]) for cell in row[2:5]]
        assert all(0 < error < 100 for error in errors)


def test_limits(tmp_path):
    words = ["--config", "configs/tiny.yaml", "--data.root", str(tmp_path)]
    rows = table("limits.py", *words, "--training.max_steps", "200")
    errors = [[float(cell.split("/")[0]) for cell in row[1:]] for row in rows]
    assert len(errors) == 5
    assert min(map(min, errors)) > 0
    memory, corrected = errors[0][-1], errors[2][-1]
    assert corrected < memory


def test_effective_laws(tmp_path):
    """Diffusion is found on a graph of which every subgraph cuts most neighbourhoods."""
    path = tmp_path / "laws.json"
    words = ["--systems", "burgers", "large grid", "--seeds", "0", "--steps", "200"]
    assert len(table("effective_laws.py", *words, "--output", str(path))) == 2
    found = json.loads(path.read_text())
    (burgers,), (grid,) = found["burgers"], found["large grid"]
    assert burgers["nu"] == pytest.approx(burgers["true nu"], rel=0.2)
    assert burgers["F"] == pytest.approx(burgers["true F"], rel=0.2)
    assert grid["kappa"] == pytest.approx(grid["true kappa"], rel=0.1)
    assert grid["unexplained"] < 0.01 < 0.2 < grid["perturbed"]
