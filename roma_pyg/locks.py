"""One process at a time at work on a file or folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


class Busy(RuntimeError):
    """Another process is at work on it."""


def refuse() -> None:
    """Do not wait for another process; an argument of `only_process`.

    Raises:
        Busy: Always.
    """
    raise Busy


@contextmanager
def only_process(path: Path, busy: Callable[[], None] = refuse) -> Iterator[bool]:
    """Be the only process at work on a file or folder.

    The lock is ``.NAME.lock`` beside it. It is removed at the end; that of a process that is killed
    stays and is free. Forked processes, as those of a loader, have no part in it, so that one that
    outlives its parent keeps nobody waiting.

    Args:
        path: File or folder, which need not exist; see what is there once inside.
        busy: Called if another process is at work on it, before waiting for that; may raise an
            exception in order not to wait.

    Yields:
        Whether there is a lock. Where the system or the file system has none, nobody waits.

    Raises:
        Busy: If another process is at work on it, unless ``busy`` does something else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if sys.platform == "win32":
        yield False
        return
    import fcntl

    file = path.with_name(f".{path.name}.lock")
    while True:
        lock = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        _HELD.add(lock)
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                busy()
                fcntl.flock(lock, fcntl.LOCK_EX)
            except OSError:
                yield False
                return
            # The one we waited for has removed its file; the lock that counts is on a new one.
            if not _names(file, lock):
                continue
            try:
                yield True
            finally:
                # A forked process has let go.
                if lock in _HELD:
                    file.unlink(missing_ok=True)
            return
        finally:
            if lock in _HELD:
                _HELD.remove(lock)
                os.close(lock)


_HELD: set[int] = set()


def _let_go() -> None:
    """Give up all locks, which remain those of the parent; for a forked process."""
    while _HELD:
        os.close(_HELD.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)


def _names(file: Path, descriptor: int) -> bool:
    """Whether a path still names the file that is open."""
    try:
        return os.path.samestat(file.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
