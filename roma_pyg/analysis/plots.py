"""Figures of forecasts, drawn with matplotlib's object interface.

No pyplot: there is no global state, no display is needed, and a figure is freed with its last
reference. Colours are those of Okabe & Ito (2008) and the maps cividis and PuOr, which readers
with colour-vision deficiency can tell apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import NDArray

Array = NDArray[np.floating[Any]]

BLACK, ORANGE, SKY, GREEN = "#000000", "#E69F00", "#56B4E9", "#009E73"
BLUE, VERMILION, PURPLE, GREY = "#0072B2", "#D55E00", "#CC79A7", "#7F7F7F"
CYCLE = (VERMILION, BLUE, GREEN, PURPLE, ORANGE, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P")
TIME_LABEL = "Time after the last known sample [time units]"


def forecast_figure(
    history: Array,
    steps: NDArray[np.integer[Any]],
    truth: Array,
    forecast: Array,
    dt: float = 1.0,
    names: Sequence[str] | None = None,
) -> Figure:
    """Forecast against truth, with the history, one panel per node.

    Args:
        history: Known samples that end at time 0, shape ``(n, K)``, in units of the observable.
        steps: Steps ahead, ascending, shape ``(Q,)``.
        truth: True values at ``steps``, shape ``(n, Q)``.
        forecast: Forecast values, shape ``(n, Q)``.
        dt: Time between samples, in time units.
        names: Title of each panel.

    Raises:
        ValueError: If the shapes disagree.
    """
    _check_shapes(steps, truth=truth, forecast=forecast)
    count = len(truth)
    columns = 1 if count == 1 else 2
    rows = -(-count // columns)
    figure = _figure(4.4 * columns + 0.6, 1.75 * rows + 1.2)
    axes = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    past = _past(history.shape[1], dt)
    for panel in axes[count:]:
        panel.set_visible(False)
        axes[count - columns].tick_params(labelbottom=True)
    for index, axis in enumerate(axes[:count]):
        _draw_series(axis, past, history[index], steps * dt, truth[index], forecast[index])
        if names is not None:
            axis.set_title(names[index], fontsize=9, loc="left")
    figure.supxlabel(TIME_LABEL, fontsize=10)
    figure.supylabel("Observable $u$", fontsize=10)
    _legend_above(figure, axes[0])
    return figure


def order_parameter_figure(
    history: Array,
    steps: NDArray[np.integer[Any]],
    truth: Array,
    forecast: Array,
    dt: float = 1.0,
    label: str = r"Mean observable $\langle u \rangle$",
) -> Figure:
    """A collective variable of all nodes over the horizon: truth against forecast.

    Args:
        history: Known samples that end at time 0, shape ``(K,)``.
        steps: Steps ahead, ascending, shape ``(Q,)``.
        truth: True values at ``steps``, shape ``(Q,)``.
        forecast: Forecast values, shape ``(Q,)``.
        dt: Time between samples, in time units.
        label: Name and unit of the variable.

    Raises:
        ValueError: If the shapes disagree.
    """
    _check_shapes(steps, truth=truth, forecast=forecast)
    figure = _figure(6.4, 3.4)
    axis = figure.subplots()
    _draw_series(axis, _past(len(history), dt), history, steps * dt, truth, forecast)
    axis.set_xlabel(TIME_LABEL)
    axis.set_ylabel(label)
    _legend_above(figure, axis)
    return figure


def spacetime_figure(
    steps: NDArray[np.integer[Any]],
    truth: Array,
    forecast: Array,
    dt: float = 1.0,
    order: NDArray[np.integer[Any]] | None = None,
    row_label: str = "Node (ordered by similarity)",
) -> Figure:
    """Space-time images of truth, forecast and error, one row of pixels per node.

    Args:
        steps: Steps ahead, ascending, shape ``(Q,)``.
        truth: True values, shape ``(n, Q)``, in units of the observable.
        forecast: Forecast values, shape ``(n, Q)``.
        dt: Time between samples, in time units.
        order: Order of the nodes from top to bottom; :func:`similarity_order` of the truth by
            default, so that nodes that move alike lie together. It may name a part of them.
        row_label: Label of the axis of nodes.

    Raises:
        ValueError: If the shapes disagree.
    """
    _check_shapes(steps, truth=truth, forecast=forecast)
    rows = similarity_order(truth) if order is None else order
    truth, forecast = truth[rows], forecast[rows]
    error = forecast - truth
    figure = _figure(9.6, 4.2)
    axes = figure.subplots(1, 3, sharex=True, sharey=True)
    # Robust ranges: a single outlier would otherwise wash out everything else.
    low, high = (float(v) for v in np.quantile(truth, [0.005, 0.995]))
    span = max(float(np.quantile(np.abs(error), 0.995)), 1e-6)
    edges = _edges(steps * dt)
    grid = np.arange(len(truth) + 1)
    values = {"cmap": "cividis", "vmin": low, "vmax": max(high, low + 1e-6), "rasterized": True}
    errors = {"cmap": "PuOr", "vmin": -span, "vmax": span, "rasterized": True}
    first = axes[0].pcolormesh(edges, grid, truth, **values)
    axes[1].pcolormesh(edges, grid, forecast, **values)
    last = axes[2].pcolormesh(edges, grid, error, **errors)
    for axis, title in zip(axes, ("Truth", "Forecast", "Forecast - truth"), strict=True):
        axis.set_title(title, fontsize=10)
    axes[0].invert_yaxis()
    axes[0].set_ylabel(row_label)
    figure.supxlabel(TIME_LABEL, fontsize=10)
    figure.colorbar(first, ax=axes[:2], label="Observable $u$", extend="both", pad=0.02)
    figure.colorbar(last, ax=axes[2], label="Error of $u$", extend="both", pad=0.04)
    return figure


def error_by_horizon_figure(
    steps: NDArray[np.integer[Any]],
    errors: Mapping[str, Array],
    dt: float = 1.0,
    label: str = "sMSPE (smaller is better)",
) -> Figure:
    """Error as a function of the time ahead, one line per method.

    Args:
        steps: Steps ahead, ascending, shape ``(Q,)``.
        errors: Positive errors by method, shapes ``(Q,)``; at most six methods.
        dt: Time between samples, in time units.
        label: Name and unit of the error.

    Raises:
        ValueError: If shapes disagree or there are more methods than distinguishable lines.
    """
    if not 1 <= len(errors) <= len(CYCLE):
        raise ValueError(f"Expected 1 to {len(CYCLE)} methods (got {len(errors)}).")
    _check_shapes(steps, **errors)
    figure = _figure(6.4, 3.8)
    axis = figure.subplots()
    for (name, values), color, marker in zip(errors.items(), CYCLE, MARKERS, strict=False):
        # With many steps the markers are thinned out; they only help to tell lines apart.
        every = max(1, len(steps) // 10)
        axis.plot(
            steps * dt,
            values,
            color=color,
            marker=marker,
            ms=4,
            lw=1.6,
            markevery=every,
            label=name,
        )
    if len(steps) > 1:
        axis.set_xscale("log")
        log_axis(axis.xaxis)
    if all((values > 0).all() for values in errors.values()):
        axis.set_yscale("log")
        log_axis(axis.yaxis)
    axis.set_xlabel(TIME_LABEL)
    axis.set_ylabel(label)
    axis.grid(visible=True, color="0.9", lw=0.6)
    _legend_above(figure, axis)
    return figure


def similarity_order(series: Array) -> NDArray[np.int64]:
    """Order nodes so that similar series lie together.

    Nodes are sorted by their angle in the plane of the two leading principal components, which
    is their phase if they oscillate alike; the circle is cut at its largest gap.
    O(n Q min(n, Q)) time.

    Args:
        series: Shape ``(n, Q)``.

    Returns:
        A permutation of the nodes, shape ``(n,)``.
    """
    centred = series - series.mean(axis=0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    plane = left[:, :2] * scale[:2]
    second = plane[:, 1] if plane.shape[1] > 1 else np.zeros(len(plane))
    # Singular vectors have no sign of their own; fix it to make figures reproducible.
    signs = [1.0 if v[np.abs(v).argmax()] >= 0 else -1.0 for v in (plane[:, 0], second)]
    angle = np.arctan2(signs[1] * second, signs[0] * plane[:, 0])
    order = np.argsort(angle, kind="stable")
    gaps = np.diff(angle[order], append=angle[order[0]] + 2 * np.pi)
    return np.roll(order, -1 - int(gaps.argmax()))


def figure_to_image(figure: Figure) -> NDArray[np.uint8]:
    """Render a figure to pixels, shape ``(height, width, 3)``, values 0 to 255."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.array(canvas.buffer_rgba(), dtype=np.uint8)[..., :3]


def _figure(width: float, height: float) -> Figure:
    """Return an empty figure; width and height in inches."""
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _check_shapes(steps: NDArray[np.integer[Any]], **arrays: Array) -> None:
    for name, array in arrays.items():
        if array.shape[-1:] != steps.shape:
            raise ValueError(
                f"Expected '{name}' with {len(steps)} steps ahead on its last axis "
                f"(got shape {array.shape})."
            )


def _past(count: int, dt: float) -> Array:
    return np.arange(1 - count, 1) * dt


def _edges(times: Array) -> Array:
    """Cell borders halfway between the times, so that unequal steps are drawn to scale."""
    if len(times) == 1:
        return np.array([times[0] - 0.5, times[0] + 0.5])
    middle = (times[1:] + times[:-1]) / 2
    return np.concatenate([[2 * times[0] - middle[0]], middle, [2 * times[-1] - middle[-1]]])


def _draw_series(
    axis: Axes, past: Array, history: Array, future: Array, truth: Array, forecast: Array
) -> None:
    sparse = len(future) < 12
    axis.axvline(0, color=GREY, lw=0.8, ls=":")
    axis.plot(past, history, color=GREY, lw=1.1, label="History (model input)")
    axis.plot(
        future, truth, color=BLACK, lw=1.6, marker="o" if sparse else None, ms=3.5, label="Truth"
    )
    axis.plot(
        future,
        forecast,
        color=VERMILION,
        lw=1.6,
        ls="--",
        marker="s" if sparse else None,
        ms=3.5,
        label="Forecast",
    )
    axis.grid(visible=True, color="0.92", lw=0.6)
    axis.margins(x=0.01)


def _legend_above(figure: Figure, axis: Axes) -> None:
    """Put the legend of one axis above all panels, where it hides no data."""
    handles, labels = axis.get_legend_handles_labels()
    columns = len(labels) if len(labels) <= 4 else 3
    figure.legend(
        handles, labels, loc="outside upper center", ncols=columns, frameon=False, fontsize=9
    )


def log_axis(axis: Axis, marks: tuple[float, ...] = (1.0, 2.0, 5.0)) -> None:
    """Label a logarithmic axis within decades too; powers of ten alone are too few here.

    Args:
        axis: The axis.
        marks: What is labelled in each decade: 0.1, 0.2, 0.5, 1, ...
    """
    axis.set_major_locator(LogLocator(subs=marks))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
