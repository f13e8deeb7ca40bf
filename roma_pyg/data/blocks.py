"""Hierarchical stochastic block model: communities within communities, planted."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from roma_pyg.config import GraphConfig
from roma_pyg.data.components import largest_component

# Separates the random numbers of the graph from those of the dynamics.
STREAM = 0xB10C


@dataclass(frozen=True, eq=False)
class BlockGraph:
    """A connected graph with the blocks of its nodes.

    Attributes:
        adjacency: Symmetric 0/1 matrix without diagonal, shape ``(N, N)``, float32.
        blocks: Block of each node on each level, the smallest blocks first, shapes ``(N,)``, int64;
            blocks of one level are unions of those of the level before.
    """

    adjacency: sp.csr_array[np.float32]
    blocks: list[NDArray[np.int64]]


def block_graph(config: GraphConfig, seed: int) -> BlockGraph:
    """Draw a graph of nested blocks and keep its largest connected component.

    With ``blocks = [b_1, ..., b_L]`` the nodes form b_1 large blocks, each of b_2 smaller ones, and
    so on, of equal size but for one node. An edge of a node leads to a random node of its smallest
    block with probability ``1 - mixing``, else to one of the block above with the same probability,
    and so on; on top, to any node. Degrees are Poisson numbers around ``average_degree``, less the
    few pairs that are drawn twice (Peixoto 2014, doi:10.1103/PhysRevX.4.011047, for such models).

    Args:
        config: Nodes, mean degree, blocks and mixing.
        seed: Non-negative seed.

    Returns:
        The largest component; its nodes keep their order, in which blocks are contiguous. O(E)
        time and memory.

    Raises:
        ValueError: If the graph has no edges.

    Example:
        >>> graph = block_graph(GraphConfig(kind="blocks", nodes=90, blocks=[3, 2]), seed=0)
        >>> [len(set(block)) for block in graph.blocks]
        [6, 3]
    """
    rng = np.random.default_rng([seed, STREAM])
    nodes = config.nodes
    counts = [1, *np.cumprod(config.blocks).tolist()]
    # A share of the edges stays in each level, from the whole graph (level 0) to the smallest.
    depth = len(config.blocks)
    inside = [
        config.mixing ** (depth - level) * (1 - config.mixing) for level in range(1, depth + 1)
    ]
    stay = [config.mixing**depth, *inside]
    pairs = []
    for count, share in zip(counts, stay, strict=True):
        edges = rng.poisson(nodes * config.average_degree * share / 2)
        first = rng.integers(nodes, size=edges)
        block = first * count // nodes
        start, end = (-(-(block + shift) * nodes // count) for shift in (0, 1))
        pairs.append(np.stack([first, start + (rng.random(edges) * (end - start)).astype(int)]))
    edges_of = np.concatenate(pairs, axis=1)
    edges_of = edges_of[:, edges_of[0] != edges_of[1]]
    if edges_of.shape[1] == 0:
        raise ValueError(
            "Expected a graph with edges (got none): raise data.graph.nodes or "
            "data.graph.average_degree."
        )
    ones = np.ones(edges_of.shape[1], dtype=np.float32)
    half = sp.coo_array((ones, tuple(edges_of)), shape=(nodes, nodes)).tocsr()
    adjacency = sp.csr_array(half + half.T)
    adjacency.data[:] = 1.0
    keep = largest_component(adjacency)
    component = sp.csr_array(adjacency[keep][:, keep])
    component.sort_indices()
    blocks = [(keep * count // nodes).astype(np.int64) for count in reversed(counts[1:])]
    return BlockGraph(component, blocks)
