"""Learned renormalization, in PyG's terms: select, reduce, connect, and their losses."""

from roma_pyg.nn.pool.connect import (
    ConnectOutput,
    coarse_adjacency,
    coarsen_dense,
    dense_to_edges,
)
from roma_pyg.nn.pool.losses import (
    assignment_entropy,
    edge_entropy,
    link_loss,
    modularity_loss,
    sample_negatives,
)
from roma_pyg.nn.pool.reduce import lift, pool
from roma_pyg.nn.pool.select import Select, SelectOutput, assign

__all__ = [
    "ConnectOutput",
    "Select",
    "SelectOutput",
    "assign",
    "assignment_entropy",
    "coarse_adjacency",
    "coarsen_dense",
    "dense_to_edges",
    "edge_entropy",
    "lift",
    "link_loss",
    "modularity_loss",
    "pool",
    "sample_negatives",
]
