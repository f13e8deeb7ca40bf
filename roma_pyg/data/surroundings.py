"""What a node is surrounded by: its neighbours, and the modes of the whole graph."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from roma_pyg.data.collective import CollectiveModes
from roma_pyg.data.graph import Graph, IntArray
from roma_pyg.data.history import History

MOST_NEIGHBORS = 64
"""Neighbours of a node that are looked at."""

_VALUES = 1 << 22


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The graph around the nodes of a series, and its modes.

    Attributes:
        graph: The graph, N nodes.
        modes: Its collective modes; None for a model that does not look at them.
        stage: When a node comes in, shape ``(N,)``: a node does not see those of a later stage, as
            nodes of the training part must not see held-out ones. None if all see each other.

    Example:
        >>> path = Graph.from_edges(np.array([0, 1]), np.array([1, 2]), 3)
        >>> values = np.array([[1, 1], [2, 3], [5, 5]], dtype=np.float32)
        >>> history = History(values, time=2, window=2)
        >>> Surroundings(path).neighbor_mean(history, np.array([1, 2]))
        array([[3., 3.],
               [2., 3.]])
        >>> Surroundings(path, stage=np.array([0, 0, 1])).neighbor_mean(history, np.array([1]))
        array([[1., 1.]])
    """

    graph: Graph
    modes: CollectiveModes | None = None
    stage: NDArray[np.integer] | None = None

    def neighbor_mean(self, history: History, nodes: IntArray) -> NDArray[np.float64]:
        """Mean series of the neighbours of some nodes, weighted by the couplings.

        Of more than `MOST_NEIGHBORS` neighbours, the list is cut into that many strata, and the
        middle one of each counts for its stratum.

        Args:
            history: Series of all nodes; gaps are left out of the mean.
            nodes: Nodes, shape ``(n,)``.

        Returns:
            Shape ``(n, S)``; the series of a node itself where it has no neighbour with a value.
        """
        table, senders = self._couplings(nodes)
        mass, total = np.zeros((2, len(nodes), history.window))
        size = max(1, _VALUES // history.window)
        for start in range(0, len(senders), size):
            part = slice(start, start + size)
            values = history[senders[part]].astype(np.float64)
            known = np.isfinite(values)
            mass += table[:, part] @ known.astype(np.float64)
            total += table[:, part] @ np.where(known, values, 0.0)
        mean: NDArray[np.float64] = np.divide(total, mass, out=np.zeros_like(total), where=mass > 0)
        alone = mass <= 0
        if alone.any():
            mean[alone] = history[nodes][alone]
        return mean

    def _couplings(self, nodes: IntArray) -> tuple[sp.csr_array, IntArray]:
        """Couplings to the neighbours, shape ``(n, m)``, and these neighbours, shape ``(m,)``."""
        degree = self.graph.degree[nodes]
        count = np.minimum(degree, MOST_NEIGHBORS)
        row = np.repeat(np.arange(len(nodes)), count)
        rank = np.arange(len(row)) - np.repeat(np.cumsum(count) - count, count)
        start = self.graph.rowptr[nodes][row]
        # The middle of a stratum; each stratum of few neighbours is one of them.
        bounds = [(rank + shift) * degree[row] // count[row] for shift in (0, 1)]
        edge = start + (bounds[0] + bounds[1] - 1) // 2
        weight = self.graph.weight[edge].astype(np.float64)
        for place in np.flatnonzero(bounds[1] - bounds[0] > 1):
            stratum = slice(start[place] + bounds[0][place], start[place] + bounds[1][place])
            weight[place] = self.graph.weight[stratum].sum(dtype=np.float64)
        sender = self.graph.col[edge]
        if self.stage is not None:
            weight *= self.stage[sender] <= self.stage[nodes][row]
        distinct, column = np.unique(sender, return_inverse=True)
        shape = (len(nodes), len(distinct))
        return sp.csr_array((weight, (row, column)), shape=shape), distinct
