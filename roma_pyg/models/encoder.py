"""The graph encoder of the fine level."""

from __future__ import annotations

from torch import Tensor, nn

from roma_pyg.config import EncoderConfig
from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.level import Level, core_edges
from roma_pyg.nn.gated import GatedMLP
from roma_pyg.nn.hyperbolic import HyperbolicConv
from roma_pyg.nn.segment import row_offsets


class GraphEncoder(nn.Module):
    """Embeds each node, then passes messages between points of the space.

    A gated network with a LayerNorm embeds what is known of a node by itself (``embed``), in core
    and halo alike, so that neighbours send what they have understood of their own history. The
    graph layer ``first`` sees core and halo, the ``others`` the core alone.

    Args:
        in_channels: Channels of the input.
        config: Width, number, and geometry of the layers.
    """

    def __init__(self, in_channels: int, config: EncoderConfig) -> None:
        """Create the layers."""
        super().__init__()
        width = config.width
        self.embed = nn.Sequential(GatedMLP(in_channels, width, width), nn.LayerNorm(width))
        self.first, *others = (
            HyperbolicConv(width, width, config.curvature, config.geometry)
            for _ in range(config.layers)
        )
        self.others = nn.ModuleList(others)

    def forward(self, inputs: Tensor, batch: SubgraphBatch, lags: Tensor) -> Level:
        """Encode the fine level.

        Args:
            inputs: What is known of core and halo, shape ``(n_all, in_channels)``.
            batch: Edges of the subgraphs.
            lags: Own and neighbour windows of the core, shape ``(G B, 2 K)``.
        """
        count, graphs = batch.num_core, batch.num_graphs
        space = self.first.space
        points = self.first(
            space.from_tangent(self.embed(inputs)),
            batch.edge_index,
            count,
            edge_weight=batch.edge_weight,
        )
        edge_index, edge_weight = core_edges(batch.edge_index, batch.edge_weight, count)
        rowptr = row_offsets(edge_index[1], count)
        for layer in self.others:
            points = layer(points, edge_index, count, rowptr, edge_weight)
        features = space.to_tangent(points)
        return Level(
            points=points,
            features=features.view(graphs, count // graphs, -1),
            lags=lags.view(graphs, count // graphs, -1),
            edge_index=edge_index,
            edge_weight=edge_weight,
            complete=None if batch.complete is None else batch.complete.view(graphs, -1),
        )
