"""Transformer blocks over the tokens of all levels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class AttentionBlock(nn.Module):
    """Pre-norm self-attention and feed-forward block (Xiong et al. 2020, arXiv:2002.04745).

    Every token attends to every token of its subgraph, whatever their levels. The fused attention
    of torch needs O(n C) memory per subgraph where it is available.

    Args:
        width: Channels C.
        heads: Attention heads H, a divisor of C.
        dropout: Dropout probability.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        """Create the block."""
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.GELU(approximate="tanh"),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def heads_of(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each of shape ``(G, H, n, C / H)``."""
        graphs, count, width = tokens.shape
        joint = self.query_key_value(self.norm_attention(tokens))
        joint = joint.view(graphs, count, 3, self.heads, width // self.heads)
        query, key, value = joint.permute(2, 0, 3, 1, 4)
        return query, key, value

    def attention_map(self, tokens: Tensor) -> Tensor:
        """Attention weights for inspection, shape ``(G, H, n, n)``; rows sum to one."""
        query, key, _ = self.heads_of(tokens)
        return (query @ key.mT * query.shape[-1] ** -0.5).softmax(dim=-1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Update tokens of shape ``(G, n, C)``."""
        query, key, value = self.heads_of(tokens)
        mixed = F.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout if self.training else 0.0
        )
        tokens = tokens + self.output(mixed.transpose(1, 2).flatten(2))
        return tokens + self.mlp(self.norm_mlp(tokens))
