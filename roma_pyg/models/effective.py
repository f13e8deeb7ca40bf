"""The residual operator: an effective law of the forecast field, learned along with it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from roma_pyg import exchange
from roma_pyg.config import EffectiveConfig
from roma_pyg.nn.trunk import LATENT, OperatorNetwork
from roma_pyg.physics import Jet
from roma_pyg.physics.residuals import burgers, emergent, field_inputs

WIDTHS = {"field": LATENT, "gradient": LATENT**2, "laplacian": LATENT, "neighbors": LATENT}
"""Channels of what an emergent law sees of the field."""

UNIT_STEPS = 100
"""Training steps over which the units of an emergent law are measured."""

OperatorFactory = Callable[[int], OperatorNetwork]
"""Makes an operator network that sees so many channels of a field."""


@dataclass
class Residual:
    """Residual of all tokens.

    Attributes:
        value: R, shape ``(G, n, Q, 3)``.
        gradient: dR/d(t, x), partial or total, shape ``(4, G, n, Q, 3)``; or its product with one
            direction, shape ``(1, G, n, Q, 3)``.
        rate: The rate of change u_t that the law explains, shape ``(G, n, Q, 3)``.
        field: The field u itself, shape ``(G, n, Q, 3)``.
        asked: Of which tokens the law is asked, shape ``(G, n)``; None for all.
    """

    value: Tensor
    gradient: Tensor
    rate: Tensor
    field: Tensor
    asked: Tensor | None = None

    def terms(self, sizes: list[int]) -> dict[str, Tensor]:
        """Means over the tokens of each level of which the law is asked.

        Args:
            sizes: Tokens of each level, n in all.

        Returns:
            ``residual/l`` (mean of ``|R|^2``), ``residual_gradient/l`` (of ``|dR/d(t, x)|^2``) and
            ``unexplained/l``, the share of ``|u_t|^2`` that the law does not explain (no gradient).
            Where the law is not asked of all tokens, also ``asked/l``, their share; where it is
            asked of none, all terms are zero.
        """
        square = self.value.square().sum(-1)
        steep = self.gradient.square().sum(-1).sum(0)
        speed = self.rate.detach().square().sum(-1)
        asked = torch.ones_like(square[:, :, 0]) if self.asked is None else self.asked.to(square)
        terms: dict[str, Tensor] = {}
        numbers = (square, steep, speed, asked.unsqueeze(-1))
        parts = zip(*(x.split(sizes, dim=1) for x in numbers), strict=True)
        for level, (value, gradient, rate, weight) in enumerate(parts):
            share = weight.mean()
            weight = weight / exchange.mean(share).clamp_min(1e-30)
            residual = (weight * value).mean()
            terms[f"residual/{level}"] = residual
            terms[f"residual_gradient/{level}"] = (weight * gradient).mean()
            speed_of_all = exchange.mean((weight * rate).mean()).clamp_min(1e-30)
            terms[f"unexplained/{level}"] = residual.detach() / speed_of_all
            if self.asked is not None:
                terms[f"asked/{level}"] = share
        return terms


class EffectiveDynamics(nn.Module):
    r"""A law for the forecast field u(t, x) in R^3 (arXiv:2502.15913).

    .. math::
        \text{emergent:}\quad & R = u_t - F(t, x, z, b, u, \nabla u, \Delta u) \\
        \text{burgers:}\quad & R = u_t + F(t, x, z, b)\,(u \cdot \nabla) u - \nu \Delta u

    F is an operator network of the kind of the forecast's and shares its branch tokens b and graph
    features z; what ``inputs`` leaves out it sees as zero. An emergent F has a linear part in what
    it sees of the field besides (``linear``, zero at first): the network is bounded, and would
    bend the linear laws that are so common. nu is a positive number. u is per unit
    of mass, so that all levels are alike; its derivatives come from one pass of jets of order 2,
    or 3 for the total gradient of R, and those of F from one of order 1.

    What an emergent F sees of the field, and F itself, are in units of their root mean square over
    the first 100 training steps (buffers of the model, fixed after these): a small Laplacian can
    tell as much as a large value.

    A law that sees the neighbours of a token is asked only of nodes whose neighbours are all there:
    the mean over some of them is another number, and a law that is fitted to it is another law.

    Args:
        config: Kind of law, inputs, derivative.
        operator: Makes the operator network of F.
        spread: Typical ratio of a derivative of u to u, by which F's inputs are scaled.

    Example:
        >>> from roma_pyg.nn.trunk import DeepONet, FourierFeatures
        >>> law = EffectiveDynamics(
        ...     EffectiveConfig(kind="emergent"),
        ...     lambda field: DeepONet(8, 4, 2, 8, 1, FourierFeatures(6, 1.0), field),
        ...     spread=1.0,
        ... )
        >>> points, branch, features = torch.rand(3, 4), torch.randn(1, 5, 8), torch.randn(1, 5, 4)
        >>> field = torch.sin(Jet.coordinates(points, law.order)[..., 1:]) + torch.ones(1, 5, 1, 3)
        >>> law(points, field, branch, features).value.shape
        torch.Size([1, 5, 3, 3])
    """

    scale: Tensor
    count: Tensor

    def __init__(self, config: EffectiveConfig, operator: OperatorFactory, spread: float) -> None:
        """Create the operator network of F."""
        super().__init__()
        self.config = config
        self.spread = spread
        self.order = 3 if config.derivative == "total" else 2
        emergent_law = config.kind == "emergent"
        self.sees = [name for name in WIDTHS if emergent_law and name in config.inputs]
        width = sum(WIDTHS[name] for name in self.sees)
        self.operator = operator(width)
        self.linear = nn.Linear(width, LATENT, bias=False) if width else None
        if self.linear is not None:
            nn.init.zeros_(self.linear.weight)
        # Mean squares of the inputs, and of the rate of change as the last.
        self.register_buffer("scale", torch.ones(len(self.sees) + 1))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))
        # softplus of ten times it is one. (An optimiser moves a parameter by a given amount per
        # step: ten times it can change by a factor within some hundred steps.)
        start = torch.tensor(math.log(math.e - 1) / 10)
        self.raw_viscosity = nn.Parameter(start) if config.kind == "burgers" else None

    @property
    def viscosity(self) -> Tensor:
        """Viscosity nu of a Burgers-like law, in squared latent lengths per horizon.

        Raises:
            ValueError: If the law is another one.
        """
        if self.raw_viscosity is None:
            raise ValueError(f"Expected a law of kind 'burgers' (got {self.config.kind!r}).")
        return nn.functional.softplus(10 * self.raw_viscosity) / self.spread**2

    def forward(
        self,
        points: Tensor,
        field: Jet,
        branch: Tensor,
        features: Tensor,
        neighbors: Callable[[Tensor], Tensor] | None = None,
        direction: Tensor | None = None,
    ) -> Residual:
        """Evaluate the residual.

        Args:
            points: Times ahead in units of the horizon and latent positions, shape ``(Q, 4)``.
            field: u there, shape ``(G, n, Q, 3)``, carried to ``order``.
            branch: Branch tokens, shape ``(G, n, C)``.
            features: Graph features z, shape ``(G, n, C_z)``.
            neighbors: Linear map from values ``(..., G, n, Q, 3)`` to the mean over the neighbours
                less the value itself; needed where ``neighbors`` is among the inputs.
            direction: Take the partial gradient along this direction alone, shape ``(4,)``: with
                random signs, its square has the mean of the whole one (Hutchinson 1990,
                doi:10.1080/03610919008812866).
        """
        if direction is None:
            coordinates = Jet.coordinates(points, order=1)
        else:
            coordinates = Jet(points, direction.expand(1, 1, -1), dim=1, order=1)
        seen = set(self.config.inputs)
        coordinates = coordinates if "coordinates" in seen else coordinates * 0.0
        branch = branch if "branch" in seen else torch.zeros_like(branch)
        features = features if "features" in seen else torch.zeros_like(features)
        if self.raw_viscosity is not None:
            # In units of typical derivatives, as the inputs of an emergent law.
            strength = self.operator(coordinates, branch, features) / self.spread
            residual = burgers(field, strength, self.viscosity)
        else:
            inputs = self._inputs(field, neighbors)
            if self.training and self.count < UNIT_STEPS:
                self._track([*inputs, field.time])
            root = self.scale.sqrt()
            seen_parts = [part / size for part, size in zip(inputs, root[:-1], strict=True)]
            joined = torch.cat(seen_parts, dim=-1) if seen_parts else None
            source = self.operator(coordinates, branch, features, joined)
            if self.linear is not None:
                source = source + self.linear(joined)
            residual = emergent(field, source * root[-1])
        assert isinstance(residual, Jet)
        return Residual(residual.value, residual.gradient, field.time, field.value)

    def _inputs(
        self, field: Jet, neighbors: Callable[[Tensor], Tensor] | None
    ) -> list[Tensor | Jet]:
        """What F sees of the field, in the order of ``sees``."""
        value, gradient, laplacian = field_inputs(field, self.spread)
        parts = {"field": value, "gradient": gradient, "laplacian": laplacian}
        if "neighbors" in self.sees:
            if neighbors is None:
                raise ValueError("Expected 'neighbors' for a law that sees them (got None).")
            parts["neighbors"] = (
                value.map(neighbors) if isinstance(value, Jet) else neighbors(value)
            )
        return [parts[name] for name in self.sees]

    @torch.no_grad()
    def _track(self, parts: list[Tensor | Jet]) -> None:
        """Update the mean squares."""
        values = [part.value if isinstance(part, Jet) else part for part in parts]
        squares = torch.stack([value.square().mean() for value in values])
        self.count += 1
        squares = exchange.mean(squares)
        self.scale.lerp_(squares.to(self.scale).clamp_min(1e-20), 1 / self.count.to(self.scale))
