"""The two spaces node features can live in: the Poincare ball, and flat space as the ablation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor
from torch.nn import functional as F

from roma_pyg.geometry import poincare
from roma_pyg.geometry.fused import Factor, Radial

_MAX_RADIUS = 3.0


class Space(Protocol):
    """What a layer needs to know of the space its features live in.

    The chart at the origin maps tangent vectors with entries of order one to points, whatever the
    number of channels, so that the same layers can be used on both sides.
    """

    def from_tangent(self, tangent: Tensor) -> Tensor:
        """Map tangent vectors at the origin, shape ``(..., C)``, to points."""

    def to_tangent(self, points: Tensor) -> Tensor:
        """Map points, shape ``(..., C)``, to tangent vectors at the origin."""

    def linear(self, points: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Map points ``(..., C_in)`` by a matrix ``(C_out, C_in)`` and translate them."""

    def squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Squared geodesic distance of points, shape ``(...,)``."""


@dataclass(frozen=True)
class PoincareBall:
    """Poincare ball of sectional curvature ``-curvature``.

    A tangent vector v of C channels and root-mean-square r goes to the point at the distance
    ``2 r / sqrt(curvature)`` from the origin: ``expmap0(v / sqrt(curvature C))``. Without the
    scale a typical vector of 96 channels would land on the edge of the ball, where gradients die.

    Args:
        curvature: Minus the sectional curvature c, positive.
    """

    curvature: float

    def __post_init__(self) -> None:
        """Check the curvature.

        Raises:
            ValueError: If it is not positive.
        """
        if not self.curvature > 0:
            raise ValueError(f"Expected 'curvature' to be positive (got {self.curvature}).")

    def from_tangent(self, tangent: Tensor) -> Tensor:
        """Map tangent vectors to points, their root-mean-square r softly bounded by 3.

        The vector is first divided by ``sqrt(1 + r^2 / 9)``. That keeps the gradient alive where
        the exponential map would run into the edge of the ball.
        """
        # Half precision has too few digits near the edge.
        tangent = tangent if tangent.dtype.itemsize > 2 else tangent.float()
        channels, c = tangent.shape[-1], self.curvature
        soft, scale = 1.0 / (_MAX_RADIUS**2 * channels), self._scale(tangent)

        def rule(square: Tensor) -> Factor:
            shrink = 1.0 / (1.0 + soft * square)
            bound = shrink.sqrt() / scale
            factor, steep = poincare.exponential(bound.square() * square, c)

            def slope() -> Tensor:
                # Of ``bound^2 square``, which rises by ``bound^2 shrink``, and of ``bound``.
                return bound * shrink * (steep() * bound.square() - 0.5 * soft * factor)

            return bound * factor, slope

        return Radial.apply(tangent, rule)

    def to_tangent(self, points: Tensor) -> Tensor:
        """Map points to tangent vectors with entries of order one."""
        scale = self._scale(points)

        def rule(square: Tensor) -> Factor:
            factor, slope = poincare.logarithm(square, self.curvature)
            return scale * factor, lambda: scale * slope()

        return Radial.apply(points, rule)

    def linear(self, points: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Moebius-linear map, then Moebius translation by the point of the tangent ``bias``."""
        moved = poincare.mobius_matvec(weight, points, self.curvature)
        return poincare.mobius_add(moved, self.from_tangent(bias), self.curvature)

    def squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Squared geodesic distance."""
        return poincare.squared_distance(x, y, self.curvature)

    def _scale(self, x: Tensor) -> float:
        """Return ``sqrt(c C)``."""
        return float(self.curvature * x.shape[-1]) ** 0.5


@dataclass(frozen=True)
class FlatSpace:
    """Euclidean space: points and tangent vectors are the same thing."""

    def from_tangent(self, tangent: Tensor) -> Tensor:
        """Return the vectors themselves."""
        return tangent

    def to_tangent(self, points: Tensor) -> Tensor:
        """Return the points themselves."""
        return points

    def linear(self, points: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Return ``W x + b``."""
        return F.linear(points, weight, bias)

    def squared_distance(self, x: Tensor, y: Tensor) -> Tensor:
        """Squared Euclidean distance."""
        return (x - y).square().sum(-1)


def make_space(geometry: Literal["hyperbolic", "euclidean"], curvature: float) -> Space:
    """Return the space of a name.

    Args:
        geometry: ``hyperbolic`` or ``euclidean``.
        curvature: Minus the sectional curvature, positive; unused in flat space.

    Raises:
        ValueError: If the name is unknown or the curvature is not positive.
    """
    if geometry == "hyperbolic":
        return PoincareBall(curvature)
    if geometry == "euclidean":
        return FlatSpace()
    raise ValueError(f"Expected 'geometry' to be 'hyperbolic' or 'euclidean' (got {geometry!r}).")
