"""Fixed supernodes: the communities of a subgraph."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from roma_pyg.data.graph import Graph, IntArray
from roma_pyg.data.split import communities


def balanced_communities(graph: Graph, count: int, seed: int = 0) -> IntArray:
    """Louvain communities, merged or cut until there are ``count``.

    The smallest community joins the one it has most edges with (the next smallest if it has none);
    the largest one is cut in two in the order of its nodes. O(E + count N).

    Args:
        graph: The graph, N nodes.
        count: Number of communities, in [1, N].
        seed: Seed of the Louvain method.

    Returns:
        Label of each node in [0, count), the largest community first, shape ``(N,)``.

    Raises:
        ValueError: If there are fewer nodes than communities.

    >>> sender = np.array([0, 1, 2, 3])
    >>> pairs = Graph.from_edges(sender, sender + np.array([1, -1, 1, -1]), 5)
    >>> balanced_communities(pairs, 2)
    array([0, 0, 1, 1, 0])
    """
    if not 1 <= count <= graph.num_nodes:
        raise ValueError(f"Expected 'count' in [1, {graph.num_nodes}] (got {count}).")
    label = communities(graph, seed)
    receiver = np.repeat(np.arange(graph.num_nodes), graph.degree)
    size = np.bincount(label)
    links = np.zeros((len(size), len(size)), dtype=np.int64)
    np.add.at(links, (label[receiver], label[graph.col]), 1)
    links += links.T
    np.fill_diagonal(links, 0)
    while np.count_nonzero(size) > count:
        alive = np.flatnonzero(size)
        small = alive[size[alive].argmin()]
        others = alive[alive != small]
        # The most edges, and of those with as many the smallest community.
        into = others[np.lexsort((size[others], -links[small, others]))[0]]
        label[label == small] = into
        size[into] += size[small]
        size[small] = 0
        links[into] += links[small]
        links[:, into] += links[:, small]
        links[into, into] = 0
    while np.count_nonzero(size) < count:
        large = np.flatnonzero(label == size.argmax())
        moved = large[len(large) // 2 :]
        size[size.argmax()] -= len(moved)
        label[moved] = len(size)
        size = np.append(size, len(moved))
    order = np.argsort(-size, kind="stable")
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[label]


class CommunitySelect(nn.Module):
    """Assigns each node to the community it is in; has nothing to learn.

    Takes the place of `Select` to show what learned supernodes are worth.

    Args:
        num_supernodes: Supernodes m.

    Example:
        >>> edges = torch.tensor([[1, 0, 3, 2], [0, 1, 2, 3]])
        >>> CommunitySelect(2).scores(torch.zeros(4, 3), edges, num_graphs=1).tolist()
        [[[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]]
    """

    def __init__(self, num_supernodes: int) -> None:
        """Keep the number."""
        super().__init__()
        self.num_supernodes = num_supernodes

    def scores(
        self,
        x: Tensor,
        edge_index: Tensor,
        num_graphs: int,
        num_targets: int | None = None,
        rowptr: Tensor | None = None,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        """One for the community of a node and zero for all others, as logits of `assign`.

        Args:
            x: Points, of which only the number matters, shape ``(n_all, C)``.
            edge_index: Senders and receivers, shape ``(2, e)``.
            num_graphs: Number of graphs G, all of the same size n.
            num_targets: ``G * n``; all rows if None.
            rowptr: Not used.
            edge_weight: Not used.

        Returns:
            Shape ``(G, n, m)``.
        """
        n = (len(x) if num_targets is None else num_targets) // num_graphs
        sender, receiver = edge_index.cpu().numpy()
        logits = torch.zeros(num_graphs, n, self.num_supernodes)
        for g in range(num_graphs):
            inside = (receiver // n == g) & (sender // n == g)
            graph = Graph.from_edges(sender[inside] % n, receiver[inside] % n, n)
            label = balanced_communities(graph, self.num_supernodes)
            logits[g, torch.arange(n), torch.from_numpy(label)] = 1
        return logits.to(x)
