"""Edge lists from .csv, .parquet and .npz files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp
from numpy.typing import NDArray

from roma_pyg.data.array_files import npz_keys, read_npz
from roma_pyg.data.convert import matrix_edges
from roma_pyg.data.csv_table import check_unique, open_table, read_cells
from roma_pyg.data.parquet_files import check_labels, check_room, open_parquet
from roma_pyg.data.validate import Edges
from roma_pyg.reading import WrongTypeError

SENDER = ("source", "src", "from", "sender")
RECEIVER = ("target", "dst", "to", "receiver", "destination")
WEIGHT = ("weight", "edge_weight")


def read_edges(path: Path, num_nodes: int, labels: NDArray[Any] | None) -> Edges:
    """Read an edge list; ids are checked later, against the series.

    Args:
        path: ``.csv``, ``.parquet`` or ``.npz`` file.
        num_nodes: Nodes of the series.
        labels: Labels of the nodes, if the series names them; the ids of the edges are then
            labels of the same type.

    Returns:
        The edges, with ids as written in the file.

    Raises:
        FileNotFoundError: If there is no such file.
        TypeError: If an array or column has no usable type.
        ValueError: If the file cannot be understood; the message says where and why.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: Expected a file with edges (there is none).")
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".npz": _read_npz}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise ValueError(f"{path}: Expected edges as .csv, .parquet or .npz (got {path.suffix!r}).")
    return reader(path, num_nodes, labels)


def _read_csv(path: Path, num_nodes: int, labels: NDArray[Any] | None) -> Edges:
    text = labels is not None and labels.dtype.kind == "U"
    known = set(labels.tolist()) if labels is not None and text else set()

    def is_header(cells: list[str]) -> bool:
        if any(cell.lower() in SENDER for cell in cells):
            return True
        if text:
            return not all(cell in known for cell in cells[:2])
        return not all(_is_number(cell) for cell in cells[:2])

    table = open_table(path, is_header)
    names = table.header or tuple(f"column {i}" for i in range(table.num_columns))
    columns = _choose(names, path)
    # Columns are read in file order; the target may stand before the source.
    ends = sorted(columns[:2])
    ids = read_cells(table, ends, "text" if text else "int").T
    weight = read_cells(table, columns[2:], "float")[:, 0] if len(columns) == 3 else None
    index = ids if ends == list(columns[:2]) else ids[::-1]
    return Edges(index, weight, str(path), lambda edge, end: table.place(edge, columns[end]))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        # An empty first cell is a missing id, not a column name.
        return not cell
    return True


def _choose(names: Sequence[str], path: Path) -> tuple[int, ...]:
    """Columns of sender, receiver and, if there is one, weight: by name, else the first ones."""
    lower = [name.lower() for name in names]
    found = [[i for i, n in enumerate(lower) if n in group] for group in (SENDER, RECEIVER, WEIGHT)]
    for group, hits in zip((SENDER, RECEIVER, WEIGHT), found, strict=True):
        if len(hits) > 1:
            raise ValueError(
                f"{path}: Expected one column out of {', '.join(group)} (got columns "
                f"{', '.join(repr(names[i]) for i in hits)})."
            )
    if found[0] and found[1]:
        return tuple(hits[0] for hits in found if hits)
    if found[0] or found[1]:
        raise ValueError(
            f"{path}: Expected a column 'source' and a column 'target' (got {', '.join(names)})."
        )
    if not 2 <= len(names) <= 3:
        raise ValueError(
            f"{path}: Expected columns source, target and perhaps weight (got {len(names)} "
            "columns without these names)."
        )
    return tuple(range(len(names)))


def _read_parquet(path: Path, num_nodes: int, labels: NDArray[Any] | None) -> Edges:
    with open_parquet(path) as file:
        names = [n for n in file.schema_arrow.names if not n.startswith("__index_level_")]
        check_unique(names, path)
        columns = _choose(names, path)
        chosen = [names[i] for i in columns]
        check_room(file, len(chosen), path)
        table = file.read(columns=chosen)

    def place(edge: int, end: int) -> str:
        return f"row {edge}, column {columns[end]} ({chosen[end]!r})"

    arrays = []
    for end, name in enumerate(chosen):
        column = table.column(name)
        if column.null_count:
            row = int(np.flatnonzero(column.is_null().to_numpy())[0])
            raise ValueError(
                f"{path}: {place(row, end)}: Expected a value (got nothing: it is missing). "
                "Rows and columns count from 0."
            )
        arrays.append(_column(column, name, path))
    if arrays[0].dtype.kind != arrays[1].dtype.kind and "U" in {a.dtype.kind for a in arrays[:2]}:
        kinds = " and ".join(str(table.column(name).type) for name in chosen[:2])
        raise WrongTypeError(f"{path}: Expected both ids to be numbers or both text (got {kinds}).")
    return _typed(Edges(np.stack(arrays[:2]), _third(arrays), str(path), place), labels)


def _third(arrays: list[NDArray[Any]]) -> NDArray[Any] | None:
    return arrays[2] if len(arrays) == 3 else None


def _column(column: Any, name: str, path: Path) -> NDArray[Any]:  # noqa: ANN401 - no types there
    kind = column.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        check_labels(pc.max(pc.utf8_length(column)).as_py() or 0, path)
        return np.array(column.to_pylist(), dtype=np.str_)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.asarray(column.to_numpy())
    raise WrongTypeError(f"{path}: column {name!r}: Expected numbers or text (got {column.type}).")


def _read_npz(path: Path, num_nodes: int, labels: NDArray[Any] | None) -> Edges:
    keys = npz_keys(path)
    if "edge_index" in keys:
        arrays = read_npz(path, {"edge_index", "edge_weight"})
        return _typed(Edges(arrays["edge_index"], arrays.get("edge_weight"), str(path)), labels)
    if not {"format", "shape"} <= keys:
        raise ValueError(
            f"{path}: Expected the key 'edge_index' (2, E), or a matrix saved by "
            f"scipy.sparse.save_npz (got keys {', '.join(sorted(keys)) or 'none'})."
        )
    edges = matrix_edges(_matrix(path), num_nodes, str(path))
    # The rows of a matrix are rows of the series, whatever the labels.
    index = edges.index if labels is None else labels[edges.index]
    return Edges(index, edges.weight, edges.source, edges.place)


# Formats of scipy.sparse.save_npz, and the arrays that make a matrix of them. Others are not read:
# their constructors trust what they are given.
_FORMATS: dict[str, tuple[str, ...]] = {
    "csr": ("data", "indices", "indptr"),
    "csc": ("data", "indices", "indptr"),
    "coo": ("data", "row", "col"),
}


def _matrix(path: Path) -> Any:  # noqa: ANN401 - scipy has a class per format
    """A matrix that was saved by scipy.sparse.save_npz; `matrix_edges` checks its indices."""
    arrays = read_npz(path, {"format", "shape", "row", "col", "data", "indices", "indptr"})
    label = next(iter(arrays["format"].reshape(-1)[:1].tolist()), "")
    name = label.decode(errors="replace") if isinstance(label, bytes) else str(label)
    missing = [key for key in _FORMATS.get(name, ()) if key not in arrays]
    if name not in _FORMATS or missing or arrays["shape"].shape != (2,):
        problem = f"no {', '.join(missing)}" if missing else f"format {name[:20]!r}"
        raise ValueError(
            f"{path}: Expected a scipy.sparse matrix of format {', '.join(_FORMATS)} with a shape "
            f"(got {problem}). Convert it, for example by .tocsr()."
        )
    parts = [arrays[key] for key in _FORMATS[name]]
    if any(
        part.ndim != 1 or part.dtype.kind not in ("iu" if i else "biuf")
        for i, part in enumerate(parts)
    ):
        kinds = ", ".join(f"{part.dtype} {part.shape}" for part in parts)
        raise WrongTypeError(
            f"{path}: Expected numbers and integer indices, in one dimension (got {kinds})."
        )
    try:
        rows, columns = (int(size) for size in arrays["shape"])
        if name == "coo":
            return sp.coo_array((parts[0], (parts[1], parts[2])), shape=(rows, columns))
        kind: Any = sp.csr_array if name == "csr" else sp.csc_array
        return kind(tuple(parts), shape=(rows, columns))
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{path}: Expected a scipy.sparse matrix (got: {error}).") from None


def _typed(edges: Edges, labels: NDArray[Any] | None) -> Edges:
    """Refuse text ids where the series has numbers, and the reverse."""
    text = edges.index.dtype.kind == "U"
    named = labels is not None and labels.dtype.kind == "U"
    if text and not named:
        raise WrongTypeError(
            f"{edges.source}: Expected integer node ids (got text). To name nodes by text, give "
            "the series a column 'node' with the same names."
        )
    if named and not text:
        raise WrongTypeError(
            f"{edges.source}: Expected node labels as text, as in the series (got "
            f"{edges.index.dtype})."
        )
    return edges
