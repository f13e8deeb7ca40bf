"""Windows in a finer resolution of small values."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from roma_pyg.nn.gated import GatedMLP


class CompandedWindow(nn.Module):
    """Gated network of companded windows.

    Smooth functions of a value, or its first layers in a network, tell large values apart, and
    small ones hardly. Here a relative error is the same step at all sizes.

    Args:
        window: Values of a window K.
        width: Channels.
        knee: See :func:`compand`.

    Example:
        >>> network = CompandedWindow(8, 3, knee=0.05)
        >>> network.fit(torch.rand(20, 8))
        >>> network(torch.rand(5, 8)).shape
        torch.Size([5, 3])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, window: int, width: int, knee: float) -> None:
        """Create the network, for companded values of mean 0 and variance 1."""
        super().__init__()
        self.knee = knee
        self.network = GatedMLP(window, width, width)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    def fit(self, values: Tensor) -> None:
        """Give companded values mean 0 and variance 1 over training values, of any shape."""
        companded = compand(values, self.knee)
        self.mean.copy_(companded.mean())
        self.std.copy_(companded.std().clamp_min(1e-6))

    def forward(self, windows: Tensor) -> Tensor:
        """Map windows in units of the observable, ``(..., K)``, to ``(..., width)``."""
        return self.network((compand(windows, self.knee) - self.mean) / self.std)


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
