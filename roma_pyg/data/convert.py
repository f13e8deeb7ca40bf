"""Own data from arrays, PyTorch Geometric, networkx and scipy.

Every function returns a checked ``GraphSeries``; values outside (0, 1] are scaled and the scaling
is kept in ``metadata["scaling"]`` (see ``roma_pyg.data.affine``). Float32 values in (0, 1] are
shared with the caller, not copied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike, NDArray

from roma_pyg.data.graph import check_compressed
from roma_pyg.data.series import GraphSeries
from roma_pyg.data.validate import Assembly, Edges, Series, assemble

if TYPE_CHECKING:
    import networkx as nx
    from torch_geometric.data import Data


def from_arrays(
    edge_index: ArrayLike | torch.Tensor,
    values: ArrayLike | torch.Tensor,
    dt: float = 1.0,
    edge_weight: ArrayLike | torch.Tensor | None = None,
    name: str = "series",
    undirected: bool = True,
) -> GraphSeries:
    """Make a series from an edge list and a matrix of values.

    Args:
        edge_index: Senders and receivers, integers in ``[0, N)``, shape ``(2, E)``.
        values: Observable of every node at every sample, shape ``(N, T)``, finite.
        dt: Time between samples, in your time unit, positive.
        edge_weight: Non-negative couplings, shape ``(E,)``, normalised per receiver; ones if
            omitted.
        name: Name of the data set.
        undirected: Every edge couples both ways. If false, ``edge_index[1]`` feels
            ``edge_index[0]``.

    Returns:
        The checked series.

    Raises:
        TypeError: If an array is not numeric.
        ValueError: If a shape, an id, a weight or a value is impossible; the message names it.

    Example:
        >>> series = from_arrays([[0, 1], [1, 2]], [[0.1, 0.2], [0.5, 0.4], [0.9, 1.0]])
        >>> series.num_nodes, series.num_steps, series.graph.num_edges
        (3, 2, 4)
    """
    index = _to_numpy(edge_index, "edge_index")
    if index.size == 0 and index.dtype.kind == "f":
        # An empty list has no integer dtype; the shape is still checked.
        index = index.astype(np.int64)
    weight = None if edge_weight is None else _to_numpy(edge_weight, "edge_weight")
    return assemble(
        Series(_to_numpy(values, "values"), "values"),
        Edges(index, weight, "edge_index"),
        Assembly(dt, name, undirected, metadata={"source": "arrays"}),
    )


def from_pyg(
    data: Data,
    values: ArrayLike | torch.Tensor | None = None,
    dt: float = 1.0,
    name: str = "series",
    undirected: bool = True,
) -> GraphSeries:
    """Make a series from a PyTorch Geometric graph.

    Args:
        data: Graph with ``edge_index`` and, if it has, ``edge_weight``. Edge attributes of other
            names are not couplings and are ignored.
        values: Shape ``(N, T)``; ``data.x`` if omitted.
        dt: Time between samples, in your time unit, positive.
        name: Name of the data set.
        undirected: Every edge couples both ways.

    Returns:
        The checked series.

    Raises:
        TypeError: If an array is not numeric.
        ValueError: If ``data`` lacks edges or values, or they do not fit.

    Example:
        >>> from torch_geometric.data import Data
        >>> edge_index = torch.tensor([[0, 1], [1, 2]])
        >>> from_pyg(Data(x=torch.rand(3, 5), edge_index=edge_index)).num_steps
        5
    """
    if data.edge_index is None:
        raise ValueError("Expected 'data.edge_index' of shape (2, E) (got None).")
    if values is None:
        if data.x is None:
            raise ValueError("Expected 'data.x' of shape (N, T), or 'values' (got neither).")
        values = data.x
    series = Series(_to_numpy(values, "values"), "values")
    stated = data.to_dict().get("num_nodes")
    if stated is not None and series.values.shape[:1] != (stated,):
        raise ValueError(
            f"values: Expected {stated} rows, as data.num_nodes states (got shape "
            f"{series.values.shape})."
        )
    weight = _to_numpy(data["edge_weight"], "edge_weight") if "edge_weight" in data else None
    return assemble(
        series,
        Edges(_to_numpy(data.edge_index, "data.edge_index"), weight, "data.edge_index"),
        Assembly(dt, name, undirected, metadata={"source": "torch_geometric"}),
    )


def from_networkx(
    graph: nx.Graph[Any],
    values: ArrayLike | torch.Tensor | Mapping[Any, ArrayLike] | str,
    dt: float = 1.0,
    name: str = "series",
    weight: str | None = "weight",
) -> GraphSeries:
    """Make a series from a networkx graph; a directed edge ``(u, v)`` lets ``v`` feel ``u``.

    Args:
        graph: Any networkx graph; nodes may be any hashable.
        values: Shape ``(N, T)`` in the order of ``graph.nodes``, or a mapping from node to its T
            values, or the name of a node attribute that holds them.
        dt: Time between samples, in your time unit, positive.
        name: Name of the data set.
        weight: Edge attribute with the coupling; edges without it count as one.

    Returns:
        The checked series; row ``i`` is the ``i``-th node of ``graph.nodes``, whose names are in
        ``extras["label"]`` as text.

    Raises:
        TypeError: If the values are not numeric.
        ValueError: If a node has no values, or another number of them than the others.

    Example:
        >>> import networkx as nx
        >>> g = nx.Graph([("a", "b")])
        >>> from_networkx(g, {"a": [0.1, 0.2], "b": [0.3, 0.4]}).values[1]
        array([0.3, 0.4], dtype=float32)
    """
    nodes = list(graph.nodes)
    if not nodes:
        raise ValueError("graph: Expected at least one node (got none: it is empty).")
    if isinstance(values, str):
        values = {n: graph.nodes[n][values] for n in nodes if values in graph.nodes[n]}
    if isinstance(values, Mapping):
        values = _stack(nodes, values)
    position = {node: i for i, node in enumerate(nodes)}
    pairs = [(position[u], position[v]) for u, v in graph.edges()]
    index = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    coupling: NDArray[Any] | None = None
    if weight is not None and any(weight in d for _, _, d in graph.edges(data=True)):
        coupling = np.asarray([d.get(weight, 1.0) for _, _, d in graph.edges(data=True)])
    series = assemble(
        Series(_to_numpy(values, "values"), "values"),
        Edges(index, coupling, "graph"),
        Assembly(dt, name, not graph.is_directed(), metadata={"source": "networkx"}),
    )
    series.extras["label"] = np.array([str(node) for node in nodes])
    return series


def from_scipy(
    adjacency: sp.sparray | sp.spmatrix,
    values: ArrayLike | torch.Tensor,
    dt: float = 1.0,
    name: str = "series",
    undirected: bool = True,
) -> GraphSeries:
    """Make a series from a sparse matrix with ``adjacency[i, j]`` the pull of node j on node i.

    Args:
        adjacency: Non-negative couplings, shape ``(N, N)``; stored zeros are no edges.
        values: Shape ``(N, T)``, finite.
        dt: Time between samples, in your time unit, positive.
        name: Name of the data set.
        undirected: Every edge couples both ways.

    Returns:
        The checked series.

    Raises:
        TypeError: If an array is not numeric.
        ValueError: If the matrix is not square, or does not fit the values.

    Example:
        >>> ring = sp.csr_array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
        >>> from_scipy(ring, [[0.1, 0.2], [0.5, 0.4], [0.9, 1.0]]).graph.degree
        array([2, 2, 2])
    """
    series = Series(_to_numpy(values, "values"), "values")
    edges = matrix_edges(adjacency, series.values.shape[0] if series.values.ndim else 0)
    return assemble(series, edges, Assembly(dt, name, undirected, metadata={"source": "scipy"}))


def matrix_edges(
    adjacency: sp.sparray | sp.spmatrix, num_nodes: int, source: str = "adjacency"
) -> Edges:
    """Edge list of a coupling matrix (row = receiver), checked to be N x N.

    Raises:
        ValueError: If the matrix is not ``(num_nodes, num_nodes)``.
    """
    matrix: Any = adjacency
    if matrix.shape != (num_nodes, num_nodes):
        raise ValueError(
            f"{source}: Expected shape ({num_nodes}, {num_nodes}), as the series has {num_nodes} "
            f"nodes (got {matrix.shape})."
        )
    check_compressed(matrix, source)
    coo = sp.coo_array(matrix)
    coo.sum_duplicates()
    keep = coo.data != 0
    receivers, senders = (axis[keep].astype(np.int64) for axis in coo.coords)

    def place(edge: int, end: int) -> str:
        return f"row {receivers[edge]}, column {senders[edge]}"

    return Edges(np.stack([senders, receivers]), coo.data[keep], source, place)


def _to_numpy(array: Any, name: str) -> NDArray[Any]:  # noqa: ANN401 - anything array-like
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu()
        # numpy has no bfloat16.
        return (array.float() if array.dtype == torch.bfloat16 else array).numpy()
    # A memory map stays one, so that nothing is read into memory.
    try:
        return array if isinstance(array, np.memmap) else np.asarray(array)
    except ValueError as error:
        raise ValueError(f"{name}: Expected an array of numbers (got: {error}).") from None


def _stack(nodes: list[Any], values: Mapping[Any, ArrayLike]) -> NDArray[Any]:
    missing = [node for node in nodes if node not in values]
    if missing:
        raise ValueError(
            f"values: Expected a series for every node (got none for {missing[0]!r}"
            f"{f' and {len(missing) - 1} more' if len(missing) > 1 else ''})."
        )
    rows = [_to_numpy(values[node], f"values of node {node!r}") for node in nodes]
    for node, row in zip(nodes, rows, strict=True):
        if row.ndim != 1 or row.shape != rows[0].shape:
            raise ValueError(
                f"values: Expected {rows[0].shape[0] if rows[0].ndim else 1} samples of node "
                f"{node!r}, as of the first node (got shape {row.shape})."
            )
    return np.stack(rows)
