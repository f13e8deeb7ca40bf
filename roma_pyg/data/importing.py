"""Own series of any size into a data set on disk, in blocks of rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.edge_files import read_edges
from roma_pyg.data.layout import read_positional
from roma_pyg.data.series import POSITION
from roma_pyg.data.series_files import RowSource, open_rows
from roma_pyg.data.store import StoreWriter, only_writer
from roma_pyg.data.validate import Assembly, Series, assemble, check_values, scaling_of

Report = Callable[[int], object]


def import_files(
    edges: Path,
    series: Path,
    path: Path,
    dt: float = 1.0,
    positional: Path | None = None,
    report: Report | None = None,
) -> Path:
    """Bring a graph and node series from files into a data set, once.

    The rows are read twice, block by block: to check every value and find the range, and to write
    them, float32 and scaled into (0, 1] where they lie outside (see ``roma_pyg.data.affine``).
    The data set is memory-mapped when it is opened, so that series may be larger than memory.
    Memory is O(E) and one block of four million values. Nothing is left behind where it fails.

    Args:
        edges: Edge list, as in `roma_pyg.data.files.read_files`.
        series: Node series: ``.npy``, ``.parquet``, ``.zarr`` or ``.csv``.
        path: Folder of the data set, such as ``data/NAME``; must not exist.
        dt: Time between samples, in your time unit, positive.
        positional: Positional features to keep beside the series, as the array ``position``,
            ``.npy`` or ``.parquet``, one row per node.
        report: Called with the number of nodes of each block, twice for each node.

    Returns:
        The folder.

    Raises:
        FileNotFoundError: If a file is missing.
        FileExistsError: If the folder exists.
        TypeError: If a column or array is not numeric.
        ValueError: If something in the files is impossible; the message names file, row and column.

    Warns:
        UserWarning: If the graph is disconnected.
    """
    report = report or (lambda _: None)
    source = open_rows(series)
    with only_writer(path):
        if path.exists():
            raise FileExistsError(f"Expected '{path}' not to exist (got a file or folder).")
        low, high, sample = _survey(source, report)
        # Edges and labels go through the same checks as those of data that fits in memory.
        raw = read_edges(edges, source.shape[0], source.labels)
        checked = assemble(sample, raw, Assembly(dt, min_steps=1, need="one sample"))
        features = None if positional is None else read_positional(positional, source.shape[0])
        scaling = scaling_of(low, high, source.source)
        writer = StoreWriter(path, checked.graph, source.shape[1], dt)
        with writer:
            for block in source.blocks():
                scaled = block if scaling is None else scaling.apply(block)
                writer.append(scaled.astype(np.float32, copy=False))
                report(len(block))
            for name, array in checked.extras.items():
                writer.add(name, array)
            if features is not None:
                writer.add(POSITION, features)
            writer.metadata = {
                "source": "files",
                "edges": edges.name,
                "series": series.name,
                "scaling": None if scaling is None else scaling.to_metadata(),
            }
    return path


def _survey(source: RowSource, report: Report) -> tuple[float, float, Series]:
    """Check every value; return the smallest, the largest, and the first sample of every node."""
    low, high, start = np.inf, -np.inf, 0
    first: list[NDArray[Any]] = []
    for block in source.blocks():
        least, most = check_values(Series(block, source.source, _shifted(source, start)))
        low, high = min(low, least), max(high, most)
        first.append(np.array(block[:, :1]))
        start += len(block)
        report(len(block))
    sample = Series(np.concatenate(first), source.source, source.place, source.labels)
    return low, high, sample


def _shifted(source: RowSource, start: int) -> Callable[[int, int], str]:
    return lambda row, column: source.place(start + row, column)
