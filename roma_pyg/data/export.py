"""Matrices with one row per node, such as forecasts, to .npy, .parquet and .zarr, in blocks."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.graph import IntArray
from roma_pyg.reading import MissingLibraryError

BLOCK = 4_000_000
"""Values encoded at a time: 16 MB."""

Convert = Callable[[NDArray[np.float32]], NDArray[Any]]


@dataclass(frozen=True)
class Header:
    """What is known of a matrix besides its values.

    Attributes:
        columns: Name of every column, such as the step ahead.
        labels: Names of the nodes, shape ``(N,)``; None if rows are the ids.
        metadata: Plain values kept with the matrix, where the format has a place for them.
    """

    columns: Sequence[str]
    labels: NDArray[Any] | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


class Encoder(Protocol):
    """Writes the rows of a matrix in one format, block by block from the first row on."""

    def __call__(
        self, blocks: Iterator[NDArray[np.float32]], rows: int, path: Path, header: Header
    ) -> None:
        """Write ``rows`` rows to ``path``, which does not exist yet."""
        ...


class RowWriter:
    """Collects a matrix whose rows come in any order, and writes it whole or not at all.

    Rows are kept in a hidden file beside the output, not in memory; at the end of the block they
    are brought to the format that the suffix names, and renamed to the output. Memory is O(N)
    bytes plus one block. Every entry must be written exactly once. If the block fails or is
    interrupted, nothing is left behind (a process that is killed leaves a hidden
    ``.NAME.XXXXXXXX.partial``).

    Args:
        path: Output, ending in ``.npy``, ``.parquet`` or ``.zarr`` (needs the library zarr).
        num_nodes: Number of rows N.
        header: Names of the columns and rows.
        convert: Applied to each block as it is written for good, such as a change of unit; the
            shape is kept and the result stored as float32.
        overwrite: Replace an output that exists.

    Raises:
        FileExistsError: If the output exists and ``overwrite`` is false.
        ValueError: If the suffix is unknown, or the matrix is empty.
        ModuleNotFoundError: If zarr is asked for and not installed.
        OSError: If the disk has no room, on entering the block.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "forecast.npy"
        >>> with RowWriter(path, 2, Header(["1", "2"])) as writer:
        ...     writer.write(np.array([1]), np.array([[3.0, 4.0]], dtype=np.float32))
        ...     writer.write(np.array([0]), np.array([[1.0, 2.0]], dtype=np.float32))
        >>> np.load(path)
        array([[1., 2.],
               [3., 4.]], dtype=float32)
    """

    def __init__(
        self,
        path: Path,
        num_nodes: int,
        header: Header,
        convert: Convert | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Check what can be checked before hours of work."""
        self._encode = encoder_of(path)
        if num_nodes < 1 or not header.columns:
            raise ValueError(
                f"Expected at least one row and one column (got {num_nodes} and "
                f"{len(header.columns)})."
            )
        self.path = path
        self.header = header
        self.convert = convert
        self.overwrite = overwrite
        self._check_free()
        token = secrets.token_hex(4)
        self._staged = path.with_name(f".{path.name}.{token}.partial")
        self._made = path.with_name(f".{path.name}.{token}.made{path.suffix}")
        self._shape = (num_nodes, len(header.columns))
        self._filled = np.zeros(num_nodes, dtype=np.int32)
        self._rows: NDArray[np.float32] | None = None

    def __enter__(self) -> RowWriter:
        """Take the space on disk."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        size = 4 * self._shape[0] * self._shape[1]
        # Formats other than .npy are made beside the staged rows.
        _check_room(self.path.parent, size if self._encode is None else 2 * size)
        try:
            self._rows = np.lib.format.open_memmap(self._staged, "w+", np.float32, self._shape)
        except BaseException:
            self._discard()
            raise
        return self

    @property
    def rows(self) -> NDArray[np.float32]:
        """What has been written so far, a memory map of shape ``(N, columns)``, zero elsewhere.

        Raises:
            RuntimeError: Outside the block.
        """
        if self._rows is None:
            raise RuntimeError("Expected the writer to be open: use it in a 'with' block.")
        return self._rows

    def write(self, nodes: IntArray, rows: NDArray[np.floating[Any]], start: int = 0) -> None:
        """Write the next columns of some rows.

        Args:
            nodes: Distinct row numbers, shape ``(n,)``.
            rows: Their values in the columns from ``start`` on, shape ``(n, q)``.
            start: Number of columns of these rows that are written already.

        Raises:
            ValueError: If an entry is written twice or left out, or a shape is wrong.
        """
        stop = start + rows.shape[1]
        if rows.shape[0] != len(nodes) or stop > self._shape[1]:
            raise ValueError(
                f"Expected {len(nodes)} rows that end at column {self._shape[1]} or before (got "
                f"shape {rows.shape} from column {start} on)."
            )
        wrong = self._filled[nodes] != start
        if wrong.any():
            node = int(nodes[wrong][0])
            raise ValueError(
                f"Expected every entry once and in order (got columns {start} to {stop - 1} of "
                f"row {node}, of which {self._filled[node]} are there)."
            )
        self._filled[nodes] = stop
        if np.count_nonzero(self._filled[nodes] == stop) != len(np.unique(nodes)):
            raise ValueError("Expected distinct rows (got one twice).")
        self.rows[nodes, start:stop] = rows

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Bring the rows to their format and place, or remove them after an error."""
        try:
            if kind is None:
                self._finish()
        finally:
            self._discard()

    def _finish(self) -> None:
        missing = self._filled < self._shape[1]
        if missing.any():
            raise ValueError(
                f"Expected every row to be written (got {int(missing.sum())} of "
                f"{len(missing)} incomplete, the first is row {int(np.argmax(missing))})."
            )
        if self._encode is None:
            self._convert_in_place()
            self._rows = None
            self._staged.rename(self._made)
        else:
            self._encode(self._blocks(), self._shape[0], self._made, self.header)
        for file in [self._made, *self._made.rglob("*")]:
            if file.is_file():
                _sync(file)
        # Another process may have made one meanwhile.
        self._check_free()
        if self.path.is_dir():
            shutil.rmtree(self.path)
        self._made.replace(self.path)

    def _convert_in_place(self) -> None:
        if self.convert is not None:
            for part in row_blocks(self._shape):
                self.rows[part] = self.convert(self.rows[part])

    def _blocks(self) -> Iterator[NDArray[np.float32]]:
        for part in row_blocks(self._shape):
            block = np.array(self.rows[part])
            yield block if self.convert is None else self.convert(block).astype(np.float32)

    def _check_free(self) -> None:
        if self.path.exists() and not self.overwrite:
            raise FileExistsError(
                f"Expected '{self.path}' not to exist (got a file or folder): remove it, choose "
                "another output, or ask to overwrite it."
            )

    def _discard(self) -> None:
        self._rows = None
        self._staged.unlink(missing_ok=True)
        if self._made.is_dir():
            shutil.rmtree(self._made, ignore_errors=True)
        else:
            self._made.unlink(missing_ok=True)


def row_blocks(shape: tuple[int, ...], values: int = BLOCK) -> Iterator[slice]:
    """Slices of rows with about ``values`` values each, in order."""
    step = max(1, values // max(1, int(np.prod(shape[1:]))))
    for start in range(0, shape[0], step):
        yield slice(start, min(start + step, shape[0]))


def encoder_of(path: Path) -> Encoder | None:
    """Encoder that the suffix of a path names; None for ``.npy``, which is how rows are staged.

    Raises:
        ValueError: If there is none.
        ModuleNotFoundError: If its library is missing.
    """
    known: dict[str, Encoder | None] = {
        ".npy": None,
        ".parquet": _encode_parquet,
        ".zarr": _encode_zarr,
    }
    if path.suffix not in known:
        raise ValueError(
            f"Expected an output ending in {', '.join(known)} (got {path.suffix!r} in '{path}')."
        )
    if path.suffix == ".zarr":
        check_zarr()
    return known[path.suffix]


def check_zarr() -> None:
    """Refuse to go on without the library zarr.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    if importlib.util.find_spec("zarr") is None:
        raise MissingLibraryError(
            "Expected the library zarr for .zarr arrays (got none): pip install 'roma-pyg[zarr]', "
            "or choose .npy or .parquet."
        )


def _encode_parquet(
    blocks: Iterator[NDArray[np.float32]], rows: int, path: Path, header: Header
) -> None:
    """One row group per block; a column ``node`` comes first where nodes have names."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [str(name) for name in header.columns]
    fields = [pa.field(name, pa.float32()) for name in names]
    if header.labels is not None:
        kind = pa.string() if header.labels.dtype.kind in "UO" else pa.int64()
        fields.insert(0, pa.field("node", kind))
    schema = pa.schema(fields, metadata={"roma_pyg": json.dumps(header.metadata)})
    done = 0
    with pq.ParquetWriter(path, schema) as writer:
        for block in blocks:
            arrays = [pa.array(np.ascontiguousarray(column)) for column in block.T]
            if header.labels is not None:
                arrays.insert(0, pa.array(header.labels[done : done + len(block)].tolist(), kind))
            writer.write_table(pa.table(arrays, schema=schema), row_group_size=len(block))
            done += len(block)


def _encode_zarr(
    blocks: Iterator[NDArray[np.float32]], rows: int, path: Path, header: Header
) -> None:
    """One chunk per block; names and metadata become attributes."""
    import zarr

    shape = (rows, len(header.columns))
    parts = list(row_blocks(shape))
    chunks = (parts[0].stop, shape[1])
    target = zarr.open_array(str(path), mode="w", shape=shape, chunks=chunks, dtype="f4")
    for part, block in zip(parts, blocks, strict=True):
        target[part] = block
    target.attrs["columns"] = [str(name) for name in header.columns]
    if header.labels is not None:
        target.attrs["nodes"] = header.labels.tolist()
    target.attrs.update(header.metadata)


def _check_room(folder: Path, size: int) -> None:
    """Refuse to begin what the disk cannot hold."""
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(
            errno.ENOSPC,
            f"Expected room for {size / 1e9:.3g} GB (got {free / 1e9:.3g} GB free): choose "
            "another output, or fewer steps",
            str(folder),
        )


def _sync(file: Path) -> None:
    """Wait until a file is on the disk, as a rename may get there before the content."""
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
