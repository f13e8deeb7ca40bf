"""Formulas on the Poincare ball of curvature ``-c``: pure functions of tensors.

The ball is ``{x in R^C : sqrt(c) |x| < 1}`` with metric ``lambda_x^2 |dx|^2`` and
``lambda_x = 2 / (1 - c |x|^2)`` (Ganea, Becigneul & Hofmann, "Hyperbolic neural networks",
NeurIPS 2018; Ungar's gyrovectors). Every function is finite, with finite gradients, from the zero
vector to the edge of the ball: norms are bounded from below, and points stay a margin away from
the edge, which depends on the precision. Maps and additions can be differentiated once (`fused`).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from roma_pyg.geometry.fused import Factor, MobiusAdd, Radial

_MIN_SQUARE = 1e-30


def edge_margin(dtype: torch.dtype) -> float:
    """Relative distance to the edge that points keep: four times the root of the precision.

    There ``1 - c |x|^2`` still has half of its digits. It is 1.4e-3 in float32 (largest
    hyperbolic radius ``7.3 / sqrt(c)``) and 6e-8 in float64 (``17.3 / sqrt(c)``).
    """
    return 4.0 * float(torch.finfo(dtype).eps) ** 0.5


def exponential(square: Tensor, c: float) -> Factor:
    """Factor by which `expmap0` scales a vector, ``tanh(sqrt(c) |v|) / (sqrt(c) |v|)``.

    The result is bounded as by `project`.

    Args:
        square: Squared norms, shape ``(..., 1)``.
        c: Minus the curvature, positive.

    Returns:
        The factor, and what finds its derivative with respect to the squared norm.
    """
    radius = (c * square.clamp_min(_MIN_SQUARE)).sqrt()
    value = torch.tanh(radius)
    inside = value.clamp_max(1.0 - edge_margin(square.dtype))
    return _per_radius(inside, lambda: (1.0 - value.square()) * (inside == value), radius, c)


def logarithm(square: Tensor, c: float) -> Factor:
    """Factor by which `logmap0` scales, ``artanh(sqrt(c) |x|) / (sqrt(c) |x|)``.

    Args:
        square: Squared norms, shape ``(..., 1)``.
        c: Minus the curvature, positive.

    Returns:
        The factor, and what finds its derivative with respect to the squared norm.
    """
    radius = (c * square.clamp_min(_MIN_SQUARE)).sqrt()
    # Looser than the margin of `project`, so that projected points keep their gradient.
    inside = radius.clamp_max(1.0 - 0.5 * edge_margin(square.dtype))
    return _per_radius(
        torch.atanh(inside), lambda: (inside == radius) / (1.0 - inside.square()), radius, c
    )


def _per_radius(value: Tensor, slope: Callable[[], Tensor], radius: Tensor, c: float) -> Factor:
    """Factor ``f(r) / r`` at ``r = sqrt(c) |x|``, from f and what finds its slope there."""
    factor = value / radius
    return factor, lambda: (slope() - factor) * (0.5 * c / radius.square())


def project(x: Tensor, c: float) -> Tensor:
    """Pull points that lie outside, or too near the edge, back along their radius.

    Args:
        x: Points, shape ``(..., C)``.
        c: Minus the curvature, positive.

    Returns:
        Points with ``sqrt(c) |x| <= 1 - edge_margin``; others are unchanged.
    """
    limit = (1.0 - edge_margin(x.dtype)) / c**0.5

    def pull(square: Tensor) -> Factor:
        norm = square.sqrt().clamp_min(limit)
        factor = limit / norm
        return factor, lambda: -0.5 * factor / norm.square() * (norm > limit)

    return Radial.apply(x, pull)


def expmap0(v: Tensor, c: float) -> Tensor:
    """Exponential map at the origin, ``tanh(sqrt(c) |v|) v / (sqrt(c) |v|)``.

    The hyperbolic distance of the result to the origin is ``2 |v|``.

    Args:
        v: Tangent vectors at the origin, shape ``(..., C)``.
        c: Minus the curvature, positive.

    Returns:
        Points of the ball, same shape. Beyond ``edge_margin`` they are projected, so that the
        map is one-to-one only for ``sqrt(c) |v|`` below 3.6 in float32, 8.7 in float64.

    Example:
        >>> point = expmap0(torch.tensor([0.5, 0.0]), 1.0)
        >>> [round(value, 4) for value in point.tolist()]
        [0.4621, 0.0]
    """
    return Radial.apply(v, lambda square: exponential(square, c))


def logmap0(x: Tensor, c: float) -> Tensor:
    """Logarithmic map at the origin, ``artanh(sqrt(c) |x|) x / (sqrt(c) |x|)``.

    Args:
        x: Points of the ball, shape ``(..., C)``.
        c: Minus the curvature, positive.

    Returns:
        Tangent vectors at the origin, same shape; the inverse of `expmap0`.
    """
    return Radial.apply(x, lambda square: logarithm(square, c))


def mobius_add(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Moebius addition, the translation of ``y`` by ``x``.

    ``((1 + 2c<x,y> + c|y|^2) x + (1 - c|x|^2) y) / (1 + 2c<x,y> + c^2 |x|^2 |y|^2)``, evaluated
    in the equal form ``(a (x + y) + s x) / (a b + s)`` with ``a = 1 - c|x|^2``,
    ``b = 1 - c|y|^2`` and ``s = c |x + y|^2``: all terms of the denominator are positive, so that
    nothing cancels near the edge.

    Args:
        x: Points of the ball, shape ``(..., C)``.
        y: Points of the ball, a shape that broadcasts with ``x``.
        c: Minus the curvature, positive.

    Returns:
        Points of the ball, the broadcast shape.
    """
    return project(MobiusAdd.apply(x, y, c, edge_margin(x.dtype)), c)


def mobius_matvec(weight: Tensor, x: Tensor, c: float) -> Tensor:
    """Moebius-linear map: the matrix acts in the tangent space at the origin.

    ``tanh(|Wx| / |x| artanh(sqrt(c) |x|)) Wx / (|Wx| sqrt(c))``, which is
    ``expmap0(W logmap0(x))``: the latter form is the one evaluated, as it needs no quotient of
    norms and maps the kernel of W to the origin without a special case.

    Args:
        weight: Matrix W, shape ``(C_out, C_in)``.
        x: Points of the ball, shape ``(..., C_in)``.
        c: Minus the curvature, positive.

    Returns:
        Points of the ball, shape ``(..., C_out)``.
    """
    return expmap0(F.linear(logmap0(x, c), weight), c)


def distance(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Geodesic distance.

    ``2 / sqrt(c) arsinh(sqrt(c) |x - y| / sqrt((1 - c|x|^2) (1 - c|y|^2)))``: equal to the usual
    form with ``arcosh``, but accurate for near points too.

    Args:
        x: Points of the ball, shape ``(..., C)``.
        y: Points of the ball, a shape that broadcasts with ``x``.
        c: Minus the curvature, positive.

    Returns:
        Distances, the broadcast shape without its last dimension. The gradient where ``x`` equals
        ``y`` is set to zero.
    """
    gap = _conformal_gap(x, c) * _conformal_gap(y, c)
    # Not bounded from below: the distance of a point to itself is zero, torch's gradient there too.
    ratio = c**0.5 * torch.linalg.vector_norm(x - y, dim=-1, keepdim=True) * gap.rsqrt()
    return (2.0 / c**0.5 * torch.asinh(ratio)).squeeze(-1)


def squared_distance(x: Tensor, y: Tensor, c: float) -> Tensor:
    """Square of `distance`, with a gradient that vanishes where the points meet."""
    return distance(x, y, c).square()


def conformal_factor(x: Tensor, c: float) -> Tensor:
    """Conformal factor ``lambda_x = 2 / (1 - c |x|^2)``, shape ``(..., 1)``, at least 2."""
    return 2.0 / _conformal_gap(x, c)


def fermi_dirac(
    squared_distance: Tensor, radius: float, temperature: float
) -> tuple[Tensor, Tensor]:
    """Fermi-Dirac decoder, the probability of an edge at a distance.

    ``p = sigmoid((r - d^2) / t)`` (Krioukov et al., "Hyperbolic geometry of complex networks",
    2010).

    Args:
        squared_distance: Squared distances, any shape.
        radius: Squared distance r at which an edge is as likely as not.
        temperature: Width t of the step, positive.

    Returns:
        The logits ``(r - d^2) / t``, for a stable cross entropy, and the probabilities.

    Raises:
        ValueError: If the temperature is not positive.

    Example:
        >>> logits, probability = fermi_dirac(torch.tensor([0.0, 2.0]), 2.0, 1.0)
        >>> logits.tolist()
        [2.0, 0.0]
    """
    if not temperature > 0:
        raise ValueError(f"Expected 'temperature' to be positive (got {temperature}).")
    logits = (radius - squared_distance) / temperature
    return logits, torch.sigmoid(logits)


def _conformal_gap(x: Tensor, c: float) -> Tensor:
    """Return ``1 - c |x|^2``, kept positive."""
    return (1.0 - c * x.square().sum(-1, keepdim=True)).clamp_min(edge_margin(x.dtype))
