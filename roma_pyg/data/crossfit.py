"""Blocks of the training times, each of which can be forgotten."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def block_of(time: int, times: range, blocks: int) -> int:
    """Block that a forecast time lies in.

    Args:
        time: Forecast time, in samples.
        times: Times that were cut into blocks.
        blocks: Number of blocks.

    Returns:
        The block, or ``blocks`` for other times.

    >>> [block_of(time, range(10, 20), 2) for time in (9, 10, 14, 15, 19, 20)]
    [2, 0, 0, 1, 1, 2]
    """
    if blocks == 0 or time not in range(times.start, times.stop):
        return blocks
    return (time - times.start) * blocks // len(times)


def block_edges(block: int, times: range, blocks: int) -> tuple[int, int]:
    """First time of a block and the one after its last; of block ``blocks``, an empty interval.

    >>> [block_edges(block, range(10, 21), 2) for block in range(3)]
    [(10, 16), (16, 21), (21, 21)]
    """
    if block == blocks:
        return times.stop, times.stop
    first, last = (times.start - (-len(times) * b // blocks) for b in (block, block + 1))
    return first, last


def kept_times(block: int, times: range, blocks: int, horizon: int) -> NDArray[np.int64]:
    """Times whose targets do not overlap with those of a block.

    >>> [len(kept_times(block, range(100), 4, horizon=10)) for block in range(5)]
    [66, 57, 57, 66, 100]
    """
    first, last = block_edges(block, times, blocks)
    kept = np.arange(times.start, times.stop)
    if first < last:
        # Targets reach from a time to its horizon.
        kept = kept[(kept <= first - horizon) | (kept >= last - 1 + horizon)]
    return kept
