"""Streams of training batches: subgraph, time, noise and steps ahead drawn from one seed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import IterableDataset, get_worker_info

from roma_pyg.data.features import NodeFeatures
from roma_pyg.data.graph import IntArray, check_range
from roma_pyg.data.history import History
from roma_pyg.data.noise import add_noise
from roma_pyg.data.pages import read_window
from roma_pyg.data.sampling import Subgraph, SubgraphBatch, SubgraphSampler, collate


class WindowStream(IterableDataset[SubgraphBatch]):
    """Batch ``i`` depends on ``(seed, i)`` alone, so a stream can be continued anywhere.

    With several workers, worker ``w`` of ``W`` makes the batches ``start + w, start + w + W, ...``
    and the loader deals them out in order. Series, features and graph are shared, not
    copied, between forked workers. Only the given nodes at ``time - K`` to ``time + horizon - 1``
    are read, for the given times, and the windows of the probes of collective modes.

    A stream may be one of ``parts``, whose batches make up those of one stream with ``parts *
    graphs`` subgraphs: the same subgraphs, times, noise, steps ahead and seeds. Each subgraph has
    random numbers of its own, so that a part draws nothing but its own.

    Args:
        values: Series of the data set, shape ``(N, T)``, may be a memory map.
        features: Features of the nodes of the data set.
        nodes: Nodes of the data set that the sampled graph consists of, shape ``(n,)``.
        sampler: Sampler on the graph induced by ``nodes``.
        times: Forecast times to draw from.
        window: History length K, in samples.
        horizon: Longest step ahead, in samples.
        noise: Variance of the multiplicative noise on history and targets.
        steps_ahead: Number of steps ahead per batch, stratified over the horizon, or the steps
            themselves, distinct; None for all of them.
        graphs: Subgraphs per batch.
        rollout: Largest number of rounds of a rollout; each batch draws its own, from 1 on. The
            targets are those of the last round, which starts ``horizon`` samples later per round.
        seed: Seed of the stream, non-negative.
        start: First batch.
        stop: Batch to stop before; None never stops.
        part: Number of this part, in ``[0, parts)``.
        parts: Parts of a joint batch.

    Raises:
        ValueError: If shapes do not fit, there is no time to draw, a window or target would leave
            the series, or a number is out of range.
    """

    def __init__(
        self,
        values: NDArray[np.float32],
        features: NodeFeatures,
        nodes: IntArray,
        sampler: SubgraphSampler,
        times: range,
        *,
        window: int,
        horizon: int,
        noise: float,
        steps_ahead: int | Sequence[int] | None = None,
        graphs: int = 1,
        rollout: int = 1,
        seed: int = 0,
        start: int = 0,
        stop: int | None = None,
        part: int = 0,
        parts: int = 1,
    ) -> None:
        """Bind the stream to the data; nothing is read yet."""
        super().__init__()
        if len(nodes) != sampler.graph.num_nodes:
            raise ValueError(
                f"Expected 'nodes' of the sampled graph, shape ({sampler.graph.num_nodes},) "
                f"(got {np.shape(nodes)})."
            )
        if features.shape[0] != len(values):
            raise ValueError(
                f"Expected 'features' of all {len(values)} nodes of 'values' (got "
                f"{features.shape[0]})."
            )
        check_range("nodes", nodes, len(values))
        _check_times(times, window, horizon, values.shape[1])
        _check_steps(steps_ahead, horizon)
        numbers = (("graphs", graphs, 1), ("rollout", rollout, 1), ("seed", seed, 0))
        for name, number, least in (*numbers, ("start", start, 0)):
            if number < least:
                raise ValueError(f"Expected '{name}' to be at least {least} (got {number}).")
        if not 0 <= part < parts:
            raise ValueError(f"Expected 'part' in [0, {parts}) (got {part}).")
        self.values = values
        self.features = features
        self.nodes = nodes
        self.sampler = sampler
        self.times = times
        self.window = window
        self.horizon = horizon
        self.noise = noise
        self.steps_ahead = horizon if steps_ahead is None else steps_ahead
        self.graphs = graphs
        # No more rounds than the times have room for.
        self.rollout = min(rollout, 1 + (len(times) - 1) // horizon)
        self.seed = seed
        self.start = start
        self.stop = stop
        self.part = part
        self.parts = parts

    def __iter__(self) -> Iterator[SubgraphBatch]:
        """Yield batches, shared among the workers of a loader."""
        worker = get_worker_info()
        index = self.start + (worker.id if worker else 0)
        stride = worker.num_workers if worker else 1
        while self.stop is None or index < self.stop:
            yield self.batch(index)
            index += stride

    def batch(self, index: int) -> SubgraphBatch:
        """Make batch number ``index``, from any place and in any order.

        Args:
            index: Number of the batch, at least 0.
        """
        rng = np.random.default_rng([self.seed, index])
        steps = self._draw_steps(rng)
        subgraphs: list[Subgraph] = []
        windows: list[NDArray[np.float32]] = []
        features: list[NDArray[np.float32]] = []
        targets: list[NDArray[np.float32]] = []
        later: list[NDArray[np.float32]] = []
        courses: list[NDArray[np.float32]] = []
        rounds = 1 + int(rng.integers(self.rollout)) if self.rollout > 1 else 1
        seed = int(rng.integers(2**62))
        shift = (rounds - 1) * self.horizon
        first = self.part * self.graphs
        for number in range(first, first + self.graphs):
            # From one on: a last zero would give the random numbers of the batch once more.
            rng = np.random.default_rng([self.seed, index, 1 + number])
            sub = self.sampler.sample(rng)
            time = self.times[int(rng.integers(len(self.times) - shift))]
            rows = self.nodes[sub.nodes]
            history = read_window(self.values, rows, time - self.window, time)
            core = rows[: sub.num_core]
            last = time + shift
            ahead = read_window(self.values, core, last, last + int(steps.max()))[:, steps - 1]
            subgraphs.append(sub)
            features.append(self.features.read(rows, last))
            windows.append(add_noise(history, self.noise, rng))
            targets.append(add_noise(ahead, self.noise, rng))
            if self.features.modes is not None:
                starts = range(time, last + 1, self.horizon)
                course = [self.features.course(rows, self._modes(start), last) for start in starts]
                courses.append(np.stack(course))
            if rounds > 1:
                later.append(self._later(rows[sub.num_core :], time, rounds, rng))
        importance = self.sampler.importance(np.concatenate([sub.core for sub in subgraphs]))
        return collate(
            subgraphs,
            windows,
            features,
            steps,
            targets,
            self.nodes,
            importance,
            seed=seed,
            later=later,
            courses=courses,
        )

    def _modes(self, time: int) -> NDArray[np.float64]:
        """Collective modes before a time."""
        modes = self.features.modes
        assert modes is not None
        if modes.knows(time):
            return modes.before(time)
        return modes.read(History(self.values, time, self.window, self.noise, self.seed))

    def _later(
        self, halo: IntArray, time: int, rounds: int, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """History of the halo at the start of all rounds but the first."""
        ends = [time + number * self.horizon for number in range(1, rounds)]
        windows = [read_window(self.values, halo, end - self.window, end) for end in ends]
        return add_noise(np.stack(windows), self.noise, rng)

    def _draw_steps(self, rng: np.random.Generator) -> IntArray:
        """Ascending, distinct steps ahead, one from each stratum of the horizon, each as likely."""
        if not isinstance(self.steps_ahead, int):
            return np.asarray(self.steps_ahead, dtype=np.int64)
        if self.steps_ahead >= self.horizon:
            return np.arange(1, self.horizon + 1)
        bounds = np.arange(self.steps_ahead + 1) * self.horizon // self.steps_ahead
        draws = rng.random(self.steps_ahead) * np.diff(bounds)
        steps = bounds[:-1] + draws.astype(np.int64)
        if self.horizon % self.steps_ahead:
            # Strata of unequal length are turned around the horizon, so that all steps are equal.
            steps = np.sort((steps + rng.integers(self.horizon)) % self.horizon)
        return steps + 1


def _check_times(times: range, window: int, horizon: int, num_steps: int) -> None:
    if len(times) == 0:
        raise ValueError("Expected at least one forecast time in 'times' (got none).")
    if min(times) < window or max(times) + horizon > num_steps:
        raise ValueError(
            f"Expected 'times' in [{window}, {num_steps - horizon}] for window {window}, horizon "
            f"{horizon} and {num_steps} samples (got {min(times)} to {max(times)})."
        )


def _check_steps(steps: int | Sequence[int] | None, horizon: int) -> None:
    if isinstance(steps, int):
        if steps < 1:
            raise ValueError(f"Expected 'steps_ahead' to be at least 1 (got {steps}).")
    elif steps is not None and (
        not len(steps) or min(steps) < 1 or max(steps) > horizon or len({*steps}) < len(steps)
    ):
        raise ValueError(f"Expected distinct 'steps_ahead' in [1, {horizon}] (got {steps}).")


def seed_worker(_: int) -> None:
    """Keep a loader worker on one thread, and alive until its training process ends it.

    The training process needs the other threads. Ctrl-C and the signals of schedulers reach all
    processes of a job, while the training process still takes the step it is in, and saves it.
    """
    torch.set_num_threads(1)
    # Not on every system.
    if hasattr(signal, "sigwaitinfo"):
        for number in (signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        threading.Thread(target=_heed_parent, args=(os.getppid(),), daemon=True).start()


def _heed_parent(parent: int) -> None:
    """End this process at the SIGTERM of its parent; that of others is meant for the parent."""
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
