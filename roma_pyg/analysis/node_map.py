"""Map of the nodes, coloured by the supernode they belong to."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from numpy.typing import NDArray

from roma_pyg.analysis.plots import BLACK, CYCLE
from roma_pyg.data.eigenmaps import undirected_adjacency
from roma_pyg.data.graph import Graph
from roma_pyg.renormalization.supernodes import coarsen

SINGLE_NODES = 20_000
"""Nodes up to which each is drawn; above, pixels are coloured."""

EDGES = 30_000
"""Edges up to which they are drawn."""

NAMED = 24
"""Supernodes that are numbered in the map, the largest ones."""


def node_map_figure(
    graph: Graph,
    place: NDArray[np.float64],
    supernode: NDArray[np.integer[Any]],
    title: str = "",
) -> Figure:
    """Nodes in the plane, coloured so that coupled supernodes differ in colour.

    As on a political map a few colours suffice, which readers with colour-vision deficiency can
    tell apart; the largest supernodes carry their number. Up to 20,000 nodes are drawn one by one,
    hubs larger; of more, each pixel has the colour of most of its nodes, the darker the more.

    Args:
        graph: The graph, N nodes.
        place: Places in the unit disk, shape ``(N, 2)``.
        supernode: Supernode of each node, shape ``(N,)``.
        title: Title of the figure.

    Raises:
        ValueError: If there is not one place and one supernode per node.
    """
    count = graph.num_nodes
    if place.shape != (count, 2) or supernode.shape != (count,):
        raise ValueError(
            f"Expected places of shape ({count}, 2) and supernodes of shape ({count},) (got "
            f"{place.shape} and {supernode.shape})."
        )
    color = map_colors(coarsen(graph, supernode.astype(np.int64)))
    figure = Figure(figsize=(7.2, 7.2), layout="constrained")
    axis = figure.subplots()
    if count <= SINGLE_NODES:
        _draw_nodes(axis, graph, place, color[supernode])
    else:
        picture = raster(place, color[supernode])
        axis.imshow(picture, extent=(-1.03, 1.03, -1.03, 1.03), origin="lower")
    sizes = np.bincount(supernode)
    for number in np.argsort(-sizes, kind="stable")[:NAMED]:
        if sizes[number] == 0:
            continue
        # The median of both coordinates lies where the nodes are, unlike the mean of a ring.
        x, y = np.median(place[supernode == number], axis=0)
        axis.text(
            x,
            y,
            str(number),
            ha="center",
            va="center",
            fontsize=8,
            color=BLACK,
            bbox={"boxstyle": "round,pad=0.15", "fc": "white", "ec": "none", "alpha": 0.75},
        )
    axis.set_xlim(-1.03, 1.03)
    axis.set_ylim(-1.03, 1.03)
    axis.set_aspect("equal")
    axis.set_axis_off()
    used = int(np.count_nonzero(sizes))
    axis.set_title(f"{title}\n{count:,} nodes, {used} supernodes".strip(), fontsize=10)
    return figure


def _draw_nodes(axis: Any, graph: Graph, place: NDArray[np.float64], color: NDArray[Any]) -> None:  # noqa: ANN401
    upper = sp.coo_array(sp.triu(undirected_adjacency(graph), 1))
    if upper.nnz <= EDGES:
        lines = np.stack([place[upper.row], place[upper.col]], axis=1)
        axis.add_collection(LineCollection(lines.tolist(), colors="0.6", lw=0.25, alpha=0.35))
    degree = graph.degree
    size = np.clip(3.0 * np.sqrt(np.maximum(degree, 1)), 3, 60)
    # Hubs last, so that leaves do not hide them.
    order = np.argsort(degree, kind="stable")
    colors = np.array(CYCLE)[color[order]]
    axis.scatter(*place[order].T, s=size[order], c=colors, lw=0, zorder=2)


def map_colors(coupling: sp.csr_array) -> NDArray[np.int64]:
    """Colours such that coupled supernodes differ where they can.

    The supernodes choose in the order of falling coupling, each the colour that it is coupled to
    least; of several, the one that was used least.

    Args:
        coupling: Symmetric couplings, shape ``(M, M)``.

    Returns:
        One of six colours for each, shape ``(M,)``.

    Example:
        >>> ring = sp.csr_array(np.roll(np.eye(6), 1, 0) + np.roll(np.eye(6), -1, 0))
        >>> color = map_colors(ring)
        >>> bool((color != np.roll(color, 1)).all())
        True
    """
    count = coupling.shape[0]
    color = np.full(count, -1, dtype=np.int64)
    used = np.zeros(len(CYCLE))
    strength = np.asarray(coupling.sum(axis=1)).ravel()
    for node in np.argsort(-strength, kind="stable"):
        start, end = coupling.indptr[node : node + 2]
        neighbors, weight = coupling.indices[start:end], coupling.data[start:end]
        known = color[neighbors] >= 0
        taken = np.bincount(color[neighbors][known], weight[known], minlength=len(CYCLE))
        best = int(np.lexsort((used, taken))[0])
        color[node] = best
        used[best] += 1
    return color


def raster(
    place: NDArray[np.float64], color: NDArray[np.int64], pixels: int = 900
) -> NDArray[np.float64]:
    """Image of many nodes: the colour of most nodes of a pixel, the darker the more nodes.

    Args:
        place: Places in the unit disk, shape ``(N, 2)``.
        color: One of six colours of each node, shape ``(N,)``.
        pixels: Pixels of a side.

    Returns:
        Red, green and blue, shape ``(pixels, pixels, 3)``, first row at the bottom. O(N) time, six
        images of memory.
    """
    cell = np.clip(((place + 1.03) / 2.06 * pixels).astype(np.int64), 0, pixels - 1)
    flat = (cell[:, 1] * pixels + cell[:, 0]) * len(CYCLE) + color
    counts = np.bincount(flat, minlength=pixels**2 * len(CYCLE)).reshape(pixels**2, -1)
    total = counts.sum(axis=1)
    shades = np.array([[int(c[k : k + 2], 16) / 255 for k in (1, 3, 5)] for c in CYCLE])
    depth = np.log1p(total) / np.log1p(max(int(np.quantile(total[total > 0], 0.98)), 1))
    depth = np.where(total > 0, 0.35 + 0.65 * np.minimum(depth, 1), 0)[:, None]
    image = 1 - depth * (1 - shades[counts.argmax(axis=1)])
    return np.asarray(image.reshape(pixels, pixels, 3))
