"""Write a graph of 100 nodes and a series per node, as CSV files that roma-train reads.

The system is a network of FitzHugh-Nagumo oscillators (FitzHugh 1961; Nagumo et al. 1962) on a
random geometric graph: spiking cells, each with its own drive I_i, coupled by diffusion,

    v_i' = v_i - v_i^3 / 3 - w_i + I_i + c mean_{j ~ i} (v_j - v_i),
    w_i' = 0.08 (v_i + 0.7 - 0.8 w_i).

The series is v, brought into (0, 1] and sampled once per time unit with a little noise. A spike
comes about every 40 time units, at times that depend on the neighbours.

Usage: python examples/make_own_data.py [--nodes 100] [--samples 1000] [--output my_data]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist


def make_edges(nodes: int, rng: np.random.Generator) -> np.ndarray:
    """Connect each point of the unit square to its 3 nearest, and all by a shortest tree."""
    points = rng.random((nodes, 2))
    distance = cdist(points, points)
    nearest = np.argsort(distance, axis=1)[:, 1:4]
    local = np.stack([np.repeat(np.arange(nodes), 3), nearest.ravel()], axis=1)
    tree = np.stack(minimum_spanning_tree(distance).nonzero(), axis=1)
    return np.unique(np.sort(np.concatenate([local, tree]), axis=1), axis=0)


def make_series(
    edges: np.ndarray, nodes: int, samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Integrate the network by Euler steps of 0.05; return shape (nodes, samples), in (0, 1]."""
    both = np.concatenate([edges, edges[:, ::-1]])
    adjacency = coo_array((np.ones(len(both)), both.T), shape=(nodes, nodes)).tocsr()
    degree = adjacency.sum(axis=1)
    coupling, substeps = 0.2, 20
    drive = rng.uniform(0.4, 0.9, nodes)
    v, w = rng.uniform(-2, 2, nodes), rng.uniform(-0.5, 1.5, nodes)
    series = np.empty((nodes, samples))
    for time in range(-200, samples):
        for _ in range(substeps):
            flow = coupling * ((adjacency @ v) / degree - v)
            change = v - v**3 / 3 - w + drive + flow
            v, w = v + change / substeps, w + 0.08 * (v + 0.7 - 0.8 * w) / substeps
        if time >= 0:
            series[:, time] = (v + 2.5) / 5.0
    noisy = series * np.exp(0.01 * rng.standard_normal(series.shape))
    return np.clip(noisy, 1e-3, 1.0)


def main() -> None:
    """Write ``edges.csv`` and ``series.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("my_data"))
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    edges = make_edges(arguments.nodes, rng)
    series = make_series(edges, arguments.nodes, arguments.samples, rng)
    arguments.output.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(edges, columns=["source", "target"]).to_csv(
        arguments.output / "edges.csv", index=False
    )
    # One row per node and one column per sample, without names.
    pd.DataFrame(series).to_csv(
        arguments.output / "series.csv", index=False, header=False, float_format="%.6f"
    )


if __name__ == "__main__":
    main()
