"""Held-out nodes and held-out time."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Literal

import networkit as nk
import numpy as np
import scipy.sparse as sp

from roma_pyg.config import SplitConfig
from roma_pyg.data.graph import Graph, IntArray

PARTS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Which nodes and which times belong to training, validation and testing.

    Attributes:
        nodes: Ascending node indices by part; together they are all nodes.
        times: Valid forecast times ``t`` by part: the history is ``values[:, t - K:t]`` and the
            target ``values[:, t:t + horizon]``. Samples of two parts never overlap.
    """

    nodes: dict[str, IntArray]
    times: dict[str, range]

    def visible(self, part: str) -> IntArray:
        """Nodes that exist while working on ``part``.

        Training sees the training nodes only, validation also its own, testing the whole graph.

        Args:
            part: ``train``, ``val`` or ``test``.

        Returns:
            Ascending node indices.

        Raises:
            ValueError: If there is no such part.
        """
        if part not in PARTS:
            raise ValueError(f"Expected 'part' to be one of {PARTS} (got {part!r}).")
        parts = PARTS[: PARTS.index(part) + 1]
        return np.sort(np.concatenate([self.nodes[name] for name in parts]))


def make_split(
    graph: Graph, num_steps: int, config: SplitConfig, window: int, horizon: int, seed: int = 0
) -> Split:
    """Split nodes by regions of the graph and samples by time.

    Held-out nodes are communities (Louvain method of networkit), drawn at random until the wanted
    number is reached, so that a region is removed from the training graph rather than single
    nodes; the last community of a part is cut where the number is reached. Time is cut into
    train | gap | val | gap | test with gaps of ``window + horizon`` samples, which are taken from
    the training part. O(N + E) memory.

    Args:
        graph: The graph, N nodes.
        num_steps: Number of samples T.
        config: Fractions that are held out.
        window: History length K, in samples.
        horizon: Forecast length, in samples.
        seed: Seed of the regions, non-negative.

    Raises:
        ValueError: If the graph or the series is too small to give every part something, or an
            argument is impossible.

    Example:
        >>> ring = Graph.from_edges(np.arange(8), (np.arange(8) + 1) % 8, 8)
        >>> config = SplitConfig(test_nodes=0.25, val_nodes=0.25, test_time=0.3, val_time=0.3)
        >>> split = make_split(ring, 60, config, window=4, horizon=2)
        >>> [len(split.nodes[part]) for part in PARTS]
        [4, 2, 2]
        >>> split.times
        {'train': range(4, 11), 'val': range(22, 35), 'test': range(46, 59)}
    """
    for name, value, least in (("window", window, 1), ("horizon", horizon, 1), ("seed", seed, 0)):
        if value < least:
            raise ValueError(f"Expected '{name}' to be at least {least} (got {value}).")
    return Split(
        nodes=_split_nodes(graph, config, seed),
        times=split_times(num_steps, config, window, horizon),
    )


def _split_nodes(graph: Graph, config: SplitConfig, seed: int) -> dict[str, IntArray]:
    count = graph.num_nodes
    test, val = round(config.test_nodes * count), round(config.val_nodes * count)
    if min(test, val, count - test - val) < 1:
        raise ValueError(
            f"Expected enough nodes for every part of the split (got {count} nodes, of which "
            f"{test} test and {val} validation): raise split.test_nodes or split.val_nodes."
        )
    rng = np.random.default_rng([seed, 0x5B117])
    community = communities(graph, seed)
    order = np.argsort(rng.permutation(community.max() + 1)[community], kind="stable")
    pieces = {
        "test": order[:test],
        "val": order[test : test + val],
        "train": order[test + val :],
    }
    return {part: np.sort(pieces[part]) for part in PARTS}


def communities(
    graph: Graph, seed: int = 0, method: Literal["louvain", "leiden"] = "louvain"
) -> IntArray:
    """Community of every node, shape ``(N,)``, labels 0, 1, ...

    Directions and weights of the edges are ignored. Deterministic by seed, as it runs on one
    thread; it reseeds networkit's global generator.

    Args:
        graph: The graph, N nodes.
        seed: Seed, non-negative.
        method: ``louvain`` (Blondel et al. 2008) or ``leiden`` (Traag, Waltman & van Eck 2019), in
            networkit's parallel versions.

    Example:
        >>> pairs = Graph.from_edges(np.array([0, 2]), np.array([1, 3]), 4)
        >>> communities(pairs, method="leiden").tolist()
        [0, 0, 1, 1]
    """
    if graph.num_nodes == 0:
        return np.empty(0, dtype=np.int64)
    pattern = graph.to_matrix(weighted=False)
    once = sp.triu(pattern.maximum(pattern.T.tocsr()), k=1, format="csr").tocoo()
    threads = nk.getMaxNumberOfThreads()
    nk.setNumberOfThreads(1)
    nk.setSeed(seed, False)
    try:
        edges = (once.row.astype(np.uint64), once.col.astype(np.uint64))
        network = nk.GraphFromCoo(edges, n=graph.num_nodes)
        finder = (
            nk.community.PLM(network, refine=False)
            if method == "louvain"
            else nk.community.ParallelLeiden(network)
        )
        finder.run()
        labels = np.asarray(finder.getPartition().getVector(), dtype=np.int64)
    finally:
        nk.setNumberOfThreads(threads)
    return np.unique(labels, return_inverse=True)[1].astype(np.int64)


def split_times(num_steps: int, config: SplitConfig, window: int, horizon: int) -> dict[str, range]:
    """Forecast times of each part, as in `Split.times`; needs no series.

    Args:
        num_steps: Number of samples T.
        config: Fractions of the samples that are held out.
        window: History length K, in samples.
        horizon: Forecast length, in samples.

    Raises:
        ValueError: If a part is left without times.

    Example:
        >>> split_times(100, SplitConfig(test_time=0.2, val_time=0.2), window=4, horizon=2)["train"]
        range(4, 47)
    """
    if config.test_time + config.val_time >= 1:
        raise ValueError(
            "Expected split.test_time + split.val_time below 1 "
            f"(got {config.test_time + config.val_time:g})."
        )
    times = _cut(num_steps, config, window, horizon)
    short = [part for part in PARTS if len(times[part]) == 0]
    if short:
        raise ValueError(
            f"Expected at least {_least_steps(config, window, horizon)} samples for window "
            f"{window} and horizon {horizon} with these split fractions (got {num_steps}; nothing "
            f"is left for {', '.join(short)}). Shorten data.window or data.horizon, or change "
            "data.split."
        )
    return times


def _cut(num_steps: int, config: SplitConfig, window: int, horizon: int) -> dict[str, range]:
    """Forecast times of each part; empty where there is no room."""
    gap = window + horizon
    test = num_steps - round(num_steps * config.test_time)
    val = test - gap - round(num_steps * config.val_time)
    end = val - gap
    start = end - round(config.train_time * end)
    bounds = {"train": (start, end), "val": (val, test - gap), "test": (test, num_steps)}
    return {part: range(a + window, b - horizon + 1) for part, (a, b) in bounds.items()}


def _least_steps(config: SplitConfig, window: int, horizon: int) -> int:
    """Length of series that is surely enough: the exact bound, then upwards past roundings."""
    gap = window + horizon
    train_time = 1 - config.test_time - config.val_time
    train_time *= config.train_time
    steps = ceil(max(3 * gap / train_time, gap / config.val_time, gap / config.test_time))
    while not all(len(part) for part in _cut(steps, config, window, horizon).values()):
        steps += 1
    return steps
