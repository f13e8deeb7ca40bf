"""DeepONet and NOMAD behind a message-passing encoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.encoder import GraphEncoder
from roma_pyg.models.rivals.single_level import SingleLevel
from roma_pyg.nn.trunk import ResidualBlock


class MessagePassingOperator(SingleLevel):
    """DON-MP and NOMAD-MP: ROMA's graph encoder, then a residual network per node.

    That is ROMA without renormalization and attention (the baselines of arXiv:2502.15913).
    """

    def make_layers(self, width: int, layers: int) -> None:
        """Create graph encoder, input layer and residual blocks."""
        inputs = self.num_seen + self.config.features
        self.encoder = GraphEncoder(inputs, self.config.encoder)
        self.enter = nn.Linear(inputs + self.config.encoder.width, width)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(layers)))

    def tokens_of(self, batch: SubgraphBatch, lags: Tensor) -> Tensor:
        """Encode the graph, then apply the network to each node."""
        inputs = self._inputs(batch)
        encoded = self.encoder(inputs, batch, lags).features.flatten(0, 1)
        own = inputs[: batch.num_core]
        return self.blocks(self.enter(torch.cat([own, encoded], dim=-1)))
