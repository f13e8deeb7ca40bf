"""ROMA: renormalized operators with multiscale attention."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from roma_pyg.config import DataConfig, ModelConfig
from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.encoder import GraphEncoder
from roma_pyg.models.graph_operator import Encoding, GraphOperator
from roma_pyg.models.history import HistoryNetwork
from roma_pyg.models.level import Level, Renormalization
from roma_pyg.models.tokens import TokenEmbedding
from roma_pyg.nn.attention import AttentionBlock, Couplings

if TYPE_CHECKING:
    from roma_pyg.data.series import GraphSeries
    from roma_pyg.models.hierarchy import Hierarchy


class Roma(GraphOperator):
    """Forecasts a node series on every level of a learned hierarchy (arXiv:2502.15913).

    Graph layers encode the recent history of each node and its neighbours (``encoder``), learned
    pooling makes the coarse levels (``renormalizations``), a network of its own reads the history
    of each node and supernode (``history``; not in the paper), one transformer couples the tokens
    of all levels (``blocks``), and an operator network turns each token into a function of the
    time ahead (`GraphOperator`); with ``operator.onset`` the own history alone at first, and what
    attention adds to it with time.

    For B nodes, e edges, M supernodes, C channels and Q steps ahead, a forward pass takes
    O(e C + (B + M) C^2 + (B + M)^2 C + Q (B + M) C) per subgraph and never touches the whole graph.

    Args:
        config: Sizes and kinds of the parts.
        data: Window, horizon, subgraph size and number of positional features that the model is
            made for.

    Raises:
        ValueError: If an effective law is wanted for a horizon of one step.

    Example:
        >>> from roma_pyg import load_config
        >>> config = load_config("tiny.yaml", {"model.pool.sizes": [12, 4]})
        >>> model = Roma(config.model, config.data)
        >>> len(model.renormalizations), model.num_parameters < 10_000
        (2, True)
    """

    def __init__(self, config: ModelConfig, data: DataConfig) -> None:
        """Create the parameters from torch's current random state."""
        super().__init__(config, data)
        encoder, operator = config.encoder, config.operator
        self.encoder = GraphEncoder(self.num_inputs + config.features, encoder)
        self.renormalizations = nn.ModuleList(
            Renormalization(size, encoder, config.pool) for size in config.pool.sizes
        )
        self.tokens = TokenEmbedding(
            self.num_inputs, [data.nodes_per_graph, *config.pool.sizes], encoder.width, operator
        )
        self.history: HistoryNetwork | None = None
        if operator.history:
            self.history = HistoryNetwork(self.num_seen, encoder.width, operator)
        self.blocks = nn.ModuleList(
            AttentionBlock(
                operator.width, operator.heads, operator.dropout, neighbors=operator.neighbors
            )
            for _ in range(operator.layers)
        )
        self.norm = nn.LayerNorm(operator.width)
        self._make_operators(operator.onset if operator.history else 0.0)

    @property
    def title(self) -> str:
        """Name in tables."""
        return "ROMA"

    def represent(self, batch: SubgraphBatch, seed: int | None = None) -> Encoding:
        """Encode, coarse-grain and couple all levels, see :class:`GraphOperator`."""
        levels, penalties = self.hierarchy(self.encode(batch), seed)
        return Encoding(levels, self.attend(levels), penalties)

    def _fit_inputs(self, windows: Tensor) -> None:
        self.tokens.lifting.standardize(windows)

    def encode(self, batch: SubgraphBatch) -> Level:
        """Encode windows and positions of core and halo into the fine level.

        The first layer sees core and halo, the following ones the core alone.

        Raises:
            ValueError: If the batch does not fit the sizes the model was made for.
        """
        self._check(batch)
        batch = self._continued(batch)
        windows = self.views.plain(batch.window)
        inputs = torch.cat([windows, self.embed_features(batch.features)], dim=-1)
        return self.encoder(inputs, batch, self._lags(batch))

    def hierarchy(
        self, fine: Level, seed: int | None = None
    ) -> tuple[list[Level], dict[str, Tensor]]:
        """Coarse-grain the fine level step by step.

        Args:
            fine: The encoded fine level.
            seed: Seed of the link penalty; without one no penalties are computed.

        Returns:
            All levels, fine first, with their own history, and the penalties by name and level.
        """
        levels = [fine]
        penalties: dict[str, Tensor] = {}
        stages = cast("list[Renormalization]", list(self.renormalizations))
        for index, renormalization in enumerate(stages, start=1):
            coarse, embedded = renormalization(levels[-1])
            if seed is not None:
                terms = renormalization.penalties(levels[-1], embedded, coarse, seed)
                penalties.update({f"{name}/{index}": value for name, value in terms.items()})
            levels.append(coarse)
        if self.history is not None:
            levels = [self.history(level, self._own(level)) for level in levels]
        return levels, penalties

    def _own(self, level: Level) -> Tensor:
        """All views of the own windows per unit of mass, shape ``(G, n, K')``."""
        return self.views(level.lags[..., : self.num_inputs] / level.mass)

    def attend(self, levels: list[Level]) -> Tensor:
        """Branch tokens of all levels after attention, shape ``(G, sum of n, C)``."""
        tokens, couplings = self.tokens(levels), self.couplings(levels)
        for block in self.blocks:
            tokens = block(tokens, couplings)
        return self.norm(tokens)

    def _start(self, levels: list[Level]) -> Tensor | None:
        if self.operator.onset is None:
            return None
        return self.norm(torch.cat([self.tokens.own(level) for level in levels], dim=1))

    def couplings(self, levels: list[Level]) -> Couplings | None:
        """Couplings between the tokens of all levels, if the blocks see them."""
        if not self.config.operator.neighbors:
            return None
        edges = [(level.edge_index, level.edge_weight) for level in levels]
        return Couplings.join(edges, [level.num_nodes for level in levels], levels[0].num_graphs)

    def supernodes(self, series: GraphSeries) -> Hierarchy:
        """Coarse-grain a series: the learned supernodes of every level at its end.

        Args:
            series: At least K samples of every node.

        Returns:
            Assignment matrices and coarse couplings; ``.labels(level)`` gives the supernode of
            each node.

        Raises:
            ValueError: If the model has no coarse level, or the series is shorter than the window
                or its end is not finite.
        """
        from roma_pyg.models.forecast import RomaForecaster

        return RomaForecaster.for_series(self, series).hierarchy(self._last_window(series))
