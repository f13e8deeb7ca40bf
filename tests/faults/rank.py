"""One rank of ``roma-train``, which may fail; started by ``torchrun``.

Usage: rank.py HOW RANK STEP [arguments of roma-train]; HOW is raise, kill, hang or none.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from roma_pyg import ranks
from roma_pyg.cli.train import main
from roma_pyg.training.module import RomaModule


def plant(how: str, step: int) -> None:
    """Let the training step number ``step`` fail."""
    original = RomaModule.training_step

    def failing(self: RomaModule, *arguments: Any) -> Any:
        if self.global_step == step:
            if how == "raise":
                raise ValueError("Expected a working rank (got a planted error).\nSecond line.")
            if how == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(600)
        return original(self, *arguments)

    RomaModule.training_step = failing  # type: ignore[method-assign]


if __name__ == "__main__":
    how, number, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if how != "none" and ranks.rank() == number:
        plant(how, step)
    sys.exit(main(sys.argv[4:]))
