"""Signals, a full disk, divergence and damaged checkpoints, as ``roma-train`` meets them."""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import yaml

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name != "posix", reason="sends signals and limits files"),
]

LAST = "runs/tiny/last.ckpt"

# As in a job of Slurm, where Lightning would heed signals in its own way.
SLURM = {
    "SLURM_JOB_ID": "1",
    "SLURM_JOB_NAME": "tiny",
    "SLURM_NTASKS": "1",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_PROCID": "0",
}


@pytest.fixture
def place(tmp_path: Path, write_tiny_run: Callable[..., None]) -> Path:
    """A folder with data and options of a tiny run."""
    write_tiny_run(tmp_path, training={"name": "tiny"})
    return tmp_path


Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(place: Path) -> Iterator[Start]:
    """Starts ``roma-train`` in a session of its own, which does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def begin(*words: str, largest_file: int | None = None) -> subprocess.Popen[str]:
        def limit() -> None:
            if largest_file is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

        command = [sys.executable, "-m", "roma_pyg.cli.train", "--config", "tiny.yaml"]
        process = subprocess.Popen(
            [*command, "--evaluate", "none", *words],
            cwd=place,
            env=os.environ | SLURM,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=limit,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return exit code and what was left on the standard error."""
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def step_of(path: Path) -> int:
    return torch.load(path, weights_only=True)["global_step"]


def lines_until(process: subprocess.Popen[str], text: str) -> Iterator[str]:
    assert process.stderr is not None
    for line in process.stderr:
        yield line
        if text in line:
            return


def test_a_scheduler_stops_a_job_and_the_next_one_goes_on(place: Path, start: Start) -> None:
    words = ["--max_steps", "100000", "--resume", "auto"]
    steps = []
    for number in (signal.SIGUSR1, signal.SIGTERM):
        process = start(*words)
        seen = "".join(lines_until(process, "step"))
        assert "step" in seen, seen
        # To all processes of the job, as schedulers do: the one that samples, too.
        os.killpg(process.pid, number)
        code, errors = finish(process)
        assert code == 128 + number, errors
        line = errors.splitlines()[-1]
        pattern = rf"roma-train: stopped by {number.name} after step (\d+), which '{LAST}' holds. "
        found = re.fullmatch(pattern + "The same command with --resume auto goes on.", line)
        assert found, errors
        assert "Traceback" not in errors
        steps.append(int(found.group(1)))
        assert step_of(place / LAST) == steps[-1]
    assert steps[0] < steps[1]
    code, errors = finish(start("--max_steps", str(steps[1] + 3), "--resume", "auto"))
    assert code == 0, errors
    assert step_of(place / LAST) == steps[1] + 3
    assert [path.name for path in (place / "runs").iterdir()] == ["tiny"]


def test_jobs_that_begin_at_the_same_time_have_folders_of_their_own(
    place: Path, start: Start
) -> None:
    seeds = {"1", "2"}
    jobs = [start("--max_steps", "4", "--training.seed", seed) for seed in seeds]
    for job in jobs:
        code, errors = finish(job)
        assert code == 0, errors
    runs = sorted((place / "runs").iterdir())
    assert [path.name for path in runs] == ["tiny", "tiny-2"]
    for path in runs:
        seed = yaml.safe_load((path / "config.yaml").read_text())["training"]["seed"]
        seeds.remove(str(seed))
        assert step_of(path / "last.ckpt") == 4


def test_a_job_waits_for_the_one_that_it_takes_over(place: Path, start: Start) -> None:
    # A line is printed after ten steps: the first one is then far from its end.
    words = ["--max_steps", "100", "--resume", "auto"]
    first = start(*words)
    assert any("step" in line for line in lines_until(first, "step"))
    os.kill(first.pid, signal.SIGSTOP)
    second = start(*words)
    waiting = "Waiting for another process that trains in 'runs/tiny'"
    assert waiting in list(lines_until(second, waiting))[-1]
    os.kill(first.pid, signal.SIGCONT)
    for job in (first, second):
        code, errors = finish(job)
        assert code == 0, errors
    # The other one had finished, so nothing was left to do.
    assert step_of(place / LAST) == 100
    assert [path.name for path in (place / "runs").iterdir()] == ["tiny"]


def test_a_full_disk(place: Path, start: Start) -> None:
    assert finish(start("--max_steps", "8"))[0] == 0
    before = (place / LAST).read_bytes()
    files = {path.name for path in (place / "runs/tiny").iterdir()}
    words = ["--max_steps", "16", "--resume", "auto"]
    code, errors = finish(start(*words, largest_file=len(before) // 2))
    assert code == 2
    # The validation at the end writes the best one first, if it is.
    assert re.fullmatch(
        r"roma-train: error: Expected to write to the disk \(got \[Errno 27\] File too large: "
        rf"'runs/tiny/(best|last)\.ckpt'\)\. The last good checkpoint is '{LAST}', step 8\. "
        r"The same command with --resume auto goes on from there\.",
        errors.splitlines()[-1],
    ), errors
    assert "Traceback" not in errors
    assert (place / LAST).read_bytes() == before
    assert {path.name for path in (place / "runs/tiny").iterdir()} == files
    assert finish(start(*words))[0] == 0
    assert step_of(place / LAST) == 16


def test_a_run_that_diverges_keeps_its_last_good_checkpoint(place: Path, start: Start) -> None:
    words = ["--max_steps", "200", "--training.learning_rate", "1e6"]
    code, errors = finish(start(*words, "--training.checkpoint_interval", "1"))
    assert code == 2
    line = errors.splitlines()[-1]
    assert re.search(r"data/0 = \S+, .*at step \d+, learning rate \S+\)", line), errors
    assert "Start again with a lower training.learning_rate" in line
    assert "Traceback" not in errors
    found = re.search(rf"last good checkpoint is '{LAST}', step (\d+)", line)
    assert found, errors
    assert "--resume" not in line
    content = torch.load(place / LAST, weights_only=True)
    assert content["global_step"] == int(found.group(1))
    for part in ("state_dict", "current_model_state"):
        assert all(value.isfinite().all() for value in content[part].values())
