"""Progress bar: one line in a terminal, a few plain lines elsewhere."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Mapping
from typing import Any, TextIO

import lightning as L
import torch
from lightning.pytorch.callbacks import TQDMProgressBar
from lightning.pytorch.callbacks.progress.tqdm_progress import Tqdm
from tqdm import tqdm

PLAIN_EVERY = 10
SMOOTHING = 0.95


def progress_line(step: int, total: int, rate: float, loss: float, val: float | None) -> str:
    """Return one plain line of progress.

    Args:
        step: Steps done.
        total: Steps of the whole run.
        rate: Steps per second.
        loss: Current training loss.
        val: Last validation loss, if there is one.

    >>> progress_line(250, 1000, 5.0, 0.75, None)
    'step  250/1000  5.00 steps/s  ETA 02:30  loss 0.750'
    """
    eta = "?" if rate <= 0 else tqdm.format_interval(int((total - step) / rate))
    line = f"step {step:{len(str(total))}d}/{total}  {rate:.2f} steps/s  ETA {eta}"
    return f"{line}  {_losses(loss, val, '  ')}"


def _losses(loss: float, val: float | None, separator: str) -> str:
    parts = [f"loss {loss:.3f}"]
    if val is not None:
        parts.append(f"val {val:.3f}")
    return separator.join(parts)


class TrainingBar(TQDMProgressBar):
    """Shows step, step rate, remaining time, smoothed training loss and validation loss.

    In a terminal it is one bar over all steps of the run, whatever the epochs. Elsewhere (a file,
    a pipe, a CI log) it writes one plain line per ``10 * log_interval`` steps and one at the end.

    Args:
        log_interval: Steps between two log entries.
        stream: Where to write; the standard error by default.
    """

    BAR_FORMAT = "{n_fmt}/{total_fmt} |{bar}| {rate_noinv_fmt}, ETA {remaining}{postfix}"

    def __init__(self, log_interval: int = 20, stream: TextIO | None = None) -> None:
        """Choose between bar and lines when training starts."""
        super().__init__()
        self._log_interval = log_interval
        self._stream = stream
        self._loss = math.nan
        self._started = 0.0
        self._first_step = 0
        self._total = 0

    @property
    def stream(self) -> TextIO:
        """The stream, looked up late so that a redirected standard error is respected."""
        return sys.stderr if self._stream is None else self._stream

    def on_train_start(self, trainer: L.Trainer, *_: object) -> None:
        """Open the bar."""
        self._started = time.perf_counter()
        self._first_step = trainer.global_step
        self._total = max(trainer.max_steps, 0)
        self._loss = math.nan
        self.train_progress_bar = Tqdm(
            total=self._total or None,
            initial=trainer.global_step,
            unit=" steps",
            disable=self.is_disabled or not self.stream.isatty(),
            dynamic_ncols=True,
            file=self.stream,
            smoothing=0,
            bar_format=self.BAR_FORMAT,
        )

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: torch.Tensor | Mapping[str, Any] | None,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Advance by one step."""
        loss = outputs["loss"] if isinstance(outputs, Mapping) else outputs
        if loss is not None:
            value = float(loss)
            smooth = SMOOTHING * self._loss + (1 - SMOOTHING) * value
            self._loss = value if math.isnan(self._loss) else smooth
        step = trainer.global_step
        bar = self.train_progress_bar
        if not bar.disable:
            bar.set_postfix_str(_losses(self._loss, self._val_loss(trainer), ", "), refresh=False)
            bar.update(step - bar.n)
        elif self.is_enabled and self._is_due(step):
            self._write_line(trainer, step)

    def on_train_end(self, *_: object) -> None:
        """Close the bar."""
        self._close()

    def on_exception(self, *_: object) -> None:
        """Close the bar, so that an error message starts on a line of its own."""
        self._close()

    def _close(self) -> None:
        if self._train_progress_bar is not None:
            self._train_progress_bar.close()

    def _is_due(self, step: int) -> bool:
        due = step == self._total or step % (PLAIN_EVERY * self._log_interval) == 0
        return self._total > 0 and due

    def _val_loss(self, trainer: L.Trainer) -> float | None:
        value = trainer.callback_metrics.get("val/loss")
        return None if value is None else float(value)

    def _write_line(self, trainer: L.Trainer, step: int) -> None:
        elapsed = time.perf_counter() - self._started
        rate = (step - self._first_step) / elapsed if elapsed > 0 else 0.0
        line = progress_line(step, self._total, rate, self._loss, self._val_loss(trainer))
        self.stream.write(line + "\n")
        self.stream.flush()

    # One bar over the whole run: epochs, sanity check and validation open none of their own.

    def on_sanity_check_start(self, *_: object) -> None:
        """Show nothing."""

    def on_sanity_check_end(self, *_: object) -> None:
        """Show nothing."""

    def on_train_epoch_start(self, trainer: L.Trainer, *_: object) -> None:
        """Keep the bar."""

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Keep the bar."""

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show nothing."""

    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show nothing."""

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Show nothing."""

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show nothing; the next step shows the new validation loss."""
