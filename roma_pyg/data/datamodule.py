"""Everything a run needs of its data, and the batches it trains on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import lightning as L
import numpy as np
from torch.utils.data import DataLoader

from roma_pyg import exchange, ranks
from roma_pyg.config import DataConfig, TrainingConfig
from roma_pyg.data.collective import CollectiveModes
from roma_pyg.data.features import NodeFeatures
from roma_pyg.data.graph import FloatArray
from roma_pyg.data.load import load_series
from roma_pyg.data.memory import NodeMemory, find_modes
from roma_pyg.data.positional import node_positions
from roma_pyg.data.sampling import SubgraphBatch, SubgraphSampler
from roma_pyg.data.series import GraphSeries
from roma_pyg.data.split import Split, make_split, split_times
from roma_pyg.data.surroundings import Surroundings
from roma_pyg.data.windows import WindowStream, seed_worker

REPORTED_STEPS = (1, 4, 16, 64)
# Offsets of the seeds, so that no two streams of a run share batches.
TRAIN, VALIDATE, STATISTICS = 0, 1, 2


class ResumableLoader(DataLoader[SubgraphBatch]):
    """Loader whose place in the stream follows from the step of the trainer.

    Lightning asks a loader for its state when a run is resumed; this one has none to keep, as
    `GraphSeriesData.train_dataloader` starts the stream at the right batch.
    """

    def state_dict(self) -> dict[str, int]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Accept an empty state."""


class GraphSeriesData(L.LightningDataModule):
    """Series, split, positional features and the streams of batches.

    Training batches come from the graph that the training nodes induce and from training times;
    validation batches from training and validation nodes at validation times. Test nodes and test
    times are in neither. (Positional features see the whole graph, but no series; the memory of a
    node, held out or not, sees its own series at training times.)

    Each of several ranks gets its part of joint batches, see `WindowStream`; the data set itself is
    generated, and its positional features are computed, by rank 0, for which the others wait.

    Args:
        data: Data set, split and sampling.
        training: Seed, steps and workers.
        series: The series; loaded or generated from ``data`` if None.
        memory: What the memory of the nodes consists of, such as that of a trained model; found
            from the training part if None.
        progress: Show progress while generating and remembering.

    Raises:
        ValueError: If the series is too short or the graph too small for the split.
    """

    def __init__(
        self,
        data: DataConfig,
        training: TrainingConfig,
        series: GraphSeries | None = None,
        memory: NodeMemory | None = None,
        *,
        progress: bool = True,
    ) -> None:
        """Load or generate the data."""
        super().__init__()
        with exchange.first():
            self._load(data, training, series, progress)
        self._memory, self._progress = memory, progress

    def _load(
        self,
        data: DataConfig,
        training: TrainingConfig,
        series: GraphSeries | None,
        progress: bool,
    ) -> None:
        self.options = data
        self.training = training
        if series is None and data.system != "files":
            # Before hours are spent on generating what would be too short.
            split_times(data.steps, data.split, data.window, data.horizon)
        self.series = load_series(data, progress=progress) if series is None else series
        graph = self.series.graph
        self.split: Split = make_split(
            graph, self.series.num_steps, data.split, data.window, data.horizon, data.seed
        )
        self._cache = Path(data.root) / ".cache"
        self.position: FloatArray = node_positions(self.series, data.positional, self._cache)
        # Subgraphs have one size: a model made for few training nodes takes no more in validation.
        size = min(data.nodes_per_graph, len(self.split.nodes["train"]))
        visible = {part: self.split.visible(part) for part in ("train", "val")}
        self.samplers = {
            part: SubgraphSampler(
                graph.induced(nodes),
                size,
                data.walk_length,
                data.max_neighbors,
                graph.degree[nodes],
            )
            for part, nodes in visible.items()
        }

    @property
    def nodes_per_graph(self) -> int:
        """Core nodes of a subgraph: as asked for, or the number of training nodes if less."""
        return self.samplers["train"].size

    @cached_property
    def memory(self) -> NodeMemory | None:
        """What the memory of the nodes consists of; None where ``data.memory.size`` is 0."""
        if self.options.memory.size == 0 or self._memory is not None:
            return self._memory
        around = self.surroundings
        return exchange.tell(lambda: self._find_memory(around))

    def _find_memory(self, around: Surroundings) -> NodeMemory:
        options = self.options
        memory = NodeMemory.of(options)
        nodes, times = self.split.nodes["train"], self.split.times["train"]
        memory.fit(self.series.values, nodes, times, options.noise, options.seed, around)
        return memory

    @cached_property
    def surroundings(self) -> Surroundings:
        """What the memory of a node sees around it; that of training nodes sees no others."""
        stage = np.full(self.series.num_nodes, 2, dtype=np.int8)
        for number, part in enumerate(("train", "val")):
            stage[self.split.nodes[part]] = number
        return Surroundings(self.series.graph, exchange.tell(self._find_modes), stage)

    def _find_modes(self) -> CollectiveModes | None:
        options = self.options
        nodes, times = self.split.nodes["train"], self.split.times["train"]
        return find_modes(options, self.series.values, nodes, times, options.noise, options.seed)

    def prepare_features(self) -> None:
        """Find the features of the nodes, together with the other ranks, which must do so, too."""
        with exchange.joint():
            _ = self.features

    @cached_property
    def features(self) -> NodeFeatures:
        """Features of all nodes, with what training times tell of them."""
        options = self.options
        return NodeFeatures.remember(
            self.series,
            self.position,
            self.memory,
            self.split.times["train"],
            around=self.surroundings if self.memory is not None else None,
            blocks=options.memory.blocks,
            noise=options.noise,
            seed=options.seed,
            cache=self._cache,
            progress=self._progress,
        )

    def statistics(self, count: int = 80) -> Iterator[SubgraphBatch]:
        """Training batches with targets at every step ahead, to fit scales on; joint ones of ranks.

        Args:
            count: Number of batches; they are the same at every call.
        """
        stream = self._stream("train", STATISTICS, steps_ahead=None, whole=True)
        return (stream.batch(index) for index in range(count))

    def train_dataloader(self) -> DataLoader[SubgraphBatch]:
        """Batches from the current step of the trainer on, in an order fixed by the seed."""
        start = 0 if self.trainer is None else self.trainer.global_step
        stream = self._stream(
            "train", TRAIN, self.training.steps_ahead, start=start, rollout=self.training.rollout
        )
        # Estimated here once, so that workers share it.
        stream.sampler.importance(np.zeros(1, dtype=np.int64))
        workers = self.training.workers
        return ResumableLoader(
            stream,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=seed_worker,
            # Forked workers share the series and the graph instead of copying them.
            multiprocessing_context="fork" if workers and sys.platform != "win32" else None,
        )

    def val_dataloader(self) -> DataLoader[SubgraphBatch]:
        """The same batches at every validation, with the reported steps ahead among others."""
        horizon = self.options.horizon
        ladder = {*REPORTED_STEPS, 2, 8, 12, 24, 32, 48, horizon}
        steps = sorted(step for step in ladder if step <= horizon)
        stream = self._stream("val", VALIDATE, steps, stop=self.training.val_batches)
        return DataLoader(stream, batch_size=None)

    def _stream(
        self,
        part: str,
        purpose: int,
        steps_ahead: int | list[int] | None,
        start: int = 0,
        stop: int | None = None,
        rollout: int = 1,
        whole: bool = False,
    ) -> WindowStream:
        rank, size = (0, 1) if whole else (ranks.rank(), ranks.size())
        return WindowStream(
            self.series.values,
            self.features,
            self.split.visible(part),
            self.samplers[part],
            self.split.times[part],
            window=self.options.window,
            horizon=self.options.horizon,
            noise=self.options.noise,
            steps_ahead=steps_ahead,
            graphs=self.options.graphs_per_batch * (ranks.size() // size),
            rollout=rollout,
            seed=3 * self.training.seed + purpose,
            start=start,
            stop=stop,
            part=rank,
            parts=size,
        )
