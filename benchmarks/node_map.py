"""Seconds and memory of laying out and drawing a graph, from hundreds of nodes to millions.

    python benchmarks/node_map.py --nodes 600 6000 360000 3600000 --output runs/maps

Random hyperbolic graphs (the largest component is about nine tenths of ``--nodes``) with 64
sectors as supernodes, drawn twice: with the places of the hyperbolic disk, and with places found
from the couplings alone (`roma_pyg.analysis.layout`).
"""

from __future__ import annotations

import argparse
import resource
import sys
import time
from pathlib import Path

from roma_pyg.analysis.layout import place_nodes
from roma_pyg.analysis.node_map import node_map_figure
from roma_pyg.config import GraphConfig
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph
from roma_pyg.renormalization.supernodes import geometric_supernodes


def main() -> None:
    """Print one table, and write the maps."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", nargs="+", type=int, default=[600, 6000, 360_000, 3_600_000])
    parser.add_argument("--output", type=Path, default=Path("runs/maps"))
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    print("| nodes | edges | places | layout s | figure s | peak GB |")
    print("| ---: | ---: | --- | ---: | ---: | ---: |")
    for nodes in options.nodes:
        disk = hyperbolic_graph(GraphConfig(nodes=nodes), seed=0)
        graph = Graph.from_matrix(disk.adjacency)
        label = geometric_supernodes(disk.angle, -(-graph.num_nodes // 64))
        known = {"angle": disk.angle, "radius": disk.radius}
        for name, extras in (("known", known), ("found", None)):
            start = time.perf_counter()
            place = place_nodes(graph, extras)
            middle = time.perf_counter()
            figure = node_map_figure(graph, place, label, "64 sectors")
            figure.savefig(options.output / f"{nodes}_{name}.png", dpi=110)
            end = time.perf_counter()
            unit = 1 if sys.platform == "darwin" else 1024
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
            print(
                f"| {graph.num_nodes:,} | {graph.num_edges:,} | {name} | {middle - start:.2f} "
                f"| {end - middle:.2f} | {peak:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
