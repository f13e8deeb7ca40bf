"""Forecasts and supernodes of a whole graph by a trained model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from roma_pyg.data.graph import FloatArray, Graph, IntArray
from roma_pyg.data.positional import positional_features
from roma_pyg.data.sampling import Subgraph, SubgraphBatch, SubgraphSampler, collate
from roma_pyg.data.series import GraphSeries
from roma_pyg.models.hierarchy import Hierarchy, global_hierarchy
from roma_pyg.models.roma import Roma


class RomaForecaster:
    """Runs a model over a graph of any size, subgraph by subgraph.

    The graph is covered by subgraphs drawn as in training; each wanted node is forecast in the
    first subgraph that contains it. Time and memory per subgraph do not depend on N; a forecast of
    all nodes takes O(N / B) subgraphs (more than N / B, as they overlap) and O(N (K + horizon))
    memory.

    Args:
        model: The trained model.
        graph: The graph, N nodes.
        position: Positional features in [0, 1], shape ``(N, P)``.
        seed: Seed of the cover.
        batch_size: Subgraphs per forward pass, at least 1.

    Raises:
        ValueError: If the positional features do not fit graph and model, or ``batch_size`` is
            not positive.
    """

    name = "ROMA"
    group: Literal["model"] = "model"

    def __init__(
        self,
        model: Roma,
        graph: Graph,
        position: FloatArray,
        seed: int = 0,
        batch_size: int = 4,
    ) -> None:
        """Bind the model to a graph."""
        data = model.data
        if position.shape != (graph.num_nodes, data.positional.num_features):
            raise ValueError(
                f"Expected 'position' of shape {(graph.num_nodes, data.positional.num_features)} "
                f"(got {position.shape})."
            )
        if batch_size < 1:
            raise ValueError(f"Expected 'batch_size' to be at least 1 (got {batch_size}).")
        self.model = model
        self.graph = graph
        self.position = np.asarray(position, dtype=np.float32)
        self.seed = seed
        self.batch_size = batch_size
        self.sampler = SubgraphSampler(
            graph, data.nodes_per_graph, data.walk_length, data.max_neighbors
        )

    @property
    def horizon(self) -> int:
        """Number of samples forecast directly."""
        return self.model.data.horizon

    @classmethod
    def for_series(
        cls, model: Roma, series: GraphSeries, cache: Path | None = None
    ) -> RomaForecaster:
        """Make a forecaster for a series; computes its positional features.

        Args:
            model: The trained model.
            series: Any series; the graph may be another than that of training.
            cache: Folder of cached positional features; None computes them anew.
        """
        position = positional_features(series.graph, model.data.positional, cache)
        return cls(model, series.graph, position)

    @torch.inference_mode()
    def forecast(
        self, history: NDArray[np.float32], graph: Graph, nodes: IntArray | None = None
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
        count = graph.num_nodes
        nodes = np.arange(count) if nodes is None else np.asarray(nodes, dtype=np.int64)
        if len(nodes) and not 0 <= nodes.min() <= nodes.max() < count:
            raise ValueError(
                f"Expected 'nodes' in [0, {count}) (got {nodes.min()} to {nodes.max()})."
            )
        result = np.empty((count, self.horizon), dtype=np.float32)
        waiting = np.ones(count, dtype=bool)
        for batch, subgraphs in self.batches(history, nodes):
            forecast = self.model.forecast_fine(batch).float().cpu().numpy()
            for sub, values in zip(subgraphs, forecast, strict=True):
                core = sub.nodes[: sub.num_core]
                new = waiting[core]
                result[core[new]] = values[new]
                waiting[core] = False
        return result[nodes]

    def hierarchy(self, history: NDArray[np.float32]) -> Hierarchy:
        """Supernodes of the whole graph, as the model sees them in this history.

        Args:
            history: Last K samples of all N nodes, shape ``(N, K)``, oldest first.

        Raises:
            ValueError: If the model has no coarse level or the history has the wrong shape.
        """
        return global_hierarchy(
            self.model, self.graph, self.batches(history, np.arange(self.graph.num_nodes))
        )

    def batches(
        self, history: NDArray[np.float32], nodes: IntArray
    ) -> Iterator[tuple[SubgraphBatch, list[Subgraph]]]:
        """Batches whose core nodes cover ``nodes``, the model in evaluation mode meanwhile.

        Args:
            history: Last K samples of all N nodes, shape ``(N, K)``, oldest first.
            nodes: Nodes to cover, shape ``(n,)``.

        Yields:
            A batch on the device of the model, and its subgraphs.

        Raises:
            ValueError: If the history has the wrong shape.
        """
        expected = (self.graph.num_nodes, self.model.data.window)
        if history.shape != expected:
            raise ValueError(f"Expected 'history' of shape {expected} (got {history.shape}).")
        rng = np.random.default_rng(self.seed)
        cores = self.sampler.cover(nodes, rng)
        steps = np.arange(1, self.horizon + 1)
        training = self.model.training
        self.model.eval()
        try:
            for start in range(0, len(cores), self.batch_size):
                chunk = cores[start : start + self.batch_size]
                subgraphs = [self.sampler.expand(core, rng) for core in chunk]
                windows = [np.asarray(history[sub.nodes], np.float32) for sub in subgraphs]
                batch = collate(subgraphs, windows, self.position, steps)
                yield batch.to(self.model.mean.device), subgraphs
        finally:
            self.model.train(training)
