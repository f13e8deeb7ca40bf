"""Jets of order 1 and 2 through pointwise functions and layer normalisation, with fast backward.

Channels are worked on one by one, in place where possible: a channel of a subgraph fits into the
cache of a core, all of them together do not, which costs a factor of three.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from roma_pyg.physics.pointwise import Rule


def _sum_of_squares(parts: Tensor) -> Tensor:
    """``sum_i x_i^2`` over the first dimension."""
    total = parts[0].square()
    for part in parts[1:]:
        total.addcmul_(part, part)
    return total


def _fit(gradient: Tensor, shape: torch.Size) -> Tensor:
    """Sum over the dimensions that were shared."""
    return gradient if gradient.shape == shape else gradient.sum_to_size(shape)


class Pointwise(torch.autograd.Function):
    """Value, gradient and Laplacian of f(u), with the backward pass in closed form.

    Saves the input alone; autograd through the formulas would keep a dozen intermediates.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        value: Tensor,
        derivatives: Tensor,
        dim: int,
        order: int,
        function: Rule,
    ) -> tuple[Tensor, Tensor]:
        """Return value and derivatives of the result."""
        ctx.save_for_backward(value, derivatives)
        ctx.dim, ctx.order, ctx.function = dim, order, function
        f0, f1, f2, _ = function(value)
        out = value.new_empty(len(derivatives), *value.shape)
        for channel, part in zip(out, derivatives, strict=True):
            torch.mul(f1, part, out=channel)
        if order == 2:
            out[dim].addcmul_(f2, _sum_of_squares(derivatives[1:dim]))
        return f0, out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401
        grad_value: Tensor,
        grad: Tensor,
    ) -> tuple[Tensor, Tensor, None, None, None]:
        """Return the gradients with respect to value and derivatives."""
        value, derivatives = ctx.saved_tensors
        dim = ctx.dim
        _, f1, f2, f3 = ctx.function(value)
        to_value = grad[0] * derivatives[0]
        for channel, part in zip(grad[1:], derivatives[1:], strict=True):
            to_value.addcmul_(channel, part)
        to_value.mul_(f2).addcmul_(grad_value, f1)
        to_derivatives = torch.empty_like(grad, memory_format=torch.contiguous_format)
        for channel, part in zip(to_derivatives, grad, strict=True):
            torch.mul(f1, part, out=channel)
        if ctx.order == 2:
            space = derivatives[1:dim]
            to_value.addcmul_(f3.mul_(grad[dim]), _sum_of_squares(space))
            pull = f2.mul(grad[dim]).mul_(2)
            for channel, part in zip(to_derivatives[1:dim], space, strict=True):
                channel.addcmul_(pull, part)
        return to_value, _fit(to_derivatives, derivatives.shape), None, None, None


class LayerNorm(torch.autograd.Function):
    """Normalised value with gradient and Laplacian, and the backward pass in closed form.

    With c the centred value, d its centred derivatives and ``r = (mean c^2 + eps)^(-1/2)``, the
    result is c r by the product rule, where ``r_a = -r^3 m_a``,
    ``lap r = -r^3 (m_L + q) + 3 r^5 sum_i m_i^2``, m = mean(c d) and ``q = mean(sum_i d_i^2)``.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        value: Tensor,
        derivatives: Tensor,
        dim: int,
        order: int,
        eps: float,
    ) -> tuple[Tensor, Tensor]:
        """Return value and derivatives of the result."""
        c = value - value.mean(-1, keepdim=True)
        d = torch.empty_like(derivatives, memory_format=torch.contiguous_format)
        for centered, part in zip(d, derivatives, strict=True):
            torch.sub(part, part.mean(-1, keepdim=True), out=centered)
        r = (c.square().mean(-1, keepdim=True) + eps).rsqrt()
        cube = r * r * r
        m = torch.stack([(c * part).mean(-1, keepdim=True) for part in d])
        slope = -cube * m
        q = r
        if order == 2:
            q = _sum_of_squares(d[1:dim]).mean(-1, keepdim=True)
            slope[dim] += 3 * cube * r * r * _sum_of_squares(m[1:dim]) - cube * q
        out = value.new_empty(len(d), *value.shape)
        for channel, part, factor in zip(out, d, slope, strict=True):
            torch.mul(part, r, out=channel)
            channel.addcmul_(c, factor)
        if order == 2:
            for part, factor in zip(d[1:dim], slope[1:dim], strict=True):
                out[dim].addcmul_(part, 2 * factor)
        ctx.save_for_backward(c, d, r, m, q, slope)
        ctx.dim, ctx.order = dim, order
        return c * r, out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: Any,  # noqa: ANN401
        grad_value: Tensor,
        grad: Tensor,
    ) -> tuple[Tensor, Tensor, None, None, None]:
        """Return the gradients with respect to value and derivatives."""
        c, d, r, m, q, slope = ctx.saved_tensors
        dim, width = ctx.dim, c.shape[-1]
        square, cube = r * r, r * r * r
        # Towards the numbers per row: r, its derivatives, m and q.
        to_slope = torch.stack([(part * c).sum(-1, keepdim=True) for part in grad])
        joint = grad_value * c
        for channel, part in zip(grad, d, strict=True):
            joint.addcmul_(channel, part)
        to_r = joint.sum(-1, keepdim=True)
        if ctx.order == 2:
            last = grad[dim]
            for number, part in zip(to_slope[1:dim], d[1:dim], strict=True):
                number.add_((last * part).sum(-1, keepdim=True), alpha=2)
        to_r -= 3 * square * (to_slope * m).sum(0)
        to_m = -cube * to_slope
        if ctx.order == 2:
            to_m[1:dim] += 6 * cube * square * m[1:dim] * to_slope[dim]
            steep = 15 * square * square * _sum_of_squares(m[1:dim]) - 3 * square * q
            to_r += to_slope[dim] * steep
        # And back to every element.
        to_m /= width
        to_c = grad_value * r
        to_d = torch.empty_like(grad, memory_format=torch.contiguous_format)
        for channel, part, centered, factor, pull in zip(to_d, grad, d, slope, to_m, strict=True):
            to_c.addcmul_(part, factor).addcmul_(centered, pull)
            torch.mul(part, r, out=channel)
            channel.addcmul_(c, pull)
        if ctx.order == 2:
            to_q = -2 / width * cube * to_slope[dim]
            for channel, centered, factor in zip(to_d[1:dim], d[1:dim], slope[1:dim], strict=True):
                channel.addcmul_(last, 2 * factor).addcmul_(centered, to_q)
        to_c.addcmul_(c, -cube * to_r / width)
        for part in (to_c, *to_d):
            part -= part.mean(-1, keepdim=True)
        return to_c, _fit(to_d, d.shape), None, None, None
