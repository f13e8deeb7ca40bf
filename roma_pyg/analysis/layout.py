"""Places of the nodes of a graph in the plane, from hundreds of nodes to millions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.linalg as sl
from numpy.typing import NDArray

from roma_pyg.data.graph import Graph, IntArray
from roma_pyg.models.community import balanced_communities
from roma_pyg.renormalization.laplacian import laplacian
from roma_pyg.renormalization.supernodes import coarsen

SECTORS = 256
"""Largest number of communities that the circle is cut into."""


def place_nodes(
    graph: Graph, extras: Mapping[str, Any] | None = None, seed: int = 0
) -> NDArray[np.float64]:
    """Place the nodes in the unit disk: angle tells similarity, radius popularity.

    Where the nodes have an ``angle`` and a ``radius``, as those of a generated hyperbolic graph
    do, these are their places (the native disk: hubs inside, leaves near the rim). Other graphs
    are drawn in the same manner: Louvain communities are sectors of the disk, as wide as they
    have nodes and in an order in which coupled ones are neighbours; by degree, the node of rank q
    lies at the radius ``1 + .9 ln(q / N) / ln N``, the density of the hyperbolic model (Krioukov et
    al. 2010). O(N log N + E) and one decomposition of at most 256 communities.

    Args:
        graph: The graph, N nodes.
        extras: Arrays of the data set by name.
        seed: Seed of the Louvain method.

    Returns:
        Shape ``(N, 2)``, within a distance of one from the origin.

    Example:
        >>> path = Graph.from_edges(np.arange(4), np.arange(1, 5), 5)
        >>> place = place_nodes(path)
        >>> bool((np.linalg.norm(place, axis=1) <= 1).all())
        True
    """
    if extras is not None and {"angle", "radius"} <= set(extras):
        angle = np.asarray(extras["angle"], dtype=np.float64)
        radius = np.asarray(extras["radius"], dtype=np.float64)
        radius = radius / radius.max()
    else:
        angle = 2 * np.pi * similarity_rank(graph, seed) / graph.num_nodes
        # Nodes of one degree in random order, from the largest hub to the rim.
        ties = np.random.default_rng(seed).random(graph.num_nodes)
        order = np.lexsort((ties, -graph.degree))
        radius = np.empty(graph.num_nodes)
        share = np.arange(1, graph.num_nodes + 1) / max(graph.num_nodes, 2)
        radius[order] = 1 + 0.9 * np.log(share) / np.log(max(graph.num_nodes, 2))
    return (radius * np.stack([np.cos(angle), np.sin(angle)])).T


def similarity_rank(graph: Graph, seed: int = 0) -> IntArray:
    """Rank of each node on a circle, communities being contiguous and neighbours if coupled.

    Args:
        graph: The graph, N nodes.
        seed: Seed of the Louvain method.

    Returns:
        A permutation of [0, N), shape ``(N,)``.
    """
    count = min(SECTORS, max(1, graph.num_nodes // 8))
    label = balanced_communities(graph, count, seed)
    couplings = coarsen(graph, label)
    order = np.arange(count)
    if count > 3:
        _, vectors = sl.eigh(laplacian(couplings, "normalized").toarray(), subset_by_index=[1, 2])
        order = np.argsort(np.arctan2(vectors[:, 1], vectors[:, 0]), kind="stable")
    place = np.empty(count, dtype=np.int64)
    place[order] = np.arange(count)
    rank = np.empty(graph.num_nodes, dtype=np.int64)
    rank[np.argsort(place[label], kind="stable")] = np.arange(graph.num_nodes)
    return rank
