"""Write a graph of 100 nodes and a series per node, as CSV files that roma-train reads.

The system is a lattice of logistic maps on a random geometric graph,

    x_i(t+1) = (1 - c) f(x_i(t)) + c mean_{j ~ i} f(x_j(t)),   f(x) = r x (1 - x),

seen through a slow exponential average and a little noise. Coupled map lattices of this kind are
the standard minimal example of spatio-temporal chaos (Kaneko, 1984).

Usage: python examples/make_own_data.py [--nodes 100] [--samples 600] [--output my_data]
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
    """Iterate the coupled maps; return the observable in (0, 1], shape (nodes, samples)."""
    both = np.concatenate([edges, edges[:, ::-1]])
    adjacency = coo_array((np.ones(len(both)), both.T), shape=(nodes, nodes)).tocsr()
    degree = adjacency.sum(axis=1)
    coupling, growth, memory = 0.3, 3.7, 0.8
    state = rng.random(nodes)
    smooth = state.copy()
    series = np.empty((nodes, samples))
    for time in range(-200, samples):
        image = growth * state * (1 - state)
        state = (1 - coupling) * image + coupling * (adjacency @ image) / degree
        smooth = memory * smooth + (1 - memory) * state
        if time >= 0:
            series[:, time] = smooth
    noisy = series * np.exp(0.01 * rng.standard_normal(series.shape))
    return np.clip(noisy, 1e-3, 1.0)


def main() -> None:
    """Write ``edges.csv`` and ``series.csv``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--nodes", type=int, default=100)
    parser.add_argument("--samples", type=int, default=600)
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
