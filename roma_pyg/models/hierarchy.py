"""The learned hierarchy of a whole graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roma_pyg.data.export import Header, RowWriter, row_blocks
from roma_pyg.data.graph import FloatArray, Graph, IntArray
from roma_pyg.data.sampling import Subgraph, SubgraphBatch
from roma_pyg.models.coarse_graining import couple_supernodes, pool_nodes
from roma_pyg.models.level import Level, Renormalization
from roma_pyg.models.roma import Roma
from roma_pyg.nn.pool import dense_to_edges

# Far below the square of any logit; makes a column of zeros uniform, as in `assign`.
_TINY = 1e-30


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Supernodes of every level.

    Example:
        >>> share = np.array([[0.9, 0.0], [0.1, 0.3], [0.0, 0.7]], dtype=np.float32)
        >>> Hierarchy([share], [np.eye(2, dtype=np.float32)]).labels()
        array([0, 1, 1])

    Attributes:
        assignments: One matrix per coarse level, from fine to coarse, shapes ``(N, M_1)``,
            ``(M_1, M_2)``, ...; each column is a distribution over the nodes one level below. The
            first may be a read-only memory map.
        couplings: Coarse couplings ``S^T A S`` of each coarse level, shapes ``(M_l, M_l)``, row =
            receiver.
    """

    assignments: list[FloatArray]
    couplings: list[FloatArray]

    def labels(self, level: int = 1) -> IntArray:
        """Supernode of a level that each node belongs to most, shape ``(N,)``.

        Args:
            level: Coarse level, 1 is the finest.

        Raises:
            ValueError: If there is no such level.
        """
        share, coarser = self.assignments[0], self._coarser(level)
        labels = np.empty(len(share), dtype=np.int64)
        for part in row_blocks(share.shape):
            labels[part] = np.argmax(share[part] @ coarser, axis=1)
        return labels

    def coarse_series(self, values: NDArray[Any], level: int = 1) -> NDArray[np.float64]:
        """Coarse-grain a series: ``u' = S^T u n / m``, level by level up to this one.

        Args:
            values: Series of the nodes, shape ``(N, T)``; may be a memory map, of which a block of
                rows is read at a time.
            level: Coarse level, 1 is the finest.

        Returns:
            Series of the M supernodes, shape ``(M, T)``, float64.

        Raises:
            ValueError: If there is no such level or the number of nodes differs.
        """
        coarser = self._coarser(level)
        pooled = pool_nodes(self.assignments[0], values)
        return coarser.T @ pooled * (len(coarser) / coarser.shape[1])

    def _coarser(self, level: int) -> FloatArray:
        """Share of each supernode of level 1 in those of a level, shape ``(M_1, M)``."""
        if not 1 <= level <= len(self.assignments):
            raise ValueError(
                f"Expected 'level' between 1 and {len(self.assignments)} (got {level})."
            )
        share = np.eye(self.assignments[0].shape[1], dtype=np.float32)
        for assignment in self.assignments[1:level]:
            share = share @ assignment
        return share


@torch.inference_mode()
def global_hierarchy(
    model: Roma,
    graph: Graph,
    batches: Iterable[tuple[SubgraphBatch, list[Subgraph]]],
    output: Path | None = None,
) -> Hierarchy:
    """Coarse-grain a whole graph with the assignment layers of a model.

    The logits l of each node come from the first subgraph that holds it; the columns of S are then
    normalised over all N nodes instead of over a subgraph::

        S_ia = l_ia^2 / sum_k l_ka^2,   u_a = N / M sum_i S_ia u_i,   A'_ab = sum_ij S_ia A_ij S_jb

    Features and windows are pooled while the subgraphs pass by, so the time is that of one encoding
    plus O(E M_1 + N M_1^2). S is held once, N M_1 float32; with ``output`` it is on disk, and
    memory is O(N) bytes and one block of rows. The levels above have few nodes and are made as in
    training.

    Args:
        model: The trained model, with at least one coarse level.
        graph: The graph, N nodes.
        batches: Batches that together cover the graph, with the subgraphs they consist of.
        output: File ``.npy`` for S of the first level, shape ``(N, M_1)``, written under a hidden
            name and then renamed; in memory if None.

    Returns:
        The supernodes; ``assignments[0]`` is a read-only map of ``output`` where that is given.

    Raises:
        ValueError: If the model has no coarse level, a node is in no subgraph, or the output is
            not a ``.npy`` file.
        FileExistsError: If the output exists.
    """
    stages = cast("list[Renormalization]", list(model.renormalizations))
    if not stages:
        raise ValueError("Expected a model with coarse levels (model.pool.sizes is empty).")
    if model.config.pool.select != "learned":
        raise ValueError(
            "Expected learned supernodes, which mean the same in every subgraph (got "
            f"model.pool.select = {model.config.pool.select!r})."
        )
    supernodes = stages[0].select.num_supernodes
    if output is None:
        squares = np.empty((graph.num_nodes, supernodes), dtype=np.float32)
        mean = _collect(model, batches, squares, squares.__setitem__)
        return _upper_levels(model, graph, squares, mean)
    if output.suffix != ".npy":
        raise ValueError(f"Expected 'output' to end in .npy (got '{output}').")
    header = Header([str(supernode) for supernode in range(supernodes)])
    with RowWriter(output, graph.num_nodes, header) as writer:
        mean = _collect(model, batches, writer.rows, writer.write)
        hierarchy = _upper_levels(model, graph, writer.rows, mean)
    assignment = np.load(output, mmap_mode="r", allow_pickle=False)
    return Hierarchy([assignment, *hierarchy.assignments[1:]], hierarchy.couplings)


@torch.inference_mode()
def local_hierarchy(model: Roma, batch: SubgraphBatch, index: int = 0) -> tuple[Graph, Hierarchy]:
    """Coarse-grain one subgraph of a batch, as the forecast of the batch does.

    Args:
        model: The model, with at least one coarse level.
        batch: Subgraphs of B core nodes with windows.
        index: Which of its subgraphs.

    Returns:
        The couplings between its core nodes, and its supernodes; ``assignments[0]`` has the shape
        ``(B, M_1)``.

    Raises:
        ValueError: If there is no such subgraph, or the model has no coarse level.
    """
    if not 0 <= index < batch.num_graphs:
        raise ValueError(
            f"Expected 'index' in [0, {batch.num_graphs}), a subgraph of the batch (got {index})."
        )
    fine, *coarse = model.hierarchy(model.encode(batch))[0]
    if not coarse:
        raise ValueError("Expected a model with coarse levels (model.pool.sizes is empty).")
    count = fine.num_nodes
    sender, receiver = fine.edge_index.cpu().numpy()
    own = receiver // count == index
    graph = Graph.from_edges(
        sender[own] - index * count,
        receiver[own] - index * count,
        count,
        fine.edge_weight.float().cpu().numpy()[own],
    )
    return graph, Hierarchy(
        [_to_numpy(level.assignment, index) for level in coarse],
        [_to_numpy(level.adjacency, index) for level in coarse],
    )


def _collect(
    model: Roma,
    batches: Iterable[tuple[SubgraphBatch, list[Subgraph]]],
    rows: FloatArray,
    write: Callable[[IntArray, FloatArray], None],
) -> Tensor:
    """Fill ``rows`` with S of the first level; return the mean features over each of its columns.

    Args:
        model: The model.
        batches: Batches that cover the graph, with their subgraphs.
        rows: S, shape ``(N, M_1)``.
        write: Sets some rows of it.
    """
    stage = cast("Renormalization", model.renormalizations[0])
    waiting = np.ones(len(rows), dtype=bool)
    total = np.zeros(rows.shape[1])
    pooled: Tensor | None = None
    for batch, subgraphs in batches:
        fine = model.encode(batch)
        embedded, logits = stage.read(fine)
        tangent = stage.embed.space.to_tangent(embedded).view(*fine.features.shape)
        joint = torch.cat([tangent, fine.lags], dim=-1)
        for g, sub in enumerate(subgraphs):
            new = np.flatnonzero(waiting[sub.core])
            nodes = sub.core[new]
            waiting[nodes] = False
            place = torch.from_numpy(new).to(logits.device)
            weight = logits[g, place].float().square() + _TINY
            share = weight.cpu().numpy()
            total += share.sum(axis=0, dtype=np.float64)
            write(nodes, share)
            part = weight.mT.double() @ joint[g, place].double()
            pooled = part if pooled is None else pooled + part
    if waiting.any() or pooled is None:
        missing = int(np.flatnonzero(waiting)[0])
        raise ValueError(
            f"Expected subgraphs that cover every node (got none with node {missing})."
        )
    for block in row_blocks(rows.shape):
        rows[block] /= total.astype(np.float32)
    return (pooled / torch.from_numpy(total)[:, None].to(pooled)).to(model.direction)


def _upper_levels(model: Roma, graph: Graph, assignment: FloatArray, mean: Tensor) -> Hierarchy:
    """Couplings of the first level, and the levels above it."""
    first, *others = cast("list[Renormalization]", list(model.renormalizations))
    coupling = couple_supernodes(graph, assignment)
    levels = [_coarse_level(model, first, mean, coupling, graph.num_nodes)]
    for stage in others:
        levels.append(stage(levels[-1])[0])
    assignments = [_to_numpy(level.assignment) for level in levels[1:]]
    return Hierarchy([assignment, *assignments], [_to_numpy(level.adjacency) for level in levels])


def _coarse_level(
    model: Roma, stage: Renormalization, mean: Tensor, coupling: FloatArray, num_nodes: int
) -> Level:
    """First coarse level of the whole graph from the means over each supernode."""
    mass = num_nodes / len(mean)
    width = model.config.encoder.width
    features = stage.norm(mean[:, :width] * mass)
    adjacency = torch.from_numpy(coupling).to(features)[None]
    edges = dense_to_edges(adjacency)
    return Level(
        points=stage.embed.space.from_tangent(features),
        features=features[None],
        lags=(mean[:, width:] * mass)[None],
        edge_index=edges.edge_index,
        edge_weight=edges.edge_weight,
        mass=mass,
        adjacency=adjacency,
    )


def _to_numpy(values: Tensor | None, index: int = 0) -> NDArray[np.float32]:
    """Matrix of one graph."""
    assert values is not None
    return values[index].float().cpu().numpy()
