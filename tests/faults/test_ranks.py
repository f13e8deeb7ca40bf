"""Several ranks train as one process with their joint batch, and end together when one fails."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forks processes"),
]

HERE = Path(__file__).parent
STEPS = 12


def read(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith(("speed", "memory"))]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of four subgraphs per step: whole ones, a stopped one, and what it was resumed to."""
    place = tmp_path_factory.mktemp("ranks")
    plan = [
        {"folder": "one", "ranks": 1, "graphs": 4},
        {"folder": "two", "ranks": 2, "graphs": 2},
        {"folder": "four", "ranks": 4, "graphs": 1},
        {"folder": "stopped", "ranks": 2, "graphs": 2, "signal_at": 6},
        {"folder": "resumed_by_one", "ranks": 1, "graphs": 4, "copy": "stopped"},
        {"folder": "resumed_by_four", "ranks": 4, "graphs": 1, "copy": "stopped"},
    ]
    for item in plan:
        item |= {key: str(place / item[key]) for key in ("folder", "copy") if key in item}
    result = subprocess.run(
        [sys.executable, str(HERE / "ranks_driver.py")],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    names = [Path(item["folder"]).name for item in plan]
    codes = dict(zip(names, json.loads(result.stdout), strict=True))
    # The signal to one rank stops both.
    assert codes.pop("stopped") == [143, 143], result.stderr
    assert {code for some in codes.values() for code in some} == {0}, result.stderr
    return place


RUNS = ["two", "four", "resumed_by_one", "resumed_by_four"]


@pytest.mark.parametrize("name", RUNS)
def test_weights_and_moments_are_those_of_the_joint_batch(folder: Path, name: str) -> None:
    one, other = read(folder / "one/last.ckpt"), read(folder / name / "last.ckpt")
    assert other["global_step"] == STEPS
    weights = other["state_dict"]
    for key, value in one["state_dict"].items():
        torch.testing.assert_close(weights[key], value, rtol=1e-5, atol=1e-6, msg=key)
    # Moments are sums of gradients: they would tell of any that counts for little in an update.
    moments = [run["optimizer_states"][0]["state"] for run in (one, other)]
    for key, state in moments[0].items():
        for part, value in state.items():
            if isinstance(value, torch.Tensor):
                # In float32, as if weights were rounded on the way back, it would be 1e-5.
                torch.testing.assert_close(moments[1][key][part], value, rtol=1e-7, atol=1e-11)


@pytest.mark.parametrize("name", RUNS)
def test_logs_are_those_of_the_joint_batch(folder: Path, name: str) -> None:
    expected, curves = scalars(folder / "one"), scalars(folder / name)
    assert set(curves) == set(expected)
    for tag, curve in expected.items():
        assert [step for step, _ in curves[tag]] == [step for step, _ in curve], tag
        np.testing.assert_allclose(
            [x for _, x in curves[tag]], [x for _, x in curve], rtol=1e-4, atol=1e-7, err_msg=tag
        )


def test_a_signal_to_one_rank_stops_all_between_two_steps(folder: Path) -> None:
    assert read(folder / "stopped/last.ckpt")["global_step"] == 7
    assert read(folder / "stopped/last.ckpt")["ranks"] == 2


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, write_tiny_run: Callable[..., None]) -> Path:
    """A folder with data and options of a tiny run."""
    folder = tmp_path_factory.mktemp("launched")
    write_tiny_run(folder, data={"graphs_per_batch": 1}, training={"checkpoint_interval": 2})
    return folder


Launch = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def launch(place: Path) -> Iterator[Launch]:
    """Starts two ranks by ``torchrun``, which do not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(*words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
        process = subprocess.Popen(
            [*command, "--nproc-per-node", "2", *words],
            cwd=place,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.terminate()
        process.communicate()


def train(name: str, steps: int) -> list[str]:
    words = ["--config", "tiny.yaml", "--training.name", name, "--max_steps", str(steps)]
    return [*words, "--evaluate", "quick", "--resume", "auto"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("raise", r"got an error at rank 1: Expected a working rank \(got a planted error\)\.\)"),
        ("kill", r"got no connection to rank 1\): one was killed, ran out of memory, or lost its"),
    ],
)
def test_a_rank_that_fails_ends_all(place: Path, launch: Launch, how: str, message: str) -> None:
    process = launch(str(HERE / "rank.py"), how, "1", "7", *train(how, 100000))
    _, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    said = next(line for line in errors.splitlines() if "rank 0 of 2: error" in line)
    assert re.search(message, said), errors
    good = f"The last good checkpoint is 'runs/{how}/last.ckpt', step 6."
    assert good in said
    assert said.endswith("The same command with --resume auto goes on from there.")
    assert read(place / "runs" / how / "last.ckpt")["global_step"] == 6
    if how == "raise":
        assert "roma-train, rank 1 of 2: error: Expected a working rank" in errors


def test_torchrun_stops_between_steps_and_goes_on(place: Path, launch: Launch) -> None:
    module = ["-m", "roma_pyg.cli.train"]
    process = launch(*module, *train("stop", 100000))
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step"):
            break
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    found = re.findall(r"roma-train: stopped by SIGTERM after step (\d+)", errors)
    assert len(found) == 1, errors
    step = int(found[0])
    assert read(place / "runs/stop/last.ckpt")["global_step"] == step
    process = launch(*module, *train("stop", step + 3))
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert read(place / "runs/stop/last.ckpt")["global_step"] == step + 3
    # Rank 0 alone prints and evaluates.
    assert output.count("steps on 2 ranks at") == 1
    assert (place / "runs/stop/evaluation.csv").is_file()
    assert not (place / "runs/stop-2").exists()
    assert_same_forecast(place, launch)


def assert_same_forecast(place: Path, launch: Launch) -> None:
    """Two ranks forecast all nodes as one process does, bit by bit."""
    words = ["runs/stop", "--horizon", "20", "--batch-size", "1", "--noise", "0.01", "--output"]
    process = launch("-m", "roma_pyg.cli.predict", *words, "together.npy")
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert output.count("40 nodes x 20 steps ahead") == 1
    command = [sys.executable, "-m", "roma_pyg.cli.predict", *words, "alone.npy"]
    subprocess.run(command, cwd=place, check=True, capture_output=True)
    assert (place / "together.npy").read_bytes() == (place / "alone.npy").read_bytes()
