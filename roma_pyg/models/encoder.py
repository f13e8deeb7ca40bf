"""The graph encoder of the fine level."""

from __future__ import annotations

from itertools import pairwise
from typing import cast

from torch import Tensor, nn

from roma_pyg.config import EncoderConfig
from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.level import Level, core_edges
from roma_pyg.nn.hyperbolic import HyperbolicConv
from roma_pyg.nn.segment import row_offsets


class GraphEncoder(nn.ModuleList):
    """Graph layers that see core and halo in the first layer, and the core alone in the others.

    Args:
        in_channels: Channels of the input.
        config: Width, number, and geometry of the layers.
    """

    def __init__(self, in_channels: int, config: EncoderConfig) -> None:
        """Create the layers."""
        widths = [in_channels] + [config.width] * config.layers
        super().__init__(
            HyperbolicConv(a, b, config.curvature, config.geometry) for a, b in pairwise(widths)
        )

    def forward(self, tangent: Tensor, batch: SubgraphBatch, lags: Tensor) -> Level:
        """Encode the fine level.

        Args:
            tangent: Input of core and halo, shape ``(n_all, in_channels)``.
            batch: Edges of the subgraphs.
            lags: Own and neighbour windows of the core, shape ``(G B, 2 K)``.
        """
        count, graphs = batch.num_core, batch.num_graphs
        first, *others = cast("list[HyperbolicConv]", list(self))
        points = first(
            first.space.from_tangent(tangent),
            batch.edge_index,
            count,
            edge_weight=batch.edge_weight,
        )
        edge_index, edge_weight = core_edges(batch.edge_index, batch.edge_weight, count)
        rowptr = row_offsets(edge_index[1], count)
        for layer in others:
            points = layer(points, edge_index, count, rowptr, edge_weight)
        features = first.space.to_tangent(points)
        return Level(
            points=points,
            features=features.view(graphs, count // graphs, -1),
            lags=lags.view(graphs, count // graphs, -1),
            edge_index=edge_index,
            edge_weight=edge_weight,
        )
