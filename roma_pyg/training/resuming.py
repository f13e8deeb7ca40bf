"""From which checkpoint a run goes on, and what is said if there is none to trust."""

from __future__ import annotations

import errno
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from roma_pyg.ranks import RankFailed
from roma_pyg.reading import shorten
from roma_pyg.training.module import NonFiniteLossError
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


@contextmanager
def naming_last_good(folder: Path) -> Iterator[None]:
    """Name the last good checkpoint where training fails for a full disk or a rank, or diverges.

    Args:
        folder: Folder of the run.

    Raises:
        OSError: In the place of one that says that a disk is full or broken.
        RankFailed: In the place of one without the name.
        NonFiniteLossError: In the place of one without the name.
    """
    before = threading.excepthook

    def without_disk(failure: threading.ExceptHookArgs) -> None:
        # The thread that writes the events fails, too; the training thread raises the same error.
        if getattr(failure.exc_value, "errno", None) not in _DISK:
            before(failure)

    threading.excepthook = without_disk
    try:
        yield
    except NonFiniteLossError as error:
        # No command: to go on from there would lead to the same error.
        raise NonFiniteLossError(f"{error} {_name(last_good(folder))}") from error
    except RankFailed as error:
        raise RankFailed(f"{error} {advice(folder)}") from error
    except OSError as error:
        if error.errno not in _DISK:
            raise
        raise OSError(f"Expected to write to the disk (got {error}). {advice(folder)}") from error
    finally:
        threading.excepthook = before


@contextmanager
def naming_unfit(path: Path | None) -> Iterator[None]:
    """Name the checkpoint whose content does not fit the training that is to go on from it.

    Optimiser, schedule and loops are restored by Lightning, which trusts what it finds.

    Args:
        path: The checkpoint; None if there is none.

    Raises:
        ValueError: In the place of whatever is raised while the training is restored.
    """
    try:
        yield
    except (ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
        frames = traceback.extract_tb(error.__traceback__)
        if path is None or not any("checkpoint_connector" in frame.filename for frame in frames):
            raise
        raise ValueError(
            f"Expected '{path}' to hold the state of a training with these options (got "
            f"{type(error).__name__}: {shorten(str(error))}): go on with the options it was "
            "written with, or begin anew under another training.name."
        ) from error


# A full disk, a used-up quota, a file that is too large, a broken disk, and one that has become
# read-only for that reason.
_DISK = [
    getattr(errno, name)
    for name in ("ENOSPC", "EDQUOT", "EFBIG", "EIO", "EROFS")
    if hasattr(errno, name)
]


def advice(folder: Path) -> str:
    """Say in one or two sentences how a run that has failed goes on.

    Args:
        folder: Folder of the run.
    """
    good = last_good(folder)
    if good is None and _present(folder):
        return f"No checkpoint in '{folder}' can be read; remove the folder to start anew."
    if good is None:
        return "There is no checkpoint; --resume auto starts from the beginning."
    return f"{_name(good)} The same command with --resume auto goes on from there."


def _name(good: Checkpoint | None) -> str:
    if good is None:
        return "There is no checkpoint yet."
    return f"The last good checkpoint is '{good.path}', step {good.step}."


def _present(folder: Path) -> list[Path]:
    """The checkpoint files of a run."""
    return [folder / name for name in (LAST, PREVIOUS, BEST) if (folder / name).is_file()]
