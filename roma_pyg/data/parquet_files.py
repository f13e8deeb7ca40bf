"""Parquet files of unknown origin: what the footer says is checked before memory is taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from roma_pyg.reading import LABEL_LENGTH, check_size


@contextmanager
def open_parquet(path: Path, buffer: int = 0) -> Iterator[pq.ParquetFile]:
    """Open a parquet file; what is raised while it is read names the file, too.

    Args:
        path: The file.
        buffer: Bytes per column that are read ahead, instead of whole row groups; 0 for none.

    Raises:
        ValueError: If it is damaged, or no parquet file.
    """
    try:
        with pq.ParquetFile(path, buffer_size=buffer, pre_buffer=False) as file:
            groups = [file.metadata.row_group(i) for i in range(file.num_row_groups)]
            if file.metadata.num_rows != sum(group.num_rows for group in groups):
                raise pa.ArrowInvalid("the number of rows is not that of the row groups")
            yield file
    except PermissionError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        problem = " ".join(str(error).split())[:300]
        raise ValueError(f"{path}: Expected a parquet file (got: {problem}).") from None


def check_room(file: pq.ParquetFile, columns: int, path: Path) -> None:
    """Refuse a table that does not fit in memory.

    Args:
        file: The open file.
        columns: Columns that are read.
        path: Its path, for the message.

    Raises:
        ValueError: If it takes more memory than is free, or than a file of its size should.
    """
    check_size(8 * file.metadata.num_rows * columns, path, "the table")


def check_labels(lengths: int, path: Path) -> None:
    """Refuse labels that are longer than names are.

    Raises:
        ValueError: If the longest label has more than a thousand characters.
    """
    if lengths > LABEL_LENGTH:
        raise ValueError(
            f"{path}: Expected node labels of at most {LABEL_LENGTH} characters (got one of "
            f"{lengths})."
        )
