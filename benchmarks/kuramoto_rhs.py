"""One Kuramoto right-hand side beside the sparse product it contains, and beside a sine per edge.

    python benchmarks/kuramoto_rhs.py --nodes 43000 360000 3600000

Each row: seconds to draw the graph and its couplings, then the best of ``--repeats`` of the
right-hand side, of its two-column sparse product alone, and of the same derivative by one sine per
edge (numpy, in blocks), whose result is compared with ours.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from roma_pyg.config import GraphConfig, KuramotoConfig
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph
from roma_pyg.dynamics.kuramoto import Kuramoto, coupling_matrix, initial_state
from roma_pyg.dynamics.sparse_product import SparseProduct


def best(function: Callable[[], object], repeats: int) -> float:
    """Shortest time in seconds, after one call that is not counted."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def sine_per_edge(
    theta: np.ndarray, omega: np.ndarray, graph: Graph, strength: float
) -> np.ndarray:
    """The derivative by its definition."""
    receivers = np.repeat(np.arange(graph.num_nodes), np.diff(graph.rowptr))
    pull = graph.weight * np.sin(theta[graph.col] - theta[receivers])
    return omega + strength * np.bincount(receivers, pull, graph.num_nodes)


def row(drawn: int, repeats: int) -> str:
    """Measure one size; returns its line of the table."""
    config = KuramotoConfig()
    start = time.perf_counter()
    adjacency = hyperbolic_graph(GraphConfig(nodes=drawn), seed=0).adjacency
    seconds = time.perf_counter() - start
    graph = Graph.from_matrix(coupling_matrix(adjacency))
    omega, theta = initial_state(graph.num_nodes, config, np.random.default_rng(0))
    system = Kuramoto(omega, graph, config)
    product = SparseProduct(graph.rowptr, graph.col, graph.weight)
    trig = torch.from_numpy(np.stack([np.cos(theta), np.sin(theta)], axis=1))
    out = torch.empty_like(trig)
    ours = best(lambda: system.velocity(theta), repeats)
    inner = best(lambda: product.apply(trig, out), repeats)
    naive = best(lambda: sine_per_edge(theta, omega, graph, config.coupling), 2)
    expected = sine_per_edge(theta, omega, graph, config.coupling)
    error = np.abs(system.velocity(theta) - expected).max()
    return (
        f"| {graph.num_nodes:,} | {graph.num_edges:,} | {seconds:.1f} | {ours:.4f} | {inner:.4f} "
        f"| {ours / inner:.2f} | {naive:.3f} | {naive / ours:.1f} | {error:.0e} |"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", type=float, nargs="+", default=[43_000, 360_000, 3_600_000])
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(f"{torch.get_num_threads()} threads")
    print(
        "| nodes | directed edges | graph s | right-hand side s | product s | ratio to the product "
        "| sine per edge s | ratio | largest difference |\n" + "| ---: " * 9 + "|"
    )
    for drawn in options.nodes:
        print(row(int(drawn), options.repeats), flush=True)


if __name__ == "__main__":
    main()
