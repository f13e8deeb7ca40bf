"""One level of the hierarchy, and the layer that makes the next one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from roma_pyg.config import EncoderConfig, PoolConfig
from roma_pyg.models.community import CommunitySelect
from roma_pyg.nn.hyperbolic import HyperbolicConv
from roma_pyg.nn.pool import (
    Select,
    assign,
    assignment_entropy,
    coarse_adjacency,
    coarsen_dense,
    dense_to_edges,
    edge_entropy,
    link_loss,
    modularity_loss,
    pool,
    sample_negatives,
)
from roma_pyg.nn.segment import row_offsets, weighted_mean


@dataclass
class Level:
    """State of one level for G graphs of n nodes each.

    Attributes:
        points: Features as points of the space, shape ``(G n, C)``.
        features: The same features as tangent vectors, shape ``(G, n, C)``.
        lags: Own and neighbour windows of the level's observable, shape ``(G, n, 2 K)``.
        edge_index: Senders and ascending receivers in ``[0, G n)``, shape ``(2, e)``.
        edge_weight: Couplings, shape ``(e,)``.
        mass: What a constant observable of one is on this level: 1, then ``n / m``, ...
        adjacency: Dense couplings of a coarse level, shape ``(G, n, n)``; None on the fine level.
        assignment: S that made this level, shape ``(G, n_finer, n)``; None on the fine level.
        complete: Which nodes have all their neighbours on this level, shape ``(G, n)``; None for
            all, as on coarse levels.
        history: What a network has made of own window and features, shape ``(G, n, C_h)``.
    """

    points: Tensor
    features: Tensor
    lags: Tensor
    edge_index: Tensor
    edge_weight: Tensor
    mass: float = 1.0
    adjacency: Tensor | None = None
    assignment: Tensor | None = None
    complete: Tensor | None = None
    history: Tensor | None = None

    @property
    def num_graphs(self) -> int:
        """Number of graphs G."""
        return self.features.shape[0]

    @property
    def num_nodes(self) -> int:
        """Number of nodes n of each graph."""
        return self.features.shape[1]

    @property
    def whole(self) -> Tensor:
        """Which nodes have all their neighbours on this level, shape ``(G, n)``, bool."""
        if self.complete is None:
            return self.features.new_ones(self.features.shape[:2], dtype=torch.bool)
        return self.complete

    def neighbor_difference(self, values: Tensor) -> Tensor:
        """Mean over the neighbours inside the subgraph, less the value itself.

        Args:
            values: Shape ``(..., G, n, Q, C)``.

        Returns:
            The same shape; zero for nodes without a neighbour.
        """
        rows = self.num_graphs * self.num_nodes
        columns = values.movedim((-4, -3), (0, 1)).reshape(rows, -1)
        # A column of ones gives the couplings that the mean is over.
        columns = torch.cat([columns, columns.new_ones(rows, 1)], dim=1)
        total = weighted_mean(columns, self.edge_index, self.edge_weight, rows)
        coupling = total[:, -1:]
        mean = total[:, :-1] / coupling.clamp_min(1e-12)
        difference = torch.where(coupling > 0, mean - columns[:, :-1], torch.zeros_like(mean))
        shape = values.movedim((-4, -3), (0, 1)).shape
        return difference.view(shape).movedim((0, 1), (-4, -3))


class Renormalization(nn.Module):
    r"""Learned coarse graining of one level into the next.

    Two graph layers read the level: one embeds it (Z), one assigns its nodes to m supernodes (S,
    whose columns are distributions over nodes). Then

    .. math:: Z' = S^T Z\, n / m, \quad u' = S^T u\, n / m, \quad A' = S^T A S.

    (arXiv:2502.15913). The pooled features are normalised before they become points, since the
    factor n / m would otherwise carry them to the edge of the ball. S is dense within a subgraph:
    time O(e C + n C^2 + n m (C + K) + e m), memory O(e C + n m) per subgraph, nothing n x n on
    the fine level. Under autocast the graph layers may run in half precision; the assignment and
    everything that is pooled by it stay in the precision of the observable.

    Args:
        supernodes: Number of supernodes m.
        encoder: Width and space of the features.
        config: Width of the assignment layer and shape of the link decoder.

    Raises:
        ValueError: If there is less than one supernode.
    """

    def __init__(self, supernodes: int, encoder: EncoderConfig, config: PoolConfig) -> None:
        """Create the layers."""
        super().__init__()
        self.config = config
        hyperbolic = encoder.geometry == "hyperbolic"
        self.curvature = encoder.curvature if hyperbolic else 0.0
        # Squared distances in units that do not depend on the width.
        self.unit = 1 / encoder.curvature if hyperbolic else float(encoder.width)
        self.embed = HyperbolicConv(
            encoder.width, encoder.width, encoder.curvature, encoder.geometry
        )
        self.select: Select | CommunitySelect = (
            Select(encoder.width, supernodes, encoder.curvature, encoder.geometry, config.width)
            if config.select == "learned"
            else CommunitySelect(supernodes)
        )
        self.norm = nn.LayerNorm(encoder.width)

    def read(self, level: Level) -> tuple[Tensor, Tensor]:
        """Embed the nodes and score them for every supernode.

        Args:
            level: G graphs of n nodes.

        Returns:
            Points Z of shape ``(G n, C)`` and logits of shape ``(G, n, m)``.
        """
        count = level.num_graphs * level.num_nodes
        rowptr = row_offsets(level.edge_index[1], count)
        embedded = self.embed(level.points, level.edge_index, count, rowptr, level.edge_weight)
        logits = self.select.scores(
            level.points,
            level.edge_index,
            level.num_graphs,
            rowptr=rowptr,
            edge_weight=level.edge_weight,
        )
        return embedded, logits.to(level.lags.dtype)

    def coarsen(self, level: Level, embedded: Tensor, assignment: Tensor) -> Level:
        """Make the coarse level.

        Args:
            level: The finer level, G graphs of n nodes.
            embedded: Its embedded points Z, shape ``(G n, C)``.
            assignment: S, shape ``(G, n, m)``, columns summing to one.

        Returns:
            The level of m supernodes per graph, coupled by their 8 strongest neighbours.
        """
        space = self.embed.space
        graphs, n, m = assignment.shape
        tangent = space.to_tangent(embedded).view(graphs, n, -1).to(assignment.dtype)
        with torch.autocast(assignment.device.type, enabled=False):
            features = self.norm(pool(assignment, tangent))
            if level.adjacency is None:
                adjacency = coarse_adjacency(assignment, level.edge_index, level.edge_weight, n)
            else:
                adjacency = coarsen_dense(assignment, level.adjacency)
        edges = dense_to_edges(adjacency)
        return Level(
            points=space.from_tangent(features).flatten(0, 1),
            features=features,
            lags=pool_observable(assignment, level.lags),
            edge_index=edges.edge_index,
            edge_weight=edges.edge_weight,
            mass=level.mass * n / m,
            adjacency=adjacency,
            assignment=assignment,
        )

    def penalties(
        self, level: Level, embedded: Tensor, coarse: Level, seed: int
    ) -> dict[str, Tensor]:
        """Regularisers by name: ``entropy``, ``edge_entropy``, ``link``, ``modularity``.

        They are not weighted yet.

        Args:
            level: The finer level.
            embedded: Its embedded points Z.
            coarse: The level made from it.
            seed: Seed of the pairs without a link, in [0, 2^63).

        Returns:
            Scalars of order one.
        """
        assert coarse.assignment is not None
        assert coarse.adjacency is not None
        generator = torch.Generator().manual_seed(seed)
        negatives = sample_negatives(level.edge_index, level.num_nodes, level.num_graphs, generator)
        return {
            "entropy": assignment_entropy(coarse.assignment),
            "edge_entropy": edge_entropy(coarse.adjacency),
            "link": link_loss(
                embedded,
                level.edge_index,
                negatives,
                self.curvature,
                self.config.link_radius,
                self.config.link_temperature,
                divisor=self.unit,
            ),
            "modularity": modularity_loss(coarse.assignment, level.edge_index, level.edge_weight),
        }

    def forward(self, level: Level) -> tuple[Level, Tensor]:
        """Coarse-grain a level; returns the next level and the embedded points of this one."""
        embedded, logits = self.read(level)
        return self.coarsen(level, embedded, assign(logits)), embedded


def pool_observable(assignment: Tensor, values: Tensor) -> Tensor:
    """Coarse-grain values of the observable, ``S^T y n / m``, in full precision.

    Half precision would round truth and history by more than the forecast errs one step ahead, so
    autocast does not apply here.

    Args:
        assignment: S, shape ``(G, n, m)``.
        values: Windows, or targets at Q steps ahead, shape ``(G, n, Q)``.

    Returns:
        Shape ``(G, m, Q)``.
    """
    with torch.autocast(values.device.type, enabled=False):
        return pool(assignment.to(values.dtype), values)


def core_edges(edge_index: Tensor, edge_weight: Tensor, num_core: int) -> tuple[Tensor, Tensor]:
    """Keep the edges whose sender is a core node.

    Args:
        edge_index: Senders in ``[0, n_all)`` and receivers in ``[0, num_core)``, shape ``(2, e)``.
        edge_weight: Couplings, shape ``(e,)``; kept as they are, not normalised anew.
        num_core: Number of core nodes, which come first.

    Example:
        >>> edges = torch.tensor([[1, 2, 0], [0, 0, 1]])
        >>> core_edges(edges, torch.tensor([0.25, 0.75, 1.0]), num_core=2)
        (tensor([[1, 0],
                [0, 1]]), tensor([0.2500, 1.0000]))
    """
    inside = torch.nonzero(edge_index[0] < num_core).squeeze(-1)
    return edge_index[:, inside], edge_weight[inside]
