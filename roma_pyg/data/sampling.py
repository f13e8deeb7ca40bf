"""Random-walk subgraphs: how a batch is cut out of a graph of any size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roma_pyg.data.graph import FloatArray, Graph, IntArray
from roma_pyg.data.walks import random_walks


@dataclass
class SubgraphBatch:
    """One or more subgraphs with windows, ready for the model.

    The first ``n_core = G * B`` rows are the core nodes, subgraph by subgraph, whose forecast is
    wanted; inside a subgraph they are ordered by falling degree. The remaining rows are their
    neighbours outside the core (the halo), which only send.

    Attributes:
        window: Noisy history of core and halo, shape ``(n_all, K)``.
        position: Positional features in [0, 1], shape ``(n_all, P)``.
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
    """

    window: Tensor
    position: Tensor
    edge_index: Tensor
    edge_weight: Tensor
    steps: Tensor
    node_id: Tensor
    num_graphs: int
    target: Tensor | None = None
    importance: Tensor | None = None
    seed: int = 0

    @property
    def num_core(self) -> int:
        """Number of core nodes of all subgraphs."""
        return len(self.node_id)

    def to(self, device: torch.device | str) -> SubgraphBatch:
        """Return the batch with its tensors on a device."""
        moved = {
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
    """

    nodes: IntArray
    num_core: int
    sender: IntArray
    receiver: IntArray
    weight: FloatArray


class SubgraphSampler:
    """Draws subgraphs with exactly ``size`` core nodes by random walks (GraphSAINT).

    Walks start at random roots and are repeated until ``size`` distinct nodes are met (Zeng et
    al. 2020, arXiv:1907.04931, walk sampler). Each core node also brings its neighbours, at most
    ``max_neighbors`` of them (stratified over its neighbour list above that), so that the first
    layer sees the neighbourhood a node has in the whole graph. The cost of one draw is
    O(size * max_neighbors) and does not depend on N.

    Args:
        graph: The graph, N nodes.
        size: Core nodes B of a subgraph; the whole graph if it has fewer.
        walk_length: Steps of a walk.
        max_neighbors: Largest number of neighbours per core node.
    """

    def __init__(
        self, graph: Graph, size: int = 512, walk_length: int = 16, max_neighbors: int = 64
    ) -> None:
        """Bind the sampler to a graph; O(N) memory for one lookup table."""
        self.graph = graph
        self.size = min(size, graph.num_nodes)
        self.walk_length = walk_length
        self.max_neighbors = max_neighbors
        self._place = np.full(graph.num_nodes, -1, dtype=np.int64)
        self._inclusion: NDArray[np.float64] | None = None

    def sample(self, rng: np.random.Generator) -> Subgraph:
        """Draw one subgraph; the same state of ``rng`` gives the same subgraph."""
        return self.expand(self._walk(rng), rng)

    def importance(self, core: IntArray, draws: int = 64) -> FloatArray:
        """Weights that make a mean over sampled nodes a mean over all nodes.

        Walks meet hubs more often than leaves. The weight of a node is the inverse of the chance
        to be in a subgraph, estimated once per degree (by powers of two above 32) from ``draws``
        subgraphs, and scaled to a mean of one over sampled nodes (GraphSAINT's loss
        normalisation, per degree instead of per node, so that it costs nothing at any N).

        Args:
            core: Nodes of the graph, shape ``(n,)``.
            draws: Subgraphs of the estimate, which is made at the first call.
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

    def cover(self, targets: IntArray, rng: np.random.Generator) -> list[IntArray]:
        """Core nodes of subgraphs that together contain every target.

        Walks start at targets that are not covered yet, so that a subgraph is as local as in
        training.

        Args:
            targets: Distinct node indices, shape ``(n,)``.
            rng: Source of randomness.

        Returns:
            Arrays of exactly ``size`` distinct nodes.
        """
        waiting = np.zeros(self.graph.num_nodes, dtype=bool)
        waiting[targets] = True
        pool = rng.permutation(targets)
        cores: list[IntArray] = []
        while len(pool):
            core = self._walk(rng, pool)
            waiting[core] = False
            cores.append(core)
            pool = pool[waiting[pool]]
        return cores

    def expand(self, core: IntArray, rng: np.random.Generator) -> Subgraph:
        """Add the sampled neighbours of ``core`` and return the subgraph."""
        rowptr, degree = self.graph.rowptr, self.graph.degree
        core = core[np.lexsort((core, -degree[core]))]
        count = np.minimum(degree[core], self.max_neighbors)
        receiver = np.repeat(np.arange(len(core)), count)
        rank = np.arange(len(receiver)) - np.repeat(np.cumsum(count) - count, count)
        stretch = (degree[core] / np.maximum(count, 1))[receiver]
        jitter = np.where(stretch > 1, rng.random(len(receiver)), 0.0)
        edge = rowptr[core][receiver] + np.minimum(
            ((rank + jitter) * stretch).astype(np.int64), degree[core][receiver] - 1
        )
        neighbor = self.graph.col[edge]
        weight = self.graph.weight[edge]
        total = np.bincount(receiver, weights=weight, minlength=len(core))
        weight = (weight / np.where(total > 0, total, 1)[receiver]).astype(np.float32)
        place = self._place
        place[core] = np.arange(len(core))
        halo = np.unique(neighbor[place[neighbor] < 0])
        place[halo] = len(core) + np.arange(len(halo))
        sender = place[neighbor]
        place[core] = -1
        place[halo] = -1
        return Subgraph(np.concatenate([core, halo]), len(core), sender, receiver, weight)

    def _walk(self, rng: np.random.Generator, pool: IntArray | None = None) -> IntArray:
        """Collect ``size`` distinct nodes; roots come from ``pool`` (in order) if given."""
        total = self.graph.num_nodes
        if self.size == total:
            return np.arange(total)
        chunk = max(1, self.size // (self.walk_length + 1))
        seen: list[IntArray] = []
        found = np.empty(0, dtype=np.int64)
        used = 0
        while len(found) < self.size:
            if pool is not None and used < len(pool):
                roots = pool[used : used + chunk]
                used += len(roots)
            else:
                roots = rng.integers(total, size=chunk)
            seen.append(random_walks(self.graph, roots, self.walk_length, rng).ravel())
            visited = np.concatenate(seen)
            found = visited[np.sort(np.unique(visited, return_index=True)[1])]
        return found[: self.size]


def _degree_class(degree: IntArray) -> IntArray:
    """Class of a degree: itself up to 32, then one class per power of two."""
    above = np.log2(np.maximum(degree, 32)).astype(np.int64)
    return np.where(degree <= 32, degree, 28 + above)


def collate(
    subgraphs: list[Subgraph],
    windows: list[NDArray[np.float32]],
    position: NDArray[np.float32],
    steps: IntArray,
    targets: list[NDArray[np.float32]] | None = None,
    node_ids: IntArray | None = None,
    importance: FloatArray | None = None,
    seed: int = 0,
) -> SubgraphBatch:
    """Join subgraphs into one batch, all cores first.

    Args:
        subgraphs: G subgraphs with the same number of core nodes.
        windows: History of every subgraph's core and halo, shapes ``(n, K)``.
        position: Positional features of all nodes of the sampled graph, shape ``(N, P)``.
        steps: Steps ahead, shape ``(Q,)``.
        targets: Values of the core nodes, shapes ``(B, Q)``.
        node_ids: Index in the data set of each node of the sampled graph; the identity if None.
        importance: Weights of the core nodes in the loss, shape ``(G * B,)``.
        seed: Seed of what the model draws for this batch.
    """
    size = subgraphs[0].num_core
    num_core = size * len(subgraphs)
    halo_start = num_core
    senders, receivers = [], []
    for g, sub in enumerate(subgraphs):
        inside = sub.sender < size
        senders.append(np.where(inside, sub.sender + g * size, sub.sender - size + halo_start))
        receivers.append(sub.receiver + g * size)
        halo_start += len(sub.nodes) - size
    cores = np.concatenate([sub.nodes[:size] for sub in subgraphs])
    everyone = np.concatenate([cores] + [sub.nodes[size:] for sub in subgraphs])
    window = np.concatenate([w[:size] for w in windows] + [w[size:] for w in windows])
    return SubgraphBatch(
        window=torch.from_numpy(window),
        position=torch.from_numpy(np.ascontiguousarray(position[everyone])),
        edge_index=torch.from_numpy(np.stack([np.concatenate(senders), np.concatenate(receivers)])),
        edge_weight=torch.from_numpy(np.concatenate([sub.weight for sub in subgraphs])),
        steps=torch.from_numpy(np.asarray(steps, dtype=np.int64)),
        node_id=torch.from_numpy(cores if node_ids is None else node_ids[cores]),
        num_graphs=len(subgraphs),
        target=None if targets is None else torch.from_numpy(np.concatenate(targets)),
        importance=None if importance is None else torch.from_numpy(importance),
        seed=seed,
    )
