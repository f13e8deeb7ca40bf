"""A forecast of a whole graph against what happened, in blocks of rows."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roma_pyg.analysis.metrics import HorizonErrors, HorizonMetrics
from roma_pyg.data.export import row_blocks
from roma_pyg.data.history import History
from roma_pyg.data.pages import read_window
from roma_pyg.dynamics.kuramoto import mean_phasor
from roma_pyg.writing import write_text

_SHOWN = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(frozen=True, eq=False)
class ForecastCheck:
    """Errors of one forecast of all nodes, with persistence beside it.

    Attributes:
        steps: Steps ahead with a known truth, shape ``(Q,)``.
        dt: Time between samples.
        forecast: Errors of the forecast at each step.
        persistence: Errors of the last sample before the forecast.
        mean_truth: Mean of the observable over all nodes, shape ``(Q,)``.
        mean_forecast: The same of the forecast.
        order_parameter: Order parameter ``|mean exp(i theta)|`` of the true phases, where the data
            set keeps it; it cannot be had from a forecast of the observable, which is one
            quadrature. The part that can, ``Re Z``, stands beside it for truth and forecast
            (`roma_pyg.dynamics.kuramoto.mean_phasor`).
    """

    steps: NDArray[np.int64]
    dt: float
    forecast: HorizonMetrics
    persistence: HorizonMetrics
    mean_truth: NDArray[np.float64]
    mean_forecast: NDArray[np.float64]
    order_parameter: NDArray[np.float64] | None = None

    def table(self) -> str:
        """Readable table, steps ahead as rows: powers of two and the last of more than twelve."""
        shown = [
            i
            for i, step in enumerate(self.steps)
            if len(self.steps) <= 12 or step in _SHOWN or i == len(self.steps) - 1
        ]
        columns = self._columns()
        header = list(columns)
        body = [[_cell(columns[name][i]) for name in header] for i in shown]
        widths = [max(map(len, column)) for column in zip(header, *body, strict=True)]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            for line in [header, *body]
        ]
        notes = [f"{self.forecast.count:,} nodes; sMSPE x 1e-2; mean: mean observable over nodes."]
        if self.order_parameter is not None:
            notes.append(
                "Z: order parameter, mean exp(i theta); the observable shows its real part."
            )
        return "\n".join([*lines, *notes])

    def to_csv(self, path: Path) -> None:
        """Write every step ahead to a CSV file; written aside, then renamed."""
        columns = self._columns()
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
        write_text(path, text.getvalue())

    def _columns(self) -> dict[str, NDArray[Any]]:
        columns: dict[str, NDArray[Any]] = {
            "steps ahead": self.steps,
            "time ahead": self.steps * self.dt,
            "sMSPE": 100 * self.forecast.smspe,
            "R2": self.forecast.r2,
            "sMSPE persistence": 100 * self.persistence.smspe,
            "R2 persistence": self.persistence.r2,
            "mean truth": self.mean_truth,
            "mean forecast": self.mean_forecast,
        }
        if self.order_parameter is not None:
            columns["Re Z truth"] = mean_phasor(self.mean_truth)
            columns["Re Z forecast"] = mean_phasor(self.mean_forecast)
            columns["|Z| truth"] = self.order_parameter
        return columns


def check_forecast(
    forecast: NDArray[np.float32],
    steps: Sequence[int],
    history: History,
    dt: float,
    order_parameter: NDArray[np.floating[Any]] | None = None,
    report: Callable[[int], object] | None = None,
) -> ForecastCheck:
    """Compare a forecast with the series it continues, wherever that goes on.

    Args:
        forecast: Forecast of all nodes, shape ``(N, Q)``; may be a memory map.
        steps: Steps ahead of its columns, shape ``(Q,)``.
        history: What the forecast started from; its ``values`` hold the truth.
        dt: Time between samples.
        order_parameter: Order parameter at each sample of the series, shape ``(T,)``, if known.
        report: Called with the number of nodes of each block.

    Returns:
        The errors. Memory is one block of rows.

    Raises:
        ValueError: If the series ends before the first step, or the shapes do not fit.
    """
    ahead = np.asarray(steps, dtype=np.int64)
    values, time = history.values, history.time
    if forecast.shape != (len(values), len(ahead)):
        raise ValueError(
            f"Expected 'forecast' of shape {(len(values), len(ahead))} (got {forecast.shape})."
        )
    known = np.flatnonzero(time + ahead <= values.shape[1])
    if not len(known):
        raise ValueError(
            f"Expected a series that goes on after sample {time - 1}, to compare with (got "
            f"{values.shape[1]} samples): forecast from an earlier time."
        )
    ahead = ahead[known]
    errors, naive = HorizonErrors(len(ahead)), HorizonErrors(len(ahead))
    total = np.zeros((2, len(ahead)))
    width = int(ahead.max()) + history.window
    for part in row_blocks((len(values), width)):
        truth = read_window(values, part, time, time + int(ahead.max()))[:, ahead - 1]
        guess = np.asarray(forecast[part])[:, known]
        nodes = np.arange(part.start, part.stop)
        errors.update(guess, truth)
        naive.update(np.broadcast_to(history[nodes][:, -1:], truth.shape), truth)
        total += [truth.sum(0, dtype=np.float64), guess.sum(0, dtype=np.float64)]
        if report is not None:
            report(len(nodes))
    order = None
    if order_parameter is not None:
        order = np.array(order_parameter[time + ahead - 1], dtype=np.float64)
    means = total / len(values)
    return ForecastCheck(ahead, dt, errors.result(), naive.result(), means[0], means[1], order)


def _cell(value: float) -> str:
    return str(int(value)) if isinstance(value, np.integer) else f"{value:.4g}"
