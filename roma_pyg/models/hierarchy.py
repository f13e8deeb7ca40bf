"""The learned hierarchy of a whole graph."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from roma_pyg.data.graph import FloatArray, Graph, IntArray
from roma_pyg.data.sampling import Subgraph, SubgraphBatch
from roma_pyg.models.level import Level, Renormalization
from roma_pyg.models.roma import Roma
from roma_pyg.nn.pool import dense_to_edges


@dataclass(frozen=True, eq=False)
class Hierarchy:
    """Supernodes of every level.

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

    The logits of each node come from the first subgraph that holds it; the columns of S are then
    normalised over all N nodes instead of over a subgraph. Features and windows are pooled while
    the subgraphs pass by, so memory is O(N M_1 + E), and the time that of one encoding plus
    O(E M_1).

    Args:
        model: The trained model, with at least one coarse level.
        graph: The graph, N nodes.
        batches: Batches that together cover the graph, with the subgraphs they consist of.

    Raises:
        ValueError: If the model has no coarse level or a node is in no subgraph.
    """
    stages = list(model.renormalizations)
    if not stages:
        raise ValueError("Expected a model with coarse levels (model.pool.sizes is empty).")
    stage = stages[0]
    assert isinstance(stage, Renormalization)
    squares = np.zeros((graph.num_nodes, stage.select.num_supernodes), dtype=np.float32)
    done = np.zeros(graph.num_nodes, dtype=bool)
    pooled: list[Tensor] = []
    for batch, subgraphs in batches:
        fine = model.encode(batch)
        embedded, logits = stage.read(fine)
        tangent = stage.embed.space.to_tangent(embedded).view(*fine.features.shape)
        joint = torch.cat([tangent, fine.lags], dim=-1)
        for g, sub in enumerate(subgraphs):
            nodes = sub.nodes[: sub.num_core]
            new = np.flatnonzero(~done[nodes])
            done[nodes[new]] = True
            rows = torch.from_numpy(new).to(logits.device)
            weight = logits[g, rows].square()
            squares[nodes[new]] = weight.float().cpu().numpy()
            part = weight.mT.double() @ joint[g, rows].double()
            pooled = [pooled[0] + part] if pooled else [part]
    if not done.all():
        missing = int(np.flatnonzero(~done)[0])
        raise ValueError(f"Expected subgraphs that cover every node (got none with {missing}).")
    total = squares.sum(axis=0, dtype=np.float64)
    assignment = (squares / np.maximum(total, 1e-30)).astype(np.float32)
    mean = (pooled[0] / torch.from_numpy(np.maximum(total, 1e-30))[:, None].to(pooled[0])).float()
    coupling = assignment.T @ (graph.to_matrix() @ assignment)
    hierarchy = Hierarchy([assignment], [coupling])
    level = _coarse_level(model, stage, mean, coupling, graph.num_nodes)
    for stage in stages[1:]:
        assert isinstance(stage, Renormalization)
        level, _ = stage(level)
        assert level.assignment is not None and level.adjacency is not None
        hierarchy.assignments.append(_to_numpy(level.assignment[0]))
        hierarchy.couplings.append(_to_numpy(level.adjacency[0]))
    return hierarchy


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


def _to_numpy(values: Tensor) -> NDArray[np.float32]:
    return values.float().cpu().numpy()
