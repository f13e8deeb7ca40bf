"""Checks that every source of own data goes through, and the assembly of a checked series."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

from roma_pyg.data.affine import AffineScaling
from roma_pyg.data.graph import Graph, IntArray
from roma_pyg.data.series import GraphSeries
from roma_pyg.reading import WrongTypeError

BLOCK = 4_000_000
"""Values checked or converted at a time: 32 MB in float64."""

COUNTING = "Rows and columns count from 0."

_LOGGER = logging.getLogger(__name__)


def _matrix_place(row: int, column: int) -> str:
    return f"row {row}, column {column}"


def _edge_place(edge: int, end: int) -> str:
    return f"weight of edge {edge}" if end == 2 else f"row {end}, column {edge}"


@dataclass(frozen=True)
class Series:
    """Unchecked node series and how to name a place in them.

    Args:
        values: Shape ``(N, T)``, any real dtype; may be a memory map.
        source: File or argument, as messages name it.
        place: Words for the place of ``values[row, column]`` in the source.
        labels: Labels of the nodes, int64 or text, shape ``(N,)``; None if rows are the ids.
    """

    values: NDArray[Any]
    source: str
    place: Callable[[int, int], str] = _matrix_place
    labels: NDArray[Any] | None = None


@dataclass(frozen=True)
class Edges:
    """Unchecked edge list and how to name a place in it.

    Args:
        index: Senders and receivers, shape ``(2, E)``, by node id or label.
        weight: Couplings, shape ``(E,)``, or None.
        source: File or argument, as messages name it.
        place: Words for the place of ``index[end, edge]``, called as ``place(edge, end)``;
            ``end`` is 2 for the weight.
    """

    index: NDArray[Any]
    weight: NDArray[Any] | None
    source: str
    place: Callable[[int, int], str] = _edge_place


@dataclass(frozen=True)
class Assembly:
    """Options of :func:`assemble`.

    Args:
        dt: Time between samples, in your time unit, positive.
        name: Name of the data set.
        undirected: Every edge couples both ways.
        min_steps: Fewest samples that are of use.
        need: Why, in words, for the message.
        metadata: Entries for ``GraphSeries.metadata``.
    """

    dt: float = 1.0
    name: str = "series"
    undirected: bool = True
    min_steps: int = 2
    need: str = "two samples"
    metadata: dict[str, Any] = field(default_factory=dict)


def blocks(values: NDArray[Any]) -> Iterator[slice]:
    """Row slices of a matrix with about ``BLOCK`` values each."""
    step = max(1, BLOCK // max(1, values.shape[1]))
    for start in range(0, values.shape[0], step):
        yield slice(start, min(start + step, values.shape[0]))


def check_dtype(values: NDArray[Any], source: str) -> None:
    """Refuse everything but real numbers.

    Raises:
        TypeError: If the dtype is object, text, complex, a date or a record.
    """
    if values.dtype.kind not in "biuf":
        raise WrongTypeError(
            f"{source}: Expected real numbers (got dtype {values.dtype}). "
            "Convert the array, for example by .astype('float32')."
        )


def check_values(series: Series) -> tuple[float, float]:
    """Check shape and finiteness of the series, block by block.

    Returns:
        Smallest and largest value.

    Raises:
        TypeError: If the values are not real numbers.
        ValueError: If the shape is not ``(N, T)``, nothing is there, or a value is not finite;
            the message names row and column of the first one.
    """
    values = series.values
    check_dtype(values, series.source)
    if values.ndim != 2:
        raise ValueError(
            f"{series.source}: Expected shape (N, T), nodes x samples (got {values.shape})."
        )
    if values.size == 0:
        raise ValueError(
            f"{series.source}: Expected at least one node and one sample "
            f"(got shape {values.shape}: it is empty)."
        )
    low, high = np.inf, -np.inf
    for rows in blocks(values):
        block = values[rows]
        bad = ~np.isfinite(block)
        if bad.any():
            row, column = (int(i) for i in np.argwhere(bad)[0])
            got = float(block[row, column])
            what = "nan, or a missing value" if np.isnan(got) else str(got)
            raise ValueError(
                f"{series.source}: {series.place(rows.start + row, column)}: Expected a finite "
                f"number (got {what}). Fill or drop such values first. {COUNTING}"
            )
        low, high = min(low, float(block.min())), max(high, float(block.max()))
    return low, high


def check_length(num_steps: int, needed: int, need: str, source: str) -> None:
    """Check that the series is long enough.

    Raises:
        ValueError: If there are fewer samples than ``needed``.
    """
    if num_steps < needed:
        raise ValueError(
            f"{source}: Expected at least {needed} samples, {need} (got {num_steps}). The series "
            "is too short: give more samples per node, or choose a shorter window or horizon."
        )


def check_edges(edges: Edges, num_nodes: int) -> IntArray:
    """Check an edge list whose ids are node indices.

    Returns:
        The indices, shape ``(2, E)``, int64.

    Raises:
        TypeError: If ids or weights are not real numbers.
        ValueError: If the shape is not ``(2, E)``, the list is empty, an id is not an integer in
            ``[0, num_nodes)``, or a weight is not finite or negative.
    """
    index = edges.index
    if index.ndim != 2 or index.shape[0] != 2:
        hint = " Transpose it." if index.ndim == 2 and index.shape[1] == 2 else ""
        raise ValueError(f"{edges.source}: Expected shape (2, E) (got {index.shape}).{hint}")
    if index.shape[1] == 0:
        raise ValueError(f"{edges.source}: Expected at least one edge (got none: it is empty).")
    check_dtype(index, edges.source)
    if index.dtype.kind == "f":
        _check_integral(edges)
    bad = (index < 0) | (index >= num_nodes)
    if bad.any():
        end, edge = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{edges.source}: {edges.place(edge, end)}: Expected a node id in [0, {num_nodes}), "
            f"as the series has {num_nodes} nodes (got {int(index[end, edge])}). "
            f"{_range_hint(index, num_nodes)}{COUNTING}"
        )
    _check_weights(edges)
    return index.astype(np.int64, copy=False)


def _check_integral(edges: Edges) -> None:
    bad = ~np.isfinite(edges.index) | (edges.index != np.floor(edges.index))
    if bad.any():
        end, edge = (int(i) for i in np.argwhere(bad)[0])
        raise ValueError(
            f"{edges.source}: {edges.place(edge, end)}: Expected an integer node id "
            f"(got {edges.index[end, edge]}). {COUNTING}"
        )


def _range_hint(index: NDArray[Any], num_nodes: int) -> str:
    if index.min() == 1 and index.max() == num_nodes:
        return "The ids seem to count from 1: subtract 1, or give the nodes labels. "
    return (
        "Rows of the series are nodes: transpose it if it is samples x nodes, or give a label "
        "column 'node' if the ids are not 0 ... N - 1. "
    )


def _check_weights(edges: Edges) -> None:
    weight = edges.weight
    if weight is None:
        return
    check_dtype(weight, f"{edges.source}: edge weights")
    if weight.shape != (edges.index.shape[1],):
        raise ValueError(
            f"{edges.source}: Expected one weight per edge, shape ({edges.index.shape[1]},) "
            f"(got {weight.shape})."
        )
    bad = ~np.isfinite(weight) | (weight < 0)
    if bad.any():
        edge = int(np.flatnonzero(bad)[0])
        raise ValueError(
            f"{edges.source}: {edges.place(edge, 2)}: Expected a finite, non-negative weight "
            f"(got {weight[edge]}). {COUNTING}"
        )


def resolve_labels(edges: Edges, labels: NDArray[Any]) -> Edges:
    """Replace node labels in an edge list by row numbers; O((N + E) log N).

    Raises:
        ValueError: If an edge names a node that has no series.

    Example:
        >>> edges = Edges(np.array([[30], [7]]), None, "edges")
        >>> resolve_labels(edges, np.array([7, 30])).index
        array([[1],
               [0]])
    """
    order = np.argsort(labels, kind="stable")
    ranked = labels[order]
    slot = np.searchsorted(ranked, edges.index).clip(0, len(labels) - 1)
    bad = ranked[slot] != edges.index
    if bad.any():
        end, edge = (int(i) for i in np.argwhere(bad)[0])
        known = ", ".join(repr(label) for label in labels[:3].tolist())
        raise ValueError(
            f"{edges.source}: {edges.place(edge, end)}: Expected the label of a node of the "
            f"series, such as {known} (got {edges.index[end, edge].item()!r}). {COUNTING}"
        )
    return Edges(order[slot], edges.weight, edges.source, edges.place)


def warn_if_disconnected(graph: Graph, source: str) -> None:
    """Warn, as the model also works on several components, only without a path between them."""
    count, component = connected_components(graph.to_matrix(weighted=False), directed=False)
    if count > 1:
        largest = int(np.bincount(component).max())
        warnings.warn(
            f"{source}: The graph is disconnected: {count} components, the largest has {largest} "
            f"of {graph.num_nodes} nodes. Nothing is exchanged between components; keep the "
            "largest one if that is not meant.",
            stacklevel=3,
        )


def scaling_of(low: float, high: float, source: str) -> AffineScaling | None:
    """The scaling that values in ``[low, high]`` need; None if they lie in (0, 1].

    Raises:
        ValueError: If the range is too wide.
    """
    # Smaller positive float64 values would become zero in float32.
    if low >= float(np.finfo(np.float32).tiny) and high <= 1:
        return None
    try:
        return AffineScaling(low, high)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None


def to_model_values(
    values: NDArray[Any], low: float, high: float, source: str = "values"
) -> tuple[NDArray[np.float32], AffineScaling | None]:
    """Bring checked values into (0, 1], float32, node-major.

    Float32 rows that already lie in (0, 1] are returned as they are, mapped or not. Anything
    else is copied block by block; values outside (0, 1] are scaled by their overall range.

    Returns:
        The values ``(N, T)`` and the scaling, None if none was needed.
    """
    scaling = scaling_of(low, high, source)
    if scaling is None and values.dtype == np.dtype("=f4") and values.flags.c_contiguous:
        return values, None
    out = np.empty(values.shape, dtype=np.float32)
    for rows in blocks(values):
        out[rows] = values[rows] if scaling is None else scaling.apply(values[rows])
    return out, scaling


def assemble(series: Series, edges: Edges, options: Assembly) -> GraphSeries:
    """Check edges and series and join them; the one way in for own data.

    Args:
        series: Node series; not copied when float32 and in (0, 1].
        edges: Edge list, by labels if ``series.labels`` is given.
        options: Name, time step and what is needed.

    Returns:
        The series. ``metadata["scaling"]`` holds the affine scaling (None if the values were in
        (0, 1] already), ``extras["label"]`` the node labels if there are any. Memory O(E), and
        O(N T) where a copy is needed.

    Raises:
        TypeError: If something is not numeric.
        ValueError: If a value, an id, a weight or a size is impossible.

    Warns:
        UserWarning: If the graph is disconnected.
    """
    if not (np.isfinite(options.dt) and options.dt > 0):
        raise ValueError(f"Expected 'dt' to be positive and finite (got {options.dt}).")
    low, high = check_values(series)
    num_nodes, num_steps = series.values.shape
    check_length(num_steps, options.min_steps, options.need, series.source)
    if series.labels is not None:
        edges = resolve_labels(edges, series.labels)
    senders, receivers = check_edges(edges, num_nodes)
    graph = Graph.from_edges(
        senders, receivers, num_nodes, edges.weight, undirected=options.undirected
    )
    if graph.num_edges == 0:
        raise ValueError(f"{edges.source}: Expected an edge between two nodes (got self-loops).")
    warn_if_disconnected(graph, edges.source)
    values, scaling = to_model_values(series.values, low, high, series.source)
    if scaling is not None:
        _LOGGER.info("%s: scaled from [%g, %g] to (0, 1].", series.source, low, high)
    extras = {} if series.labels is None else {"label": series.labels}
    metadata = dict(options.metadata)
    metadata["scaling"] = None if scaling is None else scaling.to_metadata()
    return GraphSeries(graph, values, options.dt, options.name, extras, metadata)
