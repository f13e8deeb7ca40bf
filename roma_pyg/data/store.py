"""Data sets on disk: written whole or not at all, checked when opened."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import logging
import math
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import numpy as np
from numpy.typing import NDArray

from roma_pyg.__about__ import __version__
from roma_pyg.data.affine import AffineScaling
from roma_pyg.data.array_files import map_npy
from roma_pyg.data.graph import Graph
from roma_pyg.data.pages import find_map
from roma_pyg.data.series import POSITION, GraphSeries
from roma_pyg.locks import only_process
from roma_pyg.reading import read_json

METADATA = "metadata.json"
FORMAT = 1
GRAPH = ("rowptr", "col", "weight")
FULL_CHECK_BELOW = 1 << 30
# Random part of the name of a folder that is being written.
TOKEN_BYTES = 4
Verify = Literal["auto", "full", "size"]
_LOGGER = logging.getLogger(__name__)


class StoreError(ValueError):
    """A data set on disk is missing, incomplete or damaged."""


class StoreWriter:
    """Writes a data set into a temporary folder beside its place, and moves it there at the end.

    Use it as a context manager; if the block fails or is interrupted, nothing is left behind. A
    process that is killed leaves a hidden folder ``.NAME.XXXXXXXX.partial``, which `only_writer`
    removes the next time. Values come node by node; memory is that of the rows given at a time.

    Args:
        path: Folder of the data set; must not exist.
        graph: The graph, N nodes.
        num_steps: Number of samples T, at least 1.
        dt: Time between samples, in time units.

    Attributes:
        metadata: Further content of ``metadata.json``, to be set before the block ends. The
            entries that the writer makes itself have precedence.

    Raises:
        FileExistsError: If the folder exists, or another process made it meanwhile.
        ValueError: If there is no sample.
        OSError: If the disk is full, when the block begins.
    """

    def __init__(self, path: Path, graph: Graph, num_steps: int, dt: float) -> None:
        """Remember what is written; files are made on entering the context."""
        if path.exists():
            raise FileExistsError(f"Expected '{path}' not to exist (got a file or folder).")
        if num_steps < 1:
            raise ValueError(f"Expected 'num_steps' of at least 1 (got {num_steps}).")
        self.path = path
        self.graph = graph
        self.num_steps = num_steps
        self.dt = dt
        self.metadata: dict[str, Any] = {}
        self.folder = path.with_name(f".{path.name}.{secrets.token_hex(TOKEN_BYTES)}.partial")
        self._written = 0

    def __enter__(self) -> StoreWriter:
        """Make the temporary folder with the graph and the file of values."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            self.folder.mkdir()
            for name in GRAPH:
                self.add(name, getattr(self.graph, name))
            self._values = self._reserved("values", (self.graph.num_nodes, self.num_steps))
        except BaseException:
            # Without a context there is no exit either.
            shutil.rmtree(self.folder, ignore_errors=True)
            raise
        return self

    def append(self, rows: NDArray[np.float32]) -> None:
        """Add the series of the next nodes, shape ``(n, T)``.

        Raises:
            ValueError: If there are more nodes than announced, the length is another, or a value
                is not finite.
        """
        stop = self._written + len(rows)
        if stop > self.graph.num_nodes or rows.shape[1:] != (self.num_steps,):
            raise ValueError(
                f"Expected {self.graph.num_nodes} rows of {self.num_steps} samples (got shape "
                f"{rows.shape} after {self._written} rows)."
            )
        if not np.isfinite(rows).all():
            node, sample = map(int, np.argwhere(~np.isfinite(rows))[0])
            raise ValueError(
                f"Expected finite values (got {rows[node, sample]} at node "
                f"{self._written + node}, sample {sample})."
            )
        # A plain write: pages of a memory map would count as memory of this process.
        self._values.write(np.ascontiguousarray(rows, dtype=np.float32).data.cast("B"))
        self._written = stop

    def add(self, name: str, array: NDArray[Any]) -> None:
        """Write another array of the data set, such as ``omega``.

        Raises:
            ValueError: If the name is taken or not a plain one, or the array holds objects.
        """
        with self._new_file(name).open("wb") as stream:
            np.save(stream, array, allow_pickle=False)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Finish and move the folder to its place, or remove it after an error."""
        try:
            if kind is None:
                self._finish()
        finally:
            self._values.close()
            # It is gone already if it was moved.
            shutil.rmtree(self.folder, ignore_errors=True)

    def _new_file(self, name: str) -> Path:
        file = self.folder / f"{name}.npy"
        if not name.isidentifier() or file.exists():
            raise ValueError(f"Expected a new array with a plain name (got '{name}').")
        return file

    def _reserved(self, name: str, shape: tuple[int, ...]) -> BinaryIO:
        """Begin a float32 array whose space on disk is taken at once, as it may fill up later."""
        file = self._new_file(name)
        stream = file.open("wb")
        header = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(stream, header)
        stream.flush()
        _reserve(file, stream.tell() + 4 * math.prod(shape))
        return stream

    def _finish(self) -> None:
        if self._written != self.graph.num_nodes:
            raise ValueError(f"Expected {self.graph.num_nodes} rows (got {self._written}).")
        self._values.close()
        content = {
            **self.metadata,
            "format": FORMAT,
            "name": self.path.name,
            "version": __version__,
            "num_nodes": self.graph.num_nodes,
            "num_edges": self.graph.num_edges,
            "num_steps": self.num_steps,
            "dt": self.dt,
            "files": {
                file.name: {"bytes": file.stat().st_size, "blake2b": file_digest(file)}
                for file in sorted(self.folder.glob("*.npy"))
            },
        }
        content["checksum"] = _content_digest(content)
        text = json.dumps(content, indent=2, allow_nan=False)
        (self.folder / METADATA).write_text(text + "\n", encoding="utf-8")
        for file in self.folder.iterdir():
            _sync(file)
        try:
            self.folder.rename(self.path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            raise FileExistsError(
                f"Expected '{self.path}' not to exist (got one, made by another process)."
            ) from error


@contextmanager
def only_writer(path: Path) -> Iterator[None]:
    """Wait until no other process makes a data set, and keep others waiting.

    What processes that were killed left of this data set is then removed. Where the system or the
    file system has no locks it does nothing, and the first process to finish wins.

    Args:
        path: Folder of the data set, which need not exist; see whether it does once inside.
    """

    def tell() -> None:
        _LOGGER.warning("Waiting for another process that makes the data set '%s'.", path)

    with only_process(path, tell) as alone:
        if alone:
            _remove_leftovers(path)
        yield


def file_digest(path: Path) -> str:
    """BLAKE2b digest of a file, read in pieces."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as stream:
        while piece := stream.read(1 << 22):
            digest.update(piece)
    return digest.hexdigest()


def read_metadata(path: Path) -> dict[str, Any]:
    """Read the metadata of a data set.

    Raises:
        StoreError: If there is none, or it cannot be read, or is not what was written.
    """
    file = path / METADATA
    if not file.is_file():
        raise StoreError(
            f"Expected a data set at '{path}' (got no '{METADATA}'). Make it with "
            "`roma-data generate`, or remove the folder if a run left it half-written."
        )
    try:
        content = read_json(file)
        problem = _problem_of(content)
    except (ValueError, RecursionError) as error:
        problem = str(error)
    if problem:
        raise StoreError(f"Expected '{file}' to be readable (got {problem}). {_remedy(path)}")
    return dict(content)


def check_store(path: Path, verify: Verify = "full") -> list[str]:
    """List what is wrong with a data set; empty if it is whole.

    Args:
        path: Folder of the data set.
        verify: ``full`` reads every file and compares checksums, ``size`` compares sizes only,
            ``auto`` is full below 1 GiB.
    """
    try:
        files = read_metadata(path)["files"]
    except StoreError as error:
        return [str(error)]
    total = sum(entry["bytes"] for entry in files.values())
    full = verify == "full" or (verify == "auto" and total < FULL_CHECK_BELOW)
    problems = [
        f"'{name}': expected in a data set (got no entry in '{METADATA}')"
        for name in (*(f"{part}.npy" for part in GRAPH), "values.npy")
        if name not in files
    ]
    for name, entry in files.items():
        file = path / name
        if not file.is_file():
            problems.append(f"'{file}': expected a file of {entry['bytes']} bytes (got none)")
        elif (size := file.stat().st_size) != entry["bytes"]:
            problems.append(f"'{file}': expected {entry['bytes']} bytes (got {size})")
        elif full and (digest := file_digest(file)) != entry["blake2b"]:
            problems.append(f"'{file}': expected checksum {entry['blake2b']} (got {digest})")
    return problems


def open_store(path: Path | str, verify: Verify = "auto") -> GraphSeries:
    """Open a data set; all arrays but the graph are memory-mapped and read-only.

    Args:
        path: Folder of the data set.
        verify: How carefully it is checked, see `check_store`.

    Returns:
        The series; memory is O(N + E) until values are read.

    Raises:
        StoreError: If it is missing, half-written or damaged; the message names the file.

    Example:
        >>> graph = Graph.from_edges(np.array([0]), np.array([1]), 2)
        >>> with StoreWriter(Path("pair"), graph, num_steps=3, dt=0.1) as writer:
        ...     writer.append(np.full((2, 3), 0.5, dtype=np.float32))
        >>> series = open_store("pair")
        >>> series.num_nodes, series.num_steps, series.dt
        (2, 3, 0.1)
    """
    path = Path(path)
    problems = check_store(path, verify)
    if problems:
        raise StoreError(f"{'; '.join(problems)}. {_remedy(path)}")
    metadata = read_metadata(path)
    arrays = {Path(name).stem: _open_array(path / name) for name in metadata["files"]}
    try:
        _check_arrays(arrays)
        # Read again where a forecast is brought to the unit of the data.
        AffineScaling.from_metadata(metadata)
        # The graph is used everywhere, and at random: it is read into memory.
        graph = Graph(*(np.array(arrays.pop(name)) for name in GRAPH))
        values = arrays.pop("values")
        return GraphSeries(graph, values, metadata["dt"], metadata["name"], arrays, metadata)
    except (TypeError, ValueError) as error:
        raise StoreError(f"'{path}' does not fit together: {error} {_remedy(path)}") from error


def content_checksum(series: GraphSeries) -> str | None:
    """Checksum of the data set that a series is, as it lies on disk; None for any other series."""
    checksum = series.metadata.get("checksum")
    shape = tuple(series.metadata.get(key) for key in ("num_nodes", "num_steps"))
    values = series.values
    whole = values.shape == shape and values.flags.c_contiguous and find_map(values) is not None
    return checksum if whole and isinstance(checksum, str) else None


def _open_array(file: Path) -> NDArray[Any]:
    try:
        return np.asarray(map_npy(file))
    except ValueError as error:
        raise StoreError(f"{error} {_remedy(file.parent)}") from error


def _check_arrays(arrays: dict[str, NDArray[Any]]) -> None:
    """Refuse a series of nothing, and arrays of which a row is not a node, where it must be one.

    Raises:
        ValueError: If one is empty, has another number of rows, or another type.
    """
    nodes = len(arrays["values"]) if arrays["values"].ndim else 0
    if arrays["values"].size == 0:
        raise ValueError(
            f"Expected 'values' of at least one node and one sample (got {arrays['values'].shape})."
        )
    for name, kinds in (("label", "iuU"), (POSITION, "f")):
        array = arrays.get(name)
        if array is None:
            continue
        dimensions = 1 if name == "label" else 2
        if array.dtype.kind not in kinds or array.ndim != dimensions or len(array) != nodes:
            raise ValueError(
                f"Expected '{name}' of {nodes} rows, one per node, in {dimensions} dimensions (got "
                f"{array.dtype} of shape {array.shape})."
            )


def _problem_of(content: object) -> str:
    """What is wrong with the content of a metadata file; empty if nothing is."""
    if not isinstance(content, dict):
        return f"a {type(content).__name__} instead of entries by name"
    if content.get("format") != FORMAT:
        return f"format {content.get('format')}, not {FORMAT}"
    missing = [key for key in ("name", "dt", "files") if content.get(key) is None]
    if missing:
        return f"no {' and '.join(missing)}"
    kinds = {"name": str, "dt": int | float, "files": dict, "parameters": dict, "scaling": dict}
    for key, kind in kinds.items():
        if content.get(key) is not None and not isinstance(content[key], kind):
            return f"{key} of type {type(content[key]).__name__}"
    # Data sets made before there was a checksum have none.
    if "checksum" in content and _content_digest(content) != content["checksum"]:
        return "content that differs from its checksum"
    for name, entry in content["files"].items():
        whole = isinstance(entry, dict) and isinstance(entry.get("bytes"), int)
        if Path(name).name != name or not whole or not isinstance(entry.get("blake2b"), str):
            return f"an impossible file '{name}'"
    return ""


def _content_digest(content: dict[str, Any]) -> str:
    rest = {key: value for key, value in content.items() if key != "checksum"}
    text = json.dumps(rest, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _remedy(path: Path) -> str:
    return f"Remove '{path}' and make the data set again with `roma-data generate`."


def _reserve(file: Path, size: int) -> None:
    """Take the space of a file on disk, where the system can."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        with file.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, size)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return  # The file system cannot reserve space.
        free = shutil.disk_usage(file.parent).free
        raise OSError(
            error.errno,
            f"Expected room for {size / 1e9:.3g} GB (got {os.strerror(error.errno)}, "
            f"{free / 1e9:.3g} GB free): choose another data.root",
            str(file.parent.parent),
        ) from error


def _sync(file: Path) -> None:
    """Wait until a file is on the disk, as a rename may get there before the content."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())


def _remove_leftovers(path: Path) -> None:
    """Remove what killed processes left; only for whoever is the only writer."""
    token = "[0-9a-f]" * (2 * TOKEN_BYTES)
    for folder in path.parent.glob(f".{glob.escape(path.name)}.{token}.partial"):
        _LOGGER.warning("Removing '%s', left by a process that was killed.", folder)
        shutil.rmtree(folder, ignore_errors=True)
