"""When the C library gives memory back to the system."""

from __future__ import annotations

import ctypes
import sys

import lightning as L

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep_freed_memory(block: int = 256 << 20, reserve: int = 1 << 30) -> bool:
    """Make malloc keep the memory of freed tensors for the next ones.

    On the CPU every intermediate of a step is a new block of malloc. That of glibc returns large
    ones to the system at once and gets them back page by page, each of them cleared, which took a
    tenth to a sixth of a training step. The peak of memory stays the same.

    Args:
        block: Blocks up to that many bytes are kept; larger ones are returned as before.
        reserve: Free bytes at the end of the heap that are kept.

    Returns:
        Whether the C library took the setting; other systems do without.
    """
    library = _gnu_library()
    if library is None:
        return False
    settings = ((_MMAP_THRESHOLD, block), (_TRIM_THRESHOLD, reserve))
    return all(library.mallopt(key, value) == 1 for key, value in settings)


def return_freed_memory() -> bool:
    """Make malloc return all free pages to the system now, also those between blocks in use.

    Returns:
        Whether it returned any; other C libraries than that of GNU do without.
    """
    library = _gnu_library()
    return library is not None and library.malloc_trim(0) == 1


class ReturnFreedMemory(L.Callback):
    """Returns free memory to the system after each validation.

    Kept memory (:func:`keep_freed_memory`) is that of the largest step so far, and of holes that
    no block fits into: it could only grow. Returned now and then, it stays at what steps need.
    """

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Return what validation and the steps before it have freed."""
        return_freed_memory()


def _gnu_library() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
