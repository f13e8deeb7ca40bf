"""Regularisers of the renormalization: local supernodes, sparse coarse graphs, a faithful space."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from roma_pyg import exchange
from roma_pyg.geometry import poincare

_TINY = 1e-12


def assignment_entropy(assignment: Tensor) -> Tensor:
    """Mean entropy of the supernodes' distributions over nodes, over its largest value.

    ``mean_a(-sum_i S_ia log S_ia) / log n``: 0 if every supernode is one node, 1 if every
    supernode is spread over all nodes evenly.

    Args:
        assignment: S, shape ``(G, n, m)``, columns summing to one.

    Returns:
        Scalar in [0, 1]; 0 for graphs of one node.

    Raises:
        ValueError: If the shape is another.

    Example:
        >>> assignment_entropy(torch.tensor([[[1.0, 0.5], [0.0, 0.5]]])).item()
        0.5
    """
    if assignment.ndim != 3:
        raise ValueError(
            f"Expected 'assignment' of shape (G, n, m) (got {tuple(assignment.shape)})."
        )
    return _entropy(assignment.mT).mean()


def edge_entropy(adjacency: Tensor) -> Tensor:
    """Entropy of the distribution of the coupling over the coarse edges, over its largest value.

    ``-sum_ab p_ab log p_ab / log m^2`` with ``p = A / sum A``, averaged over graphs: 0 if all
    coupling lies on one edge, 1 if it is spread over all pairs evenly.

    Args:
        adjacency: Non-negative couplings, shape ``(G, m, m)``.

    Returns:
        Scalar in [0, 1]; graphs without coupling count as 0.

    Raises:
        ValueError: If the shape is another.
    """
    if adjacency.ndim != 3 or adjacency.shape[1] != adjacency.shape[2]:
        raise ValueError(f"Expected 'adjacency' of shape (G, m, m) (got {tuple(adjacency.shape)}).")
    flat = adjacency.flatten(1)
    total = flat.sum(-1, keepdim=True)
    # Not a bound on the total: its inverse would overflow in the gradient.
    share = flat / torch.where(total > 0, total, torch.ones_like(total))
    return _entropy(share).mean()


def modularity_loss(
    assignment: Tensor,
    edge_index: Tensor,
    edge_weight: Tensor,
) -> Tensor:
    r"""One less the modularity of the supernodes as soft communities of the graph.

    .. math:: Q = \frac{1}{w} \sum_{ij} \Big( A_{ij} - \frac{s_i t_j}{w} \Big) P_i \cdot P_j,
        \qquad P_{ia} = \frac{S_{ia}}{\sum_b S_{ib}}

    with what each node receives (s) and sends (t), and the whole coupling w (Newman & Girvan 2004
    for directed couplings; soft as by Tsitsulin et al. 2023). All nodes in one supernode, or each
    spread over all of them, give Q = 0.

    Args:
        assignment: S, shape ``(G, n, m)``, non-negative.
        edge_index: Senders and receivers in ``[0, G n)``, shape ``(2, e)``; those with a sender
            beyond are left out.
        edge_weight: Couplings, non-negative, shape ``(e,)``.

    Returns:
        Scalar in [0, 2], the mean over the graphs; graphs without coupling count as 1. O(e m).

    Example:
        >>> edges = torch.tensor([[1, 0, 3, 2], [0, 1, 2, 3]])
        >>> pairs = torch.tensor([[[0.5, 0.0], [0.5, 0.0], [0.0, 0.5], [0.0, 0.5]]])
        >>> modularity_loss(pairs, edges, torch.ones(4)).item()
        0.5
    """
    graphs, n, m = assignment.shape
    inner = edge_index[0] < graphs * n
    sender, receiver = edge_index[:, inner]
    weight = edge_weight[inner].to(assignment.dtype)
    share = assignment / assignment.sum(-1, keepdim=True).clamp_min(_TINY)
    flat = share.reshape(graphs * n, m)
    alike = (flat[sender] * flat[receiver]).sum(-1) * weight
    zeros = assignment.new_zeros(graphs)
    total = zeros.index_add(0, receiver // n, weight).clamp_min(_TINY)
    inside = zeros.index_add(0, receiver // n, alike) / total
    ends = assignment.new_zeros(graphs * n)
    received, sent = (
        (ends.index_add(0, end, weight).view(graphs, 1, n) @ share)[:, 0] / total[:, None]
        for end in (receiver, sender)
    )
    return 1 - (inside - (received * sent).sum(-1)).mean()


def sample_negatives(
    edge_index: Tensor,
    num_nodes_per_graph: int,
    num_graphs: int,
    generator: torch.Generator | None = None,
    num_samples: int | None = None,
) -> Tensor:
    """Draw pairs of different nodes of one graph that are not linked in either direction.

    Twice the wanted number of pairs is drawn once; linked ones are dropped. Sparse graphs thus
    give the wanted number, dense ones fewer, complete ones none. Ranks that work on parts of a
    joint batch (`roma_pyg.exchange.joint`) draw the pairs of all their graphs together, and each
    keeps its own.

    Args:
        edge_index: Senders and receivers, shape ``(2, e)``; senders outside the graphs are
            allowed.
        num_nodes_per_graph: Nodes n of each graph.
        num_graphs: Number of graphs G.
        generator: Source of randomness on the CPU; torch's own if None.
        num_samples: Number of pairs wanted, of all parts; the number of edges inside the graphs
            if None.

    Returns:
        Pairs in ``[0, G * n)``, shape ``(2, <= num_samples)``, int64. O(e log e).
    """
    n, own_nodes = num_nodes_per_graph, num_nodes_per_graph * num_graphs
    part, parts = exchange.place()
    edges = edge_index[:, edge_index[0] < own_nodes] + part * own_nodes
    wanted = num_samples
    if wanted is None:
        wanted = int(exchange.total(torch.tensor(edges.shape[1])))
    if n < 2 or wanted == 0:
        return edge_index.new_empty(2, 0)
    num_nodes = own_nodes * parts
    first = torch.randint(num_nodes, (2 * wanted,), generator=generator)
    # A shift by 1 ... n - 1 inside the graph cannot give the node itself.
    shift = torch.randint(1, n, (2 * wanted,), generator=generator)
    second = first - first % n + (first + shift) % n
    pairs = torch.stack([first, second]).to(edge_index.device)
    linked = torch.isin(_pair_code(pairs, num_nodes), _pair_code(edges, num_nodes))
    # Each part knows its own edges.
    linked = exchange.total(linked.int()).bool() if parts > 1 else linked
    pairs = pairs[:, ~linked][:, :wanted] - part * own_nodes
    own = (pairs[0] >= 0) & (pairs[0] < own_nodes)
    return pairs[:, own] if parts > 1 else pairs


def link_loss(
    points: Tensor,
    edge_index: Tensor,
    negatives: Tensor,
    curvature: float,
    radius: float,
    temperature: float,
    divisor: float | None = None,
) -> Tensor:
    """Cross entropy of the Fermi-Dirac decoder, balanced over edges and non-edges.

    ``-mean_edges(log p) / 2 - mean_negatives(log(1 - p)) / 2`` with
    ``p_ij = sigmoid((r - d(x_i, x_j)^2 / C) / t)`` and C the channels (arXiv 2502.15913). It is
    ``log 2`` for a decoder that knows nothing.

    Args:
        points: Points of the ball, shape ``(G * n, C)``.
        edge_index: Linked pairs, shape ``(2, e)``; those with a sender beyond the points are left
            out.
        negatives: Pairs that are not linked, shape ``(2, e')``, from `sample_negatives`.
        curvature: Minus the curvature of the ball; 0 for flat space.
        radius: Squared distance over the divisor, r, at which an edge is as likely as not.
        temperature: Width t of the step in the same unit, positive.
        divisor: What squared distances are divided by; the channels if None. With
            ``1 / curvature`` the unit is that of the curvature, whatever the channels:
            independent points of `PoincareBall` then lie near 10.

    Returns:
        Scalar; an empty list of pairs contributes zero. Over the parts of a joint batch the mean of
        the scalars is the loss of the joint pairs.

    Raises:
        ValueError: If the curvature is negative, or temperature or divisor not positive.
    """
    if curvature < 0:
        raise ValueError(f"Expected 'curvature' to be non-negative (got {curvature}).")
    edges = edge_index[:, edge_index[0] < len(points)]
    divisor = points.shape[-1] if divisor is None else divisor
    if not divisor > 0:
        raise ValueError(f"Expected 'divisor' to be positive (got {divisor}).")
    loss = points.new_zeros(())
    numbers = torch.tensor([edges.shape[1], negatives.shape[1]])
    counts = exchange.mean(numbers).tolist()
    for pairs, sign, count in ((edges, -1.0, counts[0]), (negatives, 1.0, counts[1])):
        x, y = points[pairs[0]], points[pairs[1]]
        if curvature > 0:
            squared = poincare.squared_distance(x, y, curvature)
        else:
            squared = (x - y).square().sum(-1)
        logits, _ = poincare.fermi_dirac(squared / divisor, radius, temperature)
        if count > 0:
            loss = loss + 0.5 * (F.softplus(sign * logits).sum() / count)
    return loss


def _entropy(distribution: Tensor) -> Tensor:
    """Entropy over the last dimension, over its largest value."""
    size = distribution.shape[-1]
    if size == 1:
        return distribution.sum(-1) * 0.0
    # Bounded before the logarithm: its gradient is finite where a probability is zero.
    bounded = distribution.clamp_min(torch.finfo(distribution.dtype).tiny)
    return -(distribution * bounded.log()).sum(-1) / math.log(size)


def _pair_code(pairs: Tensor, num_nodes: int) -> Tensor:
    """One number per unordered pair of nodes."""
    return pairs.amin(0) * num_nodes + pairs.amax(0)
