"""The recent past of every node, read from a stored series only where it is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.graph import IntArray
from roma_pyg.data.pages import read_window

# Weyl increment and multipliers of SplitMix64 (Steele, Lea & Flood 2014).
_WEYL = np.uint64(0x9E3779B97F4A7C15)
_MIX = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))


@dataclass(frozen=True, eq=False)
class History:
    """Window of all nodes before a time, as a matrix whose rows are read when they are indexed.

    ``history[nodes]`` is ``values[nodes, time - window : time]``, shape ``(n, K)``; of a memory
    map only those rows are read, so that N and T do not matter. After a forecast of ``shift``
    samples the window slides on: its last columns then come from ``forecast``.

    With ``noise``, each value is multiplied by ``exp(eta)``, ``eta ~ N(0, noise)``, as in training
    (arXiv:2502.15913). The factor of a value follows from seed, time, node and place in the window
    alone, so that a node has the same noise in every subgraph it is in.

    Args:
        values: Series, shape ``(N, T)``, may be a memory map.
        time: First sample that is not seen, in ``[window, T]``.
        window: History length K, in samples.
        noise: Variance of the logarithm of the factor, at least 0.
        seed: Seed of the noise, at least 0.
        forecast: Samples from ``time`` on, shape ``(N, H)``, where the window has slid on.
        shift: Samples of ``forecast`` that belong to the past by now, in ``[0, H]``.

    Raises:
        ValueError: If the window does not lie inside the series, or a number is out of range.

    Example:
        >>> values = np.arange(12, dtype=np.float32).reshape(3, 4)
        >>> History(values, time=3, window=2)[np.array([2, 0])]
        array([[ 9., 10.],
               [ 1.,  2.]], dtype=float32)
    """

    values: NDArray[Any]
    time: int
    window: int
    noise: float = 0.0
    seed: int = 0
    forecast: NDArray[Any] | None = None
    shift: int = 0

    def __post_init__(self) -> None:
        """Check that the window exists."""
        last = self.values.shape[1]
        if not 1 <= self.window <= self.time <= last:
            raise ValueError(
                f"Expected 'time' in [{self.window}, {last}] for a window of {self.window} samples "
                f"and a series of {last} (got {self.time})."
            )
        if not (np.isfinite(self.noise) and self.noise >= 0):
            raise ValueError(f"Expected 'noise' to be finite and at least 0 (got {self.noise}).")
        if self.seed < 0:
            raise ValueError(f"Expected 'seed' to be at least 0 (got {self.seed}).")
        known = 0 if self.forecast is None else self.forecast.shape[1]
        if not 0 <= self.shift <= known:
            raise ValueError(
                f"Expected 'shift' in [0, {known}], the samples of 'forecast' (got {self.shift})."
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Number of nodes and length of the window, ``(N, K)``."""
        return len(self.values), self.window

    def slide(self, forecast: NDArray[Any], shift: int) -> History:
        """The window ``shift`` samples later, which ends with samples of a forecast.

        Args:
            forecast: Samples from ``time`` on, shape ``(N, H)``; may be a memory map.
            shift: Samples of it that belong to the past by now.
        """
        return History(self.values, self.time, self.window, self.noise, self.seed, forecast, shift)

    def __getitem__(self, nodes: IntArray) -> NDArray[np.float32]:
        """Read the window of some nodes, shape ``(n, K)``, a new array."""
        kept = max(self.window - self.shift, 0)
        part = read_window(self.values, nodes, self.time - kept, self.time)
        if self.noise:
            part *= self._factors(nodes, kept)
        if self.shift == 0 or self.forecast is None:
            return part
        tail = self.forecast[nodes, self.shift - (self.window - kept) : self.shift]
        return np.concatenate([part, np.asarray(tail, dtype=np.float32)], axis=1)

    def _factors(self, nodes: IntArray, count: int) -> NDArray[np.float32]:
        """Noise factors of the last ``count`` samples before ``time``, shape ``(n, count)``."""
        stream = np.random.SeedSequence([0x0153, self.seed, self.time])
        key = stream.generate_state(1, np.uint64)[0]
        place = self.window - count + np.arange(count)
        cell = (np.asarray(nodes, np.int64)[:, None] * self.window + place).astype(np.uint64)
        # Two uniform numbers in (0, 1] and [0, 1) make a normal one (Box & Muller 1958).
        first, second = (_mixed(key + (np.uint64(2) * cell + np.uint64(i)) * _WEYL) for i in (0, 1))
        radius = np.sqrt(-2 * np.log((first + 1) * 2.0**-53))
        normal = radius * np.cos(2 * np.pi * second * 2.0**-53)
        return np.exp(self.noise**0.5 * normal).astype(np.float32)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.float64]:
    """SplitMix64's bits of a state, as an integer in [0, 2^53)."""
    for shift, factor in zip((30, 27), _MIX, strict=True):
        state = (state ^ (state >> np.uint64(shift))) * factor
    return ((state ^ (state >> np.uint64(31))) >> np.uint64(11)).astype(np.float64)
