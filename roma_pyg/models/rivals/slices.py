"""Attention among learned slices of the nodes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.rivals.single_level import SingleLevel

SLICES = 64


class SliceAttention(nn.Module):
    r"""Physics attention (Wu et al. 2024, arXiv:2402.02366).

    In each head every node spreads over M slices, :math:`w_i = \mathrm{softmax}(W x_i / \tau)`; a
    slice is the mean :math:`s_a = \sum_i w_{ia} v_i / \sum_i w_{ia}`, the slices attend to each
    other, and each node collects them by the same weights. O(n M C + M^2 C).

    Args:
        width: Channels C.
        heads: Heads, a divisor of C.
        slices: Slices M of each head.

    Example:
        >>> SliceAttention(8, 2, slices=3)(torch.randn(1, 5, 8)).shape
        torch.Size([1, 5, 8])
    """

    def __init__(self, width: int, heads: int, slices: int = SLICES) -> None:
        """Create the block."""
        super().__init__()
        self.heads = heads
        channels = width // heads
        self.norm = nn.LayerNorm(width)
        self.weigh = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        # Shared by the heads, as in the original.
        self.slice = nn.Linear(channels, slices)
        nn.init.orthogonal_(self.slice.weight)
        self.temperature = nn.Parameter(torch.full((heads, 1, 1), 0.5))
        self.query_key_value = nn.Linear(channels, 3 * channels, bias=False)
        self.output = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.SiLU(), nn.Linear(4 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Update tokens of shape ``(G, n, C)``."""
        normed = self.norm(tokens)
        weigh, value = (
            layer(normed).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.weigh, self.value)
        )
        weight = (self.slice(weigh) / self.temperature.clamp(0.1, 5)).softmax(dim=-1)
        mass = weight.sum(dim=2).unsqueeze(-1)
        slices = weight.mT @ value / (mass + 1e-5)
        mixed = F.scaled_dot_product_attention(*self.query_key_value(slices).chunk(3, dim=-1))
        tokens = tokens + self.output((weight @ mixed).transpose(1, 2).flatten(2))
        return tokens + self.mlp(tokens)


class Transolver(SingleLevel):
    """Transolver-like: ``operator.layers`` blocks of slice attention and MLP.

    It has no edges; the neighbours enter as their mean windows, beside the own window.
    """

    def make_layers(self, width: int, layers: int) -> None:
        """Create input network and blocks."""
        operator = self.config.operator
        inputs = 2 * self.num_seen + self.config.features
        self.enter = nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width))
        self.blocks = nn.Sequential(*(SliceAttention(width, operator.heads) for _ in range(layers)))

    def tokens_of(self, batch: SubgraphBatch, lags: Tensor) -> Tensor:
        """Apply the blocks to each subgraph."""
        entered = self.enter(self._known(batch, lags))
        return self.blocks(entered.unflatten(0, (batch.num_graphs, -1))).flatten(0, 1)
