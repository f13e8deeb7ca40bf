from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from roma_pyg.data.graph import Graph
from roma_pyg.models.coarse_graining import couple_supernodes, pool_nodes


def shares(nodes, supernodes, seed=0):
    values = np.random.default_rng(seed).random((nodes, supernodes)).astype(np.float32)
    return values / values.sum(0)


@pytest.mark.parametrize("edges", [1, 7, 1 << 18])
def test_couplings_equal_the_dense_product(tiny, monkeypatch, edges):
    monkeypatch.setattr("roma_pyg.models.coarse_graining._EDGES", edges)
    for graph in (tiny.graph(40, 60), tiny.graph(20, isolated=6)):
        share = shares(graph.num_nodes, 5)
        dense = np.float64(graph.to_matrix().toarray())
        expected = np.float64(share).T @ dense @ np.float64(share)
        result = couple_supernodes(graph, share)
        assert result.dtype == np.float32
        np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_couplings_by_hand():
    """Node 0 feels node 1 alone, and makes up supernode 0; supernode 1 is nodes 1 and 2."""
    graph = Graph.from_edges(np.array([1, 2]), np.array([0, 1]), 3, undirected=False)
    share = np.array([[1, 0], [0, 0.5], [0, 0.5]], dtype=np.float32)
    assert couple_supernodes(graph, share).tolist() == [[0, 0.5], [0, 0.25]]


def test_a_graph_without_edges():
    graph = Graph.from_edges(np.array([], dtype=int), np.array([], dtype=int), 4)
    assert couple_supernodes(graph, shares(4, 2)).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("values", [1, 50, 10_000])
def test_pooled_values_equal_the_dense_product(monkeypatch, values):
    from roma_pyg.data.export import row_blocks

    monkeypatch.setattr(
        "roma_pyg.models.coarse_graining.row_blocks", lambda shape: row_blocks(shape, values)
    )
    share, series = shares(60, 4), np.random.default_rng(1).random((60, 9)).astype(np.float32)
    expected = np.float64(share).T @ np.float64(series) * 60 / 4
    np.testing.assert_allclose(pool_nodes(share, series), expected, rtol=1e-12)


def test_memory_is_that_of_a_block(tmp_path, monkeypatch):
    monkeypatch.setattr("roma_pyg.models.coarse_graining._EDGES", 2000)
    nodes, supernodes = 20_000, 64
    ring = np.arange(nodes)
    graph = Graph.from_edges(ring, np.roll(ring, 1), nodes)
    share = np.lib.format.open_memmap(tmp_path / "s.npy", "w+", np.float32, (nodes, supernodes))
    share[:] = 1 / nodes
    tracemalloc.start()
    try:
        couple_supernodes(graph, share)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * 4 * nodes * supernodes


def test_rejects_what_does_not_fit(tiny):
    with pytest.raises(ValueError, match=r"assignment of 30 nodes \(got 29\)"):
        couple_supernodes(tiny.graph(), shares(29, 2))
    with pytest.raises(ValueError, match=r"'values' of shape \(30, T\).*\(got \(29, 3\)\)"):
        pool_nodes(shares(30, 2), np.ones((29, 3)))
