"""Memories of nodes on disk, so that a data set is remembered once and not in every run."""

from __future__ import annotations

import hashlib
import secrets
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roma_pyg import exchange
from roma_pyg.data.array_files import map_npy
from roma_pyg.data.memory import NodeMemory
from roma_pyg.data.series import GraphSeries
from roma_pyg.data.store import FULL_CHECK_BELOW, content_checksum, file_digest
from roma_pyg.data.surroundings import Surroundings

FORMAT = 1
"""Raised whenever the same memory recalls something else, so that older files are not used."""

_Recalled = NDArray[np.float32]


def recall_once(
    cache: Path | None,
    memory: NodeMemory,
    series: GraphSeries,
    times: range,
    *,
    around: Surroundings | None,
    progress: bool,
    **options: Any,  # noqa: ANN401
) -> _Recalled:
    """What `NodeMemory.recall` returns: read from the cache, or recalled and kept there.

    A file is used for the same content of everything that the result depends on: the stored data
    set, the coefficients of the memory, and what it sees around it. Series that are not a stored
    data set as it lies on disk are recalled every time. All ranks, if there are several, must call
    this, and see the same folder.

    Args:
        cache: Folder of cached memories, made if missing; None for no cache.
        memory: The memory.
        series: The series, N nodes.
        times: Forecast times to remember.
        around: Surroundings of the nodes, if the memory looks at them.
        progress: Show a progress bar where there are many nodes.
        **options: Blocks, noise and seed, as of `NodeMemory.recall`.

    Returns:
        Shape ``(blocks + 1, N, ...)``; a read-only memory map if there is a cache.

    Warns:
        UserWarning: If a cached file is damaged, which is then replaced, or cannot be written.
    """
    recall: Callable[[], _Recalled] = partial(
        memory.recall, series.values, times, around=around, progress=progress, **options
    )
    checksum = content_checksum(series)
    if cache is None or checksum is None:
        return recall()
    settings = (FORMAT, checksum, memory.window, memory.horizon, times, sorted(options.items()))
    stem = f"memory-{_digest(settings, memory, around)}"
    path = exchange.tell(lambda: _find(cache, stem))
    if path is None:
        recalled = recall()
        path = exchange.tell(lambda: _keep(cache, stem, recalled))
        if path is None:
            return recalled
    mapped: _Recalled = map_npy(path)
    return mapped


def _digest(settings: tuple[Any, ...], memory: NodeMemory, around: Surroundings | None) -> str:
    """Digest of all that a recalled memory depends on."""
    digest = hashlib.blake2b(repr(settings).encode(), digest_size=8)
    parts: list[tuple[str, Any]] = [*memory.state_dict().items()]
    if around is not None:
        digest.update(around.graph.checksum.encode())
        parts.append(("stage", around.stage))
        # Memory and modes have some names in common.
        modes = () if around.modes is None else fields(around.modes)
        parts += [(f"modes.{item.name}", getattr(around.modes, item.name)) for item in modes]
    for name, part in parts:
        if part is None:
            continue
        array = np.ascontiguousarray(part)
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


def _find(folder: Path, stem: str) -> Path | None:
    """A whole file of this stem; the name of a file ends with the checksum of its content."""
    for path in sorted(folder.glob(f"{stem}-*.npy")):
        try:
            map_npy(path)
            if path.stat().st_size >= FULL_CHECK_BELOW or path.name == _name(stem, path):
                return path
            problem = "its content differs from its checksum"
        except (OSError, ValueError) as error:
            problem = str(error)
        warnings.warn(
            f"{path}: Expected the cached memory of the nodes (damaged: {problem}). They are "
            "remembered again.",
            stacklevel=2,
        )
        with suppress(OSError):
            path.unlink()
    return None


def _keep(folder: Path, stem: str, recalled: _Recalled) -> Path | None:
    """Write a memory; None if that is not possible."""
    temporary = folder / f"{stem}.{secrets.token_hex(4)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with temporary.open("xb") as stream:
            np.save(stream, recalled, allow_pickle=False)
        return temporary.replace(folder / _name(stem, temporary))
    except OSError as error:
        warnings.warn(
            f"{folder}: Expected room for the memory of the nodes, {recalled.nbytes / 1e6:.3g} MB "
            f"(got {error}). It is not kept for later runs.",
            stacklevel=2,
        )
        return None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _name(stem: str, content: Path) -> str:
    return f"{stem}-{file_digest(content)[:16]}.npy"
