from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch_geometric.data import Data

from roma_pyg.data.graph import Graph
from roma_pyg.data.series import GraphSeries

PATH = Graph.from_edges(np.array([0, 1]), np.array([1, 2]), 3)
VALUES = np.linspace(0.1, 1, 12, dtype=np.float32).reshape(3, 4)


def test_sizes():
    series = GraphSeries(PATH, VALUES)
    assert (series.num_nodes, series.num_steps, series.dt) == (3, 4, 1.0)
    assert series.extras == {}
    assert series.metadata == {}


def test_float32_is_shared_and_other_types_are_copied(tmp_path):
    assert GraphSeries(PATH, VALUES).values is VALUES
    np.save(tmp_path / "x.npy", VALUES)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert GraphSeries(PATH, mapped).values is mapped
    for dtype in (np.float64, ">f4", np.int64):
        values = GraphSeries(PATH, VALUES.astype(dtype)).values
        assert values.dtype == np.float32
        np.testing.assert_allclose(values, VALUES.astype(dtype), rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 3), (3,), (3, 4, 1)])
def test_wrong_shape(shape):
    with pytest.raises(ValueError, match=r"Expected 'values' of shape \(N, T\) with N = 3 nodes"):
        GraphSeries(PATH, np.ones(shape, dtype=np.float32))


@pytest.mark.parametrize("dt", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_time_step(dt):
    with pytest.raises(ValueError, match="Expected 'dt' to be positive and finite"):
        GraphSeries(PATH, VALUES, dt=dt)


def test_values_must_be_real():
    with pytest.raises(TypeError, match=r"Expected 'values' of real numbers \(got complex64\)"):
        GraphSeries(PATH, VALUES.astype(np.complex64))


def test_constructors_from_other_libraries_agree():
    nx = pytest.importorskip("networkx")
    edges = np.array([[0, 1], [1, 2]])
    graph = nx.path_graph(3)
    data = Data(edge_index=torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), num_nodes=3)
    made = [
        GraphSeries.from_arrays(edges, VALUES, dt=0.5, name="x"),
        GraphSeries.from_pyg(data, VALUES, dt=0.5, name="x"),
        GraphSeries.from_networkx(graph, VALUES, dt=0.5, name="x"),
        GraphSeries.from_scipy(sp.csr_array(PATH.to_matrix()), VALUES, dt=0.5, name="x"),
    ]
    for series in made:
        assert series.graph.checksum == PATH.checksum
        np.testing.assert_array_equal(series.values, VALUES)
        assert (series.dt, series.name) == (0.5, "x")
