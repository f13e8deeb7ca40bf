"""What a data set will take, before it is generated."""

from __future__ import annotations

import errno
import shutil
import time
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from roma_pyg.config import DataConfig, GraphConfig
from roma_pyg.data.systems import build
from roma_pyg.reading import available_memory

PROBE_NODES = 100_000
"""Nodes, at most, of the graph on which time is measured."""

PROBE_SAMPLES = 4
BASE_BYTES = 300_000_000
EDGE_BYTES = 110
NODE_BYTES = 150
WRITE_SPEED = 400e6
"""Bytes per second of the last pass, which reads and writes every sample and its checksum."""


@dataclass(frozen=True)
class Estimate:
    """What it takes to generate a data set.

    Attributes:
        nodes: Nodes N of the largest component.
        edges: Directed edges E.
        samples: Samples T.
        disk: Bytes of the data set.
        scratch: Bytes on disk while it is generated, the data set included.
        memory: Bytes of memory at the peak.
        seconds: Time, on this machine with its present load.
    """

    nodes: int
    edges: int
    samples: int
    disk: int
    scratch: int
    memory: int
    seconds: float

    def __str__(self) -> str:
        """One line for people."""
        minutes = f"{self.seconds / 60:.0f} min" if self.seconds >= 90 else f"{self.seconds:.0f} s"
        return (
            f"about {self.nodes:,} nodes, {self.edges:,} directed edges, {self.samples:,} samples; "
            f"{self.disk / 1e9:.2g} GB on disk ({self.scratch / 1e9:.2g} GB while it is made), "
            f"{self.memory / 1e9:.2g} GB of memory, {minutes}."
        )

    def check_room(self, folder: Path) -> None:
        """Refuse what the disk has no room for.

        Raises:
            OSError: If less is free than is needed.
            ValueError: If the memory is too small.
        """
        _check_memory(self.memory, self.nodes, self.edges)
        free = shutil.disk_usage(folder).free
        if free < self.scratch:
            raise OSError(
                errno.ENOSPC,
                f"Expected {self.scratch / 1e9:.3g} GB of free disk for {self.samples:,} samples "
                f"of {self.nodes:,} nodes (got {free / 1e9:.3g} GB): choose another data.root, "
                "fewer samples with data.steps, or fewer nodes with data.graph.nodes",
                str(folder),
            )


def estimate(config: DataConfig) -> Estimate:
    """Predict what `roma_pyg.data.generate.generate` takes, within about a factor of two.

    A graph of the same kind, with at most a hundred thousand nodes, is drawn and simulated for a
    few samples; time, edges and the share of the largest component are taken in proportion.

    Args:
        config: Graph, system and samples.

    Raises:
        ValueError: If the system cannot be generated, or needs more memory than is free.
    """
    drawn = config.graph.nodes
    probe = replace(config, graph=_smaller(config.graph))
    likely = round(probe.graph.nodes * probe.graph.average_degree)
    sources = probe.burgers.sources if config.system == "burgers" else 0
    need = EDGE_BYTES * likely + (NODE_BYTES + 8 * sources) * probe.graph.nodes
    _check_memory(need, probe.graph.nodes, likely)
    start = time.perf_counter()
    graph, simulation, _ = build(probe)
    build_seconds = time.perf_counter() - start
    states = simulation.states(simulation.initial(), -simulation.burn_in, PROBE_SAMPLES + 1)
    next(states)
    next(states)  # the first step allocates
    start = time.perf_counter()
    rest = [simulation.observe(state, 0) for state in islice(states, PROBE_SAMPLES - 1)]
    sample_seconds = (time.perf_counter() - start) / len(rest)

    ratio = drawn / probe.graph.nodes
    nodes, edges = round(ratio * graph.num_nodes), round(ratio * graph.num_edges)
    steps = config.steps
    state_bytes = simulation.initial().nbytes * ratio
    values = 4 * nodes * steps
    states_bytes = round(state_bytes * steps / 50)
    static = 20 * edges + 40 * nodes
    disk = values + states_bytes + static
    seconds = ratio * (build_seconds + sample_seconds * (simulation.burn_in + steps))
    return Estimate(
        nodes=nodes,
        edges=edges,
        samples=steps,
        disk=disk,
        scratch=disk + values + states_bytes,
        memory=round(BASE_BYTES + EDGE_BYTES * edges + NODE_BYTES * nodes + 4 * state_bytes),
        seconds=seconds + 3 * values / WRITE_SPEED,
    )


def _smaller(graph: GraphConfig) -> GraphConfig:
    """The graph with at most as many nodes as time is measured on."""
    nodes = min(graph.nodes, PROBE_NODES)
    return replace(graph, nodes=nodes, average_degree=min(graph.average_degree, nodes - 1))


def _check_memory(need: int, nodes: int, edges: int) -> None:
    """Refuse what the memory has no room for.

    Raises:
        ValueError: If less is free than is needed.
    """
    free = available_memory()
    if need > free:
        raise ValueError(
            f"Expected {need / 1e9:.3g} GB of free memory for {nodes:,} nodes and {edges:,} edges "
            f"(got {free / 1e9:.3g} GB): lower data.graph.nodes, data.graph.average_degree or "
            "data.burgers.sources."
        )
