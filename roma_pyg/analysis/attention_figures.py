"""Figures of attention: by level, by distance, from nodes to supernodes, principal components."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from roma_pyg.analysis.plots import BLACK, CYCLE, MARKERS, log_axis

Array = NDArray[np.floating[Any]]


def levels_figure(shares: Array) -> Figure:
    """Where the attention of each level goes, one panel per block, mean over heads.

    Args:
        shares: Shape ``(layers, H, L, L)``, row = the level that attends; rows sum to one
            (``AttentionMaps.by_level``).
    """
    layers, _, levels, _ = shares.shape
    figure = Figure(figsize=(2.5 * layers + 1.4, 2.9), layout="constrained")
    axes = figure.subplots(1, layers, squeeze=False, sharey=True)[0]
    names = ["nodes"] + [f"level {level}" for level in range(1, levels)]
    mean, low, high = shares.mean(axis=1), shares.min(axis=1), shares.max(axis=1)
    for layer, axis in enumerate(axes):
        image = axis.imshow(mean[layer], cmap="cividis", vmin=0, vmax=1)
        for row in range(levels):
            for column in range(levels):
                value = mean[layer, row, column]
                between = f"{low[layer, row, column]:.2f}-{high[layer, row, column]:.2f}"
                axis.text(
                    column,
                    row,
                    f"{value:.2f}\n({between})",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if value < 0.55 else BLACK,
                )
        axis.set_xticks(range(levels), names, fontsize=8)
        axis.set_yticks(range(levels), names, fontsize=8)
        axis.set_title(f"Block {layer + 1}", fontsize=9)
    axes[0].set_ylabel("Attends", fontsize=9)
    figure.supxlabel("Is attended to: mean over heads (least - most)", fontsize=9)
    figure.colorbar(image, ax=axes.tolist(), label="Share of the attention")
    return figure


def distance_figure(weights: Array, pairs: Array) -> Figure:
    """Attention between nodes against their distance, one line per block, heads as a band.

    Args:
        weights: Mean weight at each distance in units of even attention, shape ``(layers, H,
            D)``, NaN where there are no pairs (``AttentionMaps.by_distance``).
        pairs: Number of pairs at each distance, shape ``(D,)``. The last class also holds all
            that are farther apart.
    """
    layers, _, classes = weights.shape
    shown = np.flatnonzero(pairs > 0)
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    axis = figure.subplots()
    for layer in range(layers):
        color = CYCLE[layer % len(CYCLE)]
        values = weights[layer][:, shown]
        axis.fill_between(
            shown, values.min(axis=0), values.max(axis=0), color=color, alpha=0.15, lw=0
        )
        axis.plot(
            shown,
            values.mean(axis=0),
            color=color,
            marker=MARKERS[layer % len(MARKERS)],
            ms=4.5,
            lw=1.5,
            label=f"block {layer + 1}",
        )
    axis.axhline(1, color="0.4", ls="--", lw=1)
    axis.set_yscale("log")
    # Heads that attend nearly evenly span less than a decade, which needs more labels.
    narrow = np.nanmax(weights) < 10 * np.nanmin(weights)
    log_axis(axis.yaxis, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0) if narrow else (1.0, 3.0))
    names = [str(distance) for distance in shown]
    if shown[-1] == classes - 1:
        names[-1] = f"≥ {classes - 1}"
    axis.set_xticks(shown, names)
    axis.set_xlabel("Distance in the subgraph [edges]")
    axis.set_ylabel("Attention [1 / number of tokens]")
    axis.grid(visible=True, color="0.92", lw=0.6)
    figure.legend(
        loc="outside upper center",
        ncols=min(layers, 5),
        frameon=False,
        fontsize=9,
        title="mean over heads, band: least to most; dashed: even attention",
        title_fontsize=8,
    )
    return figure


def fine_to_coarse_figure(
    attention: Array,
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    assignment: Array | None = None,
) -> Figure:
    """Attention of nodes to supernodes, similar ones side by side, the assignment beside it.

    Args:
        attention: Mean over blocks and heads, shape ``(n, M)``.
        rows: Order of the nodes, shape ``(n,)``.
        columns: Order of the supernodes, shape ``(M,)``.
        assignment: Assignment S of the same nodes, shape ``(n, M)``; left out if None.
    """
    even = attention.sum(axis=1, keepdims=True) / attention.shape[1]
    panels = [(attention / even, "Attention to a supernode [mean of the row]")]
    if assignment is not None:
        share = assignment / np.maximum(assignment.sum(axis=1, keepdims=True), 1e-30)
        panels.append((share * share.shape[1], "Share of the node [1 / supernodes]"))
    figure = Figure(figsize=(4.6 * len(panels), 4.6), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
    for axis, (values, label) in zip(axes, panels, strict=True):
        shown = values[np.ix_(rows, columns)]
        image = axis.imshow(
            shown,
            cmap="cividis",
            aspect="auto",
            vmin=0,
            vmax=max(float(np.quantile(shown, 0.995)), 1e-9),
            interpolation="nearest",
        )
        axis.set_xlabel("Supernode (ordered by similarity)", fontsize=9)
        axis.tick_params(labelsize=8)
        figure.colorbar(image, ax=axis, label=label, extend="max")
    axes[0].set_ylabel("Node (ordered by similarity of its attention)", fontsize=9)
    return figure


def components_figure(coordinates: Array, explained: Array, sizes: list[int]) -> Figure:
    """Principal components of what tokens attend to, one panel per block, colour by level.

    Args:
        coordinates: Shape ``(layers, n, 2)`` (``AttentionMaps.components``).
        explained: Share of the variance, shape ``(layers, 2)``.
        sizes: Tokens of each level, which sum to n.
    """
    layers = len(coordinates)
    figure = Figure(figsize=(3.1 * layers + 0.3, 3.6), layout="constrained")
    axes = figure.subplots(1, layers, squeeze=False)[0]
    starts = np.cumsum([0, *sizes])
    for layer, axis in enumerate(axes):
        for level, (start, stop) in enumerate(pairwise(starts)):
            axis.scatter(
                *coordinates[layer, start:stop].T,
                s=8 if level == 0 else 26,
                c=CYCLE[level % len(CYCLE)],
                marker=MARKERS[level % len(MARKERS)],
                lw=0 if level == 0 else 0.4,
                ec="white",
                alpha=0.5 if level == 0 else 0.95,
                label="nodes" if level == 0 else f"level {level}",
            )
        axis.set_title(f"Block {layer + 1}", fontsize=9)
        axis.set_xlabel(f"Component 1 ({100 * explained[layer, 0]:.0f} % of variance)", fontsize=8)
        axis.set_ylabel(f"Component 2 ({100 * explained[layer, 1]:.0f} %)", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.grid(visible=True, color="0.92", lw=0.6)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=len(sizes), frameon=False, fontsize=9
    )
    return figure
