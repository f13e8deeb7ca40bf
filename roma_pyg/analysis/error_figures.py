"""Where a forecast errs: by degree, by supernode, by level; and how its errors fell in training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from roma_pyg.analysis.curves import Curve
from roma_pyg.analysis.examine import Consistency
from roma_pyg.analysis.plots import BLACK, BLUE, CYCLE, GREY, MARKERS, VERMILION, log_axis
from roma_pyg.analysis.power_law import PowerLaw

Array = NDArray[np.floating[Any]]
ERROR = "sMSPE (smaller is better)"


def degree_classes(degree: NDArray[np.integer[Any]], smallest: int = 5) -> NDArray[np.int64]:
    """Lower ends of classes of degree: 0, 1, 2, 3, 4, 6, 8, 11, ... with enough nodes each.

    Args:
        degree: Degree of each node, shape ``(n,)``.
        smallest: Nodes of a class, at least; smaller ones join the class below.

    Returns:
        Ascending, the first at most the smallest degree.

    Example:
        >>> degree_classes(np.array([1] * 9 + [2] * 9 + [3, 40]), smallest=5).tolist()
        [1, 2]
    """
    top = max(int(degree.max(initial=1)), 1)
    powers = np.floor(2.0 ** np.arange(0, np.log2(top) + 0.5, 0.5)).astype(np.int64)
    edges = np.unique(np.r_[0, powers])
    kept = [int(edges[0])]
    for low, high in zip(edges, np.r_[edges[1:], top + 1], strict=True):
        if np.count_nonzero((degree >= low) & (degree < high)) >= smallest:
            kept.append(int(low))
    used = np.unique(kept)
    # A lowest class without nodes is none.
    return used[np.searchsorted(used, int(degree.min()), side="right") - 1 :]


def error_by_degree_figure(degree: NDArray[np.integer[Any]], errors: Mapping[str, Array]) -> Figure:
    """Error of nodes against their degree: median, and from the first to the third quartile.

    Args:
        degree: Degree of each node, shape ``(n,)``.
        errors: Errors of the nodes by step ahead, shapes ``(n,)``.
    """
    low = degree_classes(degree)
    group = np.searchsorted(low, degree, side="right") - 1
    count = np.bincount(group, minlength=len(low))
    at = np.array([float(np.mean(degree[group == k])) for k in range(len(low))])
    figure = Figure(figsize=(6.6, 4.4), layout="constrained")
    axis, below = figure.subplots(2, 1, sharex=True, height_ratios=[3.2, 1])
    for (name, values), color, marker in zip(errors.items(), CYCLE, MARKERS, strict=False):
        quartiles = np.array(
            [np.quantile(values[group == k], [0.25, 0.5, 0.75]) for k in range(len(low))]
        )
        axis.fill_between(at, quartiles[:, 0], quartiles[:, 2], color=color, alpha=0.15, lw=0)
        axis.plot(at, quartiles[:, 1], color=color, marker=marker, ms=4.5, lw=1.5, label=name)
    axis.set_yscale("log")
    log_axis(axis.yaxis)
    axis.set_ylabel(ERROR)
    below.bar(at, count, width=0.25 * at, color=GREY)
    below.set_yscale("log")
    below.set_ylabel("Nodes")
    below.set_xlabel("Degree")
    for panel in (axis, below):
        panel.set_xscale("log")
        panel.grid(visible=True, color="0.92", lw=0.6)
    log_axis(below.xaxis)
    figure.legend(
        *axis.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=len(errors),
        frameon=False,
        fontsize=9,
        title="median, band: first to third quartile",
        title_fontsize=8,
    )
    return figure


def error_by_supernode_figure(
    supernode: NDArray[np.integer[Any]], errors: Mapping[str, Array]
) -> Figure:
    """Mean error of the nodes of each supernode, supernodes by falling error at the last step.

    Args:
        supernode: Supernode of each node, shape ``(n,)``.
        errors: Errors of the nodes by step ahead, shapes ``(n,)``.
    """
    names, group = np.unique(supernode, return_inverse=True)
    size = np.bincount(group)
    means = {name: np.bincount(group, values) / size for name, values in errors.items()}
    order = np.argsort(-list(means.values())[-1], kind="stable")
    figure = Figure(figsize=(min(4.0 + 0.14 * len(names), 13.0), 3.9), layout="constrained")
    axis = figure.subplots()
    area = 8 + 90 * size[order] / size.max()
    for (name, values), color in zip(means.items(), CYCLE, strict=False):
        axis.scatter(
            np.arange(len(names)), values[order], s=area, c=color, lw=0, alpha=0.75, label=name
        )
        axis.axhline(float(np.mean(errors[name])), color=color, lw=1, ls="--")
    axis.set_yscale("log")
    log_axis(axis.yaxis)
    axis.set_ylabel(ERROR)
    if len(names) <= 70:
        axis.set_xticks(np.arange(len(names)), [str(n) for n in names[order]], fontsize=6)
        axis.tick_params(axis="x", rotation=90)
    axis.set_xlabel("Supernode (by falling error)")
    axis.grid(visible=True, color="0.92", lw=0.6)
    legend = figure.legend(
        loc="outside upper center",
        ncols=len(errors),
        frameon=False,
        fontsize=9,
        title="mean over the nodes of a supernode, area: their number; dashed: all nodes",
        title_fontsize=8,
    )
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_sizes([36])  # type: ignore[attr-defined]
    return figure


def consistency_figure(consistency: list[Consistency], dt: float = 1.0) -> Figure:
    """Errors of both ways to the coarse future against the time ahead, one panel per level.

    Args:
        consistency: One per coarse level.
        dt: Time between samples, in time units.
    """
    levels = len(consistency)
    figure = Figure(figsize=(4.3 * levels + 0.5, 3.8), layout="constrained")
    axes = figure.subplots(1, levels, squeeze=False, sharey=True)[0]
    lines = (
        ("coarse", "coarse-grain, then forecast", VERMILION, "o", "-"),
        ("pooled", "forecast, then coarse-grain", BLUE, "s", "-"),
        ("gap", "difference of the two", BLACK, "^", ":"),
        ("persistence", "persistence", GREY, "D", "--"),
    )
    for level, (axis, errors) in enumerate(zip(axes, consistency, strict=True), start=1):
        results = errors.results()
        for name, label, color, marker, style in lines:
            values = results[name].smspe
            steps = np.arange(1, len(values) + 1) * dt
            every = max(1, len(values) // 8)
            axis.plot(
                steps, values, style, color=color, marker=marker, ms=4, markevery=every, label=label
            )
        axis.set_xscale("log")
        axis.set_yscale("log")
        log_axis(axis.xaxis)
        log_axis(axis.yaxis, (1.0,))
        axis.set_title(f"Level {level}", fontsize=9)
        axis.grid(visible=True, color="0.92", lw=0.6)
    axes[0].set_ylabel(f"{ERROR} of the supernodes")
    figure.supxlabel("Time after the last known sample [time units]", fontsize=10)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=min(2 * levels, 4), frameon=False,
        fontsize=8,
    )  # fmt: skip
    return figure


def levels_over_time_figure(
    past: list[Array], truth: list[Array], forecast: list[Array], dt: float, label: str
) -> Figure:
    """Mean over the (super)nodes of each level and their spread, truth against forecast.

    Args:
        past: History of each level, shapes ``(n_l, K)``.
        truth: True future of each level, shapes ``(n_l, Q)``.
        forecast: Forecast, same shapes.
        dt: Time between samples, in time units.
        label: Name of the variable.
    """
    count = len(past)
    figure = Figure(figsize=(6.8, 2.2 * count + 0.8), layout="constrained")
    axes = figure.subplots(count, 1, squeeze=False, sharex=True, sharey=True)[:, 0]
    for level, axis in enumerate(axes):
        before = np.arange(1 - past[level].shape[1], 1) * dt
        ahead = np.arange(1, truth[level].shape[1] + 1) * dt
        for times, values, color, name in (
            (before, past[level], GREY, "history"),
            (ahead, truth[level], BLACK, "truth"),
            (ahead, forecast[level], VERMILION, "forecast"),
        ):
            low, high = np.quantile(values, [0.1, 0.9], axis=0)
            hatch = {"alpha": 0.14, "lw": 0, "color": color}
            axis.fill_between(times, low, high, **hatch)
            style = "--" if name == "forecast" else "-"
            axis.plot(times, values.mean(axis=0), style, color=color, lw=1.6, label=name)
        axis.axvline(0, color=GREY, lw=0.8, ls=":")
        what = "nodes" if level == 0 else f"supernodes of level {level}"
        axis.set_title(f"{len(past[level]):,} {what}", fontsize=9, loc="left")
        axis.grid(visible=True, color="0.92", lw=0.6)
        axis.margins(x=0.01)
    figure.supylabel(label, fontsize=10)
    axes[-1].set_xlabel("Time after the last known sample [time units]")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles, labels, loc="outside upper center", ncols=3, frameon=False, fontsize=9,
        title="line: mean, band: from the 10th to the 90th percentile", title_fontsize=8,
    )  # fmt: skip
    return figure


def curves_figure(curves: Mapping[str, Curve], laws: Mapping[str, PowerLaw]) -> Figure:
    """Losses against optimiser steps, with the power laws that describe their later part.

    Args:
        curves: Steps and values by name.
        laws: Power law of some of them, against the step.
    """
    figure = Figure(figsize=(6.8, 4.2), layout="constrained")
    axis = figure.subplots()
    for (name, (steps, values)), color, marker in zip(curves.items(), CYCLE, MARKERS, strict=False):
        every = max(1, len(steps) // 12)
        dense = len(steps) > 60
        axis.plot(
            steps, values, color=color, lw=1.0 if dense else 1.5, marker=None if dense else marker,
            ms=4, markevery=every, label=name, alpha=0.85,
        )  # fmt: skip
        if name in laws:
            law = laws[name]
            line = steps[len(steps) // 4 :]
            text = f"{name}: steps^{-law.exponent:.2f} [{-law.high:.2f}, {-law.low:.2f}]"
            axis.plot(line, law(line), color=color, ls="--", lw=1.2, label=text)
    axis.set_xscale("log")
    axis.set_yscale("log")
    log_axis(axis.xaxis)
    log_axis(axis.yaxis, (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))  # losses span less than a decade
    axis.set_xlabel("Optimiser steps")
    axis.set_ylabel("Loss")
    axis.grid(visible=True, color="0.92", lw=0.6)
    figure.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=8)
    return figure
