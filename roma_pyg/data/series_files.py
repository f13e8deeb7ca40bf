"""Node series from .npy, .parquet, .csv and .zarr; rows are nodes, columns are samples."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from roma_pyg.data.array_files import map_npy
from roma_pyg.data.csv_table import CsvTable, check_unique, open_table, read_cells
from roma_pyg.data.parquet_files import check_labels, check_room, open_parquet
from roma_pyg.data.validate import BLOCK, Series, blocks
from roma_pyg.data.zarr_files import open_zarr, reading_zarr
from roma_pyg.reading import WrongTypeError, check_size

LABEL = ("node", "id", "node_id")
# Bytes that a pass over a parquet file reads ahead, over all columns.
BUFFER = 1 << 28


@dataclass(frozen=True)
class RowSource:
    """Unchecked node series that are read block by block, as often as wanted.

    Args:
        shape: Nodes N and samples T.
        source: File, as messages name it.
        blocks: Begins a pass over the rows, from the first to the last, each block ``(n, T)``.
        place: Words for the place of the value at row and column in the file.
        labels: Labels of the nodes, int64 or text, shape ``(N,)``; None if rows are the ids.
    """

    shape: tuple[int, int]
    source: str
    blocks: Callable[[], Iterator[NDArray[Any]]]
    place: Callable[[int, int], str]
    labels: NDArray[Any] | None = None


def read_series(path: Path) -> Series:
    """Read node series; values are checked later.

    A ``.npy`` file is mapped, not read. A ``.parquet`` file or ``.zarr`` array is read in row
    blocks into one array, a ``.csv`` file in chunks; memory O(N T). Series larger than memory are
    brought into a data set by `roma_pyg.data.importing`.

    Args:
        path: ``.npy`` (N, T), ``.parquet``, ``.csv`` or ``.zarr`` (N, T). A column ``node``,
            ``id`` or ``node_id`` of a table holds node labels, integers in any order or text.

    Returns:
        The series with its labels, if there are any.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If a column has no usable type.
        ModuleNotFoundError: If the series are ``.zarr`` and that library is missing.
        ValueError: If the file cannot be understood; the message says where and why.
    """
    readers = {
        ".npy": _read_npy,
        ".parquet": lambda path: _gather(_open_parquet(path)),
        ".csv": _read_csv,
        ".zarr": lambda path: _gather(_open_zarr(path)),
    }
    return readers[_kind(path)](path)


def open_rows(path: Path) -> RowSource:
    """Open node series without reading them; formats and errors as in `read_series`.

    A pass over the rows holds one block of about four million values; of ``.csv``, which has no
    blocks, everything is in memory.
    """
    openers = {".parquet": _open_parquet, ".zarr": _open_zarr}
    kind = _kind(path)
    if kind in openers:
        return openers[kind](path)
    series = _read_npy(path) if kind == ".npy" else _read_csv(path)
    values = series.values
    if values.ndim != 2 or values.size == 0:
        raise ValueError(
            f"{path}: Expected shape (N, T), nodes x samples, not empty (got {values.shape})."
        )
    return RowSource(
        (values.shape[0], values.shape[1]),
        series.source,
        lambda: (values[rows] for rows in blocks(values)),
        series.place,
        series.labels,
    )


def _kind(path: Path) -> str:
    """Suffix of an existing file (or folder, for .zarr) that is read here."""
    kind = path.suffix.lower()
    if not (path.is_dir() if kind == ".zarr" else path.is_file()):
        raise FileNotFoundError(f"{path}: Expected a file with series (there is none).")
    if kind not in (".npy", ".parquet", ".csv", ".zarr"):
        raise ValueError(
            f"{path}: Expected series as .npy, .parquet or .csv, or .zarr (got {path.suffix!r})."
        )
    return kind


def _gather(source: RowSource) -> Series:
    """Read all rows into one array."""
    values: NDArray[Any] | None = None
    start = 0
    for block in source.blocks():
        if values is None:
            needed = source.shape[0] * source.shape[1] * block.dtype.itemsize
            check_size(needed, Path(source.source), "the series")
            values = np.empty(source.shape, dtype=block.dtype)
        values[start : start + len(block)] = block
        start += len(block)
    if values is None:
        raise ValueError(f"{source.source}: Expected {source.shape[0]} rows (got none).")
    return Series(values, source.source, source.place, source.labels)


def _read_npy(path: Path) -> Series:
    return Series(map_npy(path), str(path), _cell)


def _cell(row: int, column: int) -> str:
    return f"row {row} (node), column {column}"


def _open_zarr(path: Path) -> RowSource:
    array = open_zarr(path)
    if array.ndim != 2 or 0 in array.shape or 0 in array.chunks:
        raise ValueError(
            f"{path}: Expected shape (N, T), nodes x samples, not empty (got {array.shape} in "
            f"chunks of {array.chunks})."
        )
    # Whole chunks of rows are read, as each is decompressed at once.
    step = array.chunks[0] * max(1, BLOCK // (array.chunks[0] * array.shape[1]))
    chunk = math.prod(array.chunks) * array.dtype.itemsize
    block = min(step, array.shape[0]) * array.shape[1] * array.dtype.itemsize
    check_size(max(chunk, block), path, "a chunk of the array")

    def read() -> Iterator[NDArray[Any]]:
        for start in range(0, array.shape[0], step):
            with reading_zarr(path):
                block = np.asarray(array[start : start + step])
            yield block

    return RowSource((array.shape[0], array.shape[1]), str(path), read, _cell)


def _read_csv(path: Path) -> Series:
    table = open_table(path, _is_header)
    label = _label_column(table.header) if table.header else None
    columns = [i for i in range(table.num_columns) if i != label]
    if not columns:
        raise ValueError(f"{path}: Expected columns with samples (got labels only).")
    labels = None
    if label is not None:
        labels = _labels(read_cells(table, [label], "text")[:, 0], path)
    values = read_cells(table, columns, "float")
    return Series(values, str(path), _CsvPlace(table, columns, labels), labels)


class _CsvPlace:
    """Words for the place of a value: cell of the file and, if nodes have names, the node."""

    def __init__(
        self, table: CsvTable, columns: Sequence[int], labels: NDArray[Any] | None
    ) -> None:
        self.table = table
        self.columns = columns
        self.labels = labels

    def __call__(self, row: int, column: int) -> str:
        node = "" if self.labels is None else f", node {self.labels[row].item()!r}"
        return self.table.place(row, self.columns[column]) + node


def _is_header(cells: list[str]) -> bool:
    """Column names: something is not a number, or the cells are just 0, 1, ..., as pandas writes.

    An empty first cell above such numbers is the unnamed index of pandas; elsewhere an empty
    cell is a missing value.
    """
    counts = [str(i) for i in range(len(cells))]
    if len(cells) > 2 and (cells == counts or cells == ["", *counts[:-1]]):
        return True
    return any(cell and not _is_number(cell) for cell in cells)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _label_column(names: Sequence[str]) -> int | None:
    """Column with node labels: by name, or the unnamed or stored index of pandas."""
    hits = [i for i, name in enumerate(names) if name.lower() in LABEL]
    if hits:
        return hits[0]
    stored = [i for i, name in enumerate(names) if name.startswith("__index_level_")]
    if stored:
        return stored[0]
    return 0 if names[0] == "" else None


def _labels(cells: NDArray[Any], path: Path) -> NDArray[Any]:
    """Integer labels where all are integers, else text; each must occur once.

    Raises:
        ValueError: If a label occurs twice; the message names both rows.
    """
    labels = cells
    if cells.dtype.kind == "U":
        labels = _as_integers(cells)
    order = np.argsort(labels, kind="stable")
    twice = np.flatnonzero(labels[order][1:] == labels[order][:-1])
    if twice.size:
        first, second = (int(order[twice[0] + i]) for i in (0, 1))
        raise ValueError(
            f"{path}: row {second}: Expected every node once (got label "
            f"{labels[second].item()!r} in rows {first} and {second}, counting from 0)."
        )
    return labels


def _as_integers(cells: NDArray[Any]) -> NDArray[Any]:
    """Integers where every label is one, also written as ``3.0``; else the text as it is."""
    try:
        return cells.astype(np.int64)
    except (ValueError, OverflowError):
        pass
    try:
        numbers = cells.astype(np.float64)
    except ValueError:
        return cells
    exact = (numbers == np.floor(numbers)) & (np.abs(numbers) <= 2**53)
    return numbers.astype(np.int64) if exact.all() else cells


def _open_parquet(path: Path) -> RowSource:
    with open_parquet(path) as file:
        names = list(file.schema_arrow.names)
        check_unique(names, path)
        label = _label_column(names) if names else None
        columns = [i for i in range(len(names)) if i != label]
        rows = file.metadata.num_rows
        if not rows or not columns:
            raise ValueError(
                f"{path}: Expected at least one node and one sample (got {rows} rows and "
                f"{len(columns)} columns of samples: it is empty)."
            )
        chosen = [names[i] for i in columns]
        kinds = [file.schema_arrow.field(i).type for i in columns]
        check_room(file, 1, path)
        _check_types(kinds, chosen, path)
        if label is None:
            labels = _range_index(file.schema_arrow.metadata, rows)
        else:
            column = file.read(columns=[names[label]]).column(0)
            labels = _label_cells(column, names[label], path)
    single = all(pa.types.is_float32(k) or pa.types.is_float16(k) for k in kinds)
    dtype = np.float32 if single else np.float64

    def read() -> Iterator[NDArray[Any]]:
        done = 0
        with open_parquet(path, buffer=max(1 << 12, BUFFER // len(names))) as file:
            for batch in file.iter_batches(max(1, BLOCK // len(names)), columns=chosen):
                block = np.empty((batch.num_rows, len(chosen)), dtype=dtype)
                for j, column in enumerate(batch.columns):
                    block[:, j] = column.to_numpy(zero_copy_only=False)
                done += batch.num_rows
                if done <= rows:
                    yield block
        if done != rows:
            raise ValueError(f"{path}: Expected {rows} rows, as the footer says (got {done}).")

    def place(row: int, column: int) -> str:
        return f"row {row}, column {columns[column]} ({chosen[column]!r})"

    joined = None if labels is None else _labels(labels, path)
    return RowSource((rows, len(columns)), str(path), read, place, joined)


def _range_index(metadata: Any, rows: int) -> NDArray[np.int64] | None:  # noqa: ANN401
    """Index that pandas stored as a range, in the file's metadata; None if it is 0 ... N - 1."""
    try:
        (index,) = json.loads(metadata[b"pandas"])["index_columns"]
        steps = range(index["start"], index["stop"], index["step"])
        if len(steps) != rows or steps == range(rows):
            return None
        return np.arange(steps.start, steps.stop, steps.step, dtype=np.int64)
    except (TypeError, KeyError, ValueError, OverflowError, RecursionError):
        # Not written by pandas, or the index is a column.
        return None


def _check_types(kinds: Sequence[Any], names: Sequence[str], path: Path) -> None:
    for kind, name in zip(kinds, names, strict=True):
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise WrongTypeError(
                f"{path}: column {name!r}: Expected numbers (got type {kind}: not numeric)."
            )


def _label_cells(column: Any, name: str, path: Path) -> NDArray[Any]:  # noqa: ANN401
    if column.null_count:
        row = int(np.flatnonzero(column.is_null().to_numpy())[0])
        raise ValueError(f"{path}: row {row}, column {name!r}: Expected a node label (got none).")
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind = column.type
    if pa.types.is_integer(kind):
        labels = np.asarray(column.to_numpy())
        if labels.size and labels.max() > np.iinfo(np.int64).max:
            raise ValueError(
                f"{path}: column {name!r}: Expected node labels below 2^63 (got {labels.max()})."
            )
        return labels.astype(np.int64)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        check_labels(pc.max(pc.utf8_length(column)).as_py() or 0, path)
    elif not pa.types.is_floating(kind):
        raise WrongTypeError(
            f"{path}: column {name!r}: Expected node labels, integers or text (got type {kind})."
        )
    cells = [str(cell).strip() for cell in column.to_pylist()]
    return np.array(cells, dtype=np.str_)
