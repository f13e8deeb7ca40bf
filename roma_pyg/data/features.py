"""What is known of every node besides its recent history."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.collective import CollectiveModes
from roma_pyg.data.crossfit import block_of
from roma_pyg.data.graph import IntArray
from roma_pyg.data.history import History
from roma_pyg.data.memory import NodeMemory
from roma_pyg.data.memory_cache import recall_once
from roma_pyg.data.pages import read_window
from roma_pyg.data.series import GraphSeries
from roma_pyg.data.surroundings import Surroundings


@dataclass(frozen=True, eq=False)
class NodeFeatures:
    """Position of each node in the graph, memory of its past, and its part in collective modes.

    Attributes:
        position: Positional features, shape ``(N, P)``, may be a memory map.
        memory: Coefficients of `NodeMemory`, shape ``(blocks + 1, N, M)``: row b forgets block b of
            the remembered times, the last row none. None for models without memory. May be a memory
            map, as the loadings.
        times: Forecast times that are remembered.
        modes: Collective modes of the graph; None for models without.
        loadings: Loadings of the nodes, shape ``(blocks + 1, N, C + 1)``, rows as of the memory.

    Example:
        >>> position, memory = np.zeros((3, 2), np.float32), np.arange(6.0, dtype=np.float32)
        >>> features = NodeFeatures(position, memory.reshape(2, 3, 1), range(10, 20))
        >>> features.read(np.array([1]), time=12), features.read(np.array([1]))
        (array([[0., 0., 1.]], dtype=float32), array([[0., 0., 4.]], dtype=float32))
    """

    position: NDArray[np.float32]
    memory: NDArray[np.float32] | None = None
    times: range = range(0)
    modes: CollectiveModes | None = None
    loadings: NDArray[np.float32] | None = None

    @classmethod
    def remember(
        cls,
        series: GraphSeries,
        position: NDArray[np.float32],
        memory: NodeMemory | None,
        times: range,
        *,
        around: Surroundings | None = None,
        blocks: int = 0,
        noise: float = 0.0,
        seed: int = 0,
        cache: Path | None = None,
        progress: bool = False,
    ) -> NodeFeatures:
        """Features of a series, with the memory of all nodes at some times.

        Args:
            series: The series, N nodes.
            position: Positional features, shape ``(N, P)``.
            memory: What the memory consists of; None for none.
            times: Forecast times to remember.
            around: Surroundings of the nodes, for a memory that looks at them.
            blocks: Blocks of these times that are forgotten in turn, see `NodeMemory.recall`.
            noise: Variance of the multiplicative noise on the series.
            seed: Seed of the noise.
            cache: Folder of cached memories; None recalls them every time.
            progress: Show a progress bar where there are many nodes.
        """
        if memory is None:
            return cls(position)
        past = recall_once(
            cache,
            memory,
            series,
            times,
            around=around,
            blocks=blocks,
            noise=noise,
            seed=seed,
            progress=progress,
        )
        coefficients, loadings = past[..., : memory.size], past[..., memory.size :]
        modes = around.modes if around is not None and memory.collective else None
        return cls(position, coefficients, times, modes, None if modes is None else loadings)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of nodes N and of features P + M."""
        count, width = self.position.shape
        return count, width + (0 if self.memory is None else self.memory.shape[2])

    def read(self, nodes: IntArray, time: int | None = None) -> NDArray[np.float32]:
        """Features of some nodes.

        Args:
            nodes: Nodes, shape ``(n,)``.
            time: Forecast time that the memory must not know the future of; None if none of the
                remembered times.

        Returns:
            A new array, shape ``(n, P + M)``.
        """
        position = np.asarray(self.position[nodes], np.float32)
        if self.memory is None:
            return position
        memory = read_window(self.memory[self.row(time)], nodes, 0, self.memory.shape[2])
        return np.concatenate([position, memory], axis=1)

    def read_modes(self, history: History | NDArray[np.float32]) -> NDArray[np.float64] | None:
        """Collective modes in a window of all nodes, for `course`; None without modes."""
        return None if self.modes is None else self.modes.read(history)

    def course(
        self, nodes: IntArray, modes: NDArray[np.float64], time: int | None = None
    ) -> NDArray[np.float32]:
        """What collective modes expect of some nodes; for features that have modes.

        Args:
            nodes: Nodes, shape ``(n,)``.
            modes: Modes before the forecast, from `CollectiveModes.read` or ``before``.
            time: As in `read`.

        Returns:
            Shape ``(n, Q)``, in units of the observable.
        """
        if self.modes is None or self.loadings is None:
            raise ValueError("Expected features with collective modes (got some without).")
        row = self.row(time)
        known = self.modes.blocks if row == len(self.loadings) - 1 else row
        loadings = read_window(self.loadings[row], nodes, 0, self.loadings.shape[2])
        return loadings @ self.modes.forecast(modes, known)

    def row(self, time: int | None) -> int:
        """Row of memory and loadings that does not know the future of a time."""
        blocks = 0 if self.memory is None else len(self.memory) - 1
        return blocks if time is None else block_of(time, self.times, blocks)
