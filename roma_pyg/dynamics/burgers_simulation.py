"""What a stored data set of Burgers-like social dynamics consists of, and its exact forecast."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from roma_pyg.config import BurgersConfig
from roma_pyg.dynamics.burgers import Burgers, BurgersState, observable
from roma_pyg.dynamics.bursts import BurstSources, draw_sources
from roma_pyg.dynamics.kuramoto import CouplingGraph
from roma_pyg.dynamics.simulation import State
from roma_pyg.dynamics.sparse_product import Backend

# Separates the random numbers of the bursts from those of the graph.
STREAM = 0xB0
SOURCE = "burst_"
"""Start of the names, among the extras, of the sources' properties, each of shape (B, N)."""


class BurgersSeries(Protocol):
    """What `true_forecast` needs of a series; ``roma_pyg.data.series.GraphSeries`` has it."""

    @property
    def graph(self) -> CouplingGraph:
        """The graph, with the couplings as weights."""

    @property
    def name(self) -> str:
        """Name used in messages."""

    @property
    def extras(self) -> Mapping[str, NDArray[Any]]:
        """Has ``states``, one (2, N) for each checkpoint, and the sources of bursts."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Has ``parameters.burgers``, ``peak`` and ``checkpoint_interval``."""


class BurgersSimulation:
    """A simulation from rest, as a `roma_pyg.dynamics.simulation.Simulation`.

    The state is that of `BurgersState.to_array`; beside the samples it stores the sources of the
    bursts (``burst_*``), and for each sample the mean and the largest accumulated activity of all
    nodes, in members. The observable is in units of the largest value, which is known only when
    all samples are.

    Args:
        graph: Couplings w_ij as edge weights, row = receiver; rows sum to one, or are empty.
        config: Options of the system.
        seed: Seed of the bursts, non-negative.
        backend: Library for the sparse product.

    Raises:
        ValueError: If the couplings are no weighted means.
    """

    state_name = "states"

    def __init__(
        self, graph: CouplingGraph, config: BurgersConfig, seed: int, backend: Backend = "auto"
    ) -> None:
        """Draw the sources."""
        rng = np.random.default_rng([seed, STREAM])
        self.config = config
        self.num_nodes = len(graph.rowptr) - 1
        self.dt = config.dt
        self.burn_in = round(config.burn_in / config.dt)
        self.sources = draw_sources(self.num_nodes, config, rng)
        self.arrays: Mapping[str, NDArray[Any]] = {
            SOURCE + name: array for name, array in vars(self.sources).items()
        }
        self.system = Burgers(self.sources, graph, config, backend)

    def initial(self) -> State:
        """State at rest, shape ``(2, N)``."""
        return self.system.rest().to_array()

    def states(self, state: State, first: int, count: int) -> Iterator[State]:
        """States at samples ``first ... first + count - 1``."""
        start = BurgersState.from_array(state)
        return (later.to_array() for later in self.system.integrate(start, count, first))

    def observe(self, state: State, sample: int) -> NDArray[np.float32]:
        """Accumulated activity of every node, in members."""
        return state[1].astype(np.float32)

    def scalars(self, state: State) -> dict[str, float]:
        """Mean and largest accumulated activity, in members."""
        return {"total_mean": float(state[1].mean()), "total_max": float(state[1].max())}

    def peak(self, scalars: Mapping[str, NDArray[np.float64]]) -> float:
        """The largest accumulated activity of all nodes and samples, in members."""
        return float(scalars["total_max"].max())

    def regime(
        self, scalars: Mapping[str, NDArray[np.float64]], first: State, last: State
    ) -> dict[str, float]:
        """Mean of the observable, how much it changes in time, and bursts per node."""
        mean = scalars["total_mean"] / self.peak(scalars)
        interval = self.arrays[SOURCE + "interval"].astype(np.float64)
        duration = len(mean) * self.dt
        return {
            "activity_mean": float(mean.mean()),
            "activity_mean_std": float(mean.std()),
            "bursts_per_node": float((duration / interval).sum(0).mean()),
        }


def true_forecast(series: BurgersSeries, time: int, horizon: int) -> NDArray[np.float32]:
    """Forecast by the simulator itself, from the true state: the ceiling of every method.

    It knows the bursts to come, which no history tells: their onsets are random.

    Args:
        series: A generated series of this system.
        time: Index of the first forecast sample, non-negative.
        horizon: Number of samples, at least 1.

    Returns:
        The observable at samples ``time ... time + horizon - 1``, shape ``(N, horizon)``.

    Raises:
        ValueError: If the series is not a generated one, or time or horizon are out of range.
    """
    missing = [key for key in ("states", SOURCE + "key") if key not in series.extras]
    missing += [
        k for k in ("parameters", "peak", "checkpoint_interval") if k not in series.metadata
    ]
    if missing:
        raise ValueError(
            f"Expected a generated series of Burgers-like dynamics (got '{series.name}' without "
            f"{' and '.join(missing)}); other series have no exact forecast."
        )
    if time < 0 or horizon < 1:
        raise ValueError(
            f"Expected 'time' at least 0 and 'horizon' at least 1 (got {time} and {horizon})."
        )
    states = series.extras["states"]
    interval = int(series.metadata["checkpoint_interval"])
    checkpoint = min(time // interval, len(states) - 1)
    first = checkpoint * interval
    peak = float(series.metadata["peak"])
    forecast = np.empty((states.shape[-1], horizon), dtype=np.float32)
    start = BurgersState.from_array(states[checkpoint])
    future = _system_of(series).integrate(start, time + horizon - first, first)
    for sample, state in enumerate(future, start=first):
        if sample >= time:
            forecast[:, sample - time] = observable(state.total, peak)
    return forecast


def _system_of(series: BurgersSeries) -> Burgers:
    names = ("interval", "phase", "rate", "size", "key")
    sources = BurstSources(**{name: np.asarray(series.extras[SOURCE + name]) for name in names})
    config = BurgersConfig(**series.metadata["parameters"]["burgers"])
    return Burgers(sources, series.graph, config)
