"""Jets of order 1 and 2 through pointwise functions and layer normalisation, with fast backward."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from roma_pyg.physics.pointwise import Rule


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
        out = f1 * derivatives
        if order == 2:
            spread = derivatives[1:dim].square().sum(0)
            out[dim].addcmul_(f2, spread)
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
        to_value = (grad * derivatives).sum(0).mul_(f2).addcmul_(grad_value, f1)
        to_derivatives = grad * f1
        if ctx.order == 2:
            space, last = derivatives[1:dim], grad[dim]
            to_value.addcmul_(f3 * last, space.square().sum(0))
            to_derivatives[1:dim].addcmul_(2 * f2 * last, space.expand_as(grad[1:dim]))
        if to_derivatives.shape != derivatives.shape:
            to_derivatives = to_derivatives.sum_to_size(derivatives.shape)
        return to_value, to_derivatives, None, None, None


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
        d = derivatives - derivatives.mean(-1, keepdim=True)
        r = (c.square().mean(-1, keepdim=True) + eps).rsqrt()
        m = (c * d).mean(-1, keepdim=True)
        slope = -(r**3) * m
        out = d * r
        if order == 2:
            q = d[1:dim].square().sum(0).mean(-1, keepdim=True)
            slope[dim] += -(r**3) * q + 3 * r**5 * m[1:dim].square().sum(0)
            out[dim] += 2 * (d[1:dim] * slope[1:dim]).sum(0)
        else:
            q = r
        out.addcmul_(c, slope)
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
        cube = r**3
        # Towards the numbers per row: r, its derivatives, m and q.
        to_slope = (grad * c).sum(-1, keepdim=True)
        if ctx.order == 2:
            last = grad[dim]
            to_slope[1:dim] += 2 * (last * d[1:dim]).sum(-1, keepdim=True)
        to_m = -cube * to_slope
        to_r = (grad_value * c).sum(-1, keepdim=True) + (grad * d).sum(-1, keepdim=True).sum(0)
        to_r -= 3 * r.square() * (to_slope * m).sum(0)
        if ctx.order == 2:
            to_q = -cube * to_slope[dim]
            to_m[1:dim] += 6 * r**5 * m[1:dim] * to_slope[dim]
            to_r += to_slope[dim] * (15 * r**4 * m[1:dim].square().sum(0) - 3 * r.square() * q)
        # And back to every element.
        to_m /= width
        to_c = grad_value * r + (grad * slope).sum(0) + (to_m * d).sum(0)
        to_c.addcmul_(c, -cube * to_r / width)
        to_d = (grad * r).addcmul_(to_m, c)
        if ctx.order == 2:
            to_d[1:dim].addcmul_(last, 2 * slope[1:dim])
            to_d[1:dim].addcmul_(2 * to_q / width, d[1:dim].expand_as(to_d[1:dim]))
        to_c -= to_c.mean(-1, keepdim=True)
        to_d -= to_d.mean(-1, keepdim=True)
        if to_d.shape != d.shape:
            to_d = to_d.sum_to_size(d.shape)
        return to_c, to_d, None, None, None
