"""Streams of training batches: subgraph, time, noise and steps ahead drawn from one seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from roma_pyg.data.graph import IntArray
from roma_pyg.data.noise import add_noise
from roma_pyg.data.sampling import Subgraph, SubgraphBatch, SubgraphSampler, collate


class WindowStream(IterableDataset[SubgraphBatch]):
    """Batch ``i`` depends on ``(seed, i)`` alone, so a stream can be continued anywhere.

    With several workers, worker ``w`` of ``W`` makes the batches ``start + w, start + w + W, ...``
    and the loader deals them out in order. Series, positional features and graph are shared, not
    copied, between forked workers.

    Args:
        values: Series of the data set, shape ``(N, T)``, may be a memory map.
        position: Positional features of the data set, shape ``(N, P)``.
        nodes: Nodes of the data set that the sampled graph consists of, shape ``(n,)``.
        sampler: Sampler on the graph induced by ``nodes``.
        times: Forecast times to draw from.
        window: History length K.
        horizon: Longest step ahead.
        noise: Variance of the multiplicative noise on history and targets.
        steps_ahead: Number of steps ahead per batch, stratified over the horizon, or the steps
            themselves; None for all of them.
        graphs: Subgraphs per batch.
        seed: Seed of the stream.
        start: First batch.
        stop: Batch to stop before; None never stops.
    """

    def __init__(
        self,
        values: NDArray[np.float32],
        position: NDArray[np.float32],
        nodes: IntArray,
        sampler: SubgraphSampler,
        times: range,
        *,
        window: int,
        horizon: int,
        noise: float,
        steps_ahead: int | Sequence[int] | None = None,
        graphs: int = 1,
        seed: int = 0,
        start: int = 0,
        stop: int | None = None,
    ) -> None:
        """Bind the stream to the data; nothing is read yet."""
        super().__init__()
        self.values = values
        self.position = position[nodes]
        self.nodes = nodes
        self.sampler = sampler
        self.times = times
        self.window = window
        self.horizon = horizon
        self.noise = noise
        self.steps_ahead = horizon if steps_ahead is None else steps_ahead
        self.graphs = graphs
        self.seed = seed
        self.start = start
        self.stop = stop

    def __iter__(self) -> Iterator[SubgraphBatch]:
        """Yield batches, shared among the workers of a loader."""
        worker = get_worker_info()
        index = self.start + (worker.id if worker else 0)
        stride = worker.num_workers if worker else 1
        while self.stop is None or index < self.stop:
            yield self.batch(index)
            index += stride

    def batch(self, index: int) -> SubgraphBatch:
        """Make batch number ``index``."""
        rng = np.random.default_rng([self.seed, index])
        steps = self._draw_steps(rng)
        subgraphs: list[Subgraph] = []
        windows: list[NDArray[np.float32]] = []
        targets: list[NDArray[np.float32]] = []
        for _ in range(self.graphs):
            sub = self.sampler.sample(rng)
            time = self.times[int(rng.integers(len(self.times)))]
            rows = self.nodes[sub.nodes]
            history = self.values[rows, time - self.window : time]
            ahead = self.values[rows[: sub.num_core, None], time + steps[None, :] - 1]
            subgraphs.append(sub)
            windows.append(add_noise(history, self.noise, rng))
            targets.append(add_noise(ahead, self.noise, rng))
        cores = np.concatenate([sub.nodes[: sub.num_core] for sub in subgraphs])
        importance = self.sampler.importance(cores)
        return collate(
            subgraphs,
            windows,
            self.position,
            steps,
            targets,
            self.nodes,
            importance,
            seed=int(rng.integers(2**62)),
        )

    def _draw_steps(self, rng: np.random.Generator) -> IntArray:
        """Ascending, distinct steps ahead, one drawn from each of equal strata of the horizon."""
        if not isinstance(self.steps_ahead, int):
            return np.asarray(self.steps_ahead, dtype=np.int64)
        if self.steps_ahead >= self.horizon:
            return np.arange(1, self.horizon + 1)
        edges = np.linspace(0, self.horizon, self.steps_ahead + 1)
        draws = edges[:-1] + rng.random(self.steps_ahead) * np.diff(edges)
        return np.floor(draws).astype(np.int64) + 1


def seed_worker(_: int) -> None:
    """Keep each loader worker on one thread; the training process needs the others."""
    torch.set_num_threads(1)
