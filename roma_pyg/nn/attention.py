"""Transformer blocks over the tokens of all levels."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


class AttentionBlock(nn.Module):
    r"""Pre-norm self-attention and feed-forward block (Xiong et al. 2020, arXiv:2002.04745).

    .. math::
        x \leftarrow x + W\,\mathrm{softmax}(Q K^T / \sqrt{C / H})\,V, \qquad
        x \leftarrow x + \mathrm{MLP}(\mathrm{LN}\,x), \qquad
        Q, K, V = W_{Q, K, V}\,\mathrm{LN}\,x

    Every token attends to every token of its subgraph, whatever their levels, and to no other
    subgraph. The fused attention of torch needs O(n C) memory per subgraph where it is available,
    instead of O(H n^2); the time is O(n^2 C + n C^2).

    Args:
        width: Channels C.
        heads: Attention heads H, a divisor of C.
        dropout: Dropout probability of attention weights and of the feed-forward output, in [0, 1).

    Raises:
        ValueError: If the heads do not divide the channels, or the probability is out of range.

    Example:
        >>> import torch
        >>> block = AttentionBlock(width=8, heads=2)
        >>> block(torch.randn(1, 5, 8)).shape
        torch.Size([1, 5, 8])
        >>> block.attention_map(torch.randn(1, 5, 8)).shape
        torch.Size([1, 2, 5, 5])
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        """Create the block."""
        super().__init__()
        if heads < 1 or width < 1 or width % heads:
            raise ValueError(
                f"Expected 'heads' to be a divisor of 'width' = {width} (got {heads})."
            )
        if not 0 <= dropout < 1:
            raise ValueError(f"Expected 'dropout' to be in [0, 1) (got {dropout}).")
        self.heads = heads
        self.dropout = dropout
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width),
            nn.SiLU(),
            nn.Linear(4 * width, width),
            nn.Dropout(dropout),
        )

    def heads_of(self, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values of tokens ``(G, n, C)``, each ``(G, H, n, C / H)``."""
        graphs, count, width = tokens.shape
        joint = self.query_key_value(self.norm_attention(tokens))
        joint = joint.view(graphs, count, 3, self.heads, width // self.heads)
        query, key, value = joint.permute(2, 0, 3, 1, 4)
        return query, key, value

    def attention_map(self, tokens: Tensor) -> Tensor:
        """Attention weights for inspection.

        Args:
            tokens: Input of the block, shape ``(G, n, C)``.

        Returns:
            Shape ``(G, H, n, n)``, row = the token that attends; rows sum to one. Memory
            O(G H n^2).
        """
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
