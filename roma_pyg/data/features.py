"""What is known of every node besides its recent history."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.graph import IntArray
from roma_pyg.data.memory import NodeMemory, block_of
from roma_pyg.data.series import GraphSeries


@dataclass(frozen=True, eq=False)
class NodeFeatures:
    """Position of each node in the graph, and memory of its past.

    Attributes:
        position: Positional features, shape ``(N, P)``, may be a memory map.
        memory: Coefficients of `NodeMemory`, shape ``(blocks + 1, N, M)``: row b forgets block b of
            the remembered times, the last row none. None for models without memory.
        times: Forecast times that are remembered.

    Example:
        >>> position, memory = np.zeros((3, 2), np.float32), np.arange(6.0, dtype=np.float32)
        >>> features = NodeFeatures(position, memory.reshape(2, 3, 1), range(10, 20))
        >>> features.read(np.array([1]), time=12), features.read(np.array([1]))
        (array([[0., 0., 1.]], dtype=float32), array([[0., 0., 4.]], dtype=float32))
    """

    position: NDArray[np.float32]
    memory: NDArray[np.float32] | None = None
    times: range = range(0)

    @classmethod
    def remember(
        cls,
        series: GraphSeries,
        position: NDArray[np.float32],
        memory: NodeMemory | None,
        times: range,
        *,
        blocks: int = 0,
        noise: float = 0.0,
        seed: int = 0,
        progress: bool = False,
    ) -> NodeFeatures:
        """Features of a series, with the memory of all nodes at some times.

        Args:
            series: The series, N nodes.
            position: Positional features, shape ``(N, P)``.
            memory: What the memory consists of; None for none.
            times: Forecast times to remember.
            blocks: Blocks of these times that are forgotten in turn, see `NodeMemory.recall`.
            noise: Variance of the multiplicative noise on the series.
            seed: Seed of the noise.
            progress: Show a progress bar where there are many nodes.
        """
        if memory is None:
            return cls(position)
        past = memory.recall(
            series.values, times, blocks=blocks, noise=noise, seed=seed, progress=progress
        )
        return cls(position, past, times)

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
        blocks = len(self.memory) - 1
        row = blocks if time is None else block_of(time, self.times, blocks)
        return np.concatenate([position, self.memory[row][nodes]], axis=1)
