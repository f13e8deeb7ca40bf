"""Local message passing and global attention in parallel."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.nn import GPSConv, ResGatedGraphConv

from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.level import core_edges
from roma_pyg.models.rivals.single_level import SingleLevel


class GraphGPS(SingleLevel):
    """PyG's GraphGPS layers (Rampasek et al. 2022, arXiv:2205.12454) on the fine level.

    Each of ``operator.layers`` layers adds a gated graph convolution (Bresson & Laurent 2017,
    arXiv:1711.07553) and attention over all nodes of the subgraph, and applies an MLP. A gated
    convolution before them brings the halo in. The norms are over the nodes of each subgraph
    (GraphNorm, Cai et al. 2021, arXiv:2009.03294): as with the batch norms of the original, what
    all nodes have in common cannot outgrow what tells them apart, and no running means are needed.
    """

    def make_layers(self, width: int, layers: int) -> None:
        """Create input layer, halo convolution and GPS layers."""
        operator = self.config.operator
        self.enter = nn.Linear(self.num_seen + self.config.features, width)
        self.halo = ResGatedGraphConv(width, width)
        self.halo_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(
            GPSConv(
                width,
                ResGatedGraphConv(width, width),
                heads=operator.heads,
                dropout=operator.dropout,
                norm="graph_norm",
            )
            for _ in range(layers)
        )

    def tokens_of(self, batch: SubgraphBatch, lags: Tensor) -> Tensor:
        """Bring in the halo, then apply the layers to the core."""
        count, graphs = batch.num_core, batch.num_graphs
        entered = self.enter(self._inputs(batch))
        core = entered[:count]
        hidden = core + self.halo_norm(self.halo((entered, core), batch.edge_index))
        edge_index, _ = core_edges(batch.edge_index, batch.edge_weight, count)
        graph = torch.arange(graphs, device=core.device).repeat_interleave(count // graphs)
        for layer in self.layers:
            hidden = layer(hidden, edge_index, graph)
        return hidden
