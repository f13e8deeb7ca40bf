from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch_geometric.data import Data

from roma_pyg.data.convert import from_arrays, from_networkx, from_pyg, from_scipy

EDGES = [[0, 1, 2], [1, 2, 3]]
VALUES = np.linspace(0.1, 1, 20, dtype=np.float32).reshape(4, 5)
WEIGHT = np.array([1.0, 3.0, 2.0])
# Hand: rows are receivers, normalised; path 0 - 1 - 2 - 3 with weights 1, 3, 2.
COUPLING = [[0, 1, 0, 0], [0.25, 0, 0.75, 0], [0, 0.6, 0, 0.4], [0, 0, 1, 0]]


def dense(series):
    return series.graph.to_matrix().toarray()


def test_from_arrays_by_hand():
    series = from_arrays(EDGES, VALUES, dt=0.5, edge_weight=WEIGHT, name="mine")
    np.testing.assert_allclose(dense(series), COUPLING, atol=1e-7)
    assert (series.dt, series.name, series.num_steps) == (0.5, "mine", 5)
    assert series.values is VALUES


def test_directed_edges_go_from_first_to_second_row():
    series = from_arrays(EDGES, VALUES, undirected=False)
    np.testing.assert_array_equal(dense(series), np.eye(4, k=-1))


def test_every_source_gives_the_same_series():
    graph = nx.Graph()
    graph.add_nodes_from((i, {"u": VALUES[i]}) for i in range(4))
    graph.add_weighted_edges_from(zip(*EDGES, WEIGHT, strict=True))
    data = Data(
        x=torch.from_numpy(VALUES),
        edge_index=torch.tensor(EDGES),
        edge_weight=torch.from_numpy(WEIGHT),
    )
    matrix = sp.coo_matrix((WEIGHT, (EDGES[1], EDGES[0])), shape=(4, 4))
    sources = [
        from_pyg(data),
        from_pyg(Data(edge_index=data.edge_index, edge_weight=data.edge_weight), VALUES),
        from_networkx(graph, "u"),
        from_networkx(graph, dict(enumerate(VALUES))),
        from_networkx(graph, VALUES),
        from_scipy(matrix, VALUES),
        from_scipy(sp.csr_array(matrix), torch.from_numpy(VALUES)),
    ]
    for series in sources:
        np.testing.assert_allclose(dense(series), COUPLING, atol=1e-7)
        np.testing.assert_array_equal(series.values, VALUES)


def test_bfloat16_and_grad_tensors():
    values = torch.rand(4, 5).bfloat16().requires_grad_()
    series = from_arrays(torch.tensor(EDGES), values.abs() + 0.01)
    np.testing.assert_allclose(series.values, (values.detach().abs() + 0.01).float(), atol=1e-7)


def test_memory_map_stays_one(tmp_path):
    np.save(tmp_path / "x.npy", VALUES)
    values = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert isinstance(from_arrays(EDGES, values).values, np.memmap)


def test_both_directions_of_pyg_do_not_double_the_weight():
    index = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])
    data = Data(edge_index=index, edge_weight=torch.tensor([1.0, 1.0, 3.0, 3.0]))
    series = from_pyg(data, VALUES[:3])
    np.testing.assert_allclose(dense(series)[1], [0.25, 0, 0.75])


def test_directed_networkx_and_labels():
    graph = nx.DiGraph([("a", "b"), ("b", "c")])
    series = from_networkx(graph, VALUES[:3])
    np.testing.assert_array_equal(dense(series), np.eye(3, k=-1))
    assert series.extras["label"].tolist() == ["a", "b", "c"]


def test_matrix_row_is_the_receiver_and_stored_zeros_are_no_edges():
    matrix = sp.csr_array(([2.0, 0.0, 1.0], ([1, 2, 2], [0, 0, 1])), shape=(3, 3))
    series = from_scipy(matrix, VALUES[:3], undirected=False)
    np.testing.assert_array_equal(dense(series), [[0, 0, 0], [1, 0, 0], [0, 1, 0]])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: from_arrays([[0], [9]], VALUES), ValueError, r"edge_index: row 1, column 0.*9"),
        (lambda: from_arrays([[], []], VALUES), ValueError, "empty"),
        (lambda: from_arrays(EDGES, VALUES[:, :1]), ValueError, "at least 2 samples"),
        (lambda: from_arrays([["a"], ["b"]], VALUES), TypeError, "edge_index: .*real numbers"),
        (lambda: from_arrays(EDGES, [["x"] * 2] * 4), TypeError, "values: .*real numbers"),
        (lambda: from_pyg(Data(x=torch.rand(4, 5))), ValueError, "edge_index"),
        (lambda: from_pyg(Data(edge_index=torch.tensor(EDGES))), ValueError, "data.x"),
        (
            lambda: from_pyg(Data(edge_index=torch.tensor(EDGES), num_nodes=7), VALUES),
            ValueError,
            "Expected 7 rows",
        ),
        (lambda: from_networkx(nx.Graph(), VALUES), ValueError, "at least one node"),
        (lambda: from_networkx(nx.path_graph(3), "u"), ValueError, "none for 0 and 2 more"),
        (
            lambda: from_networkx(nx.path_graph(2), {0: [0.1, 0.2], 1: [0.1]}),
            ValueError,
            r"2 samples of node 1.*\(1,\)",
        ),
        (lambda: from_scipy(sp.eye_array(3), VALUES), ValueError, r"shape \(4, 4\).*\(3, 3\)"),
        (lambda: from_scipy(-sp.eye_array(4, k=1), VALUES), ValueError, "row 0, column 1.*non-neg"),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
