"""Which process of a run this is, as ``torchrun`` tells it.

A process alone is rank 0 of 1. What the processes say to each other is in `roma_pyg.exchange`.
"""

from __future__ import annotations

import os

_LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


class RankFailed(ConnectionError):
    """Another rank of the run failed, was killed, or did not come in time."""


def size() -> int:
    """Number of processes of this run, 1 for a process alone.

    >>> rank(), size(), title("roma-train")
    (0, 1, 'roma-train')
    """
    return int(os.environ["WORLD_SIZE"]) if all(key in os.environ for key in _LAUNCHED) else 1


def rank() -> int:
    """Number of this process, in ``[0, size())``; rank 0 speaks and writes for all."""
    return int(os.environ["RANK"]) if size() > 1 else 0


def local_rank() -> int:
    """Number of this process on its machine, such as that of its GPU."""
    return int(os.environ["LOCAL_RANK"]) if size() > 1 else 0


def local_size() -> int:
    """Number of processes of this run on this machine."""
    return int(os.environ["LOCAL_WORLD_SIZE"]) if size() > 1 else 1


def title(program: str) -> str:
    """Name of this process in messages, such as ``roma-train, rank 1 of 4``.

    Args:
        program: Name of the program, all that a process alone is called.
    """
    return f"{program}, rank {rank()} of {size()}" if size() > 1 else program
