"""node2vec: an embedding learned from biased random walks, for graphs up to some 100,000 nodes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import logsigmoid

from roma_pyg.data.eigenmaps import undirected_adjacency
from roma_pyg.data.graph import Graph, IntArray

WALKS_PER_NODE = 10
WALK_LENGTH = 20
LEARNING_RATE = 0.01
ROOTS_PER_BATCH = 256
MOST_TRIES = 64
"""Draws of one step, at most, until one is accepted; the last one then counts."""


def node2vec(
    graph: Graph,
    channels: int,
    window: int,
    seed: int = 0,
    *,
    p: float = 1.0,
    q: float = 1.0,
    epochs: int = 1,
) -> NDArray[np.float64]:
    """Embed nodes so that those which meet on random walks are near (Grover & Leskovec 2016).

    Ten walks of 20 steps begin at every node. Nodes at most ``window`` steps apart on a walk are
    told from a random node by the skip-gram objective with one negative sample, by Adam. Its time
    is about 1 ms per node; `roma_pyg.data.walk_embedding` takes a hundredth of that.

    Args:
        graph: The graph with N nodes; direction and weight are ignored.
        channels: Channels C, at least 0.
        window: Longest distance on a walk, in steps, at least 1.
        seed: Seed of walks and initial embedding; equal seeds give equal embeddings.
        p: Return parameter: the walk goes back with a weight ``1 / p``.
        q: In-out parameter: the walk goes on to a node that is no neighbour of the previous one
            with a weight ``1 / q``.
        epochs: How often all walks are drawn anew.

    Returns:
        Shape ``(N, C)``, float64, rows of unit length; zero for isolated nodes.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> ring = Graph.from_edges(np.arange(6), (np.arange(6) + 1) % 6, 6)
        >>> node2vec(ring, channels=2, window=2).shape
        (6, 2)
    """
    if channels < 0 or window < 1 or epochs < 1:
        raise ValueError(
            f"Expected 'channels' >= 0, 'window' >= 1 and 'epochs' >= 1 "
            f"(got {channels}, {window} and {epochs})."
        )
    if not (p > 0 and q > 0):
        raise ValueError(f"Expected 'p' and 'q' to be positive (got {p} and {q}).")
    adjacency = undirected_adjacency(graph)
    out = np.zeros((graph.num_nodes, channels))
    linked = np.flatnonzero(np.diff(adjacency.indptr))
    if channels == 0 or not len(linked):
        return out
    core = sp.csr_array(adjacency[linked][:, linked])
    core.sort_indices()
    vectors = _train(core, channels, window, np.random.default_rng(seed), p, q, epochs)
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    out[linked] = vectors / np.where(length > 0, length, 1.0)
    return out


def biased_walks(
    adjacency: sp.csr_array,
    roots: IntArray,
    length: int,
    p: float,
    q: float,
    rng: np.random.Generator,
) -> IntArray:
    """Walks of second order: from t over v, the next step is x with a weight that depends on t.

    The weight is ``1 / p`` for x = t, 1 for a neighbour of t, and ``1 / q`` otherwise. A neighbour
    of v is drawn and accepted with the probability weight / largest weight.

    Args:
        adjacency: Symmetric 0/1 matrix with sorted rows and no empty one, shape ``(N, N)``.
        roots: Start nodes, shape ``(R,)``.
        length: Steps, at least 0.
        p: Return parameter, positive.
        q: In-out parameter, positive.
        rng: Source of randomness.

    Returns:
        Visited nodes including the roots, shape ``(R, length + 1)``.
    """
    count, rowptr, col = adjacency.shape[0], adjacency.indptr, adjacency.indices
    degree = np.diff(rowptr)
    walks = np.repeat(np.asarray(roots, dtype=np.int64)[:, None], length + 1, axis=1)
    plain = p == 1 and q == 1
    # Sorted keys of all edges, to look up whether two nodes are linked.
    keys = None if plain else np.repeat(np.arange(count), degree) * count + col
    highest = max(1 / p, 1.0, 1 / q)
    for step in range(1, length + 1):
        here = walks[:, step - 1]
        open_walks = np.arange(len(here))
        for _ in range(MOST_TRIES):
            place = here[open_walks]
            offset = (rng.random(len(place)) * degree[place]).astype(np.int64)
            walks[open_walks, step] = after = col[rowptr[place] + offset]
            if keys is None or step == 1:
                break
            before = walks[open_walks, step - 2]
            wanted = before * count + after
            found = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
            weight = np.where(keys[found] == wanted, 1.0, 1 / q)
            weight[after == before] = 1 / p
            open_walks = open_walks[rng.random(len(place)) * highest >= weight]
            if not len(open_walks):
                break
    return walks


def _train(
    adjacency: sp.csr_array,
    channels: int,
    window: int,
    rng: np.random.Generator,
    p: float,
    q: float,
    epochs: int,
) -> NDArray[np.float64]:
    """Skip-gram with negative samples; returns the embedding, shape ``(N, C)``."""
    count = adjacency.shape[0]
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    embedding, context = (
        (torch.randn(count, channels, generator=generator) / channels**0.5).requires_grad_()
        for _ in range(2)
    )
    optimizer = torch.optim.SparseAdam([embedding, context], lr=LEARNING_RATE)
    look = torch.nn.functional.embedding
    for walks in _batches(adjacency, rng, p, q, epochs):
        centre, near = _pairs(walks, window)
        random = torch.from_numpy(rng.integers(count, size=len(near)))
        optimizer.zero_grad()
        middle = look(centre, embedding, sparse=True)
        drawn = [look(nodes, context, sparse=True) for nodes in (near, random)]
        positive, negative = ((middle * other).sum(-1) for other in drawn)
        loss = -(logsigmoid(positive).mean() + logsigmoid(-negative).mean())
        loss.backward()
        optimizer.step()
    return embedding.detach().double().numpy()


def _batches(
    adjacency: sp.csr_array, rng: np.random.Generator, p: float, q: float, epochs: int
) -> Iterator[Tensor]:
    """Walks from all nodes in random order, some hundred at a time."""
    for _ in range(epochs * WALKS_PER_NODE):
        order = rng.permutation(adjacency.shape[0])
        for first in range(0, len(order), ROOTS_PER_BATCH):
            roots = order[first : first + ROOTS_PER_BATCH]
            yield torch.from_numpy(biased_walks(adjacency, roots, WALK_LENGTH, p, q, rng))


def _pairs(walks: Tensor, window: int) -> tuple[Tensor, Tensor]:
    """All ordered pairs of nodes at most ``window`` steps apart on a walk."""
    shifts = range(1, min(window, walks.shape[1] - 1) + 1)
    first = torch.cat([walks[:, :-shift].reshape(-1) for shift in shifts])
    second = torch.cat([walks[:, shift:].reshape(-1) for shift in shifts])
    return torch.cat([first, second]), torch.cat([second, first])
