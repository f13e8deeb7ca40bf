"""The file layout of the authors of ROMA: ``x_*``, ``edges_*`` and ``pe_dim*_*`` parquet files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.array_files import map_npy
from roma_pyg.data.parquet_files import check_room, open_parquet
from roma_pyg.data.validate import check_dtype


@dataclass(frozen=True)
class Layout:
    """Where the files of one data set are.

    Attributes:
        series: ``x_NAME.parquet``, one row per node, one column per sample.
        edges: ``edges_NAME.parquet``, two columns.
        positional: ``pe_dimP_NAME.parquet``, one row per node, P columns; None if there is none.
    """

    series: Path
    edges: Path
    positional: Path | None


def find_layout(place: Path) -> Layout:
    """Find the files of a data set in the layout of arXiv:2502.15913.

    Args:
        place: A folder with one data set, or ``folder/NAME`` where it holds several.

    Raises:
        FileNotFoundError: If series or edges are missing.
        ValueError: If there is a choice; the message lists it.

    Example:
        A folder with ``x_km.parquet``, ``edges_km.parquet`` and ``pe_dim32_km.parquet``::

            find_layout(Path("folder")).positional  # folder/pe_dim32_km.parquet
    """
    folder, name = (place, "*") if place.is_dir() else (place.parent, place.name)
    series = _only(folder, f"x_{name}.parquet", "series")
    name = series.stem.removeprefix("x_")
    edges = folder / f"edges_{name}.parquet"
    if not edges.is_file():
        edges = _only(folder, "edges_*.parquet", "edges")
    found = sorted(folder.glob(f"pe_dim*_{name}.parquet"))
    if len(found) > 1:
        raise ValueError(
            f"Expected one file of positional features (got "
            f"{', '.join(path.name for path in found)}): remove all but one, or name it."
        )
    return Layout(series, edges, found[0] if found else None)


def _only(folder: Path, pattern: str, what: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise FileNotFoundError(f"Expected {what} as '{pattern}' in '{folder}' (got no such file).")
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise ValueError(
            f"Expected one file '{pattern}' in '{folder}' (got {names}): give folder/NAME."
        )
    return found[0]


def read_positional(path: Path, num_nodes: int) -> NDArray[np.float32]:
    """Read positional features that are used as they are.

    Args:
        path: ``.npy`` (N, P), mapped where it is float32, or ``.parquet`` with P numeric columns.
        num_nodes: Number of nodes N.

    Returns:
        Shape ``(N, P)``, float32. Features in [0, 1] are what the model expects.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read, has another number of rows, or holds values that
            are not finite.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: Expected a file with positional features (there is none)."
        )
    if path.suffix == ".npy":
        values = map_npy(path)
    elif path.suffix == ".parquet":
        values = _read_parquet(path)
    else:
        raise ValueError(
            f"{path}: Expected numbers in a .npy or .parquet file (got {path.suffix!r})."
        )
    check_dtype(values, str(path))
    if values.ndim != 2 or len(values) != num_nodes or not values.size:
        raise ValueError(
            f"{path}: Expected shape ({num_nodes}, P), a row per node (got {values.shape})."
        )
    with np.errstate(over="ignore"):
        features: NDArray[np.float32] = np.asanyarray(values, dtype=np.float32)
    finite = np.isfinite(features).all(axis=1)
    if not finite.all():
        raise ValueError(
            f"{path}: row {int(np.argmin(finite))}: Expected finite numbers (got another)."
        )
    return features


def _read_parquet(path: Path) -> NDArray[np.floating[Any]]:
    with open_parquet(path) as file:
        check_room(file, len(file.schema_arrow), path)
        columns = [column.to_numpy() for column in file.read().columns]
    for column in columns:
        check_dtype(column, str(path))
    return np.stack(columns, axis=1) if columns else np.empty((0, 0))
