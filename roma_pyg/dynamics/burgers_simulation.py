"""What a stored data set of Burgers-like social dynamics consists of, and its exact forecast."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from roma_pyg.config import BurgersConfig
from roma_pyg.dynamics.burgers import Burgers, BurgersState, observable
from roma_pyg.dynamics.bursts import BurstSources, draw_sources
from roma_pyg.dynamics.kuramoto import CouplingGraph
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


@dataclass(frozen=True)
class Survey:
    """What a run ahead of the stored one tells of it.

    Attributes:
        peak: Largest accumulated activity of all nodes and stored samples, in members.
        start: State at sample 0, after the burn-in.
    """

    peak: float
    start: BurgersState


class BurgersSimulation:
    """A simulation from rest, with its sources drawn from a seed.

    The observable is in units of its largest value, which is known only when all samples are. As
    a bound would leave most of (0, 1] empty, the system is simulated twice: `survey` runs ahead and
    keeps the maximum and nothing else, which takes as long as the simulation that is stored, and
    no disk.

    Args:
        graph: Couplings w_ij as edge weights, row = receiver; rows sum to one, or are empty.
        config: Options of the system, the number of samples among them.
        seed: Seed of the bursts, non-negative.
        backend: Library for the sparse product.

    Raises:
        ValueError: If the couplings are no weighted means.
    """

    def __init__(
        self, graph: CouplingGraph, config: BurgersConfig, seed: int, backend: Backend = "auto"
    ) -> None:
        """Draw the sources."""
        rng = np.random.default_rng([seed, STREAM])
        self.config = config
        self.sources = draw_sources(len(graph.rowptr) - 1, config, rng)
        self.system = Burgers(self.sources, graph, config, backend)
        self.burn_in = round(config.burn_in / config.dt)

    @property
    def extras(self) -> dict[str, NDArray[Any]]:
        """The sources, from which the system can be made again."""
        return {SOURCE + name: array for name, array in vars(self.sources).items()}

    def survey(self, advance: Callable[[], object] = lambda: None) -> Survey:
        """Run through the burn-in and all samples to find the peak.

        Args:
            advance: Called once per sample, ``burn_in + config.steps`` times.
        """
        peak, start = 0.0, self.system.rest()
        states = self.system.integrate(start, self.burn_in + self.config.steps, -self.burn_in)
        for sample, state in enumerate(states, start=-self.burn_in):
            if sample == 0:
                start = state
            if sample >= 0:
                peak = max(peak, float(state.total.max()))
            advance()
        return Survey(peak, start)

    def samples(self, survey: Survey) -> Iterator[tuple[BurgersState, NDArray[np.float32]]]:
        """Give state and observable of each stored sample, ``config.steps`` of them."""
        for state in self.system.integrate(survey.start, self.config.steps):
            yield state, observable(state.total, survey.peak)


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
