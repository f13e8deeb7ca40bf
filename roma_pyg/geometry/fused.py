"""Maps of the Poincare ball as single operations, with their backward pass in closed form.

Made of elementary operations a map is a chain of some fifteen, twice as many with their backward
pass, on one number per row: on a GPU each is the launch of a kernel, on a CPU it takes longer to
start than to run. They can be differentiated once; a second time is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from roma_pyg.autograd import first_order

Factor = tuple[Tensor, Callable[[], Tensor]]
"""A factor for each row, and what finds its derivative with respect to the squared norm."""

Rule = Callable[[Tensor], Factor]
"""Maps squared norms ``(..., 1)`` to a factor."""


def _squares(x: Tensor) -> Tensor:
    return x.square().sum(-1, keepdim=True)


class Radial(torch.autograd.Function):
    """``f(|x|^2) x``: all that the maps at the origin do."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, rule: Rule) -> Tensor:  # noqa: ANN401
        """Scale each row."""
        factor, ctx.slope = rule(_squares(x))
        ctx.save_for_backward(x, factor)
        return x * factor

    @staticmethod
    @first_order
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401
        """Return the gradient with respect to x."""
        x, factor = ctx.saved_tensors
        along = (grad * x).sum(-1, keepdim=True)
        return (grad * factor).addcmul_(x, 2 * ctx.slope() * along), None


class MobiusAdd(torch.autograd.Function):
    """``(a (x + y) + s x) / (a b + s)``, see `poincare.mobius_add`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, y: Tensor, c: float, margin: float) -> Tensor:  # noqa: ANN401
        """Add; ``margin`` is the least of ``1 - c |x|^2``."""
        total = x + y
        a = (1.0 - c * _squares(x)).clamp_min(margin)
        b = (1.0 - c * _squares(y)).clamp_min(margin)
        s = c * _squares(total)
        # Divided before the products, which are larger by the number of channels.
        bottom = a * b + s
        first, second = a / bottom, s / bottom
        ctx.save_for_backward(x, y, total, a, b, bottom, first, second)
        ctx.c, ctx.margin = c, margin
        return (first * total).addcmul_(x, second)

    @staticmethod
    @first_order
    def backward(
        ctx: Any,  # noqa: ANN401
        grad: Tensor,
    ) -> tuple[Tensor, Tensor, None, None]:
        """Return the gradients with respect to x and y."""
        x, y, total, a, b, bottom, first, second = ctx.saved_tensors
        twice, margin = 2 * ctx.c, ctx.margin
        to_first = (grad * total).sum(-1, keepdim=True)
        to_second = (grad * x).sum(-1, keepdim=True)
        to_bottom = -(first * to_first + second * to_second) / bottom
        to_a = (to_first / bottom + to_bottom * b) * (a > margin)
        to_b = to_bottom * a * (b > margin)
        to_total = (grad * first).addcmul_(total, twice * (to_second / bottom + to_bottom))
        to_x = torch.addcmul(to_total, grad, second).addcmul_(x, -twice * to_a)
        # One translation for all rows is the usual case: summed before it is spread.
        own = to_b.sum_to_size(*y.shape[:-1], 1) * y
        return to_x.sum_to_size(x.shape), to_total.sum_to_size(y.shape) - twice * own, None, None
