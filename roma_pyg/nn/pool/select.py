"""Select: which nodes make up a supernode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from roma_pyg.nn.hyperbolic import HyperbolicConv

_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class SelectOutput:
    """Soft assignment of nodes to supernodes.

    Attributes:
        assignment: S of shape ``(G, n, m)``; every column is a distribution over the n nodes of
            its graph.
    """

    assignment: Tensor

    def __post_init__(self) -> None:
        """Check the shape.

        Raises:
            ValueError: If the assignment has not three dimensions or no entries.
        """
        if self.assignment.ndim != 3 or self.assignment.numel() == 0:
            raise ValueError(
                f"Expected 'assignment' of shape (G, n, m), not empty "
                f"(got {tuple(self.assignment.shape)})."
            )

    @property
    def num_graphs(self) -> int:
        """Number of graphs G."""
        return self.assignment.shape[0]

    @property
    def num_nodes(self) -> int:
        """Nodes n of each graph."""
        return self.assignment.shape[1]

    @property
    def num_supernodes(self) -> int:
        """Supernodes m of each graph."""
        return self.assignment.shape[2]

    @property
    def supernode(self) -> Tensor:
        """Supernode with the largest share of each node, shape ``(G, n)``, int64."""
        return self.assignment.argmax(-1)


def assign(logits: Tensor) -> Tensor:
    """Turn logits into distributions over nodes.

    ``S_ia = l_ia^2 / sum_k l_ka^2``: each column is normalised to unit Euclidean length over the
    nodes, then squared (arXiv 2502.15913). A column of zeros becomes uniform.

    Args:
        logits: Shape ``(G, n, m)``.

    Returns:
        S, shape ``(G, n, m)``, columns (over n) summing to one.

    Raises:
        ValueError: If the logits have not three dimensions.

    Example:
        >>> assign(torch.tensor([[[1.0, 0.0], [-3.0, 0.0]]])).tolist()
        [[[0.10000000149011612, 0.5], [0.8999999761581421, 0.5]]]
    """
    if logits.ndim != 3:
        raise ValueError(f"Expected 'logits' of shape (G, n, m) (got {tuple(logits.shape)}).")
    # S does not depend on the scale of a column, so the scale may be treated as a constant; it
    # keeps the squares of very large or small logits representable.
    scale = logits.detach().abs().amax(1, keepdim=True)
    squared = (logits / scale.clamp_min(torch.finfo(logits.dtype).tiny)).square() + _TINY
    return squared / squared.sum(1, keepdim=True)


class Select(nn.Module):
    """Learned assignment: graph layer -> m logits per node -> LayerNorm over them -> `assign`.

    The graph layer has a width of its own and a linear map to the logits follows in the tangent
    space, so that a level of few supernodes is not decided by a layer of as few channels.

    Args:
        in_channels: Channels of the input points.
        num_supernodes: Supernodes m.
        curvature: The ball has curvature ``-curvature``; positive.
        geometry: ``hyperbolic`` or ``euclidean``.
        width: Channels of the graph layer; ``in_channels`` if None.

    Raises:
        ValueError: If a size is not positive.

    Example:
        >>> select = Select(in_channels=4, num_supernodes=2)
        >>> points = select.space.from_tangent(torch.randn(6, 4))
        >>> edges = torch.tensor([[1, 0, 4, 3], [0, 1, 3, 4]])
        >>> select(points, edges, num_graphs=2).assignment.shape
        torch.Size([2, 3, 2])
    """

    def __init__(
        self,
        in_channels: int,
        num_supernodes: int,
        curvature: float = 0.125,
        geometry: Literal["hyperbolic", "euclidean"] = "hyperbolic",
        width: int | None = None,
    ) -> None:
        """Create the layers."""
        super().__init__()
        if num_supernodes < 1:
            raise ValueError(f"Expected 'num_supernodes' to be at least 1 (got {num_supernodes}).")
        width = in_channels if width is None else width
        self.num_supernodes = num_supernodes
        self.conv = HyperbolicConv(in_channels, width, curvature, geometry)
        self.space = self.conv.space
        self.logits = nn.Linear(width, num_supernodes)
        # With one supernode, normalising over the supernodes would leave nothing of the logit.
        self.norm = nn.LayerNorm(num_supernodes) if num_supernodes > 1 else nn.Identity()

    def forward(
        self,
        x: Tensor,
        edge_index: Tensor,
        num_graphs: int,
        num_targets: int | None = None,
        rowptr: Tensor | None = None,
        edge_weight: Tensor | None = None,
    ) -> SelectOutput:
        """Assign the receivers, graph by graph.

        Args and errors are those of `scores`.

        Returns:
            The assignment of shape ``(G, n, m)``. Memory is O(e C + G n m).
        """
        logits = self.scores(x, edge_index, num_graphs, num_targets, rowptr, edge_weight)
        return SelectOutput(assign(logits))

    def scores(
        self,
        x: Tensor,
        edge_index: Tensor,
        num_graphs: int,
        num_targets: int | None = None,
        rowptr: Tensor | None = None,
        edge_weight: Tensor | None = None,
    ) -> Tensor:
        """Return the normalised logits of the receivers, before they compete for supernodes.

        Args:
            x: Points, shape ``(n_all, C)``; the first ``num_targets`` rows are the nodes of the
                graphs, the others only send.
            edge_index: Senders and ascending receivers, shape ``(2, e)``.
            num_graphs: Number of graphs G, all of the same size n.
            num_targets: ``G * n``; all rows if None.
            rowptr: Row offsets of the receivers, computed if None.
            edge_weight: Couplings, shape ``(e,)``; equal ones for each receiver if None.

        Returns:
            Logits of shape ``(G, n, m)``.

        Raises:
            ValueError: If the receivers do not divide into G graphs.
        """
        num_targets = len(x) if num_targets is None else num_targets
        if num_graphs < 1 or num_targets % num_graphs:
            raise ValueError(
                f"Expected 'num_graphs' to divide the {num_targets} receivers into graphs of "
                f"equal size (got {num_graphs})."
            )
        tangent = self.space.to_tangent(self.conv(x, edge_index, num_targets, rowptr, edge_weight))
        logits = self.norm(self.logits(tangent))
        return logits.reshape(num_graphs, -1, self.num_supernodes)
