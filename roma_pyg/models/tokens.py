"""Tokens of all levels: lifted windows with dual positional embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from roma_pyg.config import OperatorConfig
from roma_pyg.models.level import Level
from roma_pyg.nn.lifting import FunctionLifting


class TokenEmbedding(nn.Module):
    """Embed each node or supernode of each level as one token.

    A token is the sum of the lifted window (own and neighbour lags), a functional positional
    embedding (the graph features of the token through an MLP and a LayerNorm: ``context``), a
    learned embedding of its index within the level, scaled by ``fine_index`` or ``coarse_index``,
    and one of the level (arXiv:2502.15913)::

        x_i = lift([w_i, (A w)_i] / mass) + LN(MLP(z_i)) + scale_l index_l[i] + level_l

    Nodes of the fine level come in the order of falling degree, so that their index means a rank.
    To this comes a linear map of the own history, where a `HistoryNetwork` has read it.

    Args:
        window: History length K, in samples.
        sizes: Tokens of each level, from fine to coarse.
        features: Channels of the graph features z.
        config: Width and parts of the embedding.
    """

    def __init__(
        self, window: int, sizes: list[int], features: int, config: OperatorConfig
    ) -> None:
        """Create the embeddings; parts with scale zero have no parameters."""
        super().__init__()
        width = config.width
        self.scales = [config.fine_index] + [config.coarse_index] * (len(sizes) - 1)
        self.lifting = FunctionLifting(2 * window, config.num_functions, width)
        self.context: nn.Module | None = None
        if config.context:
            self.context = nn.Sequential(
                nn.Linear(features, width),
                nn.SiLU(),
                nn.Linear(width, width),
                nn.LayerNorm(width),
            )
        self.history = nn.Linear(2 * width, width) if config.history else None
        self.index = nn.ModuleDict(
            {
                str(number): nn.Embedding(size, width)
                for number, (size, scale) in enumerate(zip(sizes, self.scales, strict=True))
                if scale
            }
        )
        self.level = nn.Embedding(len(sizes), width) if config.level_embedding else None
        for table in (*self.index.values(), self.level):
            if isinstance(table, nn.Embedding):
                nn.init.normal_(table.weight, std=0.02)

    def forward(self, levels: list[Level]) -> Tensor:
        """Embed the tokens of all levels.

        Args:
            levels: All levels, fine first; the fine level may have fewer nodes than it was made
                for.

        Returns:
            Tokens, fine first, shape ``(G, sum of n, C)``.

        Raises:
            ValueError: If a level has more nodes than index embeddings.
        """
        return torch.cat([self._embed(index, level) for index, level in enumerate(levels)], dim=1)

    def own(self, level: Level) -> Tensor:
        """What the own history of the nodes of a level adds to their tokens, ``(G, n, C)``."""
        assert self.history is not None
        assert level.history is not None
        own: Tensor = self.history(level.history)
        return own

    def _embed(self, number: int, level: Level) -> Tensor:
        # A coarse observable is n / m times a mean; the mean lies in the domain of the lifting.
        tokens = self.lifting(level.lags / level.mass)
        if self.context is not None:
            tokens = tokens + self.context(level.features)
        if self.history is not None:
            tokens = tokens + self.own(level)
        if str(number) in self.index:
            table = self.index[str(number)].weight
            assert isinstance(table, Tensor)
            if level.num_nodes > len(table):
                raise ValueError(
                    f"Expected at most {len(table)} tokens on level {number} (got "
                    f"{level.num_nodes}): data.nodes_per_graph must be that of training."
                )
            tokens = tokens + self.scales[number] * table[: level.num_nodes]
        if self.level is not None:
            tokens = tokens + self.level.weight[number]
        return tokens
