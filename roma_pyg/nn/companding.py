"""Values in a finer resolution of small ones."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def compand(values: Tensor, knee: float) -> Tensor:
    """Stretch small values: ``asinh(v / knee) / asinh(1 / knee)``.

    Linear well below the knee and logarithmic well above, odd, and 0 and 1 stay where they are.
    Errors relative to the value, as of multiplicative noise and of the sMSPE, are differences of a
    logarithm; a network sees them alike at all sizes then.

    Args:
        values: Any shape, in units of the observable.
        knee: Where the logarithm begins, in the same units, positive.

    Returns:
        The same shape.

    Example:
        >>> compand(torch.tensor([0.0, 0.01, 1.0]), 0.05)
        tensor([0.0000, 0.0539, 1.0000])
    """
    return torch.asinh(values / knee) / math.asinh(1 / knee)
