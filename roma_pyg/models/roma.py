"""ROMA: renormalized operators with multiscale attention."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from roma_pyg.config import DataConfig, ModelConfig
from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.base import BaseForecast
from roma_pyg.models.compiled import Compiled
from roma_pyg.models.effective import EffectiveDynamics, Residual
from roma_pyg.models.level import Level, Renormalization, core_edges, pool_observable
from roma_pyg.models.output import LevelForecast, RomaOutput
from roma_pyg.models.tokens import TokenEmbedding
from roma_pyg.nn.attention import AttentionBlock
from roma_pyg.nn.hyperbolic import HyperbolicConv
from roma_pyg.nn.segment import row_offsets, weighted_mean
from roma_pyg.nn.trunk import LATENT, DeepONet, FourierFeatures, Nomad
from roma_pyg.physics import Jet

if TYPE_CHECKING:
    from roma_pyg.data.series import GraphSeries
    from roma_pyg.models.hierarchy import Hierarchy


class Roma(nn.Module):
    """Forecasts a node series on every level of a learned hierarchy (arXiv:2502.15913).

    Graph layers encode the recent history of each node and its neighbours (``encoder``), learned
    pooling makes the coarse levels (``renormalizations``), one transformer couples the tokens of
    all levels (``blocks``), and an operator network (``operator``) turns each token into a
    function of the time ahead. It is added to a simple base forecast (``base``) along a fixed
    direction e of the latent space, and the observable is the length of the sum::

        u(t) = base(t) e + sigma(t) operator(t, token)   in R^3,     y(t) = |u(t)|

    For B nodes, e edges, M supernodes, C channels and Q steps ahead, a forward pass takes
    O(e C + (B + M) C^2 + (B + M)^2 C + Q (B + M) C) per subgraph and never touches the whole graph.

    Args:
        config: Sizes and kinds of the parts.
        data: Window, horizon, subgraph size and number of positional features that the model is
            made for.

    Raises:
        ValueError: If an effective law is wanted for a horizon of one step.
    """

    mean: Tensor
    std: Tensor
    direction: Tensor

    def __init__(self, config: ModelConfig, data: DataConfig) -> None:
        """Create the parameters from torch's current random state."""
        super().__init__()
        self.config = config
        self.data = data
        encoder, operator, trunk = config.encoder, config.operator, config.trunk
        self.embed_position = nn.Linear(data.positional.num_features, config.features)
        widths = [data.window + config.features] + [encoder.width] * encoder.layers
        self.encoder = nn.ModuleList(
            HyperbolicConv(a, b, encoder.curvature, encoder.geometry) for a, b in pairwise(widths)
        )
        self.renormalizations = nn.ModuleList(
            Renormalization(size, encoder, config.pool) for size in config.pool.sizes
        )
        self.tokens = TokenEmbedding(
            data.window, [data.nodes_per_graph, *config.pool.sizes], encoder.width, operator
        )
        self.blocks = nn.ModuleList(
            AttentionBlock(operator.width, operator.heads, operator.dropout)
            for _ in range(operator.layers)
        )
        self.norm = nn.LayerNorm(operator.width)
        kinds: dict[str, type[DeepONet] | type[Nomad]] = {"deeponet": DeepONet, "nomad": Nomad}

        def make_operator(field_channels: int = 0) -> DeepONet | Nomad:
            return kinds[trunk.kind](
                operator.width,
                encoder.width,
                trunk.basis,
                trunk.width,
                trunk.layers,
                FourierFeatures(trunk.fourier_features, trunk.fourier_std),
                field_channels,
            )

        self.operator = make_operator()
        self.effective: EffectiveDynamics | None = None
        if config.effective.kind != "none":
            if data.horizon < 2:
                raise ValueError(
                    "Expected 'data.horizon' of at least 2 for an effective law, whose rate of "
                    f"change needs two steps ahead (got {data.horizon})."
                )
            # A Fourier feature of the latent space turns by 2 pi std per unit.
            spread = 2 * math.pi * trunk.fourier_std
            self.effective = EffectiveDynamics(config.effective, make_operator, spread)
        self._compiled_operator: Compiled | None = None
        self.base = BaseForecast(data.window, data.horizon, config.base)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))
        self.register_buffer("direction", torch.full((LATENT,), LATENT**-0.5))

    @property
    def num_parameters(self) -> int:
        """Number of trained numbers."""
        return sum(parameter.numel() for parameter in self.parameters())

    def compile_operator(self) -> None:
        """Compile the operator network for training steps: 1.7 times as fast on a CPU.

        The other parts gain nothing there, or have shapes that change from step to step. Without a
        compiler everything goes on as before, with a warning.
        """
        self._compiled_operator = Compiled(self.operator.forward)

    @torch.no_grad()
    def fit_statistics(self, batches: Iterable[SubgraphBatch]) -> None:
        """Fit scales and base forecast on training batches; done once before training.

        Args:
            batches: Training batches whose targets hold all steps ahead, in order. Memory is
                O(n (K + horizon)) for n core nodes in all.

        Raises:
            ValueError: If there is no batch, one lacks targets at a step ahead, or values are not
                finite.
        """
        samples = []
        everything = list(range(1, self.data.horizon + 1))
        for batch in (batch.to(self.mean.device) for batch in batches):
            self._check(batch)
            if batch.target is None or batch.steps.tolist() != everything:
                raise ValueError(
                    f"Expected batches with targets at the steps ahead 1 to {self.data.horizon} "
                    f"(got {'no target' if batch.target is None else batch.steps.tolist()})."
                )
            weight = batch.importance
            if weight is None:
                weight = batch.target.new_ones(batch.num_core)
            samples.append((self._lags(batch), batch.target, weight))
        if not samples:
            raise ValueError("Expected at least one training batch to fit the scales of the model.")
        own = torch.cat([sample[0][:, : self.data.window] for sample in samples])
        self.tokens.lifting.standardize(own[: 1 << 14])
        self.base.fit(samples)
        self.mean.copy_(own.mean())
        self.std.copy_(own.std().clamp_min(1e-6))

    def forward(self, batch: SubgraphBatch) -> RomaOutput:
        """Forecast a batch on all levels.

        Args:
            batch: Subgraphs with windows; targets may be missing.

        Returns:
            Forecasts and, where given, coarse-grained targets per level, and the penalties.

        Raises:
            ValueError: If the batch does not fit the sizes the model was made for.
        """
        levels, penalties = self.hierarchy(self.encode(batch), seed=batch.seed)
        branch = self.attend(levels)
        predictions = self.decode(levels, branch, batch.steps)
        outputs: list[LevelForecast] = []
        target = None
        if batch.target is not None:
            target = batch.target.reshape(batch.num_graphs, -1, batch.target.shape[1])
        for level, prediction in zip(levels, predictions, strict=True):
            if level.assignment is not None and target is not None:
                target = pool_observable(level.assignment, target)
            outputs.append(LevelForecast(prediction, target, level.assignment))
        if batch.importance is not None:
            outputs[0].importance = batch.importance.reshape(batch.num_graphs, -1)
        residuals: dict[str, Tensor] = {}
        if self.effective is not None and target is not None:
            residual = self.residual(levels, branch, self._some_steps(batch))
            residuals = residual.terms([level.num_nodes for level in levels])
        return RomaOutput(outputs, penalties, residuals)

    def forecast(
        self, series: GraphSeries, horizon: int | None = None, stride: int | None = None
    ) -> NDArray[np.float32]:
        """Continue a series beyond its last sample.

        Up to the trained horizon the forecast is direct; beyond it, the window is shifted by
        ``stride`` forecast samples and the model applied again. For several forecasts on one graph
        make a `RomaForecaster` once: it keeps the positional features.

        Args:
            series: At least K samples of every node; the graph may be another than in training.
            horizon: Number of samples to forecast; the trained horizon if None.
            stride: Samples kept per application beyond the trained horizon; all of them if None.

        Returns:
            Forecast, shape ``(N, horizon)``, in units of the observable.

        Raises:
            ValueError: If the series is shorter than the window or its end is not finite, or if
                ``horizon`` or ``stride`` is out of range.
        """
        from roma_pyg.models.forecast import RomaForecaster
        from roma_pyg.models.rollout import rollout

        horizon = self.data.horizon if horizon is None else horizon
        stride = min(self.data.horizon, horizon) if stride is None else stride
        forecaster = RomaForecaster.for_series(self, series)
        return rollout(forecaster, self._last_window(series), series.graph, horizon, stride)

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

    def _last_window(self, series: GraphSeries) -> NDArray[np.float32]:
        if series.num_steps < self.data.window:
            raise ValueError(
                f"Expected at least {self.data.window} samples, the window of the model (got "
                f"{series.num_steps})."
            )
        window = np.asarray(series.values[:, -self.data.window :], dtype=np.float32)
        finite = np.isfinite(window).all(axis=1)
        if not finite.all():
            raise ValueError(
                f"Expected finite values in the last {self.data.window} samples (got NaN or "
                f"infinity at node {int(np.flatnonzero(~finite)[0])}); fill the gaps first."
            )
        return window

    def _check(self, batch: SubgraphBatch) -> None:
        """Compare a batch with the sizes the model was made for."""
        widths = {"window": self.data.window, "position": self.data.positional.num_features}
        for name, width in widths.items():
            shape = tuple(getattr(batch, name).shape)
            if len(shape) != 2 or shape[1] != width:
                raise ValueError(
                    f"Expected '{name}' of shape (n_all, {width}), as the model was made for "
                    f"(got {shape})."
                )
        if batch.num_graphs < 1 or batch.num_core % batch.num_graphs:
            raise ValueError(
                f"Expected 'num_graphs' to divide the {batch.num_core} core nodes (got "
                f"{batch.num_graphs})."
            )
        steps = batch.steps.tolist()
        if not steps or min(steps) < 1 or max(steps) > self.data.horizon:
            raise ValueError(f"Expected 'steps' in [1, {self.data.horizon}] (got {steps}).")

    def forecast_fine(self, batch: SubgraphBatch) -> Tensor:
        """Forecast the core nodes only, shape ``(G, B, Q)``; coarse levels are not decoded."""
        levels, _ = self.hierarchy(self.encode(batch))
        tokens = self.attend(levels)[:, : levels[0].num_nodes]
        return self.decode(levels[:1], tokens, batch.steps)[0]

    @torch.no_grad()
    def push_forward(self, batch: SubgraphBatch) -> SubgraphBatch:
        """Roll a batch over to its last round.

        In each round the core nodes are forecast over the whole horizon, and their window is
        shifted by the forecast; the halo, which is not forecast, gets its true history. No gradient
        is taken through these rounds (the pushforward trick of Brandstetter et al. 2022,
        arXiv:2202.03376): the model learns to go on from its own errors, at a third of the cost
        per round.

        Args:
            batch: A batch with ``later`` windows of the halo, or without: then it is returned.

        Returns:
            A batch whose window is that of the last round.
        """
        count, horizon = batch.num_core, self.data.horizon
        everything = torch.arange(1, horizon + 1, device=batch.steps.device)
        for halo in () if batch.later is None else batch.later:
            forecast = self.forecast_fine(replace(batch, steps=everything)).reshape(count, horizon)
            core = torch.cat([batch.window[:count], forecast.to(batch.window.dtype)], dim=1)
            window = torch.cat([core[:, -self.data.window :], halo])
            batch = replace(batch, window=window)
        return replace(batch, later=None)

    def encode(self, batch: SubgraphBatch) -> Level:
        """Encode windows and positions of core and halo into the fine level.

        The first layer sees core and halo, the following ones the core alone.

        Raises:
            ValueError: If the batch does not fit the sizes the model was made for.
        """
        self._check(batch)
        count = batch.num_core
        window = (batch.window - self.mean) / self.std
        tangent = torch.cat([window, self.embed_position(batch.position)], dim=-1)
        first, *others = cast("list[HyperbolicConv]", list(self.encoder))
        points = first(first.space.from_tangent(tangent), batch.edge_index, count)
        edge_index, edge_weight = core_edges(batch.edge_index, batch.edge_weight, count)
        rowptr = row_offsets(edge_index[1], count)
        for layer in others:
            points = layer(points, edge_index, count, rowptr)
        features = first.space.to_tangent(points)
        graphs = batch.num_graphs
        return Level(
            points=points,
            features=features.view(graphs, count // graphs, -1),
            lags=self._lags(batch).view(graphs, count // graphs, -1),
            edge_index=edge_index,
            edge_weight=edge_weight,
        )

    def hierarchy(
        self, fine: Level, seed: int | None = None
    ) -> tuple[list[Level], dict[str, Tensor]]:
        """Coarse-grain the fine level step by step.

        Args:
            fine: The encoded fine level.
            seed: Seed of the link penalty; without one no penalties are computed.

        Returns:
            All levels, fine first, and the penalties by name and level.
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
        return levels, penalties

    def attend(self, levels: list[Level]) -> Tensor:
        """Branch tokens of all levels after attention, shape ``(G, sum of n, C)``."""
        tokens = self.tokens(levels)
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def decode(self, levels: list[Level], branch: Tensor, steps: Tensor) -> list[Tensor]:
        """Evaluate the observable of some levels.

        Args:
            levels: Levels of G graphs with n_1, n_2, ... nodes.
            branch: Their tokens after attention, shape ``(G, sum of n, C)``.
            steps: Steps ahead, shape ``(Q,)``.

        Returns:
            Non-negative forecast of each level, shapes ``(G, n, Q)``.
        """
        features = torch.cat([level.features for level in levels], dim=1)
        compiled = self._compiled_operator if self.training else None
        operator = self.operator if compiled is None else compiled
        correction = operator(self._points(steps), branch, features)
        correction = self.base.scale_at(steps).unsqueeze(-1) * correction
        sizes = [level.num_nodes for level in levels]
        return [
            torch.linalg.vector_norm(
                self.base(level.lags, steps, level.mass).unsqueeze(-1) * self.direction
                + level.mass * part,
                dim=-1,
            )
            for level, part in zip(levels, correction.split(sizes, dim=1), strict=True)
        ]

    def field(self, levels: list[Level], branch: Tensor, steps: Tensor, order: int = 2) -> Jet:
        """The field u per unit of mass with its derivatives in (t, x), at x = 0.

        Between the steps ahead, the base forecast and the scale of the correction are cubic
        splines; time is in units of the horizon.

        Args:
            levels: Levels of G graphs with n_1, n_2, ... nodes.
            branch: Their tokens after attention, shape ``(G, sum of n, C)``.
            steps: Steps ahead, shape ``(Q,)``.
            order: Order of the jet, 1, 2 or 3.

        Returns:
            Shape ``(G, sum of n, Q, 3)``; mass times its norm is what :meth:`decode` gives.
        """
        features = torch.cat([level.features for level in levels], dim=1)
        return self._field(levels, branch, features, steps, order)

    def _field(
        self, levels: list[Level], branch: Tensor, features: Tensor, steps: Tensor, order: int
    ) -> Jet:
        """As :meth:`field`, from the joined features."""
        points = self._points(steps)
        correction = self.operator(Jet.coordinates(points, order), branch, features)
        parts = range(3 if order == 3 else 2)
        base = [
            torch.cat(
                [self.base(level.lags, steps, level.mass, k) / level.mass for level in levels],
                dim=1,
            ).unsqueeze(-1)
            for k in parts
        ]
        scale = [self.base.scale_at(steps, k).unsqueeze(-1) for k in parts]
        dim = points.shape[1]
        along = Jet.of_time(base, dim, order) * self.direction
        return along + Jet.of_time(scale, dim, order) * correction

    def residual(self, levels: list[Level], branch: Tensor, steps: Tensor) -> Residual:
        """Residual of the effective law at all tokens.

        Autocast does not apply here: second derivatives do not bear half precision.

        Args:
            levels: Levels of G graphs with n_1, n_2, ... nodes.
            branch: Their tokens after attention, shape ``(G, sum of n, C)``.
            steps: Steps ahead, shape ``(Q,)``.

        Raises:
            ValueError: If the model has no effective law.
        """
        if self.effective is None:
            raise ValueError(
                "Expected a model with an effective law: set model.effective.kind to 'emergent' or "
                "'burgers' before training."
            )
        sizes = [level.num_nodes for level in levels]

        def neighbors(values: Tensor) -> Tensor:
            parts = zip(levels, values.split(sizes, dim=-3), strict=True)
            return torch.cat([level.neighbor_difference(part) for level, part in parts], dim=-3)

        with torch.autocast(branch.device.type, enabled=False):
            points = self._points(steps)
            branch = branch.to(points.dtype)
            features = torch.cat([level.features for level in levels], dim=1).to(points.dtype)
            field = self._field(levels, branch, features, steps, self.effective.order)
            return self.effective(points, field, branch, features, neighbors)

    def _points(self, steps: Tensor) -> Tensor:
        """Coordinates (t, 0) of steps ahead, in the precision of the parameters."""
        coordinates = self.direction.new_zeros(len(steps), 1 + LATENT)
        coordinates[:, 0] = steps / self.data.horizon
        return coordinates

    def _some_steps(self, batch: SubgraphBatch) -> Tensor:
        """Steps ahead at which the residual is taken, drawn by the seed of the batch."""
        generator = torch.Generator().manual_seed(batch.seed)
        chosen = torch.randperm(len(batch.steps), generator=generator)
        return batch.steps[chosen[: self.config.effective.times].to(batch.steps.device)]

    def _lags(self, batch: SubgraphBatch) -> Tensor:
        """Own and neighbour windows of the core nodes, shape ``(G B, 2 K)``."""
        count = batch.num_core
        neighbors = weighted_mean(batch.window, batch.edge_index, batch.edge_weight, count)
        return torch.cat([batch.window[:count], neighbors], dim=-1)
