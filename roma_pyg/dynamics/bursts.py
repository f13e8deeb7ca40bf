"""Bursts: every node has a few sources of communities that gel, break up and gel again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roma_pyg.config import BurgersConfig
from roma_pyg.dynamics.gelation import gel_fraction

# Nodes handled together: their intermediate arrays stay in the cache of a core.
CHUNK = 1 << 14

# Increment and multipliers of the generator SplitMix64 (Steele, Lea & Flood 2014,
# doi:10.1145/2660193.2660195), which turns a counter into random bits.
INCREMENT = np.uint64(0x9E3779B97F4A7C15)
MIX_1, MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


@dataclass(frozen=True, eq=False)
class BurstSources:
    """What distinguishes the sources of bursts; each array has the shape ``(B, N)``.

    Attributes:
        interval: Mean time from one burst of a source to the next, in time units, positive.
        phase: Place in its cycle at time 0, in [0, 1).
        rate: Aggregation rate of its gel, in inverse time units, positive.
        size: Members of its gel after a long time, positive, without unit.
        key: Start of the random numbers of its onsets, any 64 bits.
    """

    interval: NDArray[np.float32]
    phase: NDArray[np.float32]
    rate: NDArray[np.float32]
    size: NDArray[np.float32]
    key: NDArray[np.uint64]

    def __post_init__(self) -> None:
        """Check the shapes and signs.

        Raises:
            ValueError: If the shapes differ, or an interval, rate or size is not positive.
        """
        shapes = {name: array.shape for name, array in vars(self).items()}
        if len(set(shapes.values())) != 1 or self.key.ndim != 2:
            raise ValueError(f"Expected arrays of one shape (B, N) (got {shapes}).")
        for name in ("interval", "rate", "size"):
            smallest = getattr(self, name).min(initial=np.inf)
            if not smallest > 0:
                raise ValueError(f"Expected '{name}' to be positive (got {smallest}).")

    @property
    def num_nodes(self) -> int:
        """Number of nodes N."""
        return self.key.shape[1]


def draw_sources(count: int, config: BurgersConfig, rng: np.random.Generator) -> BurstSources:
    """Draw the sources of all nodes.

    Intervals, rates and sizes are log-normal, ``median * exp(spread * normal)``; phases uniform.

    Args:
        count: Number of nodes N, positive.
        config: Sources per node, medians and spreads.
        rng: Source of the random numbers.

    Returns:
        The sources, 24 bytes each.
    """
    shape = (config.sources, count)

    def lognormal(median: float, spread: float) -> NDArray[np.float32]:
        draw = rng.standard_normal(shape, dtype=np.float32)
        return np.float32(median) * np.exp(np.float32(spread) * draw)

    return BurstSources(
        interval=lognormal(config.interval, config.interval_spread),
        phase=rng.random(shape, dtype=np.float32),
        rate=lognormal(config.growth_rate, config.growth_spread),
        size=lognormal(1.0, config.size_spread),
        key=rng.integers(2**64, size=shape, dtype=np.uint64),
    )


class Bursts:
    """Activity of every node, were it alone: new members of its gels per time unit.

    The n-th gel of a source of interval P and phase f appears at the time
    ``(n - f + jitter U_n) P`` with U_n uniform in [0, 1), grows as
    ``size * g(1 + rate (time - onset))`` (`roma_pyg.dynamics.gelation`) and breaks up when the next
    one appears, which in turn begins with loose members. U_n is a function of the key of the
    source and of n, so the bursts at any time are found without those before: O(B N) time and
    memory, for a series of any length.

    Args:
        sources: The sources.
        jitter: Irregularity of the onsets, in intervals, in [0, 1].
        dt: Time between two samples, in time units, positive.

    Example:
        >>> one = np.ones((1, 1), dtype=np.float32)
        >>> sources = BurstSources(100 * one, 0.05 * one, one, one, np.zeros((1, 1), np.uint64))
        >>> bursts = Bursts(sources, jitter=0.0, dt=1.0)  # gels at times -5, 95, 195, ...
        >>> [round(float(bursts.activity(sample)[0]), 4) for sample in (95, 96, 97)]
        [0.0, 0.7968, 0.1437]
    """

    def __init__(self, sources: BurstSources, jitter: float, dt: float) -> None:
        """Keep the sources, and room for the members at the last sample."""
        self.sources = sources
        self.jitter = jitter
        self.dt = dt
        self._sample: int | None = None
        self._index = np.empty(sources.key.shape, dtype=np.int64)
        self._members = np.empty(sources.key.shape)

    def members(
        self, time: float, nodes: slice = slice(None)
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Gels at a time.

        Args:
            time: Time, in time units, of any sign.
            nodes: The nodes that are asked for, n of them.

        Returns:
            Number n of the latest gel of each source (int64) and its members (float64), each of
            the shape ``(B, n)``.
        """
        part = {name: array[:, nodes] for name, array in vars(self.sources).items()}
        cycles = time / part["interval"].astype(np.float64) + part["phase"]
        index = np.floor(cycles).astype(np.int64)
        since = cycles - index - self.jitter * _uniform(part["key"], index)
        # The gel of this cycle may not have appeared yet; then that of the last cycle is there.
        early = since < 0
        index[early] -= 1
        last = _uniform(part["key"][early], index[early])
        since[early] = (cycles[early] - index[early]) - self.jitter * last
        age = since * part["interval"]
        return index, part["size"] * gel_fraction(1 + part["rate"] * age)

    def activity(self, sample: int) -> NDArray[np.float64]:
        """Mean growth rate during the sample interval that ends at ``sample * dt``.

        Over the interval and not at its end, as a front lasts less than an interval: in this way
        all members are counted, once. What a gel gains in the interval in which it breaks up is
        not counted, nor is a gel that appears and breaks up within one.

        Args:
            sample: Index of the sample, of any sign.

        Returns:
            New members per time unit, non-negative, shape ``(N,)``. Equal calls give equal bits,
            whatever was called before; calls in order of time take half of the work.
        """
        known = self._sample == sample - 1
        self._sample = None  # in case of an interruption
        total = np.empty(self.sources.num_nodes)
        for nodes in _chunks(self.sources.num_nodes):
            if not known:
                before = self.members((sample - 1) * self.dt, nodes)
                self._index[:, nodes], self._members[:, nodes] = before
            index, members = self.members(sample * self.dt, nodes)
            same = index == self._index[:, nodes]
            gain = np.where(same, members - self._members[:, nodes], members)
            # Rounding may let a saturated gel lose its last bit.
            total[nodes] = np.maximum(gain, 0).sum(0) / self.dt
            self._index[:, nodes], self._members[:, nodes] = index, members
        self._sample = sample
        return total


def _chunks(count: int) -> Iterator[slice]:
    for start in range(0, count, CHUNK):
        yield slice(start, min(start + CHUNK, count))


def _uniform(key: NDArray[np.uint64], counter: NDArray[np.int64]) -> NDArray[np.float64]:
    """Random number in [0, 1) of each pair of key and counter, by SplitMix64."""
    bits = key + counter.astype(np.uint64) * INCREMENT
    bits = (bits ^ (bits >> np.uint64(30))) * MIX_1
    bits = (bits ^ (bits >> np.uint64(27))) * MIX_2
    bits ^= bits >> np.uint64(31)
    return (bits >> np.uint64(11)) * 2.0**-53
