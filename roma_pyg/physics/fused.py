"""Jets of order 1 and 2 through pointwise functions and layer normalisation, with fast backward.

Channels are worked on one by one, in place where possible: a channel of a subgraph fits into the
cache of a core, all of them together do not, which costs a factor of three.
"""

from __future__ import annotations

import string
from typing import Any

import torch
from torch import Tensor

from roma_pyg.autograd import first_order
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
    @first_order
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


def _centered(rows: Tensor) -> Tensor:
    """Rows less their mean; of a weight, what applied to any rows is the weight on centred ones."""
    return rows - rows.mean(-1, keepdim=True)


def _product(derivatives: Tensor, weight: Tensor) -> Tensor:
    """Every channel through a linear layer, whose weights may differ between tokens."""
    if weight.ndim == 2:
        return derivatives @ weight.mT
    # All channels in one product would copy the weights for each of them.
    return torch.stack([part @ weight.mT for part in derivatives])


def _weight_gradient(weight: Tensor, grad: Tensor, rows: Tensor) -> Tensor:
    """Gradient of a weight from that of its output and from its input, with channels or not."""
    if weight.ndim == 2:
        return grad.flatten(0, -2).mT @ rows.flatten(0, -2)
    if grad.ndim == weight.ndim:
        return grad.mT @ rows
    total = grad[0].mT @ rows[0]
    for channel, part in zip(grad[1:], rows[1:], strict=True):
        total += channel.mT @ part
    return total


def _dot(rows: Tensor, derivatives: Tensor) -> Tensor:
    """Products of rows ``(..., w)`` with derivatives ``(c, ..., w)``, shape ``(c, ..., 1)``."""
    if derivatives.shape[1:] == rows.shape:
        return torch.stack([(rows * part).sum(-1, keepdim=True) for part in derivatives])
    # What all tokens share becomes one factor of a matrix product.
    return torch.einsum("...w,c...w->c...", rows, derivatives).unsqueeze(-1)


def _mix(numbers: Tensor, derivatives: Tensor, onto: Tensor) -> None:
    """Add ``sum_c n_c d_c`` of numbers ``(c, ..., 1)`` and derivatives to ``(..., w)``."""
    if derivatives.shape[1:] == onto.shape:
        for number, part in zip(numbers, derivatives, strict=True):
            onto.addcmul_(number, part)
    else:
        onto += torch.einsum("c...,c...w->...w", numbers.squeeze(-1), derivatives)


def _spread(numbers: Tensor, rows: Tensor, onto: Tensor) -> None:
    """Add ``n_c r``, summed over what is shared, to derivatives ``(c, ..., w)``."""
    if onto.shape[1:] == rows.shape:
        for number, part in zip(numbers, onto, strict=True):
            part.addcmul_(number, rows)
        return
    letters = string.ascii_letters[: rows.ndim - 1]
    pairs = zip(letters, onto.shape[1:-1], rows.shape[:-1], strict=True)
    kept = "".join(letter for letter, own, all_of_them in pairs if own == all_of_them)
    sums = torch.einsum(f"Y{letters},{letters}Z->Y{kept}Z", numbers.squeeze(-1), rows)
    onto += sums.reshape(onto.shape)


class NormLinear(torch.autograd.Function):
    r"""Layer normalisation and a linear layer behind it, and the backward pass in closed form.

    What is linear can be taken before the normalisation. With c the centred value, d_a the
    derivatives, ``A = W c``, ``B_a = W (d_a - mean d_a)`` and ``r = (mean c^2 + eps)^(-1/2)``:

    .. math::
        y = r A, \qquad y_a = r B_a + r_a A, \qquad
        \Delta y = r B_\Delta + 2 \sum_i r_i B_i + (\Delta r) A

    where ``r_a = -r^3 m_a``, ``lap r = -r^3 (m_L + q) + 3 r^5 sum_i m_i^2``, m = mean(c d) and
    ``q = mean(sum_i |d_i - mean d_i|^2)``. So nothing of the width of the input is written, and
    derivatives that tokens share, as those behind a first layer, are multiplied once for all of
    them. Saves input and output.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        value: Tensor,
        derivatives: Tensor,
        weight: Tensor | None,
        dim: int,
        order: int,
        eps: float,
    ) -> tuple[Tensor, Tensor]:
        """Return value and derivatives of the result; no weight is the identity."""
        width = value.shape[-1]
        c = value - value.mean(-1, keepdim=True)
        r = (c.square().mean(-1, keepdim=True) + eps).rsqrt()
        cube = r * r * r
        m = _dot(c, derivatives) / width
        slope = -cube * m
        q = mean = r
        if order == 2:
            space = derivatives[1:dim]
            mean = space.mean(-1, keepdim=True)
            q = _sum_of_squares(space).mean(-1, keepdim=True) - mean.square().sum(0)
            slope[dim] += 3 * cube * r * r * _sum_of_squares(m[1:dim]) - cube * q
        if weight is None:
            flat, inner = c, _centered(derivatives)
        else:
            flat, inner = c @ weight.mT, _product(derivatives, _centered(weight))
        out = flat.new_empty(len(derivatives), *flat.shape)
        for channel, part, factor in zip(out, inner, slope, strict=True):
            torch.mul(part, r, out=channel)
            channel.addcmul_(flat, factor)
        if order == 2:
            for part, factor in zip(inner[1:dim], slope[1:dim], strict=True):
                out[dim].addcmul_(part, 2 * factor)
        result = flat * r
        ctx.save_for_backward(c, derivatives, weight, r, m, mean, q, slope, result, out)
        ctx.dim, ctx.order = dim, order
        return result, out

    @staticmethod
    @first_order
    def backward(
        ctx: Any,  # noqa: ANN401
        grad_value: Tensor,
        grad: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor | None, None, None, None]:
        """Return the gradients with respect to value, derivatives and weight."""
        c, derivatives, weight, r, m, mean, q, slope, result, out = ctx.saved_tensors
        dim, second, width = ctx.dim, ctx.order == 2, c.shape[-1]
        square, cube = r * r, r * r * r
        flat = result / r
        # Towards A and B, and towards the numbers per row: r, r_a, m and q. What the gradient has
        # in common with B follows from the output.
        to_flat = grad_value * r
        to_inner = torch.empty_like(grad, memory_format=torch.contiguous_format)
        joint = grad_value * result
        for channel, pull, part, factor in zip(to_inner, grad, out, slope, strict=True):
            to_flat.addcmul_(pull, factor)
            joint.addcmul_(pull, part)
            torch.mul(pull, r, out=channel)
        to_slope = _dot(flat, grad)
        to_r = joint.sum(-1, keepdim=True) - (to_slope * slope).sum(0)
        to_q = None
        if second:
            last = grad[dim]
            for channel, factor in zip(to_inner[1:dim], slope[1:dim], strict=True):
                channel.addcmul_(last, 2 * factor)
            common = (_dot(last, out[1:dim]) - slope[1:dim] * to_slope[dim]) / r
            to_r -= 2 * (common * slope[1:dim]).sum(0)
            to_slope[1:dim] += 2 * common
        to_r = to_r / r - 3 * square * (to_slope * m).sum(0)
        to_m = -cube * to_slope
        if second:
            to_m[1:dim] += 6 * cube * square * m[1:dim] * to_slope[dim]
            steep = 15 * square * square * _sum_of_squares(m[1:dim]) - 3 * square * q
            to_r += to_slope[dim] * steep
            to_q = cube * to_slope[dim] * (-2 / width)
        to_m /= width
        # And back to every element.
        to_inner = _fit(to_inner, derivatives.shape[:-1] + grad.shape[-1:])
        to_weight = None
        if weight is None:
            to_c = to_flat
            to_derivatives = _centered(to_inner)
        else:
            to_c = to_flat @ weight
            to_derivatives = _product(to_inner, _centered(weight).mT)
            if ctx.needs_input_grad[2]:
                to_weight = _weight_gradient(weight, to_flat, c)
                own = _weight_gradient(weight, to_inner, derivatives)
                to_weight += _centered(own)
        _mix(to_m, derivatives, to_c)
        to_c.addcmul_(c, -cube * to_r / width)
        to_c -= to_c.mean(-1, keepdim=True)
        _spread(to_m, c, to_derivatives)
        if to_q is not None:
            to_q = _fit(to_q, mean.shape[1:])
            parts = zip(to_derivatives[1:dim], derivatives[1:dim], mean, strict=True)
            for channel, part, level in parts:
                channel.addcmul_(part, to_q).sub_(to_q * level)
        return to_c, to_derivatives, to_weight, None, None, None
