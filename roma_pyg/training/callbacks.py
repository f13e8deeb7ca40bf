"""The callbacks of a training run."""

from __future__ import annotations

from pathlib import Path

import lightning as L

from roma_pyg.config import TrainingConfig
from roma_pyg.training.averaging import EmaWeights
from roma_pyg.training.checkpoints import BestCheckpoint, LastCheckpoint
from roma_pyg.training.dashboard import Dashboard
from roma_pyg.training.memory import ReturnFreedMemory
from roma_pyg.training.monitor import ResourceMonitor
from roma_pyg.training.progress import TrainingBar
from roma_pyg.training.random_state import RandomState
from roma_pyg.training.stopping import StopSignals


def make_callbacks(
    options: TrainingConfig,
    folder: Path,
    dt: float = 1.0,
    average: float | None = 0.999,
    progress: bool = True,
) -> list[L.Callback]:
    """Return progress bar, monitors, averaging, dashboard, signals and checkpoints of a run.

    Args:
        options: Intervals of log and checkpoints, and whether figures are drawn.
        folder: Where ``best.ckpt``, ``last.ckpt`` and ``previous.ckpt`` are written.
        dt: Time between samples, in time units, for the figures.
        average: Decay of the moving average of the weights, see :class:`EmaWeights`; None or 0
            trains without one.
        progress: Show progress. If false, give the trainer ``enable_progress_bar=False``.
    """
    callbacks: list[L.Callback] = [ResourceMonitor(), ReturnFreedMemory()]
    if progress:
        callbacks.append(TrainingBar(options.log_interval))
    if average:
        callbacks.append(EmaWeights(average))
    # After the averaging, so that at the end the dashboard shows the averaged weights.
    callbacks.append(Dashboard(dt, options.figures))
    stop = StopSignals()
    last = LastCheckpoint(folder, options.checkpoint_interval, stop)
    return [*callbacks, RandomState(), stop, BestCheckpoint(folder), last]
