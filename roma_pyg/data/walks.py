"""Random walks on a graph, by torch-sparse where it is installed."""

from __future__ import annotations

import numpy as np
import torch

from roma_pyg.data.graph import Graph, IntArray
from roma_pyg.kernels import use_kernel


def random_walks(graph: Graph, roots: IntArray, length: int, rng: np.random.Generator) -> IntArray:
    """Walk ``length`` steps from every root, each step to a uniformly drawn neighbour.

    A walk at a node without neighbours stays there. torch-sparse, where it is active, and the
    plain path consume the same random numbers and return the same walks.

    Args:
        graph: The graph, N nodes.
        roots: Start nodes, shape ``(R,)``.
        length: Number of steps.
        rng: Source of randomness; one integer is drawn from it.

    Returns:
        Visited nodes including the roots, shape ``(R, length + 1)``.
    """
    seed = int(rng.integers(2**62))
    # The kernel draws from torch's global generator: seed it, and leave it as it was found.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        # The kernel steps out of the row of a node without neighbours, so it is not given any.
        if use_kernel("torch-sparse") and graph.has_no_isolated_node:
            walks = torch.ops.torch_sparse.random_walk(
                torch.from_numpy(graph.rowptr),
                torch.from_numpy(graph.col),
                torch.from_numpy(roots),
                length,
            )
            return walks.numpy()
        draws = torch.rand(len(roots), length).numpy()
    walks = np.empty((len(roots), length + 1), dtype=np.int64)
    walks[:, 0] = roots
    for step in range(length):
        here = walks[:, step]
        degree = graph.degree[here]
        moves = np.flatnonzero(degree)
        offset = (draws[moves, step] * degree[moves].astype(np.float32)).astype(np.int64)
        edge = graph.rowptr[here[moves]] + np.minimum(offset, degree[moves] - 1)
        walks[:, step + 1] = here
        walks[moves, step + 1] = graph.col[edge]
    return walks
