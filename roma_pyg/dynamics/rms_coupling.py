"""Message passing by root mean squares: nodes take up the activity of their neighbours."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roma_pyg.dynamics.kuramoto import CouplingGraph
from roma_pyg.dynamics.sparse_product import Backend, SparseProduct

# Rows of couplings in single precision sum to one with errors of this order.
TOLERANCE = 1e-4


class RmsCoupling:
    r"""Rounds of message passing towards the root mean square of own and neighbour activity.

    One round of the activities h of all nodes, whose own activities are a, is

    .. math:: h_i^2 \leftarrow (1 - \alpha) h_i^2
              + \alpha \Big[(1 - c)\, a_i^2 + c \sum_j w_{ij} h_j^2\Big]

    with non-negative w whose rows sum to one. The root mean square weighs the most active
    neighbours most: it lies between their mean and their maximum. It is no linear function of
    activities, but the squares follow a linear law, so that a round is one sparse product with one
    column, O(N + E). As a round takes convex combinations of squares, no node exceeds the largest
    activity there was (maximum principle), and influence fades by at least c with every edge.

    Each round carries influence one edge further. Repeated with constant a, the squares approach
    ``(1 - c) (I - c W)^-1 a^2``.

    Args:
        graph: Couplings w_ij as edge weights, row = receiver; rows may be empty.
        strength: Share c of the neighbours, in [0, 1).
        response: Share alpha of the new in one round, in (0, 1].
        backend: Library for the sparse product.

    Raises:
        ValueError: If a weight is negative, or a row sums to more than one.

    Example:
        >>> from types import SimpleNamespace
        >>> pair = SimpleNamespace(
        ...     rowptr=np.array([0, 1, 2]), col=np.array([1, 0]), weight=np.ones(2, np.float32)
        ... )
        >>> coupling = RmsCoupling(pair, strength=0.5, response=1.0)
        >>> squares = torch.tensor([[0.0], [4.0]], dtype=torch.float64)
        >>> coupling.round(squares, torch.tensor([[2.0], [2.0]], dtype=torch.float64)).tolist()
        [[3.0], [1.0]]
    """

    def __init__(
        self,
        graph: CouplingGraph,
        strength: float,
        response: float,
        backend: Backend = "auto",
    ) -> None:
        """Copy the couplings in double precision."""
        self.strength = strength
        self.response = response
        _check_rows(graph)
        self._product = SparseProduct(graph.rowptr, graph.col, graph.weight, backend)
        self._received = torch.empty(len(graph.rowptr) - 1, 1, dtype=torch.float64)

    def round(self, squares: Tensor, own: Tensor) -> Tensor:
        """Do one round in place.

        Args:
            squares: Squared activities h^2, float64, contiguous, shape ``(N, 1)``; overwritten.
            own: ``a^2``, same shape.

        Returns:
            ``squares``.
        """
        received = self._product.apply(squares, self._received)
        squares.mul_(1 - self.response)
        squares.add_(own, alpha=self.response * (1 - self.strength))
        return squares.add_(received, alpha=self.response * self.strength)


def _check_rows(graph: CouplingGraph) -> None:
    weight = np.asarray(graph.weight)
    if weight.size and weight.min() < 0:
        raise ValueError(f"Expected couplings to be non-negative (got {weight.min()}).")
    largest = _row_sums(graph.rowptr, weight).max(initial=0)
    if largest > 1 + TOLERANCE:
        raise ValueError(
            f"Expected the couplings of each row to sum to at most one (got {largest}); "
            "`coupling_matrix` makes them so."
        )


def _row_sums(rowptr: NDArray[np.int64], weight: NDArray[np.floating]) -> NDArray[np.float64]:
    running = np.concatenate([[0.0], np.cumsum(weight, dtype=np.float64)])
    return running[rowptr[1:]] - running[rowptr[:-1]]
