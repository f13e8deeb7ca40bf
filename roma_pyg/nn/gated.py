"""Gated feed-forward network."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class GatedMLP(nn.Module):
    r"""``W_o (silu(W_g x) * (W_v x))``, with biases (SwiGLU, Shazeer 2020, arXiv:2002.05202).

    The product of two linear maps suits dynamics whose forces are products of states, such as
    ``sin(a - b) = sin a cos b - cos a sin b``.

    Args:
        in_channels: Channels of the input.
        hidden_channels: Channels of the product.
        out_channels: Channels of the output.

    Example:
        >>> import torch
        >>> GatedMLP(3, 8, 2)(torch.randn(5, 3)).shape
        torch.Size([5, 2])
    """

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int) -> None:
        """Create the three linear maps."""
        super().__init__()
        self.gate = nn.Linear(in_channels, hidden_channels)
        self.value = nn.Linear(in_channels, hidden_channels)
        self.output = nn.Linear(hidden_channels, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., in_channels)`` to ``(..., out_channels)``."""
        return self.output(F.silu(self.gate(x)) * self.value(x))
