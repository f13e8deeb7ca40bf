"""What a token's own history tells, by a network of its own."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from roma_pyg.config import OperatorConfig
from roma_pyg.models.level import Level
from roma_pyg.nn.trunk import ResidualBlock


class HistoryNetwork(nn.Module):
    """Residual network on the own window and the graph features of each node or supernode.

    What happens next depends most on what a node did itself, and the nearer the more. Its token
    and the graph features that the trunk sees get this, so that attention is there for the rest.

    Args:
        window: Numbers that a window is given by.
        features: Channels of the graph features.
        config: Width of a token; the network is twice as wide, and has ``history`` blocks.
    """

    def __init__(self, window: int, features: int, config: OperatorConfig) -> None:
        """Create the network."""
        super().__init__()
        width = 2 * config.width
        self.context = config.context
        self.network = nn.Sequential(
            nn.Linear(window + (features if config.context else 0), width),
            *(ResidualBlock(width) for _ in range(config.history)),
            nn.LayerNorm(width),
        )
        self.features = nn.Linear(width, features)

    def forward(self, level: Level, windows: Tensor) -> Level:
        """Add the history to a level, and to its features.

        Args:
            level: The level.
            windows: Own windows of its nodes per unit of mass, standardised, ``(G, n, window)``.
        """
        known = torch.cat([windows, level.features], dim=-1) if self.context else windows
        history = self.network(known)
        return replace(level, history=history, features=level.features + self.features(history))
