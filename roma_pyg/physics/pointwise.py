"""Smooth scalar functions with their first three derivatives."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

Derivatives = tuple[Tensor, Tensor, Tensor, Tensor]
"""f, f', f'' and f''' at the same points, four tensors of one shape."""

Rule = Callable[[Tensor], Derivatives]
"""Maps points to f and its derivatives there."""

_RULES: dict[str, Rule] = {}


def rule(name: str) -> Rule | None:
    """Return the rule of a torch function by its name, or None.

    >>> value, first, second, third = rule("sin")(torch.zeros(1))
    >>> value.item(), first.item(), third.item()
    (0.0, 1.0, -1.0)
    """
    return _RULES.get(name)


def register(name: str) -> Callable[[Rule], Rule]:
    """Decorate the rule of a function that torch calls ``name``.

    Args:
        name: Name of the torch function, such as ``"sin"`` for ``torch.sin`` and
            ``Tensor.sin``.
    """

    def keep(function: Rule) -> Rule:
        _RULES[name] = function
        return function

    return keep


def power(exponent: float) -> Rule:
    """Return the rule of ``x ** exponent``.

    >>> [int(part) for part in power(3)(torch.tensor(2.0))]
    [8, 12, 12, 6]
    """

    def evaluate(x: Tensor) -> Derivatives:
        parts, factor = [], 1.0
        for order in range(4):
            # The derivatives of an integer power end at zero, also where x is zero.
            parts.append(factor * x ** (exponent - order) if factor else torch.zeros_like(x))
            factor *= exponent - order
        return parts[0], parts[1], parts[2], parts[3]

    return evaluate


@register("sin")
def _sin(x: Tensor) -> Derivatives:
    sin, cos = x.sin(), x.cos()
    return sin, cos, -sin, -cos


@register("cos")
def _cos(x: Tensor) -> Derivatives:
    sin, cos = x.sin(), x.cos()
    return cos, -sin, -cos, sin


@register("exp")
def _exp(x: Tensor) -> Derivatives:
    value = x.exp()
    return value, value, value, value


@register("log")
def _log(x: Tensor) -> Derivatives:
    inverse = 1 / x
    return x.log(), inverse, -inverse.square(), 2 * inverse**3


@register("sqrt")
def _sqrt(x: Tensor) -> Derivatives:
    value = x.sqrt()
    inverse = 1 / value
    return value, 0.5 * inverse, -0.25 * inverse**3, 0.375 * inverse**5


@register("rsqrt")
def _rsqrt(x: Tensor) -> Derivatives:
    value = x.rsqrt()
    square = value.square()
    first = -0.5 * value * square
    second = -1.5 * first * square
    return value, first, second, -2.5 * second * square


@register("reciprocal")
def _reciprocal(x: Tensor) -> Derivatives:
    value = x.reciprocal()
    square = value.square()
    return value, -square, 2 * value * square, -6 * square.square()


@register("square")
def _square(x: Tensor) -> Derivatives:
    return x.square(), 2 * x, torch.full_like(x, 2), torch.zeros_like(x)


@register("tanh")
def _tanh(x: Tensor) -> Derivatives:
    value = x.tanh()
    first = 1 - value.square()
    return value, first, -2 * value * first, first * (6 * value.square() - 2)


@register("sigmoid")
def _sigmoid(x: Tensor) -> Derivatives:
    value = x.sigmoid()
    first = value * (1 - value)
    return value, first, first * (1 - 2 * value), first * (1 - 6 * first)


@register("softplus")
def _softplus(x: Tensor) -> Derivatives:
    first = x.sigmoid()
    second = first * (1 - first)
    return torch.nn.functional.softplus(x), first, second, second * (1 - 2 * first)


@register("silu")
def _silu(x: Tensor) -> Derivatives:
    gate = x.sigmoid()
    value = x * gate
    slope = gate - gate.square()
    tilt = 1 - 2 * gate
    lean = x * tilt
    first = torch.addcmul(gate, x, slope)
    third = slope * (tilt * (lean + 3) - 2 * x * slope)
    return value, first, slope * (lean + 2), third


@register("gelu")
def _gelu(x: Tensor) -> Derivatives:
    density = torch.exp(-0.5 * x.square()) / math.sqrt(2 * math.pi)
    mass = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
    square = x.square()
    third = density * x * (square - 4)
    return x * mass, mass + x * density, density * (2 - square), third
