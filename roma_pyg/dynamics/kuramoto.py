"""Kuramoto oscillators on a graph: right-hand side, simulation, observable and exact forecast."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController
from torch import Tensor

from roma_pyg.config import KuramotoConfig
from roma_pyg.dynamics.integrators import Workspace, rk4_step
from roma_pyg.dynamics.sparse_product import Backend, SparseProduct

Phases = NDArray[np.float64]
"""Phases of all oscillators in radians, shape ``(N,)``, not wrapped to one turn."""

# Below this many oscillators a step lasts a few milliseconds at most. Threads gain little then,
# and lose much when the cores are shared, as each sparse product waits for the slowest of them.
ONE_THREAD_BELOW = 1 << 18


class CouplingGraph(Protocol):
    """What the simulator needs of a graph; ``roma_pyg.data.graph.Graph`` has it."""

    @property
    def rowptr(self) -> NDArray[np.int64]:
        """Row offsets, shape ``(N + 1,)``; row i lists the oscillators that pull on i."""

    @property
    def col(self) -> NDArray[np.int64]:
        """The pulling oscillators j, shape ``(E,)``."""

    @property
    def weight(self) -> NDArray[np.float32]:
        """Couplings w_ij, without unit, shape ``(E,)``."""


class KuramotoSeries(Protocol):
    """What `true_forecast` needs of a series; ``roma_pyg.data.series.GraphSeries`` has it."""

    @property
    def graph(self) -> CouplingGraph:
        """The graph, with the couplings as weights."""

    @property
    def name(self) -> str:
        """Name used in messages."""

    @property
    def extras(self) -> Mapping[str, NDArray[Any]]:
        """Has ``omega`` (N,) and ``phases``, one row of N for each checkpoint."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """Has ``parameters.kuramoto`` and ``checkpoint_interval``."""


class Kuramoto:
    r"""Phase oscillators that pull each other along the edges of a graph.

    .. math:: \dot\theta_i = \omega_i + K(t) \sum_j w_{ij} \sin(\theta_j - \theta_i), \qquad
              K(t) = K \left(1 + a \sin(2 \pi t / P)\right)

    (Kuramoto 1975; on networks Arenas et al. 2008, doi:10.1016/j.physrep.2008.09.002.) With
    ``sin(b - a) = cos a sin b - sin a cos b`` one evaluation takes two trigonometric vectors and
    one sparse product with two columns instead of a sine per edge: O(N + E) time, O(N) memory
    beside the matrix.

    Time is counted in steps from sample 0, so a simulation that is started again from the phases
    at any sample, also a negative one, repeats the uninterrupted one bit for bit, with any number
    of threads. It does so on equal hardware with equal libraries only; partly synchronised systems
    are weakly chaotic, and the last bits of a sine grow to something seen after some 100 time
    units.

    Args:
        omega: Natural frequencies, in radians per time unit, shape ``(N,)``.
        graph: Couplings w_ij as edge weights, row = receiver; usually rows sum to one.
        config: Strength K, its modulation, time between samples and steps per sample.
        backend: Library for the sparse product.

    Raises:
        ValueError: If there is not one finite frequency per node.

    Example:
        >>> from types import SimpleNamespace
        >>> pair = SimpleNamespace(
        ...     rowptr=np.array([0, 1, 2]), col=np.array([1, 0]), weight=np.ones(2, np.float32)
        ... )
        >>> system = Kuramoto(np.array([0.5, -0.5]), pair, KuramotoConfig(coupling=2.0))
        >>> system.velocity(np.array([0.0, np.pi / 2])).tolist()
        [2.5, -2.5]
    """

    def __init__(
        self,
        omega: NDArray[np.floating],
        graph: CouplingGraph,
        config: KuramotoConfig,
        backend: Backend = "auto",
    ) -> None:
        """Copy frequencies and couplings in double precision."""
        self.num_nodes = len(graph.rowptr) - 1
        self.config = config
        self._omega = torch.from_numpy(self._checked(omega, "omega"))
        self._product = SparseProduct(graph.rowptr, graph.col, graph.weight, backend)
        self._trig = torch.empty(self.num_nodes, 2, dtype=torch.float64)
        self._pull = torch.empty_like(self._trig)

    def strength(self, time: float) -> float:
        """Coupling strength K(t) at a time in time units, in inverse time units."""
        turn = 2 * math.pi * time / self.config.modulation_period
        return self.config.coupling * (1 + self.config.modulation * math.sin(turn))

    def velocity(self, theta: Phases, time: float = 0.0) -> Phases:
        """Phase velocities, in radians per time unit.

        Args:
            theta: Phases in radians, shape ``(N,)``.
            time: Time t in time units, which matters only if the strength is modulated.

        Returns:
            The right-hand side, shape ``(N,)``.

        Raises:
            ValueError: If there is not one finite phase per node.
        """
        out = torch.empty(self.num_nodes, dtype=torch.float64)
        self._right_hand_side(time, torch.from_numpy(self._checked(theta, "theta")), out)
        return out.numpy()

    def integrate(self, theta: Phases, samples: int, first: int = 0) -> Iterator[Phases]:
        """Simulate sample by sample, by Runge-Kutta steps of ``dt / substeps``.

        Args:
            theta: Phases at sample ``first``, in radians, shape ``(N,)``; not changed.
            samples: Number of samples to give, non-negative.
            first: Index of the first sample, negative during burn-in; sample s lies at the time
                ``s dt``, which fixes the modulation.

        Returns:
            An iterator over the phases at samples ``first, first + 1, ...``, each a new array.
            Phases are not wrapped, so that differences over time are mean frequencies.

        Raises:
            ValueError: If there is not one finite phase per node, or ``samples`` is negative.
        """
        if samples < 0:
            raise ValueError(f"Expected 'samples' to be non-negative (got {samples}).")
        return self._run(torch.from_numpy(self._checked(theta, "theta")), samples, first)

    def _run(self, state: Tensor, samples: int, first: int) -> Iterator[Phases]:
        """Integrate in place; generators check their arguments late, so this one has none to."""
        work = Workspace.like(state)
        substeps, step = self.config.substeps, self.config.dt / self.config.substeps
        for sample in range(first, first + samples):
            if sample > first:
                with threads_for(self.num_nodes):
                    for index in range((sample - 1) * substeps, sample * substeps):
                        rk4_step(self._right_hand_side, index * step, state, step, work)
            yield state.numpy().copy()

    def _right_hand_side(self, time: float, theta: Tensor, out: Tensor) -> None:
        cos, sin = self._trig.unbind(1)
        torch.cos(theta, out=cos)
        torch.sin(theta, out=sin)
        pull_cos, pull_sin = self._product.apply(self._trig, self._pull).unbind(1)
        torch.mul(cos, pull_sin, out=out)
        out.addcmul_(sin, pull_cos, value=-1)
        torch.add(self._omega, out, alpha=self.strength(time), out=out)

    def _checked(self, values: NDArray[np.floating], name: str) -> Phases:
        """Return a copy in double precision."""
        checked = np.array(values, dtype=np.float64)
        if checked.shape != (self.num_nodes,):
            raise ValueError(
                f"Expected '{name}' of shape ({self.num_nodes},), one per node of the graph "
                f"(got {checked.shape})."
            )
        if not np.isfinite(checked).all():
            bad = int(np.argmin(np.isfinite(checked)))
            raise ValueError(f"Expected '{name}' to be finite (got {checked[bad]} at node {bad}).")
        return checked


def coupling_matrix(
    adjacency: sp.csr_array[np.float32] | sp.csr_array[np.float64],
) -> sp.csr_array[np.floating]:
    """Couplings ``w_ij = sqrt(deg_j) / sum_k sqrt(deg_k)``: hubs pull more, rows sum to one.

    Args:
        adjacency: Symmetric 0/1 matrix, shape ``(N, N)``. Its type is that of the couplings.

    Returns:
        The couplings, row = receiver, shape ``(N, N)``; empty rows stay empty. Unlike the
        adjacency they are not symmetric, so that the mean phase velocity is not conserved.

    Example:
        >>> path = sp.csr_array(np.array([[0.0, 1, 0], [1, 0, 1], [0, 1, 0]]))
        >>> coupling_matrix(path).toarray().tolist()
        [[0.0, 1.0, 0.0], [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]]
    """
    weighted = adjacency @ sp.diags_array(np.sqrt(adjacency.sum(axis=1)))
    total = weighted.sum(axis=1)
    return sp.csr_array(sp.diags_array(1 / np.where(total > 0, total, 1)) @ weighted)


def initial_state(
    count: int, config: KuramotoConfig, rng: np.random.Generator
) -> tuple[NDArray[np.float64], Phases]:
    """Draw natural frequencies and phases.

    Frequencies are normal with standard deviation ``frequency_std``, clipped at
    ``frequency_clip`` standard deviations and then centred, which is the frame that rotates with
    their mean. Phases are uniform over a turn.

    Args:
        count: Number of oscillators N, positive.
        config: Spread and limit of the frequencies.
        rng: Source of the random numbers.

    Returns:
        Frequencies in radians per time unit and phases in radians, each of shape ``(N,)``.
    """
    clip = config.frequency_clip
    omega = config.frequency_std * np.clip(rng.standard_normal(count), -clip, clip)
    return omega - omega.mean(), rng.uniform(-np.pi, np.pi, count)


def observable(theta: Phases) -> NDArray[np.float32]:
    r"""What is seen of each oscillator: :math:`u = (1.05 + \cos\theta) / 2.1 \in [.024, .976]`.

    It is the projection of the rotating oscillator on one axis, as a pendulum seen from the side or
    the brightness of a population of flashing units, shifted and scaled into (0, 1]; the offset
    .05 keeps it off zero, so that multiplicative noise and relative errors are sound.

    Only one quadrature is seen, and that is what makes the forecast a problem: u gives
    ``|theta|``, so a single sample leaves the direction of motion open, and near the ends of its
    range even its change hardly tells. Phase, natural frequency and the pull of the neighbours
    must all be inferred from history: a drifting oscillator is forecast well only by whoever gets
    its frequency and its phase slips, a locked one only by whoever gets its cluster.

    Args:
        theta: Phases in radians, any shape.

    Returns:
        Values without unit, same shape.

    Example:
        >>> observable(np.array([0.0, np.pi])).round(3).tolist()
        [0.9760000109672546, 0.024000000208616257]
    """
    return ((1.05 + _tensor(theta).cos().numpy()) / 2.1).astype(np.float32)


def mean_phasor(mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """Part of the order parameter that is seen: ``Re Z`` with ``Z = mean exp(i theta)``.

    The observable is one quadrature, so its mean over the nodes gives ``mean cos theta`` exactly,
    of a forecast too; ``|Z|`` takes the other quadrature, which is not observed. ``Re Z`` turns
    with the mean phase, and ``|Re Z| <= |Z|``.

    Args:
        mean: Mean of the observable over all nodes, any shape.

    Returns:
        Re Z, same shape, in [-1, 1].

    Example:
        >>> theta = np.array([0.0, np.pi / 3])
        >>> mean_phasor(np.array(observable(theta).mean(dtype=np.float64))).round(6)
        np.float64(0.75)
    """
    return 2.1 * mean - 1.05


def order_parameter(theta: Phases) -> float:
    """Length of the mean phasor ``|mean exp(i theta)|``: 1 in phase, O(N^-1/2) without order.

    Example:
        >>> order_parameter(np.array([0.3, 0.3])), round(order_parameter(np.array([0, np.pi])), 12)
        (1.0, 0.0)
    """
    phases = _tensor(theta)
    # numpy sums in a fixed order, torch in one that depends on the number of threads.
    return float(np.hypot(phases.cos().numpy().mean(), phases.sin().numpy().mean()))


def locked_fraction(velocity: NDArray[np.floating], width: float) -> float:
    """Fraction of oscillators in the largest cluster of equal mean velocity.

    The cluster rotates at a velocity of its own, which is not zero even if the natural frequencies
    are centred, as couplings are not symmetric. It is found as the fullest window of velocities.

    Args:
        velocity: Mean phase velocity of every oscillator over a long time, shape ``(N,)``.
        width: Width of the window: velocities that far apart count as equal. Phases of a locked
            cluster still move against each other, so over a time D it should not be much below
            ``2 pi / D``; among drifting oscillators it catches those that happen to fall inside.

    Returns:
        The fraction, in (0, 1].

    Example:
        >>> locked_fraction(np.array([0.51, 0.5, 0.48, 0.0, 1.5]), 0.1)
        0.6
    """
    ordered = np.sort(velocity)
    stop = np.searchsorted(ordered, ordered + width, side="right")
    return float((stop - np.arange(len(ordered))).max() / len(ordered))


def true_forecast(series: KuramotoSeries, time: int, horizon: int) -> NDArray[np.float32]:
    """Forecast by the simulator itself, from the true phases: the ceiling of every method.

    It integrates from the last stored checkpoint of the phases up to ``time``, with the steps of
    the stored series, which it therefore repeats exactly. It may go on beyond the series.

    Args:
        series: A generated Kuramoto series.
        time: Index of the first forecast sample, non-negative.
        horizon: Number of samples, at least 1.

    Returns:
        The observable at samples ``time ... time + horizon - 1``, shape ``(N, horizon)``.

    Raises:
        ValueError: If the series is not a generated one, or time or horizon are out of range.
    """
    missing = [key for key in ("phases", "omega") if key not in series.extras]
    missing += [k for k in ("parameters", "checkpoint_interval") if k not in series.metadata]
    if missing:
        raise ValueError(
            f"Expected a generated Kuramoto series with stored phases (got '{series.name}' "
            f"without {' and '.join(missing)}); other series have no exact forecast."
        )
    if time < 0 or horizon < 1:
        raise ValueError(
            f"Expected 'time' at least 0 and 'horizon' at least 1 (got {time} and {horizon})."
        )
    phases = series.extras["phases"]
    interval = int(series.metadata["checkpoint_interval"])
    checkpoint = min(time // interval, len(phases) - 1)
    first = checkpoint * interval
    config = KuramotoConfig(**series.metadata["parameters"]["kuramoto"])
    system = Kuramoto(series.extras["omega"], series.graph, config)
    forecast = np.empty((system.num_nodes, horizon), dtype=np.float32)
    states = system.integrate(phases[checkpoint], time + horizon - first, first)
    for sample, theta in enumerate(states, start=first):
        if sample >= time:
            forecast[:, sample - time] = observable(theta)
    return forecast


@contextmanager
def threads_for(count: int) -> Iterator[None]:
    """Run small systems on one thread, then go on with as many as before."""
    if count >= ONE_THREAD_BELOW:
        yield
        return
    # Not by torch.set_num_threads, after which MKL errs; see `roma_pyg.least_squares`.
    with _pools().limit(limits=1, user_api="openmp"):
        yield


@lru_cache
def _pools() -> ThreadpoolController:
    return ThreadpoolController()


def _tensor(theta: Phases) -> Tensor:
    """Share memory where possible: torch's sine is many times faster than numpy's."""
    return torch.from_numpy(np.require(theta, dtype=np.float64, requirements=["C", "W"]))
