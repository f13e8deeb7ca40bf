"""Kuramoto oscillators as a data set."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roma_pyg.config import KuramotoConfig
from roma_pyg.dynamics.kuramoto import (
    CouplingGraph,
    Kuramoto,
    Phases,
    initial_state,
    locked_fraction,
    observable,
    order_parameter,
)


class KuramotoSimulation:
    """Kuramoto oscillators on a graph, as a `roma_pyg.dynamics.simulation.Simulation`.

    The state is the phases; beside the samples it stores ``omega``, the natural frequencies.

    Args:
        graph: Couplings as edge weights.
        config: Options of the system.
        rng: Source of frequencies and initial phases.
    """

    state_name = "phases"

    def __init__(
        self, graph: CouplingGraph, config: KuramotoConfig, rng: np.random.Generator
    ) -> None:
        """Draw frequencies and initial phases."""
        self.num_nodes = len(graph.rowptr) - 1
        self.dt = config.dt
        self.burn_in = round(config.burn_in / config.dt)
        omega, self._initial = initial_state(self.num_nodes, config, rng)
        self.arrays: Mapping[str, NDArray[Any]] = {"omega": omega}
        self._system = Kuramoto(omega, graph, config)

    def initial(self) -> Phases:
        """Phases at the start of the burn-in, in radians, shape ``(N,)``."""
        return self._initial

    def states(self, state: Phases, first: int, count: int) -> Iterator[Phases]:
        """Phases at samples ``first ... first + count - 1``."""
        return self._system.integrate(state, count, first)

    def observe(self, state: Phases, sample: int) -> NDArray[np.float32]:
        """What is seen of each oscillator: `roma_pyg.dynamics.kuramoto.observable`."""
        return observable(state)

    def scalars(self, state: Phases) -> dict[str, float]:
        """The order parameter."""
        return {"order_parameter": order_parameter(state)}

    def peak(self, scalars: Mapping[str, NDArray[np.float64]]) -> float:
        """One: the observable lies in (0, 1] as it is."""
        return 1.0

    def regime(
        self, scalars: Mapping[str, NDArray[np.float64]], first: Phases, last: Phases
    ) -> dict[str, float]:
        """How synchronous the system is: order parameter over time and locked fraction."""
        order = scalars["order_parameter"]
        duration = (len(order) - 1) * self.dt
        return {
            "order_parameter_mean": float(order.mean()),
            "order_parameter_std": float(order.std()),
            "order_parameter_first": float(order[0]),
            "order_parameter_last": float(order[-1]),
            "locked_fraction": locked_fraction((last - first) / duration, 2 * math.pi / duration),
        }
