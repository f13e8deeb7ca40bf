"""The systems that data sets are generated from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roma_pyg.config import DataConfig
from roma_pyg.data.blocks import block_graph
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph
from roma_pyg.dynamics.burgers_simulation import BurgersSimulation
from roma_pyg.dynamics.kuramoto import coupling_matrix
from roma_pyg.dynamics.kuramoto_simulation import KuramotoSimulation
from roma_pyg.dynamics.simulation import Simulation


def build(config: DataConfig) -> tuple[Graph, Simulation, dict[str, NDArray[Any]]]:
    """Draw the graph of a configuration and the system on it.

    Returns:
        The graph with its couplings as edge weights, the system, and the places of the nodes:
        ``angle`` and ``radius`` in the hyperbolic disk, or ``block_1``, ``block_2``, ... from the
        smallest blocks up, shape ``(N,)`` each.

    Raises:
        ValueError: If the system cannot be generated.
    """
    if config.system == "files":
        raise ValueError("Expected 'data.system' to be one that can be generated (got 'files').")
    places: dict[str, NDArray[Any]]
    if config.graph.kind == "blocks":
        nested = block_graph(config.graph, config.seed)
        adjacency = nested.adjacency
        places = {f"block_{level}": block for level, block in enumerate(nested.blocks, start=1)}
    else:
        drawn = hyperbolic_graph(config.graph, config.seed)
        adjacency = drawn.adjacency
        places = {"angle": drawn.angle, "radius": drawn.radius}
    # The stored (float32) couplings are the true ones, so that the store reproduces itself.
    graph = Graph.from_matrix(coupling_matrix(adjacency))
    simulation: Simulation
    if config.system == "burgers":
        simulation = BurgersSimulation(graph, config.burgers, config.seed)
    else:
        rng = np.random.default_rng([config.seed, 0xC0])
        simulation = KuramotoSimulation(graph, config.kuramoto, rng)
    return graph, simulation, places


def parameters(config: DataConfig) -> dict[str, Any]:
    """All that decides the bytes of a generated data set."""
    graph = asdict(config.graph)
    blocks = config.graph.kind == "blocks"
    for key in ("exponent", "temperature") if blocks else ("kind", "blocks", "mixing"):
        del graph[key]
    return {
        "system": config.system,
        "seed": config.seed,
        "steps": config.steps,
        "graph": graph,
        config.system: asdict(getattr(config, config.system)),
    }
