"""Trains a tiny run over and over, and kills it at given points.

A program of its own, which loads the package once and forks a child for each attempt: that is ten
times faster than a new process. Reads a JSON object from the standard input and writes one to the
standard output, see `main`.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

import roma_pyg
from roma_pyg.config import (
    LAW_INPUTS,
    DataConfig,
    EffectiveConfig,
    EncoderConfig,
    ModelConfig,
    OperatorConfig,
    PoolConfig,
    PositionalConfig,
    RunConfig,
    TrainingConfig,
    TrunkConfig,
)
from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.training.module import RomaModule
from roma_pyg.training.run import train

STEPS, VALIDATED, SAVED = 24, 6, 4
# Seconds; over twenty times what an attempt takes on a slow core.
DEADLINE = 200


def make_series() -> roma_pyg.GraphSeries:
    """Noisy waves on a ring with chords."""
    rng = np.random.default_rng(0)
    ring = np.arange(40)
    senders = np.concatenate([ring, rng.integers(0, 40, 20)])
    receivers = np.concatenate([np.roll(ring, 1), rng.integers(0, 40, 20)])
    values = 0.5 + 0.4 * np.sin(0.3 * np.arange(200) + 6 * rng.random((40, 1)))
    return roma_pyg.GraphSeries.from_arrays(
        np.stack([senders, receivers]), values.astype(np.float32), dt=0.1, name="ring"
    )


def make_config(folder: Path, **training: Any) -> RunConfig:
    """A run of a second: averaged weights, Muon, a law with balanced weights, several subgraphs."""
    return RunConfig(
        data=DataConfig(
            name="ring",
            root=str(folder.parent / "data"),
            system="files",
            edges="edges.csv",
            series="series.csv",
            positional=PositionalConfig(eigenmaps=2, walk_embedding=0),
            window=8,
            horizon=8,
            nodes_per_graph=12,
            noise=1e-3,
        ),
        model=ModelConfig(
            features=4,
            encoder=EncoderConfig(width=8, layers=1),
            pool=PoolConfig(sizes=[4], width=8),
            operator=OperatorConfig(width=8, layers=1, heads=2, num_functions=4),
            trunk=TrunkConfig(basis=4, width=8, layers=1, fourier_features=4),
            effective=EffectiveConfig(kind="emergent", inputs=list(LAW_INPUTS)),
        ),
        training=TrainingConfig(
            output=str(folder.parent),
            name=folder.name,
            max_steps=STEPS,
            val_interval=VALIDATED,
            val_batches=2,
            checkpoint_interval=SAVED,
            log_interval=3,
            rollout=2,
            figures=False,
            accelerator="cpu",
            **training,
        ),
    )


def draw_from_everywhere(loss: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Let a training step depend on all global random generators, as a dropout would."""

    def noisy(self: RomaModule, *arguments: Any) -> torch.Tensor:
        draws = torch.rand(()) + np.random.rand() + random.random()  # noqa: NPY002
        return loss(self, *arguments) * (1 + 0.1 * draws)

    return noisy


def plant(place: str, call: int, moment: str) -> None:
    """Kill this process at a call of a function.

    Args:
        place: ``module:name`` or ``module:class.name``.
        call: Which call, from 1.
        moment: ``before`` or ``after`` it; ``half`` for a file descriptor of whose content only
            half has arrived.
    """
    module, _, path = place.partition(":")
    owner: Any = importlib.import_module(module)
    *classes, name = path.split(".")
    for part in classes:
        owner = getattr(owner, part)
    original = getattr(owner, name)
    count = 0

    def deadly(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        count += 1
        due = count == call
        if due and moment == "half":
            os.ftruncate(arguments[0], os.fstat(arguments[0]).st_size // 2)
        if due and moment != "after":
            os.kill(os.getpid(), signal.SIGKILL)
        result = original(*arguments, **options)
        if due:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, deadly)


def attempt(config: RunConfig, data: GraphSeriesData, kill: dict[str, Any] | None) -> int | str:
    """Train in a child; return its exit code, which is negative after a signal.

    The child leads a process group of its own, so that nothing it started outlives it. One that is
    not through after `DEADLINE` seconds is stuck: all its processes tell where, in the standard
    error, and the attempt returns ``"stuck"``.

    Args:
        config: The run.
        data: Its data.
        kill: Arguments of `plant`, or ``seconds`` after which the child is killed.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setpgid(0, 0)
            faulthandler.register(signal.SIGUSR1)
            RomaModule.training_step = draw_from_everywhere(RomaModule.training_step)
            if kill and "place" in kill:
                plant(**kill)
            train(config, data=data, progress=False)
            code = 0
        finally:
            sys.stderr.flush()
            os._exit(code)
    # Here, too: whichever of the two is first.
    with contextlib.suppress(PermissionError, ProcessLookupError):
        os.setpgid(child, child)
    stuck = threading.Event()

    def give_up() -> None:
        stuck.set()
        os.killpg(child, signal.SIGUSR1)
        time.sleep(2)
        os.kill(child, signal.SIGKILL)

    clocks = [threading.Timer(DEADLINE, give_up)]
    if kill and "seconds" in kill:
        clocks.append(threading.Timer(kill["seconds"], os.kill, (child, signal.SIGKILL)))
    for clock in clocks:
        clock.start()
    # Without reaping, so that the number of the child cannot be given to another process.
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    for clock in clocks:
        clock.cancel()
        clock.join()
    # The group is there as long as its leader is not reaped.
    os.killpg(child, signal.SIGKILL)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "stuck" if stuck.is_set() else code


def main() -> None:
    """Perform a plan.

    Input: ``folder``; ``kills``, of which each is an argument of `attempt`; ``workers``, of the
    runs in turn. Output: ``whole``, the seconds of an uninterrupted run, ``runs``, the folders of
    finished runs, ``killed``, the kills that took place, and ``failed``, those after which an
    attempt ended with an error.
    """
    plan = json.load(sys.stdin)
    torch.set_num_threads(1)
    folder = Path(plan["folder"])
    series = make_series()
    config = make_config(folder / "whole", workers=0)
    data = GraphSeriesData(config.data, config.training, series, progress=False)
    begin = time.perf_counter()
    failed = [{"whole": True}] if attempt(config, data, None) else []
    seconds = time.perf_counter() - begin
    waiting, killed, runs = list(plan["kills"]), [], []
    while waiting:
        number = len(runs)
        workers = plan["workers"][number % len(plan["workers"])]
        config = make_config(folder / f"run{number}", workers=workers, resume="auto")
        data = GraphSeriesData(config.data, config.training, series, progress=False)
        kill: dict[str, Any] | None = {}
        while kill is not None:
            kill = waiting.pop(0) if waiting else None
            code = attempt(config, data, kill)
            if code == 0:
                break
            # The sampling may have a process of its own, whose death ends the run with an error.
            sampling = workers > 0 and "WindowStream" in (kill or {}).get("place", "")
            if code == -signal.SIGKILL or sampling:
                killed.append(kill)
            else:
                failed.append({"run": number, "kill": kill, "code": code})
        runs.append(f"run{number}")
    json.dump({"whole": seconds, "runs": runs, "killed": killed, "failed": failed}, sys.stdout)


if __name__ == "__main__":
    main()
