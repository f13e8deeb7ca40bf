"""Graph convolution on the Poincare ball, and its Euclidean ablation."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch_geometric.nn import MessagePassing

from roma_pyg.geometry.space import make_space
from roma_pyg.nn.segment import (
    AGGREGATIONS,
    Aggregation,
    row_offsets,
    segment_aggregate,
    weighted_mean,
)


class HyperbolicConv(MessagePassing):
    r"""Graph convolution between points of the Poincare ball.

    With ``log`` and ``exp`` the maps at the origin (`PoincareBall`), for a receiver i and its
    senders j::

        h_k  = LayerNorm(log((W (*) x_k) (+) b))                   Moebius-linear, tangent space
        m_ij = act(V [h_i, h_j - h_i] + v)                         edge network
        a_i  = [sum~_j m_ij, mean_j m_ij, var_j m_ij, max_j m_ij,  aggregations
                sum_j w_ij h_j]                                    coupled mean
        x_i' = exp(R log(x_i) + act(MLP([h_i, a_i])))              mixing, residual

    after the hyperbolic graph networks of Chami et al. (NeurIPS 2019), the edge convolution of
    Wang et al. (2019) and the aggregations of Corso et al. (NeurIPS 2020). Differences from the
    literal order of those steps, for stability: (1) tangent vectors are normalised before the edge
    network, as points near the edge of the ball have tangent vectors of very unlike lengths;
    (2) activation and residual are both taken in the tangent space before the *one* exponential
    map, which is the same map, as log(exp(v)) = v, and cheaper; (3) its argument is softly bounded
    (`PoincareBall.from_tangent`); (4) the sum enters as ``sum~ = sign(s) log(1 + |s|)``:
    the degrees of a scale-free graph reach 1e5, and so would the plain sum, while its logarithm
    still tells the degree; (5) the mean of the senders' states by their couplings w_ij joins the
    aggregations: the four others do not know how strongly neighbours act, and it is what a mean
    field is made of.

    The first layer of the edge network is split into node-wise parts,
    ``V [h_i, h_j - h_i] = (V_a - V_b) h_i + V_b h_j``, learned as two matrices of their own, so
    that an edge costs an addition and an activation: time O(n C^2 + e C), memory O(e C). A second
    layer per edge (``edge_layers=2``) adds O(e C^2); sum and mean would not gain from it, as a
    linear map commutes with them and the mixing network follows.

    Args:
        in_channels: Channels C_in of the input points.
        out_channels: Channels C_out of the output points, used throughout the layer.
        curvature: The ball has curvature ``-curvature``; positive. Unused if Euclidean.
        geometry: ``hyperbolic`` or ``euclidean`` (the same layer with identity maps).
        aggregations: Any of ``sum``, ``mean``, ``var``, ``max``.
        edge_layers: Layers of the edge network, 1 or 2.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> conv = HyperbolicConv(3, 8)
        >>> points = conv.space.from_tangent(torch.randn(4, 3))
        >>> edges = torch.tensor([[1, 3, 0], [0, 0, 1]])  # senders, receivers
        >>> conv(points, edges, num_targets=2).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        curvature: float = 0.125,
        geometry: Literal["hyperbolic", "euclidean"] = "hyperbolic",
        aggregations: tuple[Aggregation, ...] = AGGREGATIONS,
        edge_layers: int = 1,
    ) -> None:
        """Create the parameters."""
        for key, value in (("in_channels", in_channels), ("out_channels", out_channels)):
            if value < 1:
                raise ValueError(f"Expected '{key}' to be at least 1 (got {value}).")
        if edge_layers not in (1, 2):
            raise ValueError(f"Expected 'edge_layers' to be 1 or 2 (got {edge_layers}).")
        unknown = [name for name in aggregations if name not in AGGREGATIONS]
        if unknown or not aggregations:
            raise ValueError(f"Expected 'aggregations' from {AGGREGATIONS} (got {aggregations}).")
        super().__init__(aggr=None)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.geometry = geometry
        self.aggregations = tuple(aggregations)
        self.space = make_space(geometry, curvature)

        self.weight = nn.Parameter(torch.empty(out_channels, in_channels))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.norm = nn.LayerNorm(out_channels)
        self.receiver = nn.Linear(out_channels, out_channels)
        self.sender = nn.Linear(out_channels, out_channels, bias=False)
        self.activation = nn.SiLU()
        self.edge: nn.Module = nn.Identity()
        if edge_layers == 2:
            self.edge = nn.Sequential(nn.Linear(out_channels, out_channels), nn.SiLU())
        self.mix = nn.Sequential(
            nn.Linear(out_channels * (2 + len(aggregations)), out_channels),
            nn.SiLU(),
            nn.Linear(out_channels, out_channels),
        )
        self.residual: nn.Module = nn.Identity()
        if in_channels != out_channels:
            self.residual = nn.Linear(in_channels, out_channels, bias=False)
        nn.init.orthogonal_(self.weight)

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        num_targets: int | None = None,
        rowptr: Tensor | None = None,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        """Convolve.

        Args:
            x: Points of the ball, shape ``(n_all, C_in)``; the first ``num_targets`` rows are the
                receivers, the others only send.
            edge_index: Senders in ``[0, n_all)`` and ascending receivers in ``[0, num_targets)``,
                shape ``(2, e)``, int64.
            num_targets: Number of receivers n; all nodes if None.
            rowptr: Row offsets of the receivers (`row_offsets`), to compute them once for several
                layers; computed, with checks, if None.
            edge_weight: Couplings w, non-negative, shape ``(e,)``; if None those of each receiver
                are equal and sum to one.

        Returns:
            Points of the ball, shape ``(n, C_out)``.

        Raises:
            ValueError: If shapes do not fit or the receivers are not in ascending order.
        """
        if x.ndim != 2 or x.shape[1] != self.in_channels:
            raise ValueError(
                f"Expected 'x' of shape (n_all, {self.in_channels}) (got {tuple(x.shape)})."
            )
        num_targets = len(x) if num_targets is None else num_targets
        if not 0 <= num_targets <= len(x):
            raise ValueError(f"Expected 'num_targets' in [0, {len(x)}] (got {num_targets}).")
        if edge_index.ndim != 2 or edge_index.shape[0] != 2:
            raise ValueError(
                f"Expected 'edge_index' of shape (2, e) (got {tuple(edge_index.shape)})."
            )
        if rowptr is None:
            rowptr = row_offsets(edge_index[1], num_targets)

        moved = self.space.linear(x, self.weight, self.bias)
        hidden = self.norm(self.space.to_tangent(moved))
        targets = hidden[:num_targets]
        aggregated = self.propagate(
            edge_index,
            sender=self.sender(hidden),
            receiver=self.receiver(targets),
            offsets=rowptr,
            size=(len(x), num_targets),
        )
        if edge_weight is None:
            count = (rowptr[1:] - rowptr[:-1]).clamp_min(1)
            edge_weight = (1 / count.to(hidden.dtype))[edge_index[1]]
        coupled = weighted_mean(hidden, edge_index, edge_weight, num_targets, rowptr)
        joint = torch.cat([targets, aggregated, coupled], dim=-1)
        update = self.activation(self.mix(joint))
        tangent = self.residual(self.space.to_tangent(x[:num_targets]))
        return self.space.from_tangent(tangent + update)

    def message(self, sender_j: Tensor, receiver_i: Tensor) -> Tensor:
        """Edge network; its first linear layer was applied per node."""
        return self.edge(self.activation(sender_j + receiver_i))

    def aggregate(self, inputs: Tensor, index: Tensor, offsets: Tensor, dim_size: int) -> Tensor:
        """Reduce the messages of each receiver; the sum on a logarithmic scale."""
        reduced = segment_aggregate(inputs, index, offsets, dim_size, self.aggregations)
        if "sum" not in self.aggregations:
            return reduced
        parts = list(reduced.chunk(len(self.aggregations), dim=-1))
        total = parts[self.aggregations.index("sum")]
        parts[self.aggregations.index("sum")] = total.sign() * torch.log1p(total.abs())
        return torch.cat(parts, dim=-1)

    def __repr__(self) -> str:
        """Return class, channels and geometry."""
        return (
            f"{type(self).__name__}({self.in_channels}, {self.out_channels}, "
            f"geometry={self.geometry!r})"
        )


class EuclideanConv(HyperbolicConv):
    """The ablation of `HyperbolicConv`: the same layer in flat space.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        aggregations: Any of ``sum``, ``mean``, ``var``, ``max``.
        edge_layers: Layers of the edge network, 1 or 2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        aggregations: tuple[Aggregation, ...] = AGGREGATIONS,
        edge_layers: int = 1,
    ) -> None:
        """Create the parameters."""
        super().__init__(
            in_channels,
            out_channels,
            geometry="euclidean",
            aggregations=aggregations,
            edge_layers=edge_layers,
        )
