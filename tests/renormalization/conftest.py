"""Graphs whose spectra are known."""

from __future__ import annotations

from types import SimpleNamespace

import networkx as nx
import numpy as np
import pytest

from roma_pyg.data.graph import Graph


def ring(nodes):
    node = np.arange(nodes)
    return Graph.from_edges(node, (node + 1) % nodes, nodes)


def torus(side):
    node = np.arange(side**2)
    x, y = np.divmod(node, side)
    right, up = (x + 1) % side * side + y, x * side + (y + 1) % side
    return Graph.from_edges(np.r_[node, node], np.r_[right, up], side**2)


def random_tree(nodes, seed):
    """Uniform over all labelled trees, from a random Pruefer sequence."""
    code = np.random.default_rng(seed).integers(0, nodes, nodes - 2).tolist()
    edges = np.array(nx.from_prufer_sequence(code).edges)
    return Graph.from_edges(edges[:, 0], edges[:, 1], nodes)


def cliques(count, size):
    """Complete graphs in a ring of single edges."""
    inside = np.argwhere(np.triu(np.ones((size, size)), 1))
    edges = [inside + size * number for number in range(count)]
    links = [[size * n, size * ((n + 1) % count) + 1] for n in range(count)]
    edges = np.concatenate([*edges, np.array(links)])
    return Graph.from_edges(edges[:, 0], edges[:, 1], count * size)


@pytest.fixture(scope="session")
def graphs():
    """Makers of graphs by name."""
    return SimpleNamespace(ring=ring, torus=torus, random_tree=random_tree, cliques=cliques)
