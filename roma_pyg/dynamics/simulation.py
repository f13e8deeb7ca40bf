"""What a system offers so that a data set can be generated from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

State = NDArray[np.float64]
"""All that the future depends on, shape ``(..., N)``."""


class Simulation(Protocol):
    """A system of N nodes that is simulated sample by sample.

    A simulation that starts again from the state at any sample repeats the uninterrupted one bit
    for bit: that is what makes a data set resumable, and lets the exact forecast start anywhere.

    Attributes:
        num_nodes: Number of nodes N.
        dt: Time between samples, in time units.
        burn_in: Samples that are simulated before sample 0, to forget the initial state.
        state_name: Name under which states are stored, such as ``phases``.
        arrays: Further arrays to store by name, such as ``omega`` of shape ``(N,)``.
    """

    num_nodes: int
    dt: float
    burn_in: int
    state_name: str
    arrays: Mapping[str, NDArray[Any]]

    def initial(self) -> State:
        """State at sample ``-burn_in``."""

    def states(self, state: State, first: int, count: int) -> Iterator[State]:
        """Simulate.

        Args:
            state: State at sample ``first``; not changed.
            first: Index of the first sample, negative during burn-in.
            count: Number of samples.

        Returns:
            An iterator over the states at samples ``first ... first + count - 1``, beginning with
            ``state`` itself; each is a new array.
        """

    def observe(self, state: State, sample: int) -> NDArray[np.float32]:
        """Observable of every node in that state, shape ``(N,)``; positive, undivided by `peak`."""

    def scalars(self, state: State) -> dict[str, float]:
        """Summary of a state by name, such as the ``order_parameter``, stored for each sample."""

    def peak(self, scalars: Mapping[str, NDArray[np.float64]]) -> float:
        """What all observables are divided by to lie in (0, 1]; known once all samples are.

        Args:
            scalars: `scalars` of all stored samples, shape ``(T,)`` each.
        """

    def regime(
        self, scalars: Mapping[str, NDArray[np.float64]], first: State, last: State
    ) -> dict[str, float]:
        """Summary of the whole simulation, for the metadata.

        Args:
            scalars: `scalars` of all stored samples, shape ``(T,)`` each.
            first: State at sample 0.
            last: State at sample ``T - 1``.
        """
