"""The compiled kernels against what stands in for them: random walks and sparse products.

    python benchmarks/kernels.py --nodes 38000 300000

Needs `make kernels`. Both sides run in one process on the same random hyperbolic graph and give
the same results; the time is the best of ``--repeats``. Reductions: `benchmarks/aggregation.py`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable

import numpy as np
import torch

from roma_pyg.config import GraphConfig
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph
from roma_pyg.data.walks import random_walks
from roma_pyg.dynamics.kuramoto import coupling_matrix
from roma_pyg.dynamics.sparse_product import SparseProduct, torch_csr_works
from roma_pyg.kernels import SWITCH, use_kernel


def best(run: Callable[[], object], repeats: int) -> float:
    """Shortest time in seconds; the first call is not counted."""
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def walk_times(graph: Graph, repeats: int) -> dict[str, float]:
    """52 walks of 16 steps, as a subgraph of 512 nodes takes."""
    roots = np.random.default_rng(0).integers(graph.num_nodes, size=52)

    def walk() -> object:
        return random_walks(graph, roots, 16, np.random.default_rng(1))

    times = {"torch-sparse": best(walk, repeats)}
    os.environ[SWITCH] = "1"
    times["numpy"] = best(walk, repeats)
    os.environ[SWITCH] = "0"
    return times


def product_times(graph: Graph, repeats: int) -> dict[str, float]:
    """One product with two columns in double precision, as a Kuramoto evaluation takes."""
    columns = torch.randn(graph.num_nodes, 2, dtype=torch.float64)
    out = torch.empty_like(columns)
    times = {}
    for backend in ("torch-sparse", "torch", "scipy"):
        if backend == "torch" and not torch_csr_works():
            continue
        product = SparseProduct(graph.rowptr, graph.col, graph.weight, backend)
        times[backend] = best(lambda: product.apply(columns, out), repeats)  # noqa: B023
    return times


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", type=int, nargs="+", default=[43_000, 350_000])
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    if not use_kernel("torch-sparse"):
        raise SystemExit("torch-sparse is not active here: make kernels")
    print(f"{torch.get_num_threads()} threads; ratio to the kernel, above one if the kernel wins")
    print("| nodes | edges | task | by | ms | ratio |\n| ---: | ---: | --- | --- | ---: | ---: |")
    for nodes in options.nodes:
        drawn = hyperbolic_graph(GraphConfig(nodes=nodes), 0)
        graph = Graph.from_matrix(coupling_matrix(drawn.adjacency))
        for task, measure in (("walks", walk_times), ("product", product_times)):
            times = measure(graph, options.repeats)
            for name, value in times.items():
                size = f"{graph.num_nodes:,} | {graph.num_edges:,}"
                ratio = value / times["torch-sparse"]
                print(f"| {size} | {task} | {name} | {1000 * value:.3f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
