"""Reads from memory-mapped series that do not stay in the memory of the process."""

from __future__ import annotations

import mmap
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.graph import IntArray

RESIDENT_BYTES = 1 << 30
"""Bytes of a map that may be read before its pages are given back."""

_PAGE = mmap.PAGESIZE
_DONTNEED = getattr(mmap, "MADV_DONTNEED", None)
_read_since: dict[int, int] = {}


def read_window(
    values: NDArray[Any], nodes: IntArray | slice, first: int, last: int
) -> NDArray[np.float32]:
    """Copy ``values[nodes, first:last]``.

    Pages of a memory map that were read once count as memory of the process until the system needs
    them elsewhere, so that a long run seems to hold the whole file. Here they are given back after
    every GiB; the system keeps what it has room for, and reading it again is quick.

    Args:
        values: Series, shape ``(N, T)``, perhaps a memory map.
        nodes: Rows, shape ``(n,)``, or a slice of them.
        first: First sample.
        last: Sample to stop before.

    Returns:
        A new float32 array, shape ``(n, last - first)``.
    """
    mapped = find_map(values)
    if mapped is None:
        return np.array(values[nodes, first:last], dtype=np.float32)
    rows = np.arange(len(values))[nodes] if isinstance(nodes, slice) else np.asarray(nodes)
    out = np.empty((len(rows), last - first), dtype=np.float32)
    # A row touches the pages that its window lies on, at most one more than it fills.
    per_row = ((last - first) * values.itemsize // _PAGE + 2) * _PAGE
    block = max(1, RESIDENT_BYTES // per_row)
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        out[start : start + len(part)] = values[part, first:last]
        release_pages(values, len(part) * per_row)
    return out


def release_pages(values: NDArray[Any], read: int | None = None) -> None:
    """Give back the pages of a memory map that is only read.

    Args:
        values: The map, or a view of it; other arrays are left alone.
        read: Bytes that were read since the last call; the pages are given back once these add up
            to `RESIDENT_BYTES`. None does so at once.
    """
    mapped = find_map(values)
    if mapped is None or _DONTNEED is None:
        return
    key = id(mapped)
    total = _read_since.get(key, 0) + (RESIDENT_BYTES if read is None else read)
    if total >= RESIDENT_BYTES:
        mapped.madvise(_DONTNEED)
        total = 0
    _read_since[key] = total


def find_map(values: NDArray[Any]) -> mmap.mmap | None:
    """The read-only memory map behind an array; None if there is none, or it may be written to."""
    if values.flags.writeable:
        return None
    base: Any = values
    while base is not None:
        if isinstance(base, mmap.mmap):
            return base
        base = getattr(base, "base", None)
    return None
