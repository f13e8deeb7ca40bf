"""Message passing with states on nodes and edges."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.rivals.single_level import SingleLevel


def _network(in_channels: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(in_channels, width), nn.SiLU(), nn.Linear(width, width), nn.LayerNorm(width)
    )


class MeshGraphNet(SingleLevel):
    """Encode-process graph network in the manner of MeshGraphNets (arXiv:2010.03409).

    Edges carry a state that starts from coupling and difference of the positions. In each of
    ``operator.layers`` rounds an edge is updated from itself and its two nodes, a node from itself
    and the sum over its edges, both with a residual connection; weights differ between rounds
    (Pfaff et al. 2021). The first round sees the halo, the others the core alone.
    """

    def make_layers(self, width: int, layers: int) -> None:
        """Create the encoders of nodes and edges, and two networks per round."""
        features = self.config.features
        self.enter = _network(self.num_seen + features, width)
        self.enter_edge = _network(features + 1, width)
        self.edge = nn.ModuleList(_network(3 * width, width) for _ in range(layers))
        self.node = nn.ModuleList(_network(2 * width, width) for _ in range(layers))

    def tokens_of(self, batch: SubgraphBatch, lags: Tensor) -> Tensor:
        """Pass messages."""
        count = batch.num_core
        inputs = self._inputs(batch)
        nodes = self.enter(inputs)
        position = inputs[:, self.num_seen :]
        (sender, receiver), weight = batch.edge_index, batch.edge_weight
        offset = position[sender] - position[receiver]
        edges = self.enter_edge(torch.cat([offset, weight.unsqueeze(-1)], dim=-1))
        rounds = zip(
            cast("list[nn.Module]", list(self.edge)),
            cast("list[nn.Module]", list(self.node)),
            strict=True,
        )
        for number, (edge, node) in enumerate(rounds):
            if number == 1:
                inside = torch.nonzero(sender < count).squeeze(-1)
                sender, receiver, edges = sender[inside], receiver[inside], edges[inside]
            core = nodes[:count]
            message = edge(torch.cat([edges, nodes[sender], core[receiver]], dim=-1))
            edges = edges + message
            total = core.new_zeros(count, message.shape[-1]).index_add(0, receiver, edges)
            nodes = core + node(torch.cat([core, total], dim=-1))
        return nodes[:count]
