"""Generates data sets."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from roma_pyg.config import DataConfig
from roma_pyg.data.generate_burgers import simulate_burgers
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph
from roma_pyg.data.store import StoreWriter, only_writer, read_metadata
from roma_pyg.dynamics.kuramoto import (
    Kuramoto,
    coupling_matrix,
    initial_state,
    locked_fraction,
    observable,
    order_parameter,
)

CHECKPOINT_INTERVAL = 50


def generate(config: DataConfig, progress: bool = True) -> Path:
    """Generate the data set of a configuration, or reuse it if it is there.

    Its folder ``root/name`` holds the graph with its couplings, the observable of each node
    (``values``), and as extras ``angle`` and ``radius`` of the nodes and what belongs to the
    system. For ``kuramoto`` that is ``omega``, the ``order_parameter`` at each sample, and the
    ``phases`` (float64) at every 50th sample, from which the exact system can be started again; for
    ``burgers`` see `roma_pyg.data.generate_burgers`. Equal parameters give equal bytes.

    Args:
        config: Name, seed, graph and system.
        progress: Show a progress bar.

    Returns:
        The folder.

    Raises:
        ValueError: If the folder holds a data set with other parameters.
        StoreError: If the data set is damaged.
    """
    path = Path(config.root) / config.name
    parameters = {
        "system": config.system,
        "seed": config.seed,
        "graph": asdict(config.graph),
        config.system: asdict(getattr(config, config.system)),
    }
    simulate = simulate_burgers if config.system == "burgers" else _simulate
    with only_writer(path):
        if path.exists():
            _check_same(path, read_metadata(path).get("parameters", {}), parameters)
        else:
            simulate(path, config, parameters, progress)
    return path


def _simulate(path: Path, config: DataConfig, parameters: dict[str, Any], progress: bool) -> None:
    """Draw the graph, integrate the system and write both."""
    system = config.kuramoto
    drawn = hyperbolic_graph(config.graph, config.seed)
    graph = Graph.from_matrix(coupling_matrix(drawn.adjacency))
    rng = np.random.default_rng([config.seed, 0xC0])
    omega, theta = initial_state(graph.num_nodes, system, rng)
    # The stored (float32) couplings are the true ones, so that the store reproduces itself.
    model = Kuramoto(omega, graph, system)
    burn_in = round(system.burn_in / system.dt)
    order = np.empty(system.steps)
    start = theta
    bar = tqdm(
        total=burn_in + system.steps,
        desc=f"Simulating {graph.num_nodes} oscillators",
        unit="sample",
        disable=None if progress else True,
    )
    with bar, StoreWriter(path, graph, system.steps, system.dt) as writer:
        checkpoints = writer.create(
            "phases", (-(-system.steps // CHECKPOINT_INTERVAL), graph.num_nodes), np.float64
        )
        samples = model.integrate(theta, burn_in + system.steps, -burn_in)
        for sample, phases in enumerate(samples, start=-burn_in):
            bar.update()
            if sample < 0:
                continue
            if sample == 0:
                start = phases
            if sample % CHECKPOINT_INTERVAL == 0:
                checkpoints[sample // CHECKPOINT_INTERVAL] = phases
            order[sample] = order_parameter(phases)
            writer.append(observable(phases))
        duration = (system.steps - 1) * system.dt
        writer.add("omega", omega)
        writer.add("angle", drawn.angle)
        writer.add("radius", drawn.radius)
        writer.add("order_parameter", order)
        writer.metadata = {
            "parameters": parameters,
            "checkpoint_interval": CHECKPOINT_INTERVAL,
            "regime": _regime(order, (phases - start) / duration, duration),
        }


def _regime(
    order: NDArray[np.float64], velocity: NDArray[np.float64], duration: float
) -> dict[str, float]:
    """Summary of how synchronous the system is."""
    return {
        "order_parameter_mean": float(order.mean()),
        "order_parameter_std": float(order.std()),
        "order_parameter_first": float(order[0]),
        "order_parameter_last": float(order[-1]),
        "locked_fraction": locked_fraction(velocity, 2 * math.pi / duration),
    }


def _check_same(path: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    there, here = _flatten(stored), _flatten(wanted)
    different = [
        f"{key} = {here.get(key)} (there {there.get(key)})"
        for key in sorted(here.keys() | there.keys())
        if here.get(key) != there.get(key)
    ]
    if different:
        raise ValueError(
            f"Expected the data set '{path}' to have the parameters of this configuration (got "
            f"others: {'; '.join(different)}). Choose another data.name, or remove the folder."
        )


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
