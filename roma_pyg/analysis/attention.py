"""What the tokens of all levels attend to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np
import scipy.cluster.hierarchy as sch
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import dijkstra

from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.data.short_indices import short_indices
from roma_pyg.models.roma import Roma
from roma_pyg.nn.attention import AttentionBlock

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class AttentionMaps:
    """Attention of one subgraph.

    Attributes:
        maps: Weights by block and head, shape ``(layers, H, n, n)``, row = the token that attends;
            rows sum to one. The tokens come level by level, the fine one first.
        sizes: Tokens of each level.
        node_id: Index of the fine tokens in the data set, shape ``(n_0,)``.
        edge_index: Edges between fine tokens, senders and receivers, shape ``(2, e)``.
        assignments: S of each coarse level, shapes ``(n_0, n_1)``, ``(n_1, n_2)``, ...
    """

    maps: Array
    sizes: list[int]
    node_id: NDArray[np.int64]
    edge_index: NDArray[np.int64]
    assignments: list[Array]

    def between(self, receiver: int, sender: int) -> Array:
        """Part of the maps in which tokens of one level attend to those of another.

        Args:
            receiver: Level of the tokens that attend, 0 is the fine one.
            sender: Level of the tokens attended to.

        Returns:
            Shape ``(layers, H, n_receiver, n_sender)``.
        """
        starts = np.cumsum([0, *self.sizes])
        rows, columns = (slice(starts[level], starts[level + 1]) for level in (receiver, sender))
        return self.maps[:, :, rows, columns]

    def by_level(self) -> Array:
        """Share of the attention of each level that goes to each level.

        Returns:
            Shape ``(layers, H, L, L)``, row = the level that attends; rows sum to one.
        """
        levels = range(len(self.sizes))
        shares = [[self.between(a, b).sum(axis=-1).mean(axis=-1) for b in levels] for a in levels]
        return np.moveaxis(np.array(shares), (0, 1), (2, 3))

    def by_distance(self, longest: int = 8) -> tuple[Array, Array]:
        """Attention between fine tokens against their distance in the subgraph.

        Args:
            longest: Distances from here on are one class, as are nodes without a path.

        Returns:
            Mean weight of a token at each distance 0, 1, ..., ``longest``, in units of even
            attention (one over the number of tokens of all levels), shape ``(layers, H, longest +
            1)``, NaN where there are no such pairs; and the number of pairs at each distance,
            shape ``(longest + 1,)``.
        """
        count = self.sizes[0]
        sender, receiver = self.edge_index
        adjacency = sp.csr_array((np.ones(len(sender)), (receiver, sender)), shape=(count, count))
        distance = dijkstra(short_indices(adjacency), directed=False, unweighted=True)
        group = np.minimum(distance, longest).astype(np.int64).ravel()
        pairs = np.bincount(group, minlength=longest + 1)
        fine = self.between(0, 0).reshape(-1, count * count)
        total = np.stack([np.bincount(group, row, minlength=longest + 1) for row in fine])
        with np.errstate(invalid="ignore"):
            mean = total / pairs * sum(self.sizes)
        return mean.reshape(*self.maps.shape[:2], -1), pairs.astype(np.float64)

    def fine_to_coarse(self, level: int = 1) -> tuple[Array, NDArray[np.int64], NDArray[np.int64]]:
        """Mean attention of nodes to supernodes over blocks and heads, and an order that shows it.

        Args:
            level: Coarse level attended to.

        Returns:
            The map, shape ``(n_0, n_level)``, and orders of its rows and columns in which similar
            ones are neighbours (average linkage of their correlation distance, optimally ordered).
        """
        mean = self.between(0, level).mean(axis=(0, 1))
        return mean, cluster_order(mean), cluster_order(mean.T)

    def components(self, count: int = 2) -> tuple[Array, Array]:
        """Principal components of the rows of the maps, mean over heads, for each block.

        Args:
            count: Number of components.

        Returns:
            Coordinates of every token, shape ``(layers, n, count)``, and the share of the variance
            that each component explains, shape ``(layers, count)``.
        """
        rows = self.maps.mean(axis=1)
        rows = rows - rows.mean(axis=1, keepdims=True)
        left, values, _ = np.linalg.svd(rows, full_matrices=False)
        total = np.maximum((values**2).sum(axis=-1, keepdims=True), np.finfo(float).tiny)
        coordinates = left[..., :count] * values[:, None, :count]
        # The sign of a component is free: its largest entry is positive.
        largest = np.take_along_axis(
            coordinates, np.abs(coordinates).argmax(axis=1, keepdims=True), axis=1
        )
        return coordinates * np.where(largest < 0, -1, 1), values[:, :count] ** 2 / total


@torch.inference_mode()
def attention_maps(model: Roma, batch: SubgraphBatch, graph: int = 0) -> AttentionMaps:
    """Attention of a model on one subgraph of a batch.

    Args:
        model: The model.
        batch: Subgraphs with windows.
        graph: Which of its subgraphs.

    Raises:
        ValueError: If there is no such subgraph.
    """
    if not 0 <= graph < batch.num_graphs:
        raise ValueError(
            f"Expected 'graph' in [0, {batch.num_graphs}), a subgraph of the batch (got {graph})."
        )
    levels, _ = model.hierarchy(model.encode(batch))
    tokens, couplings = model.tokens(levels), model.couplings(levels)
    maps = []
    for block in cast("list[AttentionBlock]", list(model.blocks)):
        maps.append(block.attention_map(tokens)[graph].double().cpu().numpy())
        tokens = block(tokens, couplings)
    size = levels[0].num_nodes
    edges = levels[0].edge_index.cpu().numpy()
    edges = edges[:, edges[1] // size == graph] - graph * size
    return AttentionMaps(
        np.stack(maps),
        [level.num_nodes for level in levels],
        batch.node_id.cpu().numpy().reshape(batch.num_graphs, -1)[graph],
        edges,
        [
            level.assignment[graph].double().cpu().numpy()
            for level in levels
            if level.assignment is not None
        ],
    )


def cluster_order(rows: Array) -> NDArray[np.int64]:
    """Order in which similar rows are neighbours.

    Args:
        rows: Shape ``(n, m)``; for more than a few thousand rows this takes long.

    Returns:
        Shape ``(n,)``.

    Example:
        >>> rows = np.array([[0.0, 1.0, 0.1], [1.0, 0.0, 0.9], [0.1, 1.0, 0.0]])
        >>> cluster_order(rows).tolist() in ([1, 0, 2], [1, 2, 0], [0, 2, 1], [2, 0, 1])
        True
    """
    if len(rows) < 3:
        return np.arange(len(rows))
    scaled = rows - rows.mean(axis=1, keepdims=True)
    scaled /= np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), np.finfo(float).tiny)
    # The squared distance of rows of unit length is twice one less their correlation.
    tree = sch.linkage(scaled, "average", optimal_ordering=len(rows) <= 1000)
    return np.asarray(sch.leaves_list(tree), dtype=np.int64)
