"""Writes data sets of Burgers-like social dynamics."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from roma_pyg.config import DataConfig
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph
from roma_pyg.data.store import StoreWriter
from roma_pyg.dynamics.burgers_simulation import BurgersSimulation, Survey
from roma_pyg.dynamics.kuramoto import coupling_matrix

# A checkpoint takes as much disk as four samples.
CHECKPOINT_INTERVAL = 50


def simulate_burgers(
    path: Path, config: DataConfig, parameters: dict[str, Any], progress: bool
) -> None:
    """Draw the graph, simulate twice (see `BurgersSimulation`), and write the second run.

    The folder holds the graph with its couplings, the observable of each node (``values``), and as
    extras ``angle`` and ``radius`` of the nodes, the sources of bursts (``burst_*``), the
    ``mean_activity`` at each sample, and the ``states`` at every 50th, from which the exact system
    can be started again.

    Args:
        path: Folder of the data set; must not exist.
        config: Seed, graph and system.
        parameters: What the metadata tell of the configuration.
        progress: Show a progress bar.
    """
    drawn = hyperbolic_graph(config.graph, config.seed)
    graph = Graph.from_matrix(coupling_matrix(drawn.adjacency))
    # The stored (float32) couplings are the true ones, so that the store reproduces itself.
    simulation = BurgersSimulation(graph, config.burgers, config.seed)
    bar = tqdm(
        total=simulation.burn_in + 2 * config.burgers.steps,
        desc=f"Simulating {graph.num_nodes} communities",
        unit="sample",
        disable=None if progress else True,
    )
    with bar:
        survey = simulation.survey(bar.update)
        with StoreWriter(path, graph, config.burgers.steps, config.burgers.dt) as writer:
            mean = _write_samples(writer, simulation, survey, bar)
            writer.add("angle", drawn.angle)
            writer.add("radius", drawn.radius)
            writer.add("mean_activity", mean)
            for name, array in simulation.extras.items():
                writer.add(name, array)
            writer.metadata = {
                "parameters": parameters,
                "checkpoint_interval": CHECKPOINT_INTERVAL,
                "peak": survey.peak,
                "regime": {
                    "activity_mean": float(mean.mean()),
                    "activity_mean_std": float(mean.std()),
                    "bursts_per_node": _bursts_per_node(simulation),
                },
            }


def _write_samples(
    writer: StoreWriter, simulation: BurgersSimulation, survey: Survey, bar: tqdm[Any]
) -> NDArray[np.float64]:
    """Write observable and checkpoints; return the mean of the observable at each sample."""
    steps = simulation.config.steps
    shape = (-(-steps // CHECKPOINT_INTERVAL), 2, simulation.system.num_nodes)
    checkpoints = writer.create("states", shape, np.float64)
    mean = np.empty(steps)
    for sample, (state, values) in enumerate(simulation.samples(survey)):
        if sample % CHECKPOINT_INTERVAL == 0:
            checkpoints[sample // CHECKPOINT_INTERVAL] = state.to_array()
        mean[sample] = values.mean(dtype=np.float64)
        writer.append(values)
        bar.update()
    return mean


def _bursts_per_node(simulation: BurgersSimulation) -> float:
    """Expected number of bursts of a node over the stored series."""
    duration = simulation.config.steps * simulation.config.dt
    return float((duration / simulation.sources.interval.astype(np.float64)).sum(0).mean())
