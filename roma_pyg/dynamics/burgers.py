"""Burgers-like social dynamics: bursts, passed on along the edges of a graph, and accumulated."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from roma_pyg.config import BurgersConfig
from roma_pyg.dynamics.bursts import Bursts, BurstSources
from roma_pyg.dynamics.kuramoto import CouplingGraph, threads_for
from roma_pyg.dynamics.rms_coupling import RmsCoupling
from roma_pyg.dynamics.sparse_product import Backend


@dataclass(frozen=True, eq=False)
class BurgersState:
    """All that the future depends on, besides the time.

    Attributes:
        squares: Squared activity h^2 of each node, shape ``(N,)``, float64.
        total: Accumulated activity x of each node, in members, shape ``(N,)``, float64.
    """

    squares: NDArray[np.float64]
    total: NDArray[np.float64]

    def to_array(self) -> NDArray[np.float64]:
        """Both in one array, shape ``(2, N)``, as stored in a data set."""
        return np.stack([self.squares, self.total])

    @classmethod
    def from_array(cls, rows: NDArray[np.float64]) -> BurgersState:
        """Make a state of what `to_array` gave."""
        return cls(np.array(rows[0]), np.array(rows[1]))


class Burgers:
    r"""Online communities that gel in bursts, excite their neighbours, and forget.

    Between two samples, with the time step dt:

    1. each node has the activity ``a_i = background + new members of its own gels / dt``
       (`roma_pyg.dynamics.bursts`);
    2. rounds of message passing change the activity h of each node towards the root mean square of
       its own and its neighbours' (`roma_pyg.dynamics.rms_coupling`), with the share
       ``1 - exp(-dt / (rounds * response))`` per round;
    3. activity is accumulated and forgotten, ``dx_i/dt = h_i - x_i / memory``, solved exactly for
       constant h:

    .. math:: x_i \leftarrow e^{-dt / \tau} x_i + \tau (1 - e^{-dt / \tau}) h_i,
              \qquad \tau = \text{memory}.

    The observable is ``u_i = x_i / peak``, where peak is the largest x of all nodes and samples.

    Without coupling, and over times below the memory, x grows as the gel fraction does, which is
    the height of the shock in the Burgers equation of its aggregation: nothing, then at the onset a
    sudden rise, which saturates. With coupling such fronts travel along edges, delayed by the
    response and weaker with each. Accumulation without forgetting (memory 0) rises for ever, so
    that later samples have values that no earlier one had; forgetting makes the series
    stationary.

    A simulation that is started again from the state at any sample repeats the uninterrupted one
    bit for bit, with any number of threads. O(B N + rounds * E) time per sample, O(B N + E) memory,
    with B sources per node.

    Args:
        sources: The sources of bursts of all nodes.
        graph: Couplings w_ij as edge weights, row = receiver; rows sum to one, or are empty.
        config: Strength and times of coupling and memory.
        backend: Library for the sparse product.

    Raises:
        ValueError: If the numbers of nodes differ, or the couplings are no weighted means.

    Example:
        >>> from types import SimpleNamespace
        >>> from roma_pyg.dynamics.bursts import draw_sources
        >>> pair = SimpleNamespace(
        ...     rowptr=np.array([0, 1, 2]), col=np.array([1, 0]), weight=np.ones(2, np.float32)
        ... )
        >>> config = BurgersConfig()
        >>> system = Burgers(draw_sources(2, config, np.random.default_rng(0)), pair, config)
        >>> [state.total.shape for state in system.integrate(system.rest(), 3)]
        [(2,), (2,), (2,)]
    """

    def __init__(
        self,
        sources: BurstSources,
        graph: CouplingGraph,
        config: BurgersConfig,
        backend: Backend = "auto",
    ) -> None:
        """Copy the couplings in double precision."""
        self.num_nodes = len(graph.rowptr) - 1
        self.config = config
        if sources.num_nodes != self.num_nodes:
            raise ValueError(
                f"Expected sources of {self.num_nodes} nodes, as the graph has "
                f"(got {sources.num_nodes})."
            )
        self._bursts = Bursts(sources, config.jitter, config.dt)
        response = -math.expm1(-config.dt / (config.rounds * config.response))
        self._coupling = RmsCoupling(graph, config.coupling, response, backend)
        # What is kept of the total over one sample, and what one sample of activity adds.
        self._kept, self._gain = 1.0, config.dt
        if config.memory > 0:
            self._kept = math.exp(-config.dt / config.memory)
            self._gain = -config.memory * math.expm1(-config.dt / config.memory)

    def rest(self) -> BurgersState:
        """State in which all nodes have had the background activity, as long as they remember.

        Without forgetting it is that of one sample.
        """
        total = self.config.background * (self.config.memory or self.config.dt)
        squares = np.full(self.num_nodes, self.config.background**2)
        return BurgersState(squares, np.full(self.num_nodes, total))

    def integrate(
        self, state: BurgersState, samples: int, first: int = 0
    ) -> Iterator[BurgersState]:
        """Simulate sample by sample.

        Args:
            state: State at sample ``first``; not changed.
            samples: Number of samples to give, non-negative.
            first: Index of the first sample, negative during burn-in; sample s lies at the time
                ``s dt``, which fixes the bursts.

        Returns:
            An iterator over the states at samples ``first, first + 1, ...``, each new.

        Raises:
            ValueError: If the state is not one of this system, or ``samples`` is negative.
        """
        if samples < 0:
            raise ValueError(f"Expected 'samples' to be non-negative (got {samples}).")
        for name in ("squares", "total"):
            values = getattr(state, name)
            if values.shape != (self.num_nodes,):
                raise ValueError(
                    f"Expected '{name}' of shape ({self.num_nodes},), one per node of the graph "
                    f"(got {values.shape})."
                )
            if not (values >= 0).all() or not np.isfinite(values).all():
                raise ValueError(f"Expected '{name}' to be finite and non-negative (got others).")
        return self._run(state, samples, first)

    def _run(self, state: BurgersState, samples: int, first: int) -> Iterator[BurgersState]:
        """Iterate; generators check their arguments late, so this one has none to check."""
        squares = torch.tensor(state.squares, dtype=torch.float64)[:, None]
        total = np.array(state.total, dtype=np.float64)
        for sample in range(first, first + samples):
            if sample > first:
                own = self._bursts.activity(sample)
                own += self.config.background
                np.square(own, out=own)
                with threads_for(self.num_nodes):
                    for _ in range(self.config.rounds):
                        self._coupling.round(squares, torch.from_numpy(own)[:, None])
                total *= self._kept
                total += self._gain * np.sqrt(squares.numpy()[:, 0])
            yield BurgersState(squares.numpy()[:, 0].copy(), total.copy())


def observable(total: NDArray[np.float64], peak: float) -> NDArray[np.float32]:
    """What is seen of each node: accumulated activity in units of the largest, ``x / peak``.

    Args:
        total: Accumulated activity x, positive.
        peak: The largest x of all nodes and samples of a data set, positive; forecasts beyond its
            end may exceed it.

    Returns:
        Values without unit, in (0, 1] within the data set, same shape.

    Example:
        >>> observable(np.array([0.5, 2.0]), 2.0).tolist()
        [0.25, 1.0]
    """
    return total.astype(np.float32) / np.float32(peak)
