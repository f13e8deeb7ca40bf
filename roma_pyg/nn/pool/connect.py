"""Connect: how strongly supernodes are coupled, and the sparse graph of the next level."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from roma_pyg.nn.segment import weighted_mean


@dataclass(frozen=True, eq=False)
class ConnectOutput:
    """Edges of a coarse level, all graphs of the batch in one list.

    Attributes:
        edge_index: Senders and ascending receivers in ``[0, G * m)``, shape ``(2, e)``, int64.
        edge_weight: Couplings, summing to one per receiver, shape ``(e,)``; differentiable.
        num_nodes: Number of supernodes ``G * m``.
    """

    edge_index: Tensor
    edge_weight: Tensor
    num_nodes: int

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            ValueError: If indices and weights do not fit together.
        """
        if self.edge_index.ndim != 2 or self.edge_index.shape[0] != 2:
            raise ValueError(
                f"Expected 'edge_index' of shape (2, e) (got {tuple(self.edge_index.shape)})."
            )
        if self.edge_weight.shape != self.edge_index.shape[1:]:
            raise ValueError(
                f"Expected 'edge_weight' of shape {tuple(self.edge_index.shape[1:])} "
                f"(got {tuple(self.edge_weight.shape)})."
            )


def coarse_adjacency(
    assignment: Tensor, edge_index: Tensor, edge_weight: Tensor, num_nodes_per_graph: int
) -> Tensor:
    """Coarse couplings ``S^T A S`` from the sparse edges of the fine level.

    ``A_ij`` is the weight of the edge from sender j to receiver i, so that
    ``A'_ab = sum_ij S_ia A_ij S_jb`` is the pull of supernode b on supernode a.

    Args:
        assignment: S, shape ``(G, n, m)``.
        edge_index: Senders and ascending receivers, shape ``(2, e)``. Edges from senders outside
            the graphs (index ``G * n`` and above) are left out.
        edge_weight: Couplings, shape ``(e,)``.
        num_nodes_per_graph: Nodes n of each graph; graph g has the nodes ``g n ... g n + n - 1``.

    Returns:
        Shape ``(G, m, m)``. Time O(e m + G n m^2), memory O(G (n + m) m), no dense n x n.

    Raises:
        ValueError: If the assignment has another number of nodes.
    """
    num_graphs, n, m = _sizes(assignment)
    if n != num_nodes_per_graph:
        raise ValueError(
            f"Expected 'num_nodes_per_graph' to be {n}, the nodes of 'assignment' "
            f"(got {num_nodes_per_graph})."
        )
    inner = edge_index[0] < num_graphs * n
    edge_index, edge_weight = edge_index[:, inner], edge_weight[inner]
    pulled = weighted_mean(
        assignment.reshape(num_graphs * n, m), edge_index, edge_weight, num_graphs * n
    )
    return assignment.mT @ pulled.view(num_graphs, n, m)


def coarsen_dense(assignment: Tensor, adjacency: Tensor) -> Tensor:
    """Coarse couplings ``S^T A S`` of a level whose couplings are dense already.

    Args:
        assignment: S, shape ``(G, n, m)``.
        adjacency: A, shape ``(G, n, n)``.

    Returns:
        Shape ``(G, m, m)``.

    Raises:
        ValueError: If the shapes do not fit.
    """
    num_graphs, n, _ = _sizes(assignment)
    if adjacency.shape != (num_graphs, n, n):
        raise ValueError(
            f"Expected 'adjacency' of shape ({num_graphs}, {n}, {n}) "
            f"(got {tuple(adjacency.shape)})."
        )
    return assignment.mT @ (adjacency @ assignment)


def dense_to_edges(adjacency: Tensor, k: int | None = 8) -> ConnectOutput:
    """Sparse edges of a dense level: the k strongest senders of every receiver, without itself.

    The selection is not differentiable, the weights are.

    Args:
        adjacency: Non-negative couplings, shape ``(G, m, m)``, row = receiver.
        k: Senders per receiver, at most m - 1 of which exist; None for all.

    Returns:
        Edges sorted by receiver, ``G m min(k, m - 1)`` of them, with weights normalised to sum to
        one per receiver; equal weights where all couplings vanish.

    Raises:
        ValueError: If the couplings are not square or k is not positive.

    Example:
        >>> couplings = torch.tensor([[[9.0, 1.0, 3.0], [0.0, 9.0, 2.0], [5.0, 0.0, 9.0]]])
        >>> edges = dense_to_edges(couplings, k=1)
        >>> edges.edge_index.tolist()
        [[2, 2, 0], [0, 1, 2]]
    """
    if adjacency.ndim != 3 or adjacency.shape[1] != adjacency.shape[2]:
        raise ValueError(f"Expected 'adjacency' of shape (G, m, m) (got {tuple(adjacency.shape)}).")
    if k is not None and k < 1:
        raise ValueError(f"Expected 'k' to be at least 1 or None (got {k}).")
    num_graphs, m, _ = adjacency.shape
    k = m - 1 if k is None else min(k, m - 1)
    device = adjacency.device
    own = torch.eye(m, dtype=torch.bool, device=device)
    sender = adjacency.detach().masked_fill(own, -torch.inf).topk(k, dim=-1).indices
    sender = sender.sort(-1).values
    weight = adjacency.gather(-1, sender)
    total = weight.sum(-1, keepdim=True)
    some = total > 0
    weight = torch.where(some, weight / torch.where(some, total, 1.0), 1.0 / max(k, 1))
    first = torch.arange(num_graphs, device=device).view(-1, 1, 1) * m
    receiver = torch.arange(num_graphs * m, device=device).repeat_interleave(k)
    edge_index = torch.stack([(sender + first).reshape(-1), receiver])
    return ConnectOutput(edge_index, weight.reshape(-1), num_graphs * m)


def _sizes(assignment: Tensor) -> tuple[int, int, int]:
    """Sizes G, n, m of an assignment."""
    if assignment.ndim != 3:
        raise ValueError(
            f"Expected 'assignment' of shape (G, n, m) (got {tuple(assignment.shape)})."
        )
    num_graphs, n, m = assignment.shape
    return num_graphs, n, m
