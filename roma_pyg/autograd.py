"""What functions with a backward pass of their own have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

import torch

Gradients = TypeVar("Gradients")


def first_order(backward: Callable[..., Gradients]) -> Callable[..., Gradients]:
    """Decorate the backward pass of a function that can be differentiated once.

    torch's ``once_differentiable`` treats gradients as constants where nothing but the input of the
    function leads to them: second derivatives are then silently wrong.

    Raises:
        RuntimeError: By the decorated function, if a graph of the gradients is wanted.
    """

    @wraps(backward)
    def checked(ctx: object, *gradients: torch.Tensor) -> Gradients:
        if torch.is_grad_enabled():
            raise RuntimeError(
                "Expected a gradient of first order of an operation that has its own backward pass "
                "(got create_graph=True, as for a second derivative)."
            )
        return backward(ctx, *gradients)

    return checked
