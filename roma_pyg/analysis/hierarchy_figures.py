"""Figures of a hierarchy of supernodes: tree, spread of the assignments, coarse couplings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from roma_pyg.analysis.attention import cluster_order
from roma_pyg.analysis.node_map import map_colors
from roma_pyg.analysis.plots import BLUE, CYCLE, VERMILION, log_axis
from roma_pyg.data.export import row_blocks
from roma_pyg.models.hierarchy import Hierarchy

Array = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class Spread:
    """How localised an assignment is, as effective numbers, ``exp`` of an entropy.

    Attributes:
        supernodes_per_node: Supernodes that a node is spread over, between 1 and M, shape ``(n,)``;
            of its row of S, normalised.
        nodes_per_supernode: Nodes that a supernode is spread over, between 1 and n, shape ``(M,)``;
            of its column of S.
    """

    supernodes_per_node: NDArray[np.float64]
    nodes_per_supernode: NDArray[np.float64]

    @classmethod
    def of(cls, assignment: Array) -> Spread:
        """Spread of an assignment matrix; a block of rows is read at a time.

        Args:
            assignment: S, columns sum to one, shape ``(n, M)``; may be a memory map.

        Example:
            >>> spread = Spread.of(np.array([[0.5, 0.0], [0.5, 0.0], [0.0, 1.0]]))
            >>> spread.supernodes_per_node.round(6).tolist()
            [1.0, 1.0, 1.0]
            >>> spread.nodes_per_supernode.round(6).tolist()
            [2.0, 1.0]
        """
        rows = np.empty(len(assignment))
        columns = np.zeros(assignment.shape[1])
        for block in row_blocks(assignment.shape):
            share = np.asarray(assignment[block], dtype=np.float64)
            columns -= _x_log_x(share).sum(axis=0)
            total = share.sum(axis=1)
            own = share / np.where(total > 0, total, 1)[:, None]
            rows[block] = -_x_log_x(own).sum(axis=1)
        return cls(np.exp(rows), np.exp(columns))


def _x_log_x(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return x * np.log(np.where(x > 0, x, 1))


def spread_figure(hierarchy: Hierarchy) -> Figure:
    """Effective numbers of supernodes per node and of nodes per supernode, one row per level."""
    levels = len(hierarchy.assignments)
    figure = Figure(figsize=(8.2, 2.5 * levels + 0.3), layout="constrained")
    axes = figure.subplots(levels, 2, squeeze=False)
    for level, assignment in enumerate(hierarchy.assignments, start=1):
        spread = Spread.of(assignment)
        one = "node" if level == 1 else f"supernode of level {level - 1}"
        below = "nodes" if level == 1 else f"supernodes of level {level - 1}"
        for axis, values, limit, color, label in (
            (
                axes[level - 1, 0],
                spread.supernodes_per_node,
                assignment.shape[1],
                BLUE,
                f"Effective supernodes of level {level} per {one}",
            ),
            (
                axes[level - 1, 1],
                spread.nodes_per_supernode,
                assignment.shape[0],
                VERMILION,
                f"Effective {below} per supernode of level {level}",
            ),
        ):
            axis.hist(values, bins=np.geomspace(1, max(limit, 2), 41).tolist(), color=color)
            axis.axvline(limit, color="0.4", ls="--", lw=1)
            axis.set_xscale("log")
            axis.set_xlim(0.95, max(limit, 2) * 1.1)
            log_axis(axis.xaxis, marks=(1.0, 3.0))
            axis.set_xlabel(label, fontsize=8)
            axis.set_ylabel("Number", fontsize=8)
            axis.tick_params(labelsize=8)
            axis.grid(visible=True, color="0.92", lw=0.6)
    return figure


def tree_figure(hierarchy: Hierarchy) -> Figure:
    """The hierarchy as stacked bars: below each supernode lie those it consists of.

    A node counts for the supernode it belongs to most, and a supernode for that of the next level
    it has the largest share in. Widths are numbers of nodes; colours are as in the map of the
    nodes.
    """
    levels = len(hierarchy.assignments)
    label = hierarchy.labels(1)
    sizes = [np.bincount(label, minlength=hierarchy.assignments[0].shape[1])]
    parents = [np.asarray(s).argmax(axis=1) for s in hierarchy.assignments[1:]]
    for parent, assignment in zip(parents, hierarchy.assignments[1:], strict=True):
        sizes.append(np.bincount(parent, sizes[-1], minlength=assignment.shape[1]).astype(int))
    # From the top down: children follow each other below their parent, the largest first.
    order = [np.argsort(-sizes[-1], kind="stable")]
    for level in range(levels - 2, -1, -1):
        rank = np.empty(len(sizes[level + 1]), dtype=int)
        rank[order[0]] = np.arange(len(rank))
        order.insert(0, np.lexsort((-sizes[level], rank[parents[level]])))
    figure = Figure(figsize=(9.0, 0.9 * levels + 1.0), layout="constrained")
    axis = figure.subplots()
    for level in range(levels):
        coupling = np.asarray(hierarchy.couplings[level], dtype=np.float64)
        coupling = (coupling + coupling.T) * (1 - np.eye(len(coupling)))
        color = map_colors(sp.csr_array(coupling))
        left = 0
        for number in order[level]:
            width = int(sizes[level][number])
            if width == 0:
                continue
            axis.add_patch(
                Rectangle((left, level), width, 0.92, fc=CYCLE[color[number]], ec="white", lw=0.6)
            )
            if width > 0.018 * len(label):
                middle = (left + width / 2, level + 0.46)
                ink = "white" if CYCLE[color[number]] == BLUE else "black"
                axis.text(*middle, str(number), ha="center", va="center", fontsize=7, color=ink)
            left += width
    axis.set_xlim(0, len(label))
    axis.set_ylim(0, levels)
    axis.set_yticks(np.arange(levels) + 0.46, [f"Level {level + 1}" for level in range(levels)])
    axis.set_xlabel("Nodes, counted for the supernode they belong to most", fontsize=9)
    for side in ("top", "right", "left"):
        axis.spines[side].set_visible(False)
    axis.tick_params(axis="y", length=0)
    return figure


def couplings_figure(hierarchy: Hierarchy) -> Figure:
    """Coarse couplings ``S^T A S`` of each level, similar supernodes side by side."""
    levels = len(hierarchy.couplings)
    figure = Figure(figsize=(4.4 * levels, 3.9), layout="constrained")
    axes = figure.subplots(1, levels, squeeze=False)[0]
    for level, (axis, coupling) in enumerate(zip(axes, hierarchy.couplings, strict=True), start=1):
        order = cluster_order(np.asarray(coupling, dtype=np.float64))
        shown = np.asarray(coupling, dtype=np.float64)[np.ix_(order, order)]
        # Each row in units of its sum: what share of its coupling a supernode gets from another.
        shown = shown / np.maximum(shown.sum(axis=1, keepdims=True), np.finfo(float).tiny)
        top = max(float(np.quantile(shown, 0.995)), 1e-9)
        image = axis.imshow(shown, cmap="cividis", vmin=0, vmax=top)
        axis.set_title(f"Level {level}: {len(shown)} supernodes", fontsize=9)
        axis.set_xlabel("Sender (ordered by similarity)", fontsize=9)
        axis.set_ylabel("Receiver (same order)", fontsize=9)
        axis.tick_params(labelsize=8)
        figure.colorbar(image, ax=axis, label="Share of the coupling of the receiver", extend="max")
    return figure
