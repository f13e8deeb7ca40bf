"""Which optional compiled kernels (torch-scatter, torch-sparse) are active."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
from functools import cache

KERNELS = ("torch-scatter", "torch-sparse")
SWITCH = "ROMA_DISABLE_KERNELS"


@cache
def _load(name: str) -> str | None:
    """Import a kernel package; return its version, or None if it is missing or does not load."""
    try:
        importlib.import_module(name.replace("-", "_"))
        return importlib.metadata.version(name)
    except (ImportError, OSError, RuntimeError):
        # OSError: compiled for another version of torch; RuntimeError: for another CUDA.
        return None


def kernel_versions() -> dict[str, str | None]:
    """Version of each optional kernel package that can be loaded, None for the others.

    Example:
        >>> sorted(kernel_versions())
        ['torch-scatter', 'torch-sparse']
    """
    return {name: _load(name) for name in KERNELS}


def use_kernel(name: str) -> bool:
    """Whether a kernel package is installed, loads, and is not turned off.

    Setting the environment variable ``ROMA_DISABLE_KERNELS=1`` (anything but ``0`` or nothing)
    turns all of them off; results are the same either way.

    Args:
        name: ``torch-scatter`` or ``torch-sparse``.

    Raises:
        ValueError: If there is no kernel of that name.
    """
    if name not in KERNELS:
        raise ValueError(f"Expected 'name' to be one of {KERNELS} (got {name!r}).")
    return os.environ.get(SWITCH, "0") in ("", "0") and _load(name) is not None
