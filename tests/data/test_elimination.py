from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from roma_pyg.data.elimination import elimination_tree, factor_entries, postorder


def adjacency_of(network):
    matrix = sp.csr_array(nx.to_scipy_sparse_array(network, dtype=float, format="csr"))
    matrix.sort_indices()
    return matrix


def symbolic_elimination(adjacency):
    """Reference: eliminate node by node on a dense pattern."""
    pattern = adjacency.toarray() != 0
    parent = np.arange(len(pattern))
    entries = 0
    for node in range(len(pattern)):
        later = np.flatnonzero(pattern[node, node + 1 :]) + node + 1
        pattern[np.ix_(later, later)] = True
        entries += len(later)
        if len(later):
            parent[node] = later[0]
    return parent, 2 * entries + 2 * len(pattern)


@pytest.mark.parametrize("seed", range(8))
def test_tree_and_count_against_elimination_in_any_order(seed):
    rng = np.random.default_rng(seed)
    nodes = int(rng.integers(2, 60))
    adjacency = adjacency_of(nx.gnm_random_graph(nodes, int(1.5 * nodes), seed=seed))
    parent, entries = symbolic_elimination(adjacency)
    np.testing.assert_array_equal(elimination_tree(adjacency), parent)
    position, size = postorder(parent)
    np.testing.assert_array_equal(np.sort(position), np.arange(nodes))
    order = np.argsort(position)
    ordered = sp.csr_array(adjacency[order][:, order])
    ordered.sort_indices()
    tree, expected = symbolic_elimination(ordered)
    # Postorders change neither the tree nor the fill.
    assert expected == entries
    np.testing.assert_array_equal(tree[position], position[parent])
    first = np.arange(nodes) - size[order] + 1
    assert factor_entries(ordered, tree, first) == entries


def test_postorder_by_hand():
    #     4
    #    / \
    #   2   3      and a root 1 with nothing below
    #   |
    #   0
    position, size = postorder(np.array([2, 1, 4, 4, 4]))
    np.testing.assert_array_equal(size, [1, 1, 2, 1, 4])
    assert position[2] == position[0] + 1
    assert position[4] == max(position[[0, 2, 3]]) + 1
