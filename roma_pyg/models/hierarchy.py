"""The learned hierarchy of a whole graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roma_pyg.data.graph import FloatArray, Graph, IntArray
from roma_pyg.data.sampling import Subgraph, SubgraphBatch
from roma_pyg.models.level import Level, Renormalization
from roma_pyg.models.roma import Roma
from roma_pyg.nn.pool import dense_to_edges

# Far below the square of any logit; makes a column of zeros uniform, as in `assign`.
_TINY = 1e-30
# Columns of A S held at a time.
_COLUMNS = 16


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Supernodes of every level.

    Example:
        >>> share = np.array([[0.9, 0.0], [0.1, 0.3], [0.0, 0.7]], dtype=np.float32)
        >>> Hierarchy([share], [np.eye(2, dtype=np.float32)]).labels()
        array([0, 1, 1])

    Attributes:
        assignments: One matrix per coarse level, from fine to coarse, shapes ``(N, M_1)``,
            ``(M_1, M_2)``, ...; each column is a distribution over the nodes one level below.
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
        if not 1 <= level <= len(self.assignments):
            raise ValueError(
                f"Expected 'level' between 1 and {len(self.assignments)} (got {level})."
            )
        share = self.assignments[0]
        for assignment in self.assignments[1:level]:
            share = share @ assignment
        return np.argmax(share, axis=1)


@torch.inference_mode()
def global_hierarchy(
    model: Roma, graph: Graph, batches: Iterable[tuple[SubgraphBatch, list[Subgraph]]]
) -> Hierarchy:
    """Coarse-grain a whole graph with the assignment layers of a model.

    The logits l of each node come from the first subgraph that holds it; the columns of S are then
    normalised over all N nodes instead of over a subgraph::

        S_ia = l_ia^2 / sum_k l_ka^2,   u_a = N / M sum_i S_ia u_i,   A'_ab = sum_ij S_ia A_ij S_jb

    Features and windows are pooled while the subgraphs pass by, so memory is O(N M_1 + E), once,
    and the time that of one encoding plus O(E M_1 + N M_1^2). The levels above have few nodes and
    are made as in training.

    Args:
        model: The trained model, with at least one coarse level.
        graph: The graph, N nodes.
        batches: Batches that together cover the graph, with the subgraphs they consist of.

    Raises:
        ValueError: If the model has no coarse level or a node is in no subgraph.
    """
    stages = cast("list[Renormalization]", list(model.renormalizations))
    if not stages:
        raise ValueError("Expected a model with coarse levels (model.pool.sizes is empty).")
    stage = stages[0]
    squares = np.empty((graph.num_nodes, stage.select.num_supernodes), dtype=np.float32)
    waiting = np.ones(graph.num_nodes, dtype=bool)
    pooled: Tensor | None = None
    for batch, subgraphs in batches:
        fine = model.encode(batch)
        embedded, logits = stage.read(fine)
        tangent = stage.embed.space.to_tangent(embedded).view(*fine.features.shape)
        joint = torch.cat([tangent, fine.lags], dim=-1)
        for g, sub in enumerate(subgraphs):
            nodes = sub.nodes[: sub.num_core]
            new = np.flatnonzero(waiting[nodes])
            waiting[nodes[new]] = False
            rows = torch.from_numpy(new).to(logits.device)
            weight = logits[g, rows].float().square() + _TINY
            squares[nodes[new]] = weight.cpu().numpy()
            part = weight.mT.double() @ joint[g, rows].double()
            pooled = part if pooled is None else pooled + part
    if waiting.any() or pooled is None:
        missing = int(np.flatnonzero(waiting)[0])
        raise ValueError(
            f"Expected subgraphs that cover every node (got none with node {missing})."
        )
    total = squares.sum(axis=0, dtype=np.float64)
    squares /= total.astype(np.float32)
    mean = (pooled / torch.from_numpy(total)[:, None].to(pooled)).to(model.mean)
    level = _coarse_level(model, stage, mean, _couple(graph, squares), graph.num_nodes)
    levels = [level]
    for stage in stages[1:]:
        levels.append(stage(levels[-1])[0])
    assignments = [_to_numpy(level.assignment) for level in levels[1:]]
    return Hierarchy([squares, *assignments], [_to_numpy(level.adjacency) for level in levels])


def _couple(graph: Graph, assignment: FloatArray) -> FloatArray:
    """Coarse couplings ``S^T A S``, some columns at a time: A S is as large as S."""
    matrix = graph.to_matrix()
    columns = range(0, assignment.shape[1], _COLUMNS)
    parts = [assignment.T @ (matrix @ assignment[:, c : c + _COLUMNS]) for c in columns]
    return np.concatenate(parts, axis=1)


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


def _to_numpy(values: Tensor | None) -> NDArray[np.float32]:
    """Matrix of the only graph."""
    assert values is not None
    return values[0].float().cpu().numpy()
