"""Learning-rate schedule: linear warm-up, then cosine or linear decay."""

from __future__ import annotations

import math
from functools import partial
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

FLOOR = 0.01
COOL_DOWN = 0.1


def learning_rate_factor(
    step: int,
    max_steps: int,
    warmup: float = 0.05,
    floor: float = FLOOR,
    kind: Literal["cosine", "linear"] = "cosine",
) -> float:
    """Learning rate of an optimiser step, relative to the peak.

    With W = round(warmup * max_steps): ``(step + 1) / (W + 1)`` while ``step < W``, so that the
    first step already moves; then ``floor + (1 - floor) (1 + cos(pi p)) / 2`` with
    ``p = (step - W) / (max_steps - W)`` (Loshchilov & Hutter 2017, arXiv:1608.03983, without
    restarts). After ``max_steps`` it stays at ``floor``. The kind ``linear`` falls to ``floor`` on
    a line that ends a tenth of the steps before, the cool-down.

    Args:
        step: Optimiser steps already taken, from 0.
        max_steps: Steps of the whole run, at least 1.
        warmup: Fraction of the steps with a rising rate, in [0, 1).
        floor: Final factor, in [0, 1].
        kind: ``cosine`` or ``linear``.

    >>> [round(learning_rate_factor(s, 100, 0.1), 3) for s in (0, 10, 55, 100)]
    [0.091, 1.0, 0.505, 0.01]
    """
    rising = round(warmup * max_steps)
    if step < rising:
        return (step + 1) / (rising + 1)
    falling = max(1, max_steps - rising)
    if kind == "linear":
        falling = max(1, falling - round(COOL_DOWN * max_steps))
        return floor + (1 - floor) * (1 - min(1.0, (step - rising) / falling))
    progress = min(1.0, (step - rising) / falling)
    return floor + (1 - floor) * (1 + math.cos(math.pi * progress)) / 2


def make_schedule(
    optimizer: Optimizer,
    max_steps: int,
    warmup: float = 0.05,
    floor: float = FLOOR,
    kind: Literal["cosine", "linear"] = "cosine",
) -> LambdaLR:
    """Return a scheduler that follows :func:`learning_rate_factor`; step it once per step.

    Args:
        optimizer: Optimiser whose groups hold the peak rates.
        max_steps: Steps of the whole run, at least 1.
        warmup: Fraction of the steps with a rising rate, in [0, 1).
        floor: Final factor, in [0, 1].
        kind: ``cosine`` or ``linear``.

    Raises:
        ValueError: If a value is out of its range.
    """
    if max_steps < 1:
        raise ValueError(f"Expected 'max_steps' to be at least 1 (got {max_steps}).")
    if not 0 <= warmup < 1:
        raise ValueError(f"Expected 'warmup' to be in [0, 1) (got {warmup}).")
    if not 0 <= floor <= 1:
        raise ValueError(f"Expected 'floor' to be in [0, 1] (got {floor}).")
    factor = partial(
        learning_rate_factor, max_steps=max_steps, warmup=warmup, floor=floor, kind=kind
    )
    return LambdaLR(optimizer, factor)
