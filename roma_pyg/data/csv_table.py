"""Delimited text files of numbers or node ids, read with the place of every fault."""

from __future__ import annotations

import csv
import itertools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roma_pyg.reading import LABEL_LENGTH, shorten

Kind = Literal["float", "int", "text"]

_ENCODING = "utf-8-sig"  # Spreadsheets put a byte order mark in front.
_CELLS = 2_000_000


@dataclass(frozen=True)
class CsvTable:
    """Where the numbers of a delimited text file are; the file itself is read on demand.

    Args:
        path: The file, UTF-8.
        delimiter: Comma, semicolon or tab, whichever the first line uses most.
        header: Column names, or None if the first line is data.
        num_columns: Number of columns.
        skip: Lines before the first line of data.
    """

    path: Path
    delimiter: str
    header: tuple[str, ...] | None
    num_columns: int
    skip: int

    def place(self, row: int, column: int) -> str:
        """Words for a cell: data row, line of the file, column and its name."""
        name = f" ({self.header[column]!r})" if self.header and column < len(self.header) else ""
        return f"row {row} (line {self.line(row)}), column {column}{name}"

    def line(self, row: int) -> int:
        """Line of the file, from 1, that holds a data row; blank lines do not count as rows."""
        with self.path.open(encoding=_ENCODING) as stream:
            data = itertools.islice(enumerate(stream, start=1), self.skip, None)
            filled = (number for number, text in data if text.strip())
            return next(itertools.islice(filled, row, None), 0)


def open_table(path: Path, is_header: Callable[[list[str]], bool]) -> CsvTable:
    """Look at the first line of a delimited text file.

    Args:
        path: The file.
        is_header: Says of the cells of the first line whether they are column names.

    Raises:
        ValueError: If the file is empty, is not text, has no data below its header, or names a
            column twice.
    """
    try:
        with path.open(encoding=_ENCODING) as stream:
            lines = ((i, text) for i, text in enumerate(stream) if text.strip())
            number, first = next(lines, (0, ""))
            more = next(lines, None) is not None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: Expected UTF-8 text (got: {error}).") from None
    if not first:
        raise ValueError(f"{path}: Expected rows of data (got none: the file is empty).")
    delimiter = max(",;\t", key=first.count)
    try:
        cells = [cell.strip() for cell in next(csv.reader([first], delimiter=delimiter))]
    except csv.Error as error:
        raise ValueError(f"{path}: Expected cells of numbers or names (got {error}).") from None
    if not is_header(cells):
        return CsvTable(path, delimiter, None, len(cells), number)
    if not more:
        raise ValueError(f"{path}: Expected rows of data below the header (got none: it is empty).")
    check_unique([cell for cell in cells if cell], path)
    return CsvTable(path, delimiter, tuple(cells), len(cells), number + 1)


def check_unique(names: Sequence[str], path: Path) -> None:
    """Refuse a column name that occurs twice.

    Raises:
        ValueError: If one does.
    """
    first: dict[str, int] = {}
    for i, name in enumerate(names):
        if name in first:
            raise ValueError(
                f"{path}: Expected distinct column names (got {name!r} for columns "
                f"{first[name]} and {i}, counting from 0). Rename or drop one."
            )
        first[name] = i


def read_cells(table: CsvTable, columns: Sequence[int], kind: Kind) -> NDArray[Any]:
    """Read some columns, in chunks; memory O(file).

    Args:
        table: The file.
        columns: Which columns, ascending.
        kind: ``float`` gives float64, ``int`` int64 (also from integers written as ``3.0``),
            ``text`` strings without surrounding blanks.

    Returns:
        Shape ``(rows, len(columns))``.

    Raises:
        ValueError: If a row has another number of columns, or a cell is missing or is not of the
            kind; the message names file, row, line, column and cell.
    """
    if kind != "text":
        try:
            with warnings.catch_warnings():
                # pandas warns about casts that it then refuses by an error.
                warnings.simplefilter("ignore", RuntimeWarning)
                dtype = "float64" if kind == "float" else "int64"
                return np.concatenate([c.to_numpy() for c in _chunks(table, columns, dtype)])
        except pd.errors.ParserError as error:
            raise _ragged(table, error) from None
        except (ValueError, OverflowError):
            # Some cell is not plain; the slow reader finds it, or understands it.
            pass
    parts: list[NDArray[Any]] = []
    row = 0
    try:
        for chunk in _chunks(table, columns, "str"):
            cells = chunk.to_numpy(dtype=object)
            parts.append(_parse(table, cells, row, columns, kind))
            row += len(cells)
    except pd.errors.ParserError as error:
        raise _ragged(table, error) from None
    except (UnicodeDecodeError, pd.errors.EmptyDataError) as error:
        raise ValueError(f"{table.path}: Expected rows of UTF-8 text (got: {error}).") from None
    return np.concatenate(parts)


def _chunks(table: CsvTable, columns: Sequence[int], dtype: str) -> Iterator[pd.DataFrame]:
    # Every column is parsed, as pandas cuts long rows off silently where columns are chosen.
    whole = len(columns) == table.num_columns
    types: Any = dtype
    if not whole:
        types = dict.fromkeys(range(table.num_columns), "str") | dict.fromkeys(columns, dtype)
    with pd.read_csv(
        table.path,
        sep=table.delimiter,
        header=None,
        skiprows=table.skip,
        dtype=types,
        keep_default_na=False,
        index_col=False,
        chunksize=max(1, _CELLS // table.num_columns),
        encoding=_ENCODING,
    ) as reader:
        for chunk in reader:
            if chunk.shape[1] != table.num_columns:
                raise _ragged(table, f"{chunk.shape[1]} in line {table.line(0)}")
            yield chunk if whole else chunk[list(columns)]


def _ragged(table: CsvTable, error: Exception | str) -> ValueError:
    problem = str(error).strip()
    return ValueError(
        f"{table.path}: Expected {table.num_columns} columns in every row (got: {problem})."
    )


def _parse(
    table: CsvTable, cells: NDArray[Any], start: int, columns: Sequence[int], kind: Kind
) -> NDArray[Any]:
    parse = {"float": _number, "int": _integer, "text": _text}[kind]
    dtype = {"float": np.float64, "int": np.int64, "text": np.str_}[kind]
    out: list[list[Any]] = []
    for i, row in enumerate(cells):
        values = []
        for j, cell in enumerate(row):
            try:
                values.append(parse(cell.strip() if isinstance(cell, str) else ""))
            except ValueError as error:
                place = table.place(start + i, columns[j])
                raise ValueError(
                    f"{table.path}: {place}: {error} Rows and columns count from 0."
                ) from None
        out.append(values)
    return np.array(out, dtype=dtype)


def _text(cell: str) -> str:
    if not cell:
        raise ValueError("Expected a node label (got nothing: the cell is missing).")
    if len(cell) > LABEL_LENGTH:
        raise ValueError(
            f"Expected a node label of at most {LABEL_LENGTH} characters (got {len(cell)})."
        )
    return cell


def _number(cell: str) -> float:
    if not cell:
        raise ValueError("Expected a finite number (got nothing: the value is missing).")
    try:
        value = float(cell)
    except ValueError:
        problem = f"got {shorten(cell)}: it is not numeric"
        raise ValueError(f"Expected a number ({problem}).") from None
    if not math.isfinite(value):
        raise ValueError(f"Expected a finite number (got {cell}).")
    return value


def _integer(cell: str) -> int:
    if not cell:
        raise ValueError("Expected an integer node id (got nothing: the cell is missing).")
    try:
        value = int(cell) if cell.lstrip("+-").isdigit() else int(_exact(float(cell)))
    except ValueError:
        raise ValueError(f"Expected an integer node id (got {shorten(cell)}).") from None
    if abs(value) >= 2**63:
        raise ValueError(f"Expected a node id below 2^63 (got {shorten(cell)}).")
    return value


def _exact(value: float) -> float:
    # Above 2^53 a float no longer tells neighbouring ids apart.
    if not value.is_integer() or abs(value) > 2**53:
        raise ValueError
    return value
