"""Generates Kuramoto data sets."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from roma_pyg.config import DataConfig
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph
from roma_pyg.data.store import StoreWriter, open_store, read_metadata
from roma_pyg.dynamics.kuramoto import (
    Kuramoto,
    coupling_matrix,
    initial_state,
    observable,
    order_parameter,
)

CHECKPOINT_INTERVAL = 50
# A locked oscillator drifts by less than this part of the spread of the natural frequencies.
LOCKED = 0.02


def generate(config: DataConfig, progress: bool = True) -> Path:
    """Generate the Kuramoto data set of a configuration, or reuse it if it is there.

    Its folder ``root/name`` holds the graph with its couplings, the observable of each node
    (``values``), and as extras ``omega``, ``angle`` and ``radius`` of the nodes, the
    ``order_parameter`` at each sample, and the ``phases`` (float64) at every 50th sample, from
    which the exact system can be started again. Equal parameters give equal bytes.

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
        "system": "kuramoto",
        "seed": config.seed,
        "graph": asdict(config.graph),
        "kuramoto": asdict(config.kuramoto),
    }
    if path.exists():
        _check_same(path, read_metadata(path).get("parameters", {}), parameters)
        return path
    system = config.kuramoto
    drawn = hyperbolic_graph(config.graph, config.seed)
    graph = Graph.from_matrix(coupling_matrix(drawn.adjacency))
    rng = np.random.default_rng([config.seed, 0xC0])
    omega, theta = initial_state(graph.num_nodes, system, rng)
    # The stored (float32) couplings are the true ones, so that the store reproduces itself.
    model = Kuramoto(graph.to_matrix(), omega, system)
    burn_in = round(system.burn_in / system.dt)
    order = np.empty(system.steps)
    checkpoints = []
    first = theta
    try:
        with StoreWriter(path, graph, system.steps, system.dt) as writer:
            bar = tqdm(
                total=burn_in + system.steps,
                desc=f"Simulating {graph.num_nodes} oscillators",
                unit="sample",
                disable=not progress,
            )
            with bar:
                samples = model.integrate(theta, burn_in + system.steps, -burn_in)
                for sample, phases in enumerate(samples, start=-burn_in):
                    bar.update()
                    if sample < 0:
                        continue
                    if sample == 0:
                        first = phases.copy()
                    if sample % CHECKPOINT_INTERVAL == 0:
                        checkpoints.append(phases.copy())
                    order[sample] = order_parameter(phases)
                    writer.append(observable(phases))
            velocity = (phases - first) / ((system.steps - 1) * system.dt)
            extras = {
                "omega": omega,
                "angle": drawn.angle,
                "radius": drawn.radius,
                "order_parameter": order,
                "phases": np.stack(checkpoints),
            }
            for name, array in extras.items():
                writer.add(name, array)
            writer.metadata = {
                "parameters": parameters,
                "checkpoint_interval": CHECKPOINT_INTERVAL,
                "regime": _regime(order, velocity, system.frequency_std),
            }
    except FileExistsError:
        # Another process was faster; its data set is the same, byte by byte.
        _check_same(path, read_metadata(path).get("parameters", {}), parameters)
    open_store(path)
    return path


def _regime(
    order: np.ndarray[Any, np.dtype[np.float64]],
    velocity: np.ndarray[Any, np.dtype[np.float64]],
    spread: float,
) -> dict[str, float]:
    """Summary of how synchronous the system is."""
    return {
        "order_parameter_mean": float(order.mean()),
        "order_parameter_std": float(order.std()),
        "order_parameter_first": float(order[0]),
        "order_parameter_last": float(order[-1]),
        "locked_fraction": float((np.abs(velocity) <= LOCKED * max(spread, 1e-12)).mean()),
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
