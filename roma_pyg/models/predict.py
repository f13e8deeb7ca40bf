"""Forecasts of any length, of graphs of any size, written block by block."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from roma_pyg import exchange
from roma_pyg.data.graph import IntArray
from roma_pyg.data.history import History
from roma_pyg.models.forecast import RomaForecaster


class Sink(Protocol):
    """Takes the forecast of each node once, and gives it back; `roma_pyg.data.export.RowWriter`."""

    @property
    def rows(self) -> NDArray[np.float32]:
        """What has been written, shape ``(N, steps)``, may be a memory map."""
        ...

    def write(self, nodes: IntArray, rows: NDArray[np.floating[Any]], start: int = 0) -> None:
        """Write the columns from ``start`` on of some nodes."""
        ...


def predict(
    forecaster: RomaForecaster,
    history: History,
    sink: Sink,
    steps: int | list[int],
    stride: int | None = None,
    report: Callable[[int], object] | None = None,
) -> None:
    """Forecast all nodes into a sink; nothing of size N K or N steps is held in memory.

    Up to the horizon of the model the forecast is direct. Beyond it, the window slides by
    ``stride`` samples, which it reads back from the sink, and all nodes are forecast again, as
    in `rollout`: ``ceil(steps / stride)`` rounds. Ranks that work on parts of one forecast
    (`roma_pyg.exchange.joint`) write into a sink that they share, `SharedRowWriter`, and wait for
    each other between rounds.

    Args:
        forecaster: The model on the graph of N nodes.
        history: The recent past of all nodes, in samples before the forecast.
        sink: Where the forecast goes, N rows.
        steps: Number of samples, or the steps ahead that are wanted, each in [1, horizon].
        stride: Samples kept per round beyond the horizon, in [1, horizon]; all of them if None.
        report: Called with the number of nodes each time some have been forecast, N per round; of
            this rank.

    Raises:
        ValueError: If a step or the stride is out of range, or the history does not fit.

    Example:
        Forecast 256 samples of every node of a stored series into a file::

            past = History(series.values, series.num_steps, model.data.window)
            forecaster = RomaForecaster.for_series(model, series)
            header = Header([str(step) for step in range(1, 257)])
            with RowWriter(Path("forecast.npy"), series.num_nodes, header) as writer:
                predict(forecaster, past, writer, steps=256)
    """
    horizon = forecaster.horizon
    stride = horizon if stride is None else stride
    if not 1 <= stride <= horizon:
        raise ValueError(
            f"Expected 'stride' in [1, {horizon}], the direct horizon of the model (got {stride})."
        )
    if isinstance(steps, int) and steps < 1:
        raise ValueError(f"Expected 'steps' to be at least 1 (got {steps}).")
    for start, ahead in rounds(steps, horizon, stride):
        window = history.slide(sink.rows, start) if start else history
        for nodes, rows in forecaster.stream(window, steps=ahead):
            sink.write(nodes, rows, start)
            if report is not None:
                report(len(nodes))
        exchange.barrier()


def rounds(steps: int | list[int], horizon: int, stride: int) -> list[tuple[int, list[int]]]:
    """Passes over the graph: samples that are forecast before, and steps ahead from there.

    >>> rounds(5, horizon=4, stride=2)
    [(0, [1, 2]), (2, [1, 2]), (4, [1])]
    >>> rounds(4, horizon=4, stride=2)
    [(0, [1, 2, 3, 4])]
    """
    if not isinstance(steps, int):
        return [(0, steps)]
    if steps <= horizon:
        return [(0, list(range(1, steps + 1)))]
    starts = range(0, steps, stride)
    return [(start, list(range(1, min(stride, steps - start) + 1))) for start in starts]
