"""Throughput and memory of a run."""

from __future__ import annotations

import resource
import sys
import time
from typing import Any

import lightning as L
import psutil
import torch

from roma_pyg import ranks
from roma_pyg.data.sampling import SubgraphBatch

MEBIBYTE = 2**20


class ResourceMonitor(L.Callback):
    """Logs how fast a run is and how much memory it takes.

    Tags: ``speed/steps_per_second`` and ``speed/nodes_per_second`` (core nodes), averaged since
    the last entry, with the wait for data but without validation, checkpoints and figures;
    ``memory/process_mib`` (resident memory of the main process) and, on a GPU,
    ``memory/gpu_peak_mib`` (largest allocation since the start), both in MiB. Nodes are those of
    all ranks, memory is that of rank 0.
    """

    def __init__(self) -> None:
        """Start with an empty count."""
        self._process = psutil.Process()
        self._total_elapsed = 0.0
        self._total_steps = 0
        self._reset()

    def _reset(self) -> None:
        self._mark: float | None = None
        self._elapsed = 0.0
        self._steps = 0
        self._nodes = 0

    def state_dict(self) -> dict[str, Any]:
        """Return what was counted, for the summary of a run that is resumed."""
        return {"steps": self._total_steps, "elapsed": self._total_elapsed}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count on from there."""
        self._total_steps, self._total_elapsed = state_dict["steps"], state_dict["elapsed"]

    def summary(self) -> dict[str, float]:
        """Return steps and their rate since the start, and the largest memory of the process.

        The rate leaves out validation, checkpoints and figures. Memory is in MiB; it counts the
        main process, not the workers that sample, which share their data with it, and not what a
        resumed run took before.
        """
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # Linux counts in KiB, macOS in bytes.
        peak_mib = peak / (MEBIBYTE if sys.platform == "darwin" else 1024)
        rate = self._total_steps / self._total_elapsed if self._total_elapsed > 0 else 0.0
        return {
            "steps": self._total_steps,
            "steps_per_second": round(rate, 3),
            "peak_memory_mib": round(peak_mib, 1),
        }

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start counting."""
        self._reset()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Stop the clock until the next training batch."""
        self._mark = None

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Start the clock if it stands still."""
        if self._mark is None:
            self._mark = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: object,
        batch: SubgraphBatch,
        batch_idx: int,
    ) -> None:
        """Count a step; log on the steps that write logs."""
        now = time.perf_counter()
        taken = now - (now if self._mark is None else self._mark)
        self._elapsed += taken
        self._total_elapsed += taken
        self._total_steps += 1
        self._mark = now
        self._steps += 1
        self._nodes += batch.num_core * ranks.size()
        interval = int(trainer.log_every_n_steps)  # type: ignore[attr-defined]
        if trainer.global_step % interval or self._elapsed <= 0:
            return
        entries = {
            "speed/steps_per_second": self._steps / self._elapsed,
            "speed/nodes_per_second": self._nodes / self._elapsed,
            "memory/process_mib": self._process.memory_info().rss / MEBIBYTE,
        }
        if pl_module.device.type == "cuda":
            peak = torch.cuda.max_memory_allocated(pl_module.device)
            entries["memory/gpu_peak_mib"] = peak / MEBIBYTE
        pl_module.log_dict(entries, batch_size=batch.num_core)
        self._elapsed, self._steps, self._nodes = 0.0, 0, 0
