"""Checkpoints: the best by validation loss, and the last to resume from."""

from __future__ import annotations

import warnings
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint

BEST, LAST = "best", "last"


class _RunCheckpoint(ModelCheckpoint):
    """A checkpoint with a fixed file name in the folder of the run."""

    def __init__(self, folder: Path, name: str, monitor: str | None = None) -> None:
        super().__init__(
            dirpath=folder,
            filename=name,
            monitor=monitor,
            save_top_k=1,
            save_on_train_epoch_end=False,
            auto_insert_metric_name=False,
            enable_version_counter=False,
        )

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Prepare the folder; a resumed run writes into the folder it had before."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Checkpoint directory .* is not empty")
            super().setup(trainer, pl_module, stage)


class BestCheckpoint(_RunCheckpoint):
    """Keeps ``best.ckpt``, the state with the smallest ``val/loss``.

    Args:
        folder: Where the file lies.
    """

    def __init__(self, folder: Path) -> None:
        """Watch ``val/loss``."""
        super().__init__(folder, BEST, monitor="val/loss")


class LastCheckpoint(_RunCheckpoint):
    """Keeps ``last.ckpt``: after each validation, at the end, and when interrupted.

    It is a callback of its own because the ``save_last`` of one that watches a metric saves only
    when that metric improves. After an error nothing is saved: the state may be what failed.

    Args:
        folder: Where the file lies.
    """

    def __init__(self, folder: Path) -> None:
        """Watch nothing."""
        super().__init__(folder, LAST)
        self.save_on_exception = True

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Save the final step, which need not coincide with a validation.

        This is early enough for the raw weights: averaging replaces them at the end of training.
        """
        done = trainer.max_steps > 0 and trainer.global_step >= trainer.max_steps
        if done and not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        """Save when the user stops the run."""
        if isinstance(exception, KeyboardInterrupt):
            super().on_exception(trainer, pl_module, exception)
