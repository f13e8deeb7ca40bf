"""Random-walk subgraphs: how a batch is cut out of a graph of any size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roma_pyg.data.graph import FloatArray, Graph, IntArray
from roma_pyg.data.walks import random_walks

# Rounds of walks after which roots are only drawn among the nodes that were not met yet.
_PATIENCE = 8


@dataclass
class SubgraphBatch:
    """One or more subgraphs with windows, ready for the model.

    The first ``n_core = G * B`` rows are the core nodes, subgraph by subgraph, whose forecast is
    wanted; inside a subgraph they are ordered by falling degree. The remaining rows are their
    neighbours outside the core (the halo), which only send.

    Attributes:
        window: Noisy history of core and halo, shape ``(n_all, K)``.
        features: Positional features in [0, 1], then memory, shape ``(n_all, P + M)``.
        edge_index: Senders in ``[0, n_all)`` and receivers in ``[0, n_core)``, shape ``(2, e)``,
            ascending by receiver.
        edge_weight: Couplings, summing to one per receiver with neighbours, shape ``(e,)``.
        steps: Steps ahead that are wanted, 1 is the next sample, shape ``(Q,)``, int64.
        node_id: Index of the core nodes in the data set, shape ``(n_core,)``.
        num_graphs: Number of subgraphs G.
        target: Values at ``steps`` ahead, shape ``(n_core, Q)``, or None when forecasting.
        importance: Weight of each core node in the loss, shape ``(n_core,)``, which undoes the
            preference of random walks for hubs (see `SubgraphSampler.importance`); None for one.
        seed: Seed of what the model draws for this batch (pairs without a link).
        later: Noisy history of the halo at the start of each further round of a rollout, shape
            ``(rounds - 1, n_all - n_core, K)``; the targets are those of the last round. None for
            a direct forecast.
        course: What collective modes expect of core and halo at the outlook steps of the memory,
            in each round, shape ``(rounds, n_all, Q')``; None where that is not known.
        complete: Which core nodes have all their neighbours of the whole graph in the core, shape
            ``(n_core,)``; None for all.
    """

    window: Tensor
    features: Tensor
    edge_index: Tensor
    edge_weight: Tensor
    steps: Tensor
    node_id: Tensor
    num_graphs: int
    target: Tensor | None = None
    importance: Tensor | None = None
    seed: int = 0
    later: Tensor | None = None
    course: Tensor | None = None
    complete: Tensor | None = None

    @property
    def num_core(self) -> int:
        """Number of core nodes of all subgraphs."""
        return len(self.node_id)

    def to(self, device: torch.device | str) -> SubgraphBatch:
        """Return the batch with its tensors on a device."""
        moved: dict[str, Any] = {
            key: value.to(device) for key, value in vars(self).items() if isinstance(value, Tensor)
        }
        return replace(self, **moved)


@dataclass(frozen=True)
class Subgraph:
    """Structure of one subgraph.

    Attributes:
        nodes: Core nodes, then halo nodes, as indices into the graph, shape ``(n,)``.
        num_core: Number of core nodes B.
        sender: Position of the sender in ``nodes``, shape ``(e,)``.
        receiver: Position of the receiver in ``nodes``, ascending, shape ``(e,)``.
        weight: Couplings, summing to one per receiver with neighbours, shape ``(e,)``.
        complete: Which core nodes have all their neighbours in the core, shape ``(B,)``.
    """

    nodes: IntArray
    num_core: int
    sender: IntArray
    receiver: IntArray
    weight: FloatArray
    complete: NDArray[np.bool_]

    @property
    def core(self) -> IntArray:
        """Core nodes, shape ``(B,)``."""
        return self.nodes[: self.num_core]


class SubgraphSampler:
    """Draws subgraphs with exactly ``size`` core nodes by random walks (GraphSAINT).

    Walks start at random roots and are repeated until ``size`` distinct nodes are met (Zeng et
    al. 2020, arXiv:1907.04931, walk sampler). Each core node also brings its neighbours, so that
    the first layer sees the neighbourhood a node has in the whole graph. Of more than
    ``max_neighbors`` neighbours, the list is cut into that many strata, and each stratum is
    represented by one neighbour, drawn in proportion to its coupling, which carries the coupling
    of the whole stratum: the coupling-weighted mean over the drawn neighbours is then an unbiased
    estimate of that over all. The time of one draw is O(size * max_neighbors * log E) and does
    not grow with N otherwise.

    Args:
        graph: The graph, N nodes.
        size: Core nodes B of a subgraph; the whole graph if it has fewer.
        walk_length: Steps of a walk.
        max_neighbors: Largest number of neighbours per core node.
        degree: Neighbours of every node in the graph that this one was cut out of, shape ``(N,)``;
            those in this graph if None. A node that lacks some is never ``complete``.

    Raises:
        ValueError: If the graph is empty, a number is below 1, or ``degree`` has another shape.

    Example:
        >>> ring = Graph.from_edges(np.arange(8), (np.arange(8) + 1) % 8, 8)
        >>> sub = SubgraphSampler(ring, size=4, walk_length=2).expand(
        ...     np.array([0, 1, 2, 5]), np.random.default_rng(0)
        ... )
        >>> sub.nodes, sub.num_core
        (array([0, 1, 2, 5, 3, 4, 6, 7]), 4)
        >>> sub.nodes[sub.sender], sub.receiver
        (array([1, 7, 0, 2, 1, 3, 4, 6]), array([0, 0, 1, 1, 2, 2, 3, 3]))
    """

    def __init__(
        self,
        graph: Graph,
        size: int = 512,
        walk_length: int = 16,
        max_neighbors: int = 64,
        degree: IntArray | None = None,
    ) -> None:
        """Bind the sampler to a graph; O(N + edges of nodes above max_neighbors) memory."""
        if graph.num_nodes == 0:
            raise ValueError("Expected a graph with at least one node (got none).")
        numbers = {"size": size, "walk_length": walk_length, "max_neighbors": max_neighbors}
        for name, value in numbers.items():
            if value < 1:
                raise ValueError(f"Expected '{name}' to be at least 1 (got {value}).")
        if degree is not None and degree.shape != (graph.num_nodes,):
            raise ValueError(
                f"Expected 'degree' of shape ({graph.num_nodes},) (got {degree.shape})."
            )
        self.graph = graph
        self.degree = graph.degree if degree is None else degree
        self.size = min(size, graph.num_nodes)
        self.walk_length = walk_length
        self.max_neighbors = max_neighbors
        self._place = np.full(graph.num_nodes, -1, dtype=np.int64)
        self._inclusion: NDArray[np.float64] | None = None
        # Running sum of the couplings of all nodes with more than max_neighbors neighbours, and
        # where each of them starts in it.
        large = graph.degree > max_neighbors
        self._hubs = np.flatnonzero(large)
        self._hub_start = np.cumsum(graph.degree[large]) - graph.degree[large]
        coupling = graph.weight[np.repeat(large, graph.degree)]
        self._hub_mass = np.concatenate([[0.0], np.cumsum(coupling, dtype=np.float64)])

    def sample(self, rng: np.random.Generator) -> Subgraph:
        """Draw one subgraph; the same state of ``rng`` gives the same subgraph."""
        return self.expand(self._walk(rng), rng)

    def importance(self, core: IntArray, draws: int = 256) -> FloatArray:
        """Weights that make a mean over sampled nodes a mean over all nodes.

        Walks meet hubs more often than leaves. The weight of a node is the inverse of the chance
        to be in a subgraph, estimated once per degree (by powers of two above 32) from ``draws``
        subgraphs, and scaled to a mean of one over sampled nodes (GraphSAINT's loss
        normalisation, per degree instead of per node, so that it costs nothing at any N).

        Args:
            core: Nodes of the graph, shape ``(n,)``.
            draws: Subgraphs of the estimate, which is made at the first call.

        Returns:
            Positive weights, shape ``(n,)``.
        """
        if self._inclusion is None:
            rng = np.random.default_rng(0x1A7)
            met = np.zeros(64)
            for _ in range(draws):
                walk = self._walk(rng)
                met += np.bincount(_degree_class(self.graph.degree[walk]), minlength=64)
            everyone = np.bincount(_degree_class(self.graph.degree), minlength=64)
            # A class that was never met counts as met once: its weight stays finite.
            chance = np.maximum(met, 1) / (draws * np.maximum(everyone, 1))
            self._inclusion = chance * (met / chance).sum() / met.sum()
        return (1 / self._inclusion[_degree_class(self.graph.degree[core])]).astype(np.float32)

    def fill(self, found: IntArray, rng: np.random.Generator) -> IntArray:
        """Add nodes met by random walks until there are ``size``.

        Args:
            found: Distinct nodes, shape ``(n,)``, which come first and may be none.
            rng: Source of randomness.

        Returns:
            ``size`` distinct nodes.
        """
        total = self.graph.num_nodes
        if self.size == total:
            return np.arange(total)
        chunk = max(1, self.size // (self.walk_length + 1))
        rounds = 0
        while len(found) < self.size:
            # Where a subgraph is most of the graph, the last nodes would take long to meet.
            patient = rounds < _PATIENCE
            roots = rng.integers(total, size=chunk if patient else 1024 + self.size)
            roots = roots if patient else self._unmet(found, roots, chunk)
            walks = random_walks(self.graph, roots, self.walk_length, rng)
            visited = np.concatenate([found, walks.ravel()])
            found = visited[np.sort(np.unique(visited, return_index=True)[1])]
            rounds += 1
        return found[: self.size]

    def expand(self, core: IntArray, rng: np.random.Generator) -> Subgraph:
        """Add the (sampled) neighbours of ``core`` and return the subgraph.

        Args:
            core: Distinct node indices, shape ``(B,)``; the subgraph orders them by falling degree.
            rng: Source of randomness, for nodes with more than ``max_neighbors`` neighbours.
        """
        rowptr, degree = self.graph.rowptr, self.graph.degree
        core = core[np.lexsort((core, -degree[core]))]
        count = np.minimum(degree[core], self.max_neighbors)
        receiver = np.repeat(np.arange(len(core)), count)
        rank = np.arange(len(receiver)) - np.repeat(np.cumsum(count) - count, count)
        edge = rowptr[core][receiver] + rank
        weight = self.graph.weight[edge].astype(np.float64)
        # Sorted by degree, the hubs come first.
        hubs = core[degree[core] > self.max_neighbors]
        if len(hubs):
            drawn = len(hubs) * self.max_neighbors
            edge[:drawn], weight[:drawn] = self._draw_neighbors(hubs, rng)
        neighbor = self.graph.col[edge]
        total = np.bincount(receiver, weights=weight, minlength=len(core))
        weight /= np.where(total > 0, total, 1)[receiver]
        place = self._place
        place[core] = np.arange(len(core))
        halo = np.unique(neighbor[place[neighbor] < 0])
        place[halo] = len(core) + np.arange(len(halo))
        sender = place[neighbor]
        place[core] = -1
        place[halo] = -1
        nodes = np.concatenate([core, halo])
        inside = np.bincount(receiver[sender < len(core)], minlength=len(core))
        complete = inside == self.degree[core]
        return Subgraph(nodes, len(core), sender, receiver, weight.astype(np.float32), complete)

    def _draw_neighbors(
        self, hubs: IntArray, rng: np.random.Generator
    ) -> tuple[IntArray, NDArray[np.float64]]:
        """One edge of each stratum of each hub, ascending, with the coupling of its stratum."""
        start = self._hub_start[np.searchsorted(self._hubs, hubs)][:, None]
        cuts = np.arange(self.max_neighbors + 1) * self.graph.degree[hubs][:, None]
        bounds = start + cuts // self.max_neighbors
        mass = self._hub_mass[bounds]
        total = np.diff(mass, axis=1)
        aim = mass[:, :-1] + rng.random(total.shape) * total
        pick = np.searchsorted(self._hub_mass, aim, side="right") - 1
        pick = pick.clip(bounds[:, :-1], bounds[:, 1:] - 1)
        edge = self.graph.rowptr[hubs][:, None] + pick - start
        return edge.ravel(), total.ravel()

    def _walk(self, rng: np.random.Generator) -> IntArray:
        """Collect ``size`` distinct nodes."""
        return self.fill(np.empty(0, dtype=np.int64), rng)

    def _unmet(self, found: IntArray, candidates: IntArray, count: int) -> IntArray:
        """First candidates that are not in ``found``, or any where all are."""
        self._place[found] = 0
        fresh = candidates[self._place[candidates] < 0]
        self._place[found] = -1
        return fresh[:count] if len(fresh) else candidates[:count]


def _degree_class(degree: IntArray) -> IntArray:
    """Class of a degree: itself up to 32, then one class per power of two."""
    above = np.log2(np.maximum(degree, 32)).astype(np.int64)
    return np.where(degree <= 32, degree, 28 + above)


def collate(
    subgraphs: Sequence[Subgraph],
    windows: Sequence[NDArray[np.float32]],
    features: Sequence[NDArray[np.float32]],
    steps: IntArray,
    targets: Sequence[NDArray[np.float32]] | None = None,
    node_ids: IntArray | None = None,
    importance: FloatArray | None = None,
    seed: int = 0,
    later: Sequence[NDArray[np.float32]] | None = None,
    courses: Sequence[NDArray[np.float32]] | None = None,
) -> SubgraphBatch:
    """Join subgraphs into one batch, all cores first; O(G (B + e) (K + P + M)) memory.

    Args:
        subgraphs: G subgraphs with the same number of core nodes.
        windows: History of every subgraph's core and halo, shapes ``(n, K)``.
        features: Features of every subgraph's core and halo, shapes ``(n, P + M)``.
        steps: Steps ahead, shape ``(Q,)``.
        targets: Values of the core nodes, shapes ``(B, Q)``.
        node_ids: Index in the data set of each node of the sampled graph; the identity if None.
        importance: Weights of the core nodes in the loss, shape ``(G * B,)``.
        seed: Seed of what the model draws for this batch.
        later: History of every subgraph's halo in further rounds, shapes ``(rounds - 1, h, K)``.
        courses: What collective modes expect of every subgraph's core and halo in each round,
            shapes ``(rounds, n, Q')``.

    Raises:
        ValueError: If there is no subgraph, or their sizes and windows do not fit together.
    """
    if not subgraphs:
        raise ValueError("Expected at least one subgraph (got none).")
    size = subgraphs[0].num_core
    if any(sub.num_core != size for sub in subgraphs):
        sizes = sorted({sub.num_core for sub in subgraphs})
        raise ValueError(f"Expected subgraphs with equally many core nodes (got {sizes}).")
    rows = [len(sub.nodes) for sub in subgraphs]
    for name, values, axis in (
        ("windows", windows, 0),
        ("features", features, 0),
        ("courses", courses or [], 1),
    ):
        found = [np.shape(part)[axis] for part in values]
        if found != rows and (values or axis == 0):
            raise ValueError(
                f"Expected {name} of the core and halo nodes, {rows} rows (got {found})."
            )
    halo_start = size * len(subgraphs)
    senders, receivers = [], []
    for g, sub in enumerate(subgraphs):
        inside = sub.sender < size
        senders.append(np.where(inside, sub.sender + g * size, sub.sender - size + halo_start))
        receivers.append(sub.receiver + g * size)
        halo_start += len(sub.nodes) - size
    cores = np.concatenate([sub.core for sub in subgraphs])
    if node_ids is not None:
        cores = node_ids[cores]
    window, feature = (_cores_first(parts, size, 0) for parts in (windows, features))
    course = _cores_first(courses, size, 1) if courses else None
    return SubgraphBatch(
        window=torch.from_numpy(window),
        features=torch.from_numpy(feature),
        edge_index=torch.from_numpy(np.stack([np.concatenate(senders), np.concatenate(receivers)])),
        edge_weight=torch.from_numpy(np.concatenate([sub.weight for sub in subgraphs])),
        steps=torch.from_numpy(np.array(steps, dtype=np.int64)),
        node_id=torch.from_numpy(cores),
        num_graphs=len(subgraphs),
        target=None if targets is None else torch.from_numpy(np.concatenate(targets)),
        importance=None if importance is None else torch.from_numpy(importance),
        seed=seed,
        later=None if not later else torch.from_numpy(np.concatenate(later, axis=1)),
        course=None if course is None else torch.from_numpy(course),
        complete=torch.from_numpy(np.concatenate([sub.complete for sub in subgraphs])),
    )


def _cores_first(parts: Sequence[NDArray[np.float32]], size: int, axis: int) -> NDArray[np.float32]:
    """Join arrays of core and halo of each subgraph along an axis, all cores first."""
    pieces = [np.split(part, [size], axis) for part in parts]
    return np.concatenate([piece[side] for side in (0, 1) for piece in pieces], axis)
