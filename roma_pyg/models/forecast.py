"""Forecasts and supernodes of a whole graph by a trained model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roma_pyg import exchange
from roma_pyg.data.cover import Cover
from roma_pyg.data.features import NodeFeatures
from roma_pyg.data.graph import FloatArray, Graph, IntArray, check_range
from roma_pyg.data.history import History
from roma_pyg.data.memory import find_modes
from roma_pyg.data.positional import node_positions
from roma_pyg.data.sampling import Subgraph, SubgraphBatch, SubgraphSampler, collate
from roma_pyg.data.series import GraphSeries
from roma_pyg.data.surroundings import Surroundings
from roma_pyg.models.forecaster import Group
from roma_pyg.models.graph_operator import GraphOperator
from roma_pyg.models.hierarchy import Hierarchy, global_hierarchy
from roma_pyg.models.roma import Roma


class RomaForecaster:
    """Runs a model over a graph of any size, subgraph by subgraph.

    The graph is covered by subgraphs of walks, as in training (`Cover`); each wanted node is
    forecast in the first subgraph that contains it. Time and memory per subgraph do not depend on
    N. All nodes take about 1.45 N / B subgraphs of B nodes. `stream` holds one batch and O(N)
    bytes, `forecast` the O(N horizon) result as well.

    Ranks that work on parts of one forecast (`roma_pyg.exchange.joint`) draw the same cover, and
    each runs the model on its share of the batches: `stream` gives each of them other nodes, all of
    them together every node once, and the same numbers as one process.

    Args:
        model: The trained model.
        graph: The graph, N nodes.
        features: Features of the nodes; or an array of them, shape ``(N, P + M)``, may be a
            memory map.
        seed: Seed of the cover.
        batch_size: Subgraphs per forward pass, at least 1.
        name: Name in tables; that of the model if None.

    Raises:
        ValueError: If the features do not fit graph and model, or ``batch_size`` is
            not positive.

    Example:
        A model that is not trained yet, on a ring of 60 nodes:

        >>> from roma_pyg import load_config
        >>> config = load_config("tiny.yaml")
        >>> nodes = np.arange(60)
        >>> values = np.random.default_rng(0).uniform(0.1, 1.0, (60, 20))
        >>> series = GraphSeries.from_arrays([nodes, np.roll(nodes, 1)], values)
        >>> forecaster = RomaForecaster.for_series(Roma(config.model, config.data), series)
        >>> past = series.values[:, -config.data.window :]
        >>> forecaster.forecast(past, series.graph).shape
        (60, 8)
        >>> forecaster.forecast(past, series.graph, nodes=np.array([7, 3])).shape
        (2, 8)
    """

    group: ClassVar[Group] = "model"

    def __init__(
        self,
        model: GraphOperator,
        graph: Graph,
        features: NodeFeatures | FloatArray,
        seed: int = 0,
        batch_size: int = 4,
        name: str | None = None,
    ) -> None:
        """Bind the model to a graph."""
        data = model.data
        expected = (graph.num_nodes, data.num_features)
        if features.shape != expected:
            raise ValueError(f"Expected 'features' of shape {expected} (got {features.shape}).")
        if batch_size < 1:
            raise ValueError(f"Expected 'batch_size' to be at least 1 (got {batch_size}).")
        self.model = model
        self.name = self.title if name is None else name
        self.graph = graph
        self.features = features if isinstance(features, NodeFeatures) else NodeFeatures(features)
        self.time: int | None = None
        self.seed = seed
        self.batch_size = batch_size
        self.sampler = SubgraphSampler(
            graph, data.nodes_per_graph, data.walk_length, data.max_neighbors
        )
        self.cover = Cover(self.sampler)

    @property
    def title(self) -> str:
        """Name in tables, where none is given."""
        return self.model.title

    @property
    def horizon(self) -> int:
        """Number of samples forecast directly."""
        return self.model.data.horizon

    @classmethod
    def for_series(
        cls,
        model: GraphOperator,
        series: GraphSeries,
        cache: Path | None = None,
        *,
        time: int | None = None,
        position: FloatArray | None = None,
        seed: int = 0,
        batch_size: int = 4,
        progress: bool = False,
    ) -> RomaForecaster:
        """Make a forecaster for a series; computes positions and memory of its nodes.

        Args:
            model: The trained model.
            series: Any series; the graph may be another than that of training.
            cache: Folder of cached positional features; None computes them anew.
            time: First sample that the memory does not see; the end of the series if None.
            position: Positional features, shape ``(N, P)``, if they are known already.
            seed: Seed of the cover.
            batch_size: Subgraphs per forward pass, at least 1.
            progress: Show a progress bar where there are many nodes.

        Raises:
            ValueError: If the positions do not fit series and model.
        """
        data = model.data
        if position is None:
            position = node_positions(series, data.positional, cache)
        expected = (series.num_nodes, data.positional.num_features)
        if position.shape != expected:
            raise ValueError(f"Expected 'position' of shape {expected} (got {position.shape}).")
        end = series.num_steps if time is None else time
        times = range(data.window, max(data.window, end - data.horizon + 1))
        around = None
        if model.memory is not None:
            everyone = np.arange(series.num_nodes)
            around = Surroundings(series.graph, find_modes(data, series.values, everyone, times))
        features = NodeFeatures.remember(
            series, position, model.memory, times, around=around, progress=progress
        )
        return cls(model, series.graph, features, seed, batch_size)

    def at(self, time: int) -> RomaForecaster:
        """The same forecaster, whose memory forgets what it knows of the future of a time.

        Args:
            time: Forecast time; matters for those that the memory was cross-fitted on.
        """
        other = copy(self)
        other.time = time
        return other

    def forecast(
        self,
        history: NDArray[np.float32] | History,
        graph: Graph,
        nodes: IntArray | None = None,
    ) -> NDArray[np.float32]:
        """Forecast the next ``horizon`` samples.

        Args:
            history: Last K samples of all N nodes, shape ``(N, K)``, oldest first.
            graph: The graph the forecaster was made for.
            nodes: Nodes whose forecast is wanted, in [0, N), shape ``(n,)``; all if None.

        Returns:
            Forecast, shape ``(n, horizon)``.

        Raises:
            ValueError: If graph, history or nodes do not fit.
        """
        if graph is not self.graph and graph.checksum != self.graph.checksum:
            raise ValueError(
                f"Expected the graph of {self.graph.num_nodes} nodes that this forecaster was "
                f"made for (got another one of {graph.num_nodes} nodes); make a new forecaster."
            )
        wanted = self._wanted(nodes)
        result = np.empty((len(wanted), self.horizon), dtype=np.float32)
        for part, values in self.stream(history, wanted):
            result[np.searchsorted(wanted, part)] = values
        return result if nodes is None else result[np.searchsorted(wanted, nodes)]

    @torch.inference_mode()
    def stream(
        self,
        history: NDArray[np.float32] | History,
        nodes: IntArray | None = None,
        steps: Sequence[int] | None = None,
    ) -> Iterator[tuple[IntArray, NDArray[np.float32]]]:
        """Forecast block by block, so that the forecast of all nodes need not fit in memory.

        A `History` reads the windows of one batch at a time from a memory-mapped series.

        Args:
            history: Last K samples of all N nodes, shape ``(N, K)``, oldest first.
            nodes: Nodes whose forecast is wanted, in [0, N); all if None.
            steps: Steps ahead, 1 is the next sample, in [1, horizon]; all of them if None.

        Yields:
            Nodes, shape ``(n,)``, and their forecast at ``steps``, shape ``(n, Q)``. Every wanted
            node comes exactly once, in the order of the subgraphs; at one of the ranks.

        Raises:
            ValueError: If history, nodes or steps do not fit.
        """
        ahead = self._check(history, steps)
        wanted = self._wanted(nodes)
        waiting = np.zeros(self.graph.num_nodes, dtype=bool)
        waiting[wanted] = True
        part, parts = exchange.place()
        modes = self.features.read_modes(history)
        with self._evaluating():
            for number, subgraphs in enumerate(self._subgraphs(wanted)):
                firsts = []
                for sub in subgraphs:
                    firsts.append(waiting[sub.core])
                    waiting[sub.core] = False
                if number % parts != part:
                    continue
                batch = self._collate(history, subgraphs, ahead, modes)
                forecast = self._predict(batch).float().cpu().numpy()
                for sub, new, values in zip(subgraphs, firsts, forecast, strict=True):
                    if new.any():
                        yield sub.core[new], values[new]

    def hierarchy(
        self, history: NDArray[np.float32] | History, output: Path | None = None
    ) -> Hierarchy:
        """Supernodes of the whole graph, as the model sees them in this history.

        Args:
            history: Last K samples of all N nodes, shape ``(N, K)``, oldest first.
            output: File ``.npy`` for the assignment of the nodes, which is then memory-mapped
                instead of held in memory; see `global_hierarchy`.

        Raises:
            ValueError: If the model has no coarse level or the history has the wrong shape.
            FileExistsError: If the output exists.
        """
        if not isinstance(self.model, Roma):
            raise ValueError(f"Expected a model with coarse levels (got {self.model.title}).")
        everyone = np.arange(self.graph.num_nodes)
        batches = self.batches(history, everyone, [1])
        return global_hierarchy(self.model, self.graph, batches, output)

    def batches(
        self,
        history: NDArray[np.float32] | History,
        nodes: IntArray,
        steps: Sequence[int] | None = None,
    ) -> Iterator[tuple[SubgraphBatch, list[Subgraph]]]:
        """Batches whose core nodes cover ``nodes``, the model in evaluation mode meanwhile.

        All of them at every rank.

        Args:
            history: Last K samples of all N nodes, shape ``(N, K)``, oldest first.
            nodes: Nodes to cover, shape ``(n,)``.
            steps: Steps ahead in [1, horizon]; all of them if None.

        Yields:
            A batch on the device of the model, and its subgraphs.

        Raises:
            ValueError: If the history has the wrong shape or a step is out of range.
        """
        ahead = self._check(history, steps)
        modes = self.features.read_modes(history)
        with self._evaluating():
            for subgraphs in self._subgraphs(nodes):
                yield self._collate(history, subgraphs, ahead, modes), subgraphs

    def _predict(self, batch: SubgraphBatch) -> Tensor:
        """Forecast the core nodes of a batch, shape ``(G, B, Q)``."""
        return self.model.forecast_fine(batch)

    def _check(
        self, history: NDArray[np.float32] | History, steps: Sequence[int] | None
    ) -> IntArray:
        """Compare history and steps with the model; returns the steps ahead, shape ``(Q,)``."""
        expected = (self.graph.num_nodes, self.model.data.window)
        if history.shape != expected:
            raise ValueError(f"Expected 'history' of shape {expected} (got {history.shape}).")
        ahead = np.arange(1, self.horizon + 1) if steps is None else np.asarray(steps, np.int64)
        if ahead.ndim != 1 or not len(ahead) or not 1 <= ahead.min() <= ahead.max() <= self.horizon:
            raise ValueError(
                f"Expected 'steps' in [1, {self.horizon}], the horizon of the model (got {steps})."
            )
        return ahead

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """The model in evaluation mode."""
        training = self.model.training
        self.model.eval()
        try:
            yield
        finally:
            self.model.train(training)

    def _subgraphs(self, nodes: IntArray) -> Iterator[list[Subgraph]]:
        """Subgraphs whose cores cover some nodes, a batch at a time."""
        # Apart, so that the subgraphs do not depend on how many form a batch.
        cover_rng, halo_rng = np.random.default_rng(self.seed).spawn(2)
        cores = self.cover.draw(nodes, cover_rng)
        while chunk := list(islice(cores, self.batch_size)):
            yield [self.sampler.expand(core, halo_rng) for core in chunk]

    def _collate(
        self,
        history: NDArray[np.float32] | History,
        subgraphs: list[Subgraph],
        ahead: IntArray,
        modes: NDArray[np.float64] | None,
    ) -> SubgraphBatch:
        windows = [np.asarray(history[sub.nodes], np.float32) for sub in subgraphs]
        features = [self.features.read(sub.nodes, self.time) for sub in subgraphs]
        courses = None
        if modes is not None:
            courses = [self.features.course(sub.nodes, modes, self.time)[None] for sub in subgraphs]
        batch = collate(subgraphs, windows, features, ahead, courses=courses)
        return batch.to(self.model.direction.device)

    def _wanted(self, nodes: IntArray | None) -> IntArray:
        """Distinct nodes, ascending."""
        count = self.graph.num_nodes
        if nodes is None:
            return np.arange(count)
        wanted = np.unique(np.asarray(nodes, dtype=np.int64))
        check_range("nodes", wanted, count)
        return wanted


class BaseForecaster(RomaForecaster):
    """The base forecast of a model alone: what its network is worth is the difference.

    Linear in the windows of a node and of its neighbours and in what their memory expects
    (`BaseForecast`), fitted by least squares and not trained. It needs a model whose scales are
    fitted; whether its network was trained makes no difference. Arguments are those of
    `RomaForecaster`.
    """

    group: ClassVar[Group] = "baseline"

    @property
    def title(self) -> str:
        """Name in tables, where none is given."""
        return "linear with memory"

    def _predict(self, batch: SubgraphBatch) -> Tensor:
        """Forecast the core nodes of a batch, shape ``(G, B, Q)``."""
        return self.model.forecast_base(batch)
