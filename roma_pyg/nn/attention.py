"""Transformer blocks over the tokens of all levels."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from roma_pyg.nn.gated import GatedMLP
from roma_pyg.nn.segment import row_offsets, weighted_mean


class Couplings(NamedTuple):
    """Couplings between the tokens of a batch.

    Attributes:
        edge_index: Senders and ascending receivers among the ``G n`` tokens, shape ``(2, e)``.
        edge_weight: Weights, shape ``(e,)``.
        rowptr: Row offsets of the receivers, shape ``(G n + 1,)``.
    """

    edge_index: Tensor
    edge_weight: Tensor
    rowptr: Tensor

    @classmethod
    def join(cls, levels: list[tuple[Tensor, Tensor]], sizes: list[int], graphs: int) -> Couplings:
        """Couplings of several levels as couplings of their tokens.

        Args:
            levels: Edges, ``(2, e)`` within ``[0, G n_l)``, and weights, ``(e,)``, of each level.
            sizes: Nodes n_l of each level; the tokens of a subgraph come level by level.
            graphs: Number of subgraphs G.

        Example:
            >>> fine = (torch.tensor([[1, 3], [0, 2]]), torch.tensor([0.5, 1.0]))
            >>> coarse = (torch.tensor([[0], [0]]), torch.tensor([0.25]))
            >>> joint = Couplings.join([fine, coarse], [2, 1], graphs=2)
            >>> joint.edge_index.tolist(), joint.edge_weight.tolist()
            ([[1, 2, 4], [0, 2, 3]], [0.5, 0.25, 1.0])
        """
        total, start, parts = sum(sizes), 0, []
        for (edge_index, _), size in zip(levels, sizes, strict=True):
            parts.append(edge_index // size * total + edge_index % size + start)
            start += size
        edges = torch.cat(parts, dim=1)
        order = edges[1].argsort(stable=True)
        weight = torch.cat([weight for _, weight in levels])[order]
        edges = edges[:, order]
        return cls(edges, weight, row_offsets(edges[1], graphs * total))

    def mean(self, tokens: Tensor) -> Tensor:
        """Coupling-weighted sum of the neighbours' tokens ``(G, n, C)``, in the same shape."""
        rows = tokens.flatten(0, 1)
        return weighted_mean(rows, *self[:2], len(rows), self.rowptr).view(tokens.shape)


class AttentionBlock(nn.Module):
    r"""Pre-norm self-attention and feed-forward block (Xiong et al. 2020, arXiv:2002.04745).

    .. math::
        x \leftarrow x + W\,\mathrm{softmax}(Q K^T / \sqrt{C / H})\,V, \qquad
        x \leftarrow x + \mathrm{MLP}([h, A h]), \qquad
        Q, K, V = W_{Q, K, V}\,\mathrm{LN}\,x, \qquad h = \mathrm{LN}\,x

    Every token attends to every token of its subgraph, whatever their levels, and to no other
    subgraph. The feed-forward network is gated (`GatedMLP`) and, with ``neighbors``, also sees the
    coupling-weighted mean A h of the neighbours of a token on its own level, so that attention
    need not find the graph again. The fused attention of torch needs O(n C) memory per subgraph
    where it is available, instead of O(H n^2); the time is O(n^2 C + n C^2 + e C).

    Args:
        width: Channels C.
        heads: Attention heads H, a divisor of C.
        dropout: Dropout probability of attention weights and of the feed-forward output, in [0, 1).
        neighbors: Whether the feed-forward network sees the neighbours.

    Raises:
        ValueError: If the heads do not divide the channels, or the probability is out of range.

    Example:
        >>> block = AttentionBlock(width=8, heads=2)
        >>> block(torch.randn(1, 5, 8)).shape
        torch.Size([1, 5, 8])
        >>> block.attention_map(torch.randn(1, 5, 8)).shape
        torch.Size([1, 2, 5, 5])
    """

    def __init__(
        self, width: int, heads: int, dropout: float = 0.0, *, neighbors: bool = False
    ) -> None:
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
        self.neighbors = neighbors
        # As many weights as a plain network of four times the width, in multiples of 8.
        hidden = max(8, width // 3 * 8)
        self.mlp = nn.Sequential(
            GatedMLP((1 + neighbors) * width, hidden, width), nn.Dropout(dropout)
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

    def forward(self, tokens: Tensor, couplings: Couplings | None = None) -> Tensor:
        """Update tokens.

        Args:
            tokens: Shape ``(G, n, C)``.
            couplings: Couplings between the tokens; needed with ``neighbors``.

        Raises:
            ValueError: If the couplings are missing.
        """
        query, key, value = self.heads_of(tokens)
        mixed = F.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout if self.training else 0.0
        )
        tokens = tokens + self.output(mixed.transpose(1, 2).flatten(2))
        hidden = self.norm_mlp(tokens)
        if self.neighbors:
            if couplings is None:
                raise ValueError("Expected 'couplings' for a block with 'neighbors' (got none).")
            hidden = torch.cat([hidden, couplings.mean(hidden)], dim=-1)
        return tokens + self.mlp(hidden)
