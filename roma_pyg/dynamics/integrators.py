"""Fixed-step time integration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

RightHandSide = Callable[[float, Tensor, Tensor], None]
"""Writes the time derivative of a state: called with time, state and the tensor to write to."""


@dataclass(frozen=True)
class Workspace:
    """Buffers of `rk4_step`, each shaped like the state; reused so that no step allocates.

    Attributes:
        slope: Derivative at the current stage.
        stage: State at the current stage.
        result: Sum that becomes the new state.
    """

    slope: Tensor
    stage: Tensor
    result: Tensor

    @classmethod
    def like(cls, state: Tensor) -> Workspace:
        """Allocate the buffers for a state: three times its memory."""
        return cls(torch.empty_like(state), torch.empty_like(state), torch.empty_like(state))


def rk4_step(
    rhs: RightHandSide, time: float, state: Tensor, step: float, work: Workspace
) -> Tensor:
    r"""Advance a state by one step of the classical Runge-Kutta method of order 4, in place.

    .. math:: y(t + h) = y(t) + \tfrac{h}{6} (k_1 + 2 k_2 + 2 k_3 + k_4)

    with slopes k taken at t, t + h/2 (twice) and t + h (Hairer, Norsett & Wanner, Solving Ordinary
    Differential Equations I, section II.1). One step errs by O(h^5), an interval by O(h^4). There
    is no step-size control, and no protection against a step too large to be stable.

    Args:
        rhs: Writes the derivative at a time and state; it must not keep or change the state. An
            error that it raises leaves ``state`` as it was.
        time: Time t at the start of the step, in time units.
        state: The state y, floating point, any shape; overwritten by the state at t + h.
        step: Step h, in time units; a negative one integrates backwards.
        work: Buffers for this shape.

    Returns:
        ``state``.

    Example:
        >>> y = torch.ones(1, dtype=torch.float64)
        >>> decay = lambda time, state, out: torch.neg(state, out=out)
        >>> round(rk4_step(decay, 0.0, y, 0.1, Workspace.like(y)).item(), 6)  # exp(-0.1) = .904837
        0.904838
    """
    slope, stage, result = work.slope, work.stage, work.result
    half = step / 2
    rhs(time, state, slope)
    torch.add(state, slope, alpha=step / 6, out=result)
    torch.add(state, slope, alpha=half, out=stage)
    for distance in (half, step):
        rhs(time + half, stage, slope)
        result.add_(slope, alpha=step / 3)
        torch.add(state, slope, alpha=distance, out=stage)
    rhs(time + step, stage, slope)
    torch.add(result, slope, alpha=step / 6, out=state)
    return state
