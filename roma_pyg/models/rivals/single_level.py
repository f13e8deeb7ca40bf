"""What the rivals share: one level, and tokens of its nodes."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from roma_pyg.config import DataConfig, ModelConfig
from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.graph_operator import Encoding, GraphOperator
from roma_pyg.models.level import Level, core_edges


class SingleLevel(GraphOperator):
    """A model without coarse levels.

    A subclass has ``operator.layers`` layers of ``operator.width`` channels, made by
    :meth:`make_layers` and applied by :meth:`tokens_of`. Their last state, normalised, goes into
    the branch of the operator network, and a linear map of it into the trunk (in the place of
    ROMA's graph features).

    Args:
        config: Sizes of the parts.
        data: Window, horizon, subgraph size and number of positional features.
    """

    def __init__(self, config: ModelConfig, data: DataConfig) -> None:
        """Create the parameters from torch's current random state."""
        super().__init__(config, data)
        width = config.operator.width
        self.make_layers(width, config.operator.layers)
        self.norm = nn.LayerNorm(width)
        self.features = nn.Linear(width, config.encoder.width)
        self._make_operators()

    @abstractmethod
    def make_layers(self, width: int, layers: int) -> None:
        """Create the layers.

        Args:
            width: Channels of a token.
            layers: Number of layers.
        """

    @abstractmethod
    def tokens_of(self, batch: SubgraphBatch, lags: Tensor) -> Tensor:
        """Make the tokens.

        Args:
            batch: Subgraphs with windows.
            lags: Own and neighbour windows of the core nodes, shape ``(G B, 2 K)``.

        Returns:
            Shape ``(G B, width)``.
        """

    def represent(self, batch: SubgraphBatch, seed: int | None = None) -> Encoding:
        """Make tokens of the core nodes; there are no penalties, so the seed does not matter."""
        self._check(batch)
        batch = self._continued(batch)
        lags = self._lags(batch)
        tokens = self.norm(self.tokens_of(batch, lags))
        features = self.features(tokens)
        graphs = batch.num_graphs
        edge_index, edge_weight = core_edges(batch.edge_index, batch.edge_weight, batch.num_core)
        level = Level(
            points=features,
            features=features.view(graphs, -1, features.shape[-1]),
            lags=lags.view(graphs, -1, lags.shape[-1]),
            edge_index=edge_index,
            edge_weight=edge_weight,
            complete=None if batch.complete is None else batch.complete.view(graphs, -1),
        )
        return Encoding([level], tokens.view(graphs, -1, tokens.shape[-1]))

    def _inputs(self, batch: SubgraphBatch) -> Tensor:
        """Views of windows and embedded features of core and halo, shape ``(n_all, K' + F)``."""
        return torch.cat([self.views(batch.window), self.embed_features(batch.features)], dim=-1)

    def _known(self, batch: SubgraphBatch, lags: Tensor) -> Tensor:
        """Views of own and neighbour windows and embedded features, ``(G B, 2 K' + F)``."""
        position = self.embed_features(batch.features[: batch.num_core])
        return torch.cat([self.views(lags), position], dim=-1)
