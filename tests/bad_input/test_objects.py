"""Graphs and series of the library: what cannot be right is refused, everything else works."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch_geometric.data import Data

import roma_pyg
from roma_pyg.config import SplitConfig
from roma_pyg.data.graph import Graph
from roma_pyg.data.history import History
from roma_pyg.data.sampling import SubgraphSampler
from roma_pyg.data.series import GraphSeries
from roma_pyg.data.split import make_split
from tests.bad_input.conftest import NODES, SAMPLES
from tests.bad_input.harness import assert_clear_text, limits

ERRORS = (ValueError, TypeError)
A, B = np.array([0, 1]), np.array([1, 2])
VALUES = np.linspace(0.1, 0.9, 12).reshape(3, 4)


def broken(indptr: list[int], indices: list[int], kind: Any = sp.csr_matrix) -> Any:
    """A matrix that was changed after scipy looked at it."""
    matrix = kind((3, 3))
    matrix.indptr = np.array(indptr)
    matrix.indices = np.array(indices, dtype=np.int64)
    matrix.data = np.ones(len(indices))
    return matrix


def series(values: Any, graph: Graph | None = None, **options: Any) -> GraphSeries:
    return GraphSeries(Graph.from_edges(A, B, 3) if graph is None else graph, values, **options)


# What is done, and a word of the message; None: it works.
CASES: dict[str, tuple[Callable[[], object], str | None]] = {
    # graphs from edges
    "no edges": (lambda: Graph.from_edges(A[:0], B[:0], 3), None),
    "no nodes": (lambda: Graph.from_edges(A[:0], B[:0], 0), None),
    "one node": (lambda: Graph.from_edges(A[:1], A[:1], 1), None),
    "self-loops": (lambda: Graph.from_edges(A, A, 3), None),
    "repeated": (lambda: Graph.from_edges(np.tile(A, 9), np.tile(B, 9), 3), None),
    "directed": (lambda: Graph.from_edges(A, B, 3, undirected=False), None),
    "zero weights": (lambda: Graph.from_edges(A, B, 3, np.zeros(2)), None),
    "tiny weights": (lambda: Graph.from_edges(A, B, 3, np.full(2, 5e-324)), None),
    "huge weights": (lambda: Graph.from_edges(A, B, 3, np.full(2, 1e300)), None),
    "weights that overflow": (
        lambda: Graph.from_edges(A, B, 3, np.full(2, 1.7e308)), "finite sum"),
    "negative weight": (lambda: Graph.from_edges(A, B, 3, np.array([1, -1.0])), "got -1.0 at edge"),
    "nan weight": (lambda: Graph.from_edges(A, B, 3, np.array([1, np.nan])), "got nan at edge 1"),
    "infinite weight": (lambda: Graph.from_edges(A, B, 3, np.array([1, np.inf])), "got inf"),
    "text weight": (lambda: Graph.from_edges(A, B, 3, np.array(["a", "b"])), "weight"),
    "complex weight": (lambda: Graph.from_edges(A, B, 3, np.array([1j, 1])), "weight"),
    "object weight": (lambda: Graph.from_edges(A, B, 3, np.array([None, 1], object)), "weight"),
    "other number of weights": (lambda: Graph.from_edges(A, B, 3, np.ones(5)), "'weight' of shape"),
    "other number of receivers": (lambda: Graph.from_edges(A, B[:1], 3), "same shape"),
    "matrix of senders": (lambda: Graph.from_edges(A[None], B[None], 3), "same shape"),
    "negative id": (lambda: Graph.from_edges(A - 1, B, 3), "got -1 at position 0"),
    "id beyond": (lambda: Graph.from_edges(A, B + 1, 3), "got 3 at position 1"),
    "float ids": (lambda: Graph.from_edges(A + 0.5, B, 3), "integer type"),
    "text ids": (lambda: Graph.from_edges(A.astype(str), B, 3), "integer type"),
    "object ids": (lambda: Graph.from_edges(A.astype(object), B, 3), "integer type"),
    "ids beyond 63 bits": (lambda: Graph.from_edges(A.astype("u8") + 2**63, B, 3), "senders"),
    "negative number of nodes": (lambda: Graph.from_edges(A, B, -3), "num_nodes"),
    # graphs in CSR form
    "falling offsets": (lambda: Graph(np.array([0, 2, 1]), np.array([0]), np.ones(1)), "falling"),
    "offsets from one": (lambda: Graph(np.array([1, 1]), np.array([0]), np.ones(1)), "starting"),
    "no offsets": (lambda: Graph(np.array([]), np.array([]), np.array([])), "rowptr"),
    "offsets beyond": (lambda: Graph(np.array([0, 9]), np.array([0]), np.ones(1)), "'col' of sh"),
    "offsets of nothing": (lambda: Graph(np.array(0), np.array([0]), np.ones(1)), "rowptr"),
    "float offsets": (lambda: Graph(np.array([0.0, 1]), np.array([0]), np.ones(1)), "integer"),
    "sender beyond": (lambda: Graph(np.array([0, 1]), np.array([7]), np.ones(1)), "'col' in"),
    "negative sender": (lambda: Graph(np.array([0, 1]), np.array([-7]), np.ones(1)), "'col' in"),
    "senders that fall": (
        lambda: Graph(np.array([0, 2, 2]), np.array([1, 0]), np.ones(2)), "ascending"),
    "nan in a graph": (lambda: Graph(np.array([0, 0, 1]), np.array([0]), [np.nan]), "weight"),
    # matrices
    "matrix": (lambda: Graph.from_matrix(sp.csr_array(np.ones((3, 3)))), None),
    "matrix that is not square": (lambda: Graph.from_matrix(sp.csr_array((2, 3))), "square"),
    "negative matrix": (lambda: Graph.from_matrix(sp.csr_array(-np.ones((3, 3)))), "non-negative"),
    "nan matrix": (lambda: Graph.from_matrix(sp.csr_array(np.full((3, 3), np.nan))), "finite"),
    "matrix with falling offsets": (
        lambda: Graph.from_matrix(broken([0, 50_000, 0, 0], [])), "rising offsets"),
    "matrix with offsets beyond": (
        lambda: Graph.from_matrix(broken([0, 1, 2, 50_000], [0])), "rising offsets"),
    "matrix with an index beyond": (
        lambda: Graph.from_matrix(broken([0, 1, 1, 1], [50_000])), "'indices' in"),
    "matrix with a negative index": (
        lambda: Graph.from_matrix(broken([0, 1, 1, 1], [-50_000])), "'indices' in"),
    "columns with falling offsets": (
        lambda: Graph.from_matrix(broken([0, 50_000, 0, 0], [], sp.csc_matrix)), "rising offsets"),
    "induced twice": (lambda: Graph.from_edges(A, B, 3).induced(np.array([1, 1])), "distinct"),
    "induced beyond": (lambda: Graph.from_edges(A, B, 3).induced(np.array([9])), "'nodes' in"),
    "induced by truth": (
        lambda: Graph.from_edges(A, B, 3).induced(np.array([True, False, True])), "integer"),
    # series
    "half": (lambda: series(VALUES.astype("f2")), None),
    "integers": (lambda: series((9 * VALUES).astype("i8")), None),
    "fortran": (lambda: series(np.asfortranarray(VALUES)), None),
    "byte-swapped": (lambda: series(VALUES.astype(">f8")), None),
    "no sample": (lambda: series(VALUES[:, :0]), None),
    "complex": (lambda: series(VALUES + 1j), "complex128"),
    "text": (lambda: series(VALUES.astype(str)), "Expected 'values'"),
    "objects": (lambda: series(VALUES.astype(object)), "object"),
    "dates": (lambda: series(VALUES.astype("M8[s]")), "datetime64"),
    "other number of nodes": (lambda: series(VALUES[:2]), "N = 3"),
    "one dimension": (lambda: series(VALUES[0]), "(N, T)"),
    "list": (lambda: series(VALUES.tolist()), None),
    "dt zero": (lambda: series(VALUES, dt=0.0), "'dt'"),
    "dt negative": (lambda: series(VALUES, dt=-1.0), "'dt'"),
    "dt nan": (lambda: series(VALUES, dt=float("nan")), "'dt'"),
    "dt infinite": (lambda: series(VALUES, dt=float("inf")), "'dt'"),
    "dt text": (lambda: series(VALUES, dt="1"), "'dt'"),
    # arrays
    "arrays": (lambda: GraphSeries.from_arrays([A, B], VALUES), None),
    "arrays of torch": (lambda: GraphSeries.from_arrays(
        torch.tensor(np.stack([A, B])), torch.tensor(VALUES, dtype=torch.bfloat16)), None),
    "arrays with a gradient": (lambda: GraphSeries.from_arrays(
        [A, B], torch.tensor(VALUES, requires_grad=True)), None),
    "arrays constant": (lambda: GraphSeries.from_arrays([A, B], np.full((3, 4), 7)), None),
    "arrays nan": (lambda: GraphSeries.from_arrays([A, B], VALUES * np.nan), "row 0, column 0"),
    "arrays of one sample": (lambda: GraphSeries.from_arrays([A, B], VALUES[:, :1]), "at least 2"),
    "arrays ragged": (lambda: GraphSeries.from_arrays([A, B], [[1], [1, 2], [3]]), "values"),
    "arrays of text": (lambda: GraphSeries.from_arrays([A, B], [["a"]] * 3), "values"),
    "arrays without edges": (lambda: GraphSeries.from_arrays([[], []], VALUES), "at least one"),
    "arrays of three ends": (lambda: GraphSeries.from_arrays([A, B, B], VALUES), "(2, E)"),
    "arrays transposed": (lambda: GraphSeries.from_arrays(np.ones((9, 2), int), VALUES), "Transp"),
    "arrays of float ids": (lambda: GraphSeries.from_arrays([A, B + 0.5], VALUES), "integer node"),
    "arrays of huge ids": (lambda: GraphSeries.from_arrays([A, B * 10**15], VALUES), "node id in"),
    "arrays of truth": (lambda: GraphSeries.from_arrays([[True], [False]], VALUES), None),
    "arrays of complex ids": (lambda: GraphSeries.from_arrays([A, B * 1j], VALUES), "complex"),
    "arrays of nothing": (lambda: GraphSeries.from_arrays(None, None), "values"),
    # other libraries
    "pyg without edges": (lambda: GraphSeries.from_pyg(Data(x=torch.rand(3, 4))), "edge_index"),
    "pyg without values": (
        lambda: GraphSeries.from_pyg(Data(edge_index=torch.tensor([[0], [1]]))), "data.x"),
    "pyg with other nodes": (lambda: GraphSeries.from_pyg(
        Data(x=torch.rand(3, 4), edge_index=torch.tensor([[0], [1]]), num_nodes=5)), "5 rows"),
    "networkx empty": (lambda: GraphSeries.from_networkx(nx.Graph(), VALUES), "at least one node"),
    "networkx without values": (
        lambda: GraphSeries.from_networkx(nx.path_graph(3), {0: [1, 2]}), "every node"),
    "networkx ragged": (lambda: GraphSeries.from_networkx(
        nx.path_graph(2), {0: [1, 2], 1: [1, 2, 3]}), "samples of node"),
    "networkx weights of text": (lambda: GraphSeries.from_networkx(
        nx.Graph([("a", "b", {"weight": "x"})]), VALUES[:2]), "weights"),
    "networkx multigraph": (
        lambda: GraphSeries.from_networkx(nx.MultiGraph([(0, 1), (0, 1)]), VALUES[:2]), None),
    "scipy of other size": (
        lambda: GraphSeries.from_scipy(sp.csr_array((5, 5)), VALUES), "(3, 3)"),
    "scipy broken": (
        lambda: GraphSeries.from_scipy(broken([0, 50_000, 0, 0], []), VALUES), "rising offsets"),
    # what is done with them
    "window beyond the series": (lambda: History(VALUES, 4, 9), "window of 9"),
    "time beyond the series": (lambda: History(VALUES, 5, 2), "'time'"),
    "noise nan": (lambda: History(VALUES, 4, 2, float("nan")), "'noise'"),
    "series shorter than window and horizon": (lambda: make_split(
        Graph.from_edges(np.arange(99), np.arange(1, 100), 100), 9, SplitConfig(), 5, 5),
        "nothing is left for"),
    "graph too small to split": (lambda: make_split(
        Graph.from_edges(A, B, 3), 999, SplitConfig(), 5, 5), "enough nodes"),
    "subgraphs of nothing": (lambda: SubgraphSampler(Graph.from_edges(A, B, 3), 0, 4), "size"),
    "subgraphs larger than the graph": (
        lambda: SubgraphSampler(Graph.from_edges(A, B, 3), 9, 4), None),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:.*disconnected:UserWarning")
@pytest.mark.parametrize("name", CASES)
def test_objects(name: str) -> None:
    make, expected = CASES[name]
    with limits():
        if expected is None:
            make()
            return
        with pytest.raises(ERRORS) as caught:
            make()
    assert_clear_text(str(caught.value), expected)


FORECASTS: dict[str, tuple[Callable[[GraphSeries], GraphSeries], str | None]] = {
    "same": (lambda s: s, None),
    "zeros": (lambda s: GraphSeries(s.graph, np.zeros_like(s.values)), None),
    "negative": (lambda s: GraphSeries(s.graph, -s.values), None),
    "no edges": (
        lambda s: GraphSeries(Graph.from_edges(A[:0], A[:0], NODES), s.values), None),
    "directed": (lambda s: GraphSeries(
        Graph.from_edges(np.arange(9), np.arange(1, 10), NODES, undirected=False), s.values), None),
    "short": (lambda s: GraphSeries(s.graph, s.values[:, :5]), "at least 8 samples"),
    "no samples": (lambda s: GraphSeries(s.graph, s.values[:, :0]), "at least 8 samples"),
    "no nodes": (lambda s: GraphSeries(Graph.from_edges(A[:0], A[:0], 0), s.values[:0]), "node"),
}  # fmt: skip
HAND_MADE = len(CASES) + len(FORECASTS)


@pytest.mark.parametrize("name", FORECASTS)
def test_forecasts(name: str, model: roma_pyg.Roma, good: Any) -> None:
    change, expected = FORECASTS[name]
    changed = change(roma_pyg.open_series(good / "store"))
    with limits():
        if expected is None:
            assert np.isfinite(model.forecast(changed)).all()
            return
        with pytest.raises(ERRORS) as caught:
            model.forecast(changed)
    assert_clear_text(str(caught.value), expected)


@settings(settings.get_profile("bad-input"), max_examples=150)
@given(
    index=hnp.arrays(
        st.sampled_from(["i8", "i4", "u1", "u8", "f4", "f8", "?", "U2", "c8", "O"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    values=hnp.arrays(
        st.sampled_from(["f8", "f4", "f2", ">f4", "i8", "?", "U2", "c8", "O", "M8[s]"]),
        hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    weight=st.one_of(st.none(), hnp.arrays("f8", st.integers(0, 4))),
    undirected=st.booleans(),
)
@pytest.mark.filterwarnings("ignore:.*disconnected:UserWarning")
def test_any_arrays(
    index: np.ndarray, values: np.ndarray, weight: np.ndarray | None, undirected: bool
) -> None:
    with limits(), np.errstate(all="ignore"):
        try:
            made = GraphSeries.from_arrays(index, values, 1.0, weight, undirected=undirected)
        except ERRORS as error:
            assert_clear_text(str(error))
        else:
            assert np.isfinite(made.values).all()
            assert made.values.min() > 0
            sums = made.graph.to_matrix().sum(axis=1)
            np.testing.assert_allclose(sums[made.graph.degree > 0], 1, rtol=1e-5)


@settings(settings.get_profile("bad-input"), max_examples=100)
@given(
    nodes=st.integers(1, 6),
    edges=st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=12),
    weights=st.lists(st.floats(0, 1e30), min_size=12, max_size=12),
    undirected=st.booleans(),
)
def test_any_graph(
    nodes: int, edges: list[tuple[int, int]], weights: list[float], undirected: bool
) -> None:
    """Self-loops, repeated edges, isolated nodes, zero weights and directions are all good."""
    pairs = np.array(edges, dtype=np.int64).reshape(-1, 2) % nodes
    graph = Graph.from_edges(
        pairs[:, 0], pairs[:, 1], nodes, np.array(weights[: len(pairs)]), undirected=undirected
    )
    dense = graph.to_matrix().toarray()
    assert np.isfinite(dense).all()
    assert (np.diag(dense) == 0).all()
    if undirected:
        assert ((dense > 0) == (dense.T > 0)).all() or (graph.weight == 0).any()
    values = np.linspace(0.1, 0.9, SAMPLES) * np.ones((nodes, 1))
    assert GraphSeries(graph, values).num_nodes == nodes
