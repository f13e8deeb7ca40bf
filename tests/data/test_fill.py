from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from roma_pyg.config import GraphConfig
from roma_pyg.data.eigenmaps import undirected_adjacency
from roma_pyg.data.fill import PROBE_NODES, analyze, factorize, minimum_degree, probed_fill
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph


def adjacency_of(network):
    matrix = sp.csr_array(nx.to_scipy_sparse_array(network, dtype=float, format="csr"))
    matrix.sort_indices()
    return matrix


def hyperbolic(nodes):
    return hyperbolic_graph(GraphConfig(nodes=nodes), 0).adjacency


GRAPHS = {
    "path": lambda: adjacency_of(nx.path_graph(50)),
    "star": lambda: adjacency_of(nx.star_graph(30)),
    "complete": lambda: adjacency_of(nx.complete_graph(20)),
    "tree": lambda: adjacency_of(nx.random_labeled_tree(3000, seed=0)),
    "grid": lambda: adjacency_of(nx.grid_2d_graph(40, 50)),
    "hyperbolic": lambda: hyperbolic(5000),
    "regular": lambda: adjacency_of(nx.random_regular_graph(4, 800, seed=0)),
    "disconnected": lambda: adjacency_of(nx.gnm_random_graph(400, 350, seed=0)),
    "no edges": lambda: sp.csr_array((5, 5)),
    "one node": lambda: sp.csr_array((1, 1)),
}


def positive(adjacency):
    return sp.diags_array(np.diff(adjacency.indptr) + 1.0) - adjacency


@pytest.mark.parametrize("name", GRAPHS)
def test_entries_are_those_of_the_factor(name):
    adjacency = GRAPHS[name]()
    order, entries = analyze(adjacency)
    np.testing.assert_array_equal(np.sort(order), np.arange(adjacency.shape[0]))
    assert entries == factorize(positive(adjacency)).nnz
    ordered = sp.csr_array(adjacency[order][:, order])
    factor = factorize(positive(ordered), ordered=True)
    assert entries == factor.nnz
    np.testing.assert_array_equal(factor.perm_c, np.arange(len(order)))
    rhs = np.random.default_rng(0).standard_normal(len(order))
    np.testing.assert_allclose(positive(ordered) @ factor.solve(rhs), rhs, atol=1e-10)


def test_minimum_degree_of_a_tree_has_no_fill():
    adjacency = GRAPHS["tree"]()
    order = minimum_degree(adjacency)
    assert analyze(adjacency).entries == adjacency.nnz + 2 * adjacency.shape[0]
    assert len(set(order.tolist())) == adjacency.shape[0]


def test_balls_tell_expanders_from_planar_graphs():
    rng = np.random.default_rng(0)
    nodes = 4 * PROBE_NODES[2]
    side = 2 * int(np.sqrt(nodes)) // 2
    grid = adjacency_of(nx.grid_2d_graph(side, side))
    ends = rng.integers(nodes, size=(2, 3 * nodes))
    expander = undirected_adjacency(Graph.from_edges(*ends, nodes))
    assert probed_fill(expander, np.inf) / expander.nnz > 300
    actual = analyze(grid).entries
    assert 0.5 < probed_fill(grid, np.inf) / actual < 2
    hyper = hyperbolic(nodes)
    assert 0.5 < probed_fill(hyper, np.inf) / analyze(hyper).entries < 2


def test_balls_of_small_graphs_say_nothing():
    assert probed_fill(GRAPHS["grid"](), 1.0) == 0.0
