"""Embedding of nodes for TensorBoard's projector."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.tensorboard import SummaryWriter

from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.data.history import History
from roma_pyg.data.sampling import collate
from roma_pyg.models.hierarchy import local_hierarchy
from roma_pyg.models.roma import Roma

NODES = 3000
"""Most nodes that are embedded; the projector is slow with more."""


@dataclass(frozen=True, eq=False)
class NodeEmbedding:
    """Features of nodes, and what is known of each.

    Attributes:
        features: Features of the encoder as tangent vectors, shape ``(n, C)``.
        columns: Properties of the nodes by name, shapes ``(n,)``.
    """

    features: NDArray[np.float32]
    columns: dict[str, NDArray[np.int64]]


@torch.inference_mode()
def embed_nodes(model: Roma, data: GraphSeriesData, limit: int = NODES) -> NodeEmbedding:
    """Encode nodes that walks meet, all at the last validation time.

    Supernodes are those a node belongs to most in the subgraph it was drawn with; fixed ones
    (``pool.select: louvain``) mean something else in every subgraph and are left out. Neither time
    nor memory depend on the size of the graph.

    Args:
        model: The model, in evaluation mode.
        data: The data it is trained on; only validation nodes and times are looked at.
        limit: Most nodes.

    Returns:
        Features, and the columns ``node``, ``degree``, ``supernode_1``, ..., and ``block_1``, ...
        where the graph has planted blocks. Fewer nodes come if the walks meet no new ones.
    """
    sampler, visible = data.samplers["val"], data.split.visible("val")
    window = data.options.window
    history = History(data.series.values, data.split.times["val"][-1], window)
    modes = data.features.read_modes(history)
    learned = model.config.pool.select == "learned" and len(model.renormalizations) > 0
    rng = np.random.default_rng(0)
    met = np.zeros(sampler.graph.num_nodes, dtype=bool)
    features: list[NDArray[np.float32]] = []
    properties: list[list[NDArray[np.int64]]] = []
    count, wanted = 0, min(limit, len(met))
    # As most walks meet some nodes again, several times as many subgraphs may be needed.
    for _ in range(4 * -(-wanted // sampler.size)):
        sub = sampler.sample(rng)
        new = np.flatnonzero(~met[sub.core])[: wanted - count]
        rows = visible[sub.nodes]
        batch = collate(
            [sub],
            [history[rows]],
            [data.features.read(rows)],
            np.array([1]),
            node_ids=visible,
            courses=None if modes is None else [data.features.course(rows, modes)[None]],
        ).to(model.direction.device)
        met[sub.core[new]] = True
        count += len(new)
        features.append(model.encode(batch).features[0].float().cpu().numpy()[new])
        labels: list[NDArray[np.int64]] = []
        if learned:
            hierarchy = local_hierarchy(model, batch)[1]
            levels = range(1, 1 + len(hierarchy.assignments))
            labels = [hierarchy.labels(level)[new] for level in levels]
        properties.append([visible[sub.core[new]], *labels])
        if count == wanted:
            break
    node, *supernodes = (np.concatenate(parts) for parts in zip(*properties, strict=True))
    columns = {"node": node, "degree": data.series.graph.degree[node]}
    columns |= {f"supernode_{level}": label for level, label in enumerate(supernodes, start=1)}
    for name in sorted(data.series.extras):
        if name.startswith("block_"):
            columns[name] = np.asarray(data.series.extras[name])[node]
    return NodeEmbedding(np.concatenate(features), columns)


def write_embedding(writer: SummaryWriter, embedding: NodeEmbedding, step: int) -> None:
    """Write an embedding for the projector.

    Args:
        writer: Where to write.
        embedding: Nodes with features and properties.
        step: Step of the optimiser.
    """
    rows = zip(*(column.tolist() for column in embedding.columns.values()), strict=True)
    writer.add_embedding(
        embedding.features,
        metadata=[list(row) for row in rows],
        metadata_header=list(embedding.columns),
        global_step=step,
        tag="nodes",
    )
