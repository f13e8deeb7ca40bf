"""Partitions of a graph that a learned one is compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roma_pyg.analysis.agreement import shuffled
from roma_pyg.analysis.layout import similarity_rank
from roma_pyg.data.graph import Graph, IntArray
from roma_pyg.data.split import communities
from roma_pyg.models.community import balanced_communities
from roma_pyg.renormalization.supernodes import geometric_supernodes, laplacian_supernodes

LRG_NODES = 20_000
"""Nodes up to which supernodes of the Laplacian renormalization group are looked for."""


def known_partitions(
    graph: Graph, extras: Mapping[str, NDArray[Any]], sizes: Sequence[int], seed: int = 0
) -> list[dict[str, IntArray]]:
    """Partitions that each level of a hierarchy might have found, by name.

    Args:
        graph: The graph, N nodes.
        extras: Arrays of the data set: planted blocks ``block_1``, ``block_2``, ... and the
            ``angle`` of the hyperbolic disk are used where they are there, and the natural
            frequencies ``omega`` of oscillators.
        sizes: For each level the number of sectors of the disk, and of classes of frequency and
            degree (at most); the other partitions are the same for all levels.
        seed: Seed of the Louvain and the Leiden method.

    Returns:
        For each level the labels of each node, shapes ``(N,)``.
    """
    shared: dict[str, IntArray] = {}
    for name in sorted(name for name in extras if name.startswith("block_")):
        shared[f"planted blocks, level {name.removeprefix('block_')}"] = np.asarray(
            extras[name], dtype=np.int64
        )
    shared["Louvain"] = communities(graph, seed)
    shared["Leiden"] = communities(graph, seed, "leiden")
    levels = []
    for parts in sizes:
        known = dict(shared)
        if "angle" in extras:
            size = -(-graph.num_nodes // parts)
            known["angle in the disk"] = geometric_supernodes(np.asarray(extras["angle"]), size)
        if "omega" in extras:
            known["natural frequency"] = classes(np.asarray(extras["omega"]), parts)
        known["degree"] = classes(graph.degree, parts)
        levels.append(known)
    return levels


def classes(values: NDArray[Any], parts: int) -> IntArray:
    """Classes of about equally many nodes by a value; equal values stay together.

    Args:
        values: One per node, shape ``(N,)``.
        parts: Number of classes, at most.

    Example:
        >>> classes(np.array([1, 1, 1, 5, 2, 9]), 2).tolist()
        [0, 0, 0, 1, 1, 1]
    """
    cut = np.quantile(values, np.linspace(0, 1, parts + 1)[1:-1])
    place = np.searchsorted(cut, values, side="left")
    return np.unique(place, return_inverse=True)[1].astype(np.int64)


def rival_partitions(
    graph: Graph, extras: Mapping[str, NDArray[Any]], parts: int, seed: int = 0
) -> dict[str, IntArray]:
    """Partitions into a given number of parts by classical renormalization and by chance.

    ``LRG`` (up to 20,000 nodes) merges what diffusion has made alike, at the scale that comes
    nearest to the number of parts; ``GRG`` cuts the circle of similarity, by the ``angle`` of the
    nodes where it is known and by `similarity_rank` elsewhere; ``Louvain`` merges or cuts
    communities; ``random`` shuffles Louvain's.

    Args:
        graph: The graph, N nodes.
        extras: Arrays of the data set by name.
        parts: Number of parts M, in [1, N].
        seed: Seed of all of them.

    Returns:
        Labels of each node, shapes ``(N,)``, by name.
    """
    angle = extras.get("angle")
    if angle is None:
        angle = 2 * np.pi * similarity_rank(graph, seed) / graph.num_nodes
    louvain = balanced_communities(graph, parts, seed)
    found = {
        "GRG": _sectors(np.asarray(angle), parts),
        "Louvain": louvain,
        "random": shuffled(louvain, seed),
    }
    if graph.num_nodes <= LRG_NODES:
        found = {"LRG": _laplacian_parts(graph, parts, seed), **found}
    return found


def _sectors(angle: NDArray[np.float64], parts: int) -> IntArray:
    """Equal shares of the nodes in the order of the angle."""
    rank = np.empty(len(angle), dtype=np.int64)
    rank[np.argsort(np.mod(angle, 2 * np.pi), kind="stable")] = np.arange(len(angle))
    return rank * parts // len(angle)


def _laplacian_parts(graph: Graph, parts: int, seed: int) -> IntArray:
    """Laplacian supernodes at the scale whose number of them is nearest to that wanted."""
    low, high = -2.0, 4.0  # of log10 tau; supernodes only grow with it
    best: IntArray | None = None
    for _ in range(9):
        middle = (low + high) / 2
        label = laplacian_supernodes(graph, 10.0**middle, "normalized", columns=128, seed=seed)
        count = int(label.max()) + 1
        if best is None or abs(count - parts) < abs(int(best.max()) + 1 - parts):
            best = label
        if count == parts:
            break
        low, high = (middle, high) if count > parts else (low, middle)
    assert best is not None
    return best
