"""From which checkpoint a run goes on, and what is said if there is none to trust."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

from roma_pyg.training.restore import BEST, LAST, PREVIOUS, Checkpoint, read_checkpoint


def find_checkpoint(folder: Path, resume: Literal["auto"] | bool) -> Checkpoint | None:
    """Read the checkpoint from which a run goes on.

    Args:
        folder: Folder of the run.
        resume: True for ``last.ckpt``, which must be there. ``auto`` for the last good one of all
            checkpoints, with a warning where it is not ``last.ckpt``, and for none if there are
            none at all, as before the first step. False for none.

    Returns:
        The checkpoint, or None to begin at the start.

    Raises:
        FileNotFoundError: If ``last.ckpt`` is missing, and ``resume`` is true.
        ValueError: If it is damaged, and ``resume`` is true; with ``auto``, if all are damaged.
    """
    last = folder / LAST
    if not resume or (resume == "auto" and not _present(folder)):
        return None
    try:
        return read_checkpoint(last)
    except FileNotFoundError:
        problem: OSError | ValueError = FileNotFoundError(
            f"Expected a checkpoint '{last}' to resume from (got none)."
        )
    except ValueError as error:
        problem = error
    good = last_good(folder)
    if good is None or resume != "auto":
        raise type(problem)(f"{problem} {advice(folder)}") from problem
    warnings.warn(
        f"{problem} Going on from '{good.path}', step {good.step}.", UserWarning, stacklevel=2
    )
    if last.exists():
        # Out of the way: the next checkpoint would put it in the place of the good one.
        last.replace(last.with_name(f"{LAST}.damaged"))
    return good


def last_good(folder: Path) -> Checkpoint | None:
    """Read the readable checkpoint of a run with the most steps; None if there is none.

    Args:
        folder: Folder of the run.
    """
    good = []
    for path in _present(folder):
        try:
            good.append(read_checkpoint(path))
        except (OSError, ValueError):
            continue
    # Of equally many steps the first, which is `last.ckpt`.
    return max(good, key=lambda checkpoint: checkpoint.step, default=None)


def advice(folder: Path) -> str:
    """Say in one sentence how a run that has failed goes on.

    Args:
        folder: Folder of the run.
    """
    good = last_good(folder)
    if good is not None:
        return (
            f"The last good checkpoint is '{good.path}', step {good.step}; the same command with "
            "--resume auto goes on from there."
        )
    if _present(folder):
        return f"No checkpoint in '{folder}' can be read; remove the folder to start anew."
    return "There is no checkpoint; start the run without --resume, or with --resume auto."


def _present(folder: Path) -> list[Path]:
    """The checkpoint files of a run."""
    return [folder / name for name in (LAST, PREVIOUS, BEST) if (folder / name).is_file()]
