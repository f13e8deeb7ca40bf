"""Trains a tiny run with different numbers of ranks, which are forked from one process.

As `driver.py`, a program of its own that loads the package once. Ranks get the environment that
``torchrun`` would give them. Reads a JSON list of trainings from the standard input, see
`Training`, and writes the exit codes of their ranks to the standard output.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

# The folder of this file is on the path of a program.
from driver import make_config, make_series
from forking import fork

from roma_pyg import ranks
from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.training.module import RomaModule
from roma_pyg.training.run import train


@dataclass
class Training:
    """One training.

    Attributes:
        folder: Folder of the run.
        ranks: Number of processes.
        graphs: Subgraphs of a step of each process.
        signal_at: Step in which the last rank alone gets SIGTERM; none if negative.
        copy: Folder of a stopped run, which is copied first and resumed.
    """

    folder: str
    ranks: int
    graphs: int
    signal_at: int = -1
    copy: str = ""


def send_signal(step: int) -> None:
    """Send this process SIGTERM in the middle of a training step."""
    original = RomaModule.training_step

    def stopping(self: RomaModule, *arguments: Any) -> Any:
        if self.global_step == step and ranks.rank() == ranks.size() - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return original(self, *arguments)

    RomaModule.training_step = stopping  # type: ignore[method-assign]


def work(training: Training) -> None:
    """Train, as one rank: in double precision, with all that is a ratio of sums over a batch."""
    if training.signal_at >= 0:
        send_signal(training.signal_at)
    config = make_config(
        Path(training.folder),
        workers=0,
        precision="64-true",
        average=0,
        resume="auto",
    )
    data = replace(config.data, graphs_per_batch=training.graphs, max_neighbors=2)
    pool = replace(config.model.pool, sizes=[4, 2], modularity=0.1)
    config = replace(
        config,
        data=data,
        model=replace(config.model, pool=pool),
        training=replace(config.training, max_steps=12),
    )
    loaded = GraphSeriesData(config.data, config.training, make_series(), progress=False)
    train(config, data=loaded, progress=False)


def start(training: Training) -> list[int]:
    """Train; returns the exit codes of the ranks."""
    if training.copy:
        shutil.copytree(training.copy, training.folder)
    return fork(training.ranks, lambda: work(training))


if __name__ == "__main__":
    torch.set_num_threads(1)
    json.dump([start(Training(**item)) for item in json.load(sys.stdin)], sys.stdout)
