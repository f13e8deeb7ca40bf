"""Figures of an experiment."""

from __future__ import annotations

import math
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from roma_pyg.analysis.plots import BLACK, CYCLE, GREY, VERMILION, log_axis
from roma_pyg.analysis.power_law import PowerLaw, power_law
from roma_pyg.analysis.scores import MAIN_VIEW
from roma_pyg.experiments.spec import Fit
from roma_pyg.experiments.tables import (
    Column,
    Results,
    headline_columns,
    in_units_of_reference,
    rows_of,
    values,
)

LINES = ("-", "--", "-.", ":")
AXES = {
    "parameters": "Parameters",
    "samples": "Training samples (nodes x times)",
    "compute": "Training compute [floating point operations]",
}


def errors_figure(results: Results) -> Figure:
    """Error of every method: a panel per finished condition and column, a dot per seed."""
    columns = headline_columns(results)
    columns = [c for c in columns if c.horizons[-1] > 1] or columns
    found = set(results.scores["condition"])
    conditions = [name for name in results.experiment.conditions if name in found]
    methods = results.methods[::-1]
    size = (2.5 * len(columns) + 2.2, (0.24 * len(methods) + 0.9) * len(conditions) + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(conditions), len(columns), squeeze=False, sharey=True)
    for row, condition in zip(axes, conditions, strict=True):
        for axis, column in zip(row, columns, strict=True):
            table = values(results, condition, column) * column.unit
            for place, method in enumerate(methods):
                if method not in table.index:
                    continue
                series = table.loc[method].dropna()
                learned = method in results.learned
                color = GREY if not learned else CYCLE[1]
                color = VERMILION if method == results.experiment.reference else color
                axis.plot(series, [place] * len(series), "o", color=color, ms=3.5, alpha=0.7)
                if len(series):
                    axis.plot([series.mean()], [place], "|", color=BLACK, ms=11, mew=1.6)
            known = table.to_numpy()[np.isfinite(table.to_numpy())]
            if len(known) and known.max() > 5 * known.min() > 0:
                axis.set_xscale("log")
                log_axis(axis.xaxis, marks=(1.0, 3.0))
            _dress(axis, methods, f"{condition}: {column.title}")
            unit = "sMSPE x 1e-2" if column.metric == "smspe" else "RMSE x 1e-2"
            axis.set_xlabel(unit, fontsize=8)
    return figure


def ratios_figure(results: Results) -> Figure | None:
    """Errors of the learned methods in units of the reference: geometric mean over seeds.

    A row of panels per finished condition, and one per further data set it is scored on, a column
    per score; bars are 95 % confidence intervals, cut at the frame. None if there is nothing to
    compare.
    """
    reference = results.experiment.reference
    members = [name for name in results.learned[::-1] if name != reference]
    rows = []
    for condition in results.experiment.conditions:
        for view in (MAIN_VIEW, *results.experiment.tests):
            columns = in_units_of_reference(results, condition, view)
            if any(columns.values()):
                rows.append((condition if view == MAIN_VIEW else view, columns))
    if not members or not rows:
        return None
    width = max(len(columns) for _, columns in rows)
    size = (1.9 * width + 2.2, (0.22 * len(members) + 0.9) * len(rows) + 0.3)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), width, squeeze=False, sharey=True)
    for row, (name, columns) in zip(axes, rows, strict=True):
        row[0].set_ylabel(name, fontsize=9)
        for axis in row[len(columns) :]:
            axis.set_visible(False)
        for axis, (column, ratios) in zip(row[: len(columns)], columns.items(), strict=True):
            # From 5 % to a factor of 2.8 to both sides of one.
            means = [ratios[member].ratio for member in members if member in ratios]
            reach = max((abs(math.log(mean)) for mean in means), default=0.0)
            reach = max(1.5 * min(reach, math.log(2)), math.log(1.05))
            axis.axvline(1, color=VERMILION, lw=1)
            for place, member in enumerate(members):
                if member in ratios:
                    ratio = ratios[member]
                    axis.plot([ratio.low, ratio.high], [place, place], color=GREY, lw=1.2)
                    axis.plot([ratio.ratio], [place], "o", color=BLACK, ms=4)
            axis.set_xlim(math.exp(-reach), math.exp(reach))
            axis.set_ylim(-0.6, len(members) - 0.4)
            _dress(axis, members, column.title)
    figure.supxlabel(f"error in units of {reference}: smaller is better", fontsize=8)
    return figure


def _dress(axis: Axes, methods: list[str], title: str) -> None:
    """A panel with a method at each height."""
    axis.set_yticks(range(len(methods)), methods, fontsize=8)
    axis.tick_params(axis="x", labelsize=8)
    axis.grid(axis="x", alpha=0.25, lw=0.6)
    axis.set_title(title, fontsize=9)


def curves_figure(results: Results, tag: str, label: str) -> Figure:
    """Validation error against optimiser steps, mean over seeds with their range."""
    conditions = [c for c in results.experiment.conditions if c in set(results.curves["condition"])]
    figure = Figure(figsize=(4.4 * len(conditions) + 1.8, 3.6), layout="constrained")
    axes = figure.subplots(1, len(conditions), squeeze=False)[0]
    for axis, condition in zip(axes, conditions, strict=True):
        for place, member in enumerate(results.learned):
            rows = rows_of(results.curves, condition, member)
            if rows.empty or tag not in rows:
                continue
            groups = rows.groupby("step")[tag]
            mean, low, high = groups.mean(), groups.min(), groups.max()
            color = CYCLE[place % len(CYCLE)]
            style = LINES[place // len(CYCLE) % len(LINES)]
            width = 2.4 if member == results.experiment.reference else 1.2
            axis.plot(mean.index, mean, style, color=color, lw=width, label=member)
            axis.fill_between(mean.index, low, high, color=color, alpha=0.12, lw=0)
        axis.set_yscale("log")
        log_axis(axis.yaxis)
        axis.set_title(condition, fontsize=9)
        axis.set_xlabel("Optimiser steps", fontsize=9)
        axis.set_ylabel(label, fontsize=9)
        axis.grid(alpha=0.25, lw=0.6, which="both")
    _legend(figure)
    return figure


def _legend(figure: Figure) -> None:
    """One legend for all panels, beside them."""
    handles, names = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right upper", fontsize=8, frameon=False)


def fit_points(
    results: Results, fit: Fit, column: Column
) -> tuple[list[float], list[float], list[int]]:
    """Sizes, errors and seeds of the runs that a fit is over."""
    member = fit.member or results.experiment.reference
    x: list[float] = []
    y: list[float] = []
    seeds: list[int] = []
    for condition in fit.conditions:
        table = values(results, condition, column, every_seed=True)
        for _, run in rows_of(results.runs, condition, member).iterrows():
            if member in table.index and run["seed"] in table.columns:
                value = float(table.loc[member, run["seed"]]) * column.unit
                if math.isfinite(value) and value > 0:
                    x.append(float(run[fit.x]))
                    y.append(value)
                    seeds.append(int(run["seed"]))
    return x, y, seeds


def fit_figure(results: Results, fit: Fit, columns: list[Column]) -> tuple[Figure, list[PowerLaw]]:
    """Errors against size with their power laws, a panel per column and a colour per seed.

    Each seed has a graph of its own, and so a prefactor of its own; the exponent is that of all.
    """
    figure = Figure(figsize=(3.3 * len(columns) + 1.2, 3.1), layout="constrained")
    axes = figure.subplots(1, len(columns), squeeze=False)[0]
    laws = []
    for axis, column in zip(axes, columns, strict=True):
        x, y, seeds = fit_points(results, fit, column)
        law = power_law(x, y, seeds)
        laws.append(law)
        for seed, color in zip(sorted(set(seeds)), cycle(CYCLE)):
            at = [i for i, s in enumerate(seeds) if s == seed]
            own = np.asarray(x)[at]
            grid = np.geomspace(own.min(), own.max(), 50)
            axis.plot(own, np.asarray(y)[at], "o", color=color, ms=4, label=f"seed {seed}")
            axis.plot(grid, law(grid, seed), "-", color=color, lw=1)
        axis.set_xscale("log")
        axis.set_yscale("log")
        log_axis(axis.yaxis)
        log_axis(axis.xaxis)
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.grid(alpha=0.25, lw=0.6, which="both")
        text = f"exponent {law.exponent:.3f} [{law.low:.3f}, {law.high:.3f}]"
        axis.set_title(f"{column.title}\n{text}", fontsize=9)
        axis.set_xlabel(AXES[fit.x], fontsize=9)
        axis.set_ylabel("sMSPE x 1e-2", fontsize=9)
    _legend(figure)
    return figure, laws
