"""Windows as networks see them, with a finer resolution of small values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class WindowViews(nn.Module):
    """Values as they are and companded, standardised each.

    Small values are told apart by the companded ones, large ones by the others: what makes the one
    finer makes the other coarser.

    Args:
        knee: See :func:`compand`; 0 leaves the companded ones out.

    Example:
        >>> views = WindowViews(0.05)
        >>> views.fit(torch.rand(20, 8))
        >>> views(torch.rand(5, 8)).shape
        torch.Size([5, 16])
        >>> views.plain(torch.rand(5, 8)).shape
        torch.Size([5, 8])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, knee: float) -> None:
        """Start from mean zero and variance one."""
        super().__init__()
        self.knee = knee
        self.register_buffer("mean", torch.zeros(self.count))
        self.register_buffer("std", torch.ones(self.count))

    @property
    def count(self) -> int:
        """Numbers that each value becomes."""
        return 2 if self.knee else 1

    def fit(self, values: Tensor) -> None:
        """Give each view mean 0 and variance 1 over training values."""
        for index, view in enumerate(self._views(values)):
            self.mean[index] = view.mean()
            self.std[index] = view.std().clamp_min(1e-6)

    def plain(self, values: Tensor) -> Tensor:
        """The values as they are, standardised, in the same shape."""
        return (values - self.mean[0]) / self.std[0]

    def forward(self, values: Tensor) -> Tensor:
        """All views of a window, behind each other: shape ``(..., K)`` to ``(..., count K)``."""
        views = zip(self._views(values), self.mean, self.std, strict=True)
        return torch.cat([(view - mean) / std for view, mean, std in views], dim=-1)

    def _views(self, values: Tensor) -> list[Tensor]:
        return [values, compand(values, self.knee)] if self.knee else [values]


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
