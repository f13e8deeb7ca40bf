"""Checkpoints: the best by validation loss, and the last to resume from."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from roma_pyg.training.module import check_weights
from roma_pyg.training.restore import BEST, LAST, PREVIOUS
from roma_pyg.training.stopping import StopSignals


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints so that a crash or a full disk never leaves half of one.

    A file is written under a temporary name in its folder, brought to the disk, and renamed.
    Lightning's own way goes through the folder of temporary files, from where it may be copied,
    and leaves the disk to its own time.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | os.PathLike[str],
        storage_options: Path | None = None,
    ) -> None:
        """Write a checkpoint.

        Args:
            checkpoint: Tensors and plain values.
            path: The file.
            storage_options: Where the file that lay at ``path`` is kept, if it shall be.

        Raises:
            OSError: If it cannot be written; the files that were there stay as they are.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        # In memory first: torch's writer would turn the error of a full disk into another one.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        temporary = path.with_name(f".{path.name}.tmp")
        try:
            with temporary.open("wb") as file:
                file.write(content.getbuffer())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise OSError(error.errno, error.strerror, str(path)) from error
        if storage_options is not None and path.exists():
            path.replace(storage_options)
        temporary.replace(path)
        _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Bring the new names to the disk, where folders can be opened (not on Windows)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class BestCheckpoint(Checkpoint):
    """Keeps ``best.ckpt``, the state with the smallest ``val/loss``.

    Args:
        folder: Where the file lies.
    """

    def __init__(self, folder: Path) -> None:
        """Nothing validated yet."""
        self._path = folder / BEST
        self._loss = math.inf

    def state_dict(self) -> dict[str, Any]:
        """Return the smallest loss so far."""
        return {"loss": self._loss}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the smallest loss so far."""
        self._loss = state_dict["loss"]

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save if the loss is smaller than all before."""
        loss = float(trainer.callback_metrics["val/loss"])
        if loss < self._loss and not trainer.sanity_checking:
            self._loss = loss
            trainer.save_checkpoint(self._path, weights_only=False)


class LastCheckpoint(Checkpoint):
    """Keeps ``last.ckpt``, and ``previous.ckpt``, the one before it.

    It is written after each validation, every ``interval`` steps between, after the last step, and
    when a signal has asked the run to stop, which it then does. Checkpoints are made between two
    steps only, where weights, averages, optimiser, schedule and log agree. After an error nothing
    is saved: the state may be what failed.

    Args:
        folder: Where the files lie.
        interval: Steps between two checkpoints; 0 for none but those of validations.
        stop: The signals.
    """

    def __init__(self, folder: Path, interval: int = 0, stop: StopSignals | None = None) -> None:
        """Nothing saved yet."""
        self._path = folder / LAST
        self._interval = interval
        self._stop = StopSignals() if stop is None else stop
        self._saved = -1

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: torch.Tensor | Mapping[str, Any] | None,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Save if it is time to."""
        step = trainer.global_step
        regular = self._interval > 0 and step % self._interval == 0
        # A validation that comes now belongs to this step: a run that is resumed from a checkpoint
        # before it would leave it out.
        validates = step % (trainer.val_check_batch or math.inf) == 0
        due = regular or step == trainer.max_steps
        if (self._stop.agreed() or due) and not validates:
            self._save(trainer, pl_module)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the state that was validated."""
        if not trainer.sanity_checking:
            self._save(trainer, pl_module)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: object, batch_idx: int
    ) -> None:
        """End the run if a signal asked for it and the last step is saved.

        Raises:
            KeyboardInterrupt: After Ctrl-C.
            Stopped: After another signal.
        """
        if self._saved == trainer.global_step:
            self._stop.leave(self._saved, self._path)

    def _save(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        check_weights(pl_module, trainer.global_step)
        # A resumed run does not log again what lies before its checkpoint.
        for logger in trainer.loggers:
            logger.save()
        previous = self._path.with_name(PREVIOUS)
        trainer.save_checkpoint(self._path, weights_only=False, storage_options=previous)
        self._saved = trainer.global_step
