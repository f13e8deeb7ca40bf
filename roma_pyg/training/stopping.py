"""Ending a run between two steps when a signal asks for it."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from types import FrameType

import lightning as L

from roma_pyg import exchange

# Ctrl-C; the end of a job, or `kill`; what schedulers send some time before the end of a job.
SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)
)


class Stopped(SystemExit):
    """A signal of a scheduler ended the training, after its state was saved.

    It ends a program with the exit code that shells give to the signal, 128 + its number (143 for
    SIGTERM), unless it is caught.

    Args:
        number: The signal.
        step: Optimiser steps done.
        path: The checkpoint.

    >>> stop = Stopped(signal.SIGTERM, 412, Path("runs/roma/last.ckpt"))
    >>> stop.code
    143
    >>> print(stop)
    stopped by SIGTERM after step 412, which 'runs/roma/last.ckpt' holds.
    """

    def __init__(self, number: int, step: int, path: Path) -> None:
        """Remember the place."""
        super().__init__(128 + number)
        name = signal.Signals(number).name
        self.text = f"stopped by {name} after step {step}, which '{path}' holds."

    def __str__(self) -> str:
        """What happened, in one line."""
        return self.text


class StopSignals(L.Callback):
    """Takes note of Ctrl-C, SIGTERM and SIGUSR1, so that the step in progress is finished first.

    An exception in the middle of a step would leave weights of which some are updated and others
    are not. A second Ctrl-C ends the run at once, without saving. Lightning puts back the handlers
    that were there before, when training ends.

    Attributes:
        received: The first signal so far, or None.
    """

    def __init__(self) -> None:
        """Nothing received yet."""
        self.received: int | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Listen from now on; before the first step there is nothing to save."""
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._receive)

    def agreed(self) -> int | None:
        """The signal that this process, or another rank, has received; all ranks must ask."""
        with exchange.joint():
            return exchange.largest(self.received or 0) or None

    def leave(self, step: int, path: Path) -> None:
        """End the run if a signal has asked for it; all ranks must ask.

        Args:
            step: Optimiser steps done.
            path: The checkpoint that holds them.

        Raises:
            KeyboardInterrupt: After Ctrl-C.
            Stopped: After another signal.
        """
        received = self.agreed()
        if received == signal.SIGINT:
            raise KeyboardInterrupt
        if received is not None:
            raise Stopped(received, step, path)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and number == signal.SIGINT:
            signal.default_int_handler(number, frame)
        self.received = self.received or number
