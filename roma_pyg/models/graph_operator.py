"""What all neural forecasters of this package share: base forecast, operator network and law."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from roma_pyg.config import DataConfig, ModelConfig
from roma_pyg.data.memory import NodeMemory
from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.base import BaseForecast
from roma_pyg.models.compiled import Compiled
from roma_pyg.models.effective import EffectiveDynamics, Residual
from roma_pyg.models.level import Level, pool_observable
from roma_pyg.models.output import LevelForecast, RomaOutput
from roma_pyg.nn.companding import WindowViews
from roma_pyg.nn.segment import weighted_mean
from roma_pyg.nn.trunk import LATENT, DeepONet, FourierFeatures, Nomad, OperatorNetwork
from roma_pyg.physics import Jet

if TYPE_CHECKING:
    from roma_pyg.data.series import GraphSeries


@dataclass
class Encoding:
    """What a model knows of a batch before it looks ahead.

    Attributes:
        levels: Levels of G graphs with n_1, n_2, ... nodes, the graph itself first.
        branch: What the operator network gets of each token, shape ``(G, sum of n, C)``.
        penalties: Unweighted scalars by name and level.
    """

    levels: list[Level]
    branch: Tensor
    penalties: dict[str, Tensor] = field(default_factory=dict)


class GraphOperator(ABC, nn.Module):
    """An operator from the recent history of a graph to its future, on one level or several.

    A subclass turns each node (or supernode) into a token, by :meth:`represent`. What follows is
    the same for all, so that models differ in nothing else: an operator network (``operator``)
    turns each token into a function of the time ahead, which is added to a simple base forecast
    (``base``) along a fixed direction e of the latent space, and the observable is the length of
    the sum::

        u(t) = base(t) e + spread(t) operator(t, token)   in R^3,     y(t) = |u(t)|

    With ``config.compand`` networks see windows companded besides (`WindowViews`), in all models
    alike. With ``config.effective`` a residual operator learns the law of motion of u besides.

    Args:
        config: Sizes and kinds of the parts.
        data: Window, horizon, subgraph size and number of positional features that the model is
            made for.

    Raises:
        ValueError: If an effective law is wanted for a horizon of one step.
    """

    direction: Tensor

    def __init__(self, config: ModelConfig, data: DataConfig) -> None:
        """Create the base forecast; a subclass creates its encoder, then the operator network."""
        super().__init__()
        self.config = config
        self.data = data
        self.effective: EffectiveDynamics | None = None
        self._compiled_operator: Compiled | None = None
        self.embed_features = nn.Linear(data.num_features, config.features)
        self.memory: NodeMemory | None = None
        ahead = 0
        if data.memory.size:
            self.memory = NodeMemory.of(data)
            ahead = len(self.memory.steps)
        self.num_inputs = data.window + ahead
        self.base = BaseForecast(
            self.num_inputs,
            data.horizon,
            config.base,
            ahead,
            relative=config.correction == "relative",
        )
        self.views = WindowViews(config.compand)
        self.num_seen = self.views.count * self.num_inputs
        self.register_buffer("direction", torch.full((LATENT,), LATENT**-0.5))

    def _make_operators(self, onset: float = 0.0) -> None:
        """Create the operator network and, where one is wanted, the effective law.

        Args:
            onset: Initial time of the `Onset` of a model that has tokens to start from; 0 for none.
        """
        config, data = self.config, self.data
        trunk = config.trunk
        kinds: dict[str, type[OperatorNetwork]] = {"deeponet": DeepONet, "nomad": Nomad}

        def make_operator(field_channels: int = 0, onset: float = 0.0) -> OperatorNetwork:
            return kinds[trunk.kind](
                config.operator.width,
                config.encoder.width,
                trunk.basis,
                trunk.width,
                trunk.layers,
                FourierFeatures(trunk.fourier_features, trunk.fourier_std),
                field_channels,
                onset,
            )

        self.operator = make_operator(onset=onset)
        if config.effective.kind != "none":
            if data.horizon < 2:
                raise ValueError(
                    "Expected 'data.horizon' of at least 2 for an effective law, whose rate of "
                    f"change needs two steps ahead (got {data.horizon})."
                )
            # A Fourier feature of the latent space turns by 2 pi std per unit.
            spread = 2 * math.pi * trunk.fourier_std
            self.effective = EffectiveDynamics(config.effective, make_operator, spread)

    @property
    def title(self) -> str:
        """Name in tables."""
        return type(self).__name__

    @abstractmethod
    def represent(self, batch: SubgraphBatch, seed: int | None = None) -> Encoding:
        """Turn a batch into tokens.

        Args:
            batch: Subgraphs with windows.
            seed: Seed of what penalties draw; None leaves them out.
        """

    def _fit_inputs(self, windows: Tensor) -> None:
        """Fit what the encoder needs to know of the values, from windows ``(n, K)``."""

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
    def fit_statistics(
        self, batches: Iterable[SubgraphBatch], memory: NodeMemory | None = None
    ) -> None:
        """Fit scales and base forecast on training batches; done once before training.

        Args:
            batches: Training batches whose targets hold all steps ahead, in order. RAM is
                O(n (K + horizon)) for n core nodes in all.
            memory: What the features of the batches remember; needed by a model with memory.

        Raises:
            ValueError: If there is no batch, one lacks targets at a step ahead, or values are not
                finite; if a model with memory gets none.
        """
        if self.memory is not None:
            if memory is None:
                raise ValueError(
                    "Expected 'memory' for a model with data.memory.size of "
                    f"{self.data.memory.size} (got None)."
                )
            self.memory.load_state_dict(memory.state_dict())
        samples = []
        everything = list(range(1, self.data.horizon + 1))
        for batch in (batch.to(self.direction.device) for batch in batches):
            self._check(batch)
            if batch.target is None or batch.steps.tolist() != everything:
                raise ValueError(
                    f"Expected batches with targets at the steps ahead 1 to {self.data.horizon} "
                    f"(got {'no target' if batch.target is None else batch.steps.tolist()})."
                )
            weight = batch.importance
            if weight is None:
                weight = batch.target.new_ones(batch.num_core)
            samples.append((self._lags(self._continued(batch)), batch.target, weight))
        if not samples:
            raise ValueError("Expected at least one training batch to fit the scales of the model.")
        own = torch.cat([sample[0][:, : self.data.window] for sample in samples])
        self._fit_inputs(own[: 1 << 14])
        self.base.fit(samples)
        self.views.fit(own)

    def forward(self, batch: SubgraphBatch) -> RomaOutput:
        """Forecast a batch on all levels.

        Args:
            batch: Subgraphs with windows; targets may be missing.

        Returns:
            Forecasts and, where given, coarse-grained targets per level, and the penalties.

        Raises:
            ValueError: If the batch does not fit the sizes the model was made for.
        """
        encoding = self.represent(batch, seed=batch.seed)
        levels, branch = encoding.levels, encoding.branch
        residuals: dict[str, Tensor] = {}
        if self.effective is None or batch.target is None:
            predictions = self.decode(levels, branch, batch.steps)
        else:
            predictions, residual = self._decode_with_law(batch, levels, branch)
            residuals = residual.terms([level.num_nodes for level in levels])
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
        return RomaOutput(outputs, encoding.penalties, residuals)

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
        widths = {"window": self.data.window, "features": self.data.num_features}
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
        encoding = self.represent(batch)
        fine = encoding.levels[0]
        tokens = encoding.branch[:, : fine.num_nodes]
        return self.decode([fine], tokens, batch.steps)[0]

    def forecast_base(self, batch: SubgraphBatch) -> Tensor:
        """Base forecast of the core nodes, without the network, shape ``(G, B, Q)``."""
        lags = self._lags(self._continued(batch))
        return self.base(lags, batch.steps).abs().unflatten(0, (batch.num_graphs, -1))

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
            course = None if batch.course is None else batch.course[1:]
            batch = replace(batch, window=window, course=course)
        return replace(batch, later=None)

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
        correction = operator(self._points(steps), branch, features, None, self._start(levels))
        forecasts = []
        parts = correction.split([level.num_nodes for level in levels], dim=1)
        for level, part in zip(levels, parts, strict=True):
            base = self.base(level.lags, steps, level.mass)
            spread = level.mass * self.base.spread(base / level.mass, steps)
            u = base.unsqueeze(-1) * self.direction + spread.unsqueeze(-1) * part
            forecasts.append(torch.linalg.vector_norm(u, dim=-1))
        return forecasts

    def field(self, levels: list[Level], branch: Tensor, steps: Tensor, order: int = 2) -> Jet:
        """The field u per unit of mass with its derivatives in (t, x), at x = 0.

        Between the steps ahead, the base forecast and the scales of the correction are cubic
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
        start = self._start(levels)
        correction = self.operator(
            Jet.coordinates(points, order),
            branch,
            features,
            start=None if start is None else start.to(points.dtype),
        )
        parts = range(3 if order == 3 else 2)
        base = [
            torch.cat(
                [self.base(level.lags, steps, level.mass, k) / level.mass for level in levels],
                dim=1,
            ).unsqueeze(-1)
            for k in parts
        ]
        forecast = Jet.of_time(base, points.shape[1], order)
        return forecast * self.direction + self.base.spread_jet(forecast, steps) * correction

    def residual(
        self,
        levels: list[Level],
        branch: Tensor,
        steps: Tensor,
        direction: Tensor | None = None,
    ) -> Residual:
        """Residual of the effective law at all tokens.

        Autocast does not apply here: second derivatives do not bear half precision.

        Args:
            levels: Levels of G graphs with n_1, n_2, ... nodes.
            branch: Their tokens after attention, shape ``(G, sum of n, C)``.
            steps: Steps ahead, shape ``(Q,)``.
            direction: Where the gradient is to be taken along one direction alone, shape ``(4,)``.

        Returns:
            Residual of all tokens; a law that sees neighbours is asked only of nodes that have all
            of theirs on their level.

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
            residual = self.effective(points, field, branch, features, neighbors, direction)
        if "neighbors" in self.effective.sees:
            residual.asked = torch.cat([level.whole for level in levels], dim=1)
        return residual

    def _decode_with_law(
        self, batch: SubgraphBatch, levels: list[Level], branch: Tensor
    ) -> tuple[list[Tensor], Residual]:
        """Forecasts as :meth:`decode`, and the residual at some of the steps ahead.

        There the forecast is the value of the field, which the law has need of anyway.
        """
        order, signs = self._drawn(batch)
        chosen, rest = order.tensor_split([self.config.effective.times])
        sampled = self.training and self.config.effective.derivative == "sampled"
        direction = signs if sampled else None
        residual = self.residual(levels, branch, batch.steps[chosen], direction)
        length = torch.linalg.vector_norm(residual.field, dim=-1)
        parts = length.split([level.num_nodes for level in levels], dim=1)
        predictions = [level.mass * part for level, part in zip(levels, parts, strict=True)]
        if len(rest):
            others = self.decode(levels, branch, batch.steps[rest])
            pairs = zip(predictions, others, strict=True)
            predictions = [torch.cat([own, other], dim=-1) for own, other in pairs]
        back = order.argsort()
        return [prediction[..., back] for prediction in predictions], residual

    def _start(self, levels: list[Level]) -> Tensor | None:
        """Tokens that the branch passes on from, if it does, shape ``(G, sum of n, C)``."""
        return None

    def _points(self, steps: Tensor) -> Tensor:
        """Coordinates (t, 0) of steps ahead, in the precision of the parameters."""
        coordinates = self.direction.new_zeros(len(steps), 1 + LATENT)
        coordinates[:, 0] = steps / self.data.horizon
        return coordinates

    def _drawn(self, batch: SubgraphBatch) -> tuple[Tensor, Tensor]:
        """Order of the steps ahead, of which residuals take the first, and signs ``(4,)``.

        Drawn by the seed of the batch.
        """
        generator = torch.Generator().manual_seed(batch.seed)
        order = torch.randperm(len(batch.steps), generator=generator)
        signs = 2.0 * torch.randint(2, (1 + LATENT,), generator=generator) - 1
        return order.to(batch.steps.device), signs.to(self.direction)

    def _continued(self, batch: SubgraphBatch) -> SubgraphBatch:
        """Continue the windows by what the memory of the nodes expects.

        From here on a window is K samples of history, then some to come.
        """
        if self.memory is None:
            return batch
        memory = batch.features[:, -self.memory.size :]
        course = None if batch.course is None else batch.course[0]
        neighbors = self._around(batch) if self.memory.neighbors else None
        outlook = self.memory(batch.window, memory, course, neighbors)
        return replace(batch, window=torch.cat([batch.window, outlook], dim=1))

    def _around(self, batch: SubgraphBatch) -> Tensor:
        """Mean windows of the neighbours of core nodes; their own where they have none."""
        count = batch.num_core
        mean = weighted_mean(batch.window, batch.edge_index, batch.edge_weight, count)
        alone = torch.bincount(batch.edge_index[1], minlength=count) == 0
        return torch.where(alone.unsqueeze(1), batch.window[:count], mean)

    def _lags(self, batch: SubgraphBatch) -> Tensor:
        """Own and neighbour windows of the core nodes, shape ``(G B, 2 K)``."""
        count = batch.num_core
        neighbors = weighted_mean(batch.window, batch.edge_index, batch.edge_weight, count)
        return torch.cat([batch.window[:count], neighbors], dim=-1)
