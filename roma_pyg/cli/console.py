"""Output and errors of the commands: with `experiments.board` all that writes to stdout."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

from roma_pyg import ranks


def write(text: str = "") -> None:
    """Write one line, or several, to the standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def check_bounds(arguments: argparse.Namespace, least: Mapping[str, float]) -> None:
    """Check numbers of a command line; options that were not given are left alone.

    Args:
        arguments: The options; one may hold several numbers.
        least: Smallest value by name, as it is written on the command line.

    Raises:
        ValueError: If a number is smaller, or not finite.

    >>> given = argparse.Namespace(batch_size=None, steps=[1, 0])
    >>> check_bounds(given, {"batch-size": 1, "steps": 1})
    Traceback (most recent call last):
    ValueError: Expected '--steps' to be at least 1 (got 0).
    """
    for name, bound in least.items():
        given = getattr(arguments, name.replace("-", "_"))
        for value in given if isinstance(given, list) else [given]:
            if value is not None and not bound <= value < float("inf"):
                expected = "finite" if value == float("inf") else f"at least {bound}"
                raise ValueError(f"Expected '--{name}' to be {expected} (got {value}).")


def check_run(folder: Path) -> None:
    """Check that there is a folder of a run.

    Raises:
        FileNotFoundError: If there is none.
    """
    if not folder.is_dir():
        raise FileNotFoundError(
            f"Expected the folder of a run at '{folder}' (got none); runs are written to "
            "training.output/training.name, by default runs/roma."
        )


def _is_expected(error: Exception) -> bool:
    """Whether an error is the user's to mend, and needs no traceback."""
    return isinstance(error, ValueError | OSError)


def _is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed, in Python, on the CPU or on a GPU."""
    words = ("can't allocate memory", "out of memory")
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and any(word in str(error) for word in words)
    )


def _message(error: Exception) -> str:
    """What the user is told: also of errors of the system what was expected, and what came."""
    if _is_out_of_memory(error):
        what = " ".join(str(error).split())[:200] or "an allocation failed"
        return (
            f"Expected enough memory (got: {what}): close other programs, or choose smaller data, "
            "batches or models."
        )
    if isinstance(error, OSError) and error.strerror:
        place = "" if error.filename is None else f"'{error.filename}'"
        if error.strerror.startswith("Expected"):
            return f"{error.strerror}{f' ({place})' if place else ''}"
        return f"Expected to read or write {place or 'a file'} (got: {error.strerror})."
    return str(error)


def guarded(program: str, command: Callable[[], int], stopped: str = "stopped.") -> int:
    """Run a command; turn expected errors into one line on stderr and the exit code 2.

    Of several ranks each tells its own errors, with its number; what ends all of them alike, such
    as Ctrl-C, is told by rank 0.

    With ``ROMA_DEBUG=1`` in the environment the traceback is written as well. Unexpected errors
    pass through.

    Args:
        program: Name of the program, for the message.
        command: What to run; returns the exit code.
        stopped: Message after Ctrl-C.

    Returns:
        The exit code of the command, 2 after an expected error, 130 after Ctrl-C.
    """
    # Read when torch loads its thread pool: how long a waiting thread spins before it sleeps. The
    # default (3e5) makes a training step ten times slower as soon as another program needs one of
    # the cores; none at all halves the speed of a machine that is free.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        return command()
    except KeyboardInterrupt:
        if ranks.rank() == 0:
            sys.stderr.write(f"\n{program}: {stopped}\n")
        return 130
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python flushes stdout once more at its
        # end, which must not fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if not _is_expected(error) and not _is_out_of_memory(error):
            raise
        if os.environ.get("ROMA_DEBUG", "0") not in ("", "0"):
            traceback.print_exc()
        sys.stderr.write(f"{ranks.title(program)}: error: {_message(error)}\n")
        return 2
