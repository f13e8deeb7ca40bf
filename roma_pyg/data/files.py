"""Own data from files: an edge list and one series per node."""

from __future__ import annotations

from pathlib import Path

from roma_pyg.data.edge_files import read_edges
from roma_pyg.data.series import GraphSeries
from roma_pyg.data.series_files import read_series
from roma_pyg.data.validate import Assembly, assemble


def read_files(
    edges: Path, series: Path, dt: float, name: str, window: int, horizon: int
) -> GraphSeries:
    """Read a graph and its node series from files.

    Edges couple both ways; repeated ones are merged and self-loops dropped. Values outside
    (0, 1] are scaled to [0.02, 1] by the range of the whole file; the scaling is kept in
    ``metadata["scaling"]`` (see ``roma_pyg.data.affine``). Give values in (0, 1] to choose
    another unit, for example one that is known before the test samples are.

    Args:
        edges: ``.csv`` (columns source, target and perhaps weight, by name or position, header
            optional), ``.parquet`` (the same columns), or ``.npz`` (``edge_index`` (2, E) and
            perhaps ``edge_weight``, or a matrix saved by ``scipy.sparse.save_npz``).
        series: ``.npy`` (N, T), ``.parquet`` or ``.csv``, one row per node and one column per
            sample. A column ``node``, ``id`` or ``node_id`` names the nodes, and edges use the
            same names; without it, row ``i`` is node ``i``. A first line of .csv is a header if
            a cell is not a number, or if the cells are just 0, 1, 2, ...
        dt: Time between samples, in your time unit, positive.
        name: Name of the data set.
        window: Samples of history that the model sees.
        horizon: Samples ahead that the model is trained to forecast.

    Returns:
        The series. A C-ordered float32 ``.npy`` file with values in (0, 1] stays a read-only
        memory map; everything else takes O(N T) memory. Edges take O(E).

    Raises:
        FileNotFoundError: If a file is missing.
        TypeError: If a column or array is not numeric.
        ValueError: If something in the files is impossible; the message names file, row, column
            and what is wrong.

    Warns:
        UserWarning: If the graph is disconnected.
    """
    edges, series = Path(edges), Path(series)
    raw = read_series(series)
    num_nodes = raw.values.shape[0] if raw.values.ndim else 0
    options = Assembly(
        dt,
        name,
        min_steps=window + horizon,
        need=f"window {window} + horizon {horizon}",
        metadata={"source": "files", "edges": str(edges), "series": str(series)},
    )
    return assemble(raw, read_edges(edges, num_nodes, raw.labels), options)
