"""Random walks on a graph, by torch-sparse where it is installed."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from roma_pyg.data.graph import Graph, IntArray, as_indices, check_range
from roma_pyg.kernels import use_kernel


def random_walks(graph: Graph, roots: IntArray, length: int, rng: np.random.Generator) -> IntArray:
    """Walk ``length`` steps from every root, each step to a uniformly drawn neighbour.

    A step leads from a receiver to one of its senders. A walk at a node without neighbours stays
    there. torch-sparse, where it is active, and the plain path consume the same random numbers
    and return the same walks. Memory is O(R length) and does not depend on the graph.

    Args:
        graph: The graph, N nodes.
        roots: Start nodes in ``[0, N)``, shape ``(R,)``.
        length: Number of steps, at least 0.
        rng: Source of randomness; one integer is drawn from it.

    Returns:
        Visited nodes including the roots, shape ``(R, length + 1)``, int64.

    Raises:
        ValueError: If a root is out of range or the length is negative.

    Example:
        >>> pair = Graph.from_edges(np.array([0]), np.array([1]), 3)
        >>> random_walks(pair, np.array([0, 2]), 3, np.random.default_rng(0))
        array([[0, 1, 0, 1],
               [2, 2, 2, 2]])
    """
    roots = as_indices("roots", roots)
    check_range("roots", roots, graph.num_nodes)
    if length < 0:
        raise ValueError(f"Expected 'length' to be at least 0 (got {length}).")
    walks = np.repeat(roots[:, None], length + 1, axis=1)
    seed = int(rng.integers(2**62))
    moving = np.flatnonzero(graph.degree[roots])
    # The kernel draws from torch's default generator: seed it, and leave it as it was found. The
    # generators of other devices, which torch.manual_seed would reset, are left alone.
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        # The kernel steps out of the row of a node without neighbours, so it never gets to one.
        if use_kernel("torch-sparse") and not graph.has_dead_end:
            arrays = (graph.rowptr, graph.col, roots[moving])
            tensors = (_as_tensor(array) for array in arrays)
            walks[moving] = torch.ops.torch_sparse.random_walk(*tensors, length).numpy()
            return walks
        draws = torch.rand(len(moving), length, dtype=torch.float32).numpy()
    here = roots[moving]
    for step in range(length):
        degree = graph.degree[here]
        offset = (draws[:, step] * degree.astype(np.float32)).astype(np.int64)
        edge = graph.rowptr[here] + np.minimum(offset, degree - 1)
        # At a dead end there is no edge to take, and the edge computed is that of another node.
        alive = degree > 0
        here = np.where(alive, graph.col[np.where(alive, edge, 0)], here)
        walks[moving, step + 1] = here
    return walks


def _as_tensor(array: IntArray) -> Tensor:
    """Share an array with torch, which warns of read-only ones; the kernel does not write."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)
