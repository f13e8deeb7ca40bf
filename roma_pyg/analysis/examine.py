"""Forecasts of a trained model on held-out time, by node, and whether coarse graining commutes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from roma_pyg.analysis.metrics import HorizonErrors, HorizonMetrics, relative_error
from roma_pyg.data.graph import IntArray
from roma_pyg.data.history import History
from roma_pyg.data.pages import read_window
from roma_pyg.data.series import GraphSeries
from roma_pyg.models.forecast import RomaForecaster
from roma_pyg.models.level import pool_observable

Array = NDArray[np.floating[Any]]


@dataclass
class Consistency:
    """Errors of two ways to the coarse future of one level, on the same subgraphs.

    "Coarse-grain, then forecast" is the model's own forecast of the supernodes; "forecast, then
    coarse-grain" is its forecast of the nodes, pooled by the same assignment. If the coarse
    dynamics commuted with the coarse graining, both would be the same.

    Attributes:
        coarse: Coarse forecast against the coarse-grained truth.
        pooled: Pooled forecast of the nodes against it.
        persistence: Last coarse-grained sample against it.
        gap: Coarse forecast against the pooled one.
    """

    coarse: HorizonErrors
    pooled: HorizonErrors
    persistence: HorizonErrors
    gap: HorizonErrors

    @classmethod
    def empty(cls, steps: int) -> Consistency:
        """Nothing seen yet; ``steps`` is the number of steps ahead."""
        return cls(*(HorizonErrors(steps) for _ in range(4)))

    def results(self) -> dict[str, HorizonMetrics]:
        """Errors by name."""
        return {name: errors.result() for name, errors in vars(self).items()}


@dataclass
class Examination:
    """What a model forecast at some times.

    Attributes:
        nodes: Nodes, ascending, shape ``(n,)``.
        steps: Steps ahead, 1 to the horizon, shape ``(Q,)``.
        times: First forecast sample of each forecast, shape ``(T,)``.
        history: Windows before each time as the model saw them, shape ``(T, n, K)``.
        truth: Shape ``(T, n, Q)``.
        forecast: Shape ``(T, n, Q)``.
        consistency: One per coarse level, from fine to coarse; empty without levels.
    """

    nodes: IntArray
    steps: NDArray[np.int64]
    times: Sequence[int]
    history: NDArray[np.float32]
    truth: NDArray[np.float32]
    forecast: NDArray[np.float32]
    consistency: list[Consistency] = field(default_factory=list)

    def node_errors(self, step: int | None = None) -> NDArray[np.float64]:
        """SMSPE of each node, mean over times, at one step ahead or over all of them.

        Args:
            step: Step ahead, from 1 on; None for the mean over all.

        Returns:
            Shape ``(n,)``.
        """
        columns = slice(None) if step is None else slice(step - 1, step)
        guess = self.forecast[..., columns].astype(np.float64)
        return np.square(relative_error(guess, self.truth[..., columns])).mean(axis=(0, 2))


@torch.inference_mode()
def examine(
    forecaster: RomaForecaster,
    series: GraphSeries,
    times: Sequence[int],
    nodes: IntArray | None = None,
    noise: float = 0.0,
    seed: int = 0,
    report: Callable[[int], object] | None = None,
) -> Examination:
    """Forecast some nodes at some times, all levels of the model beside them.

    Args:
        forecaster: The model on its graph.
        series: The series, N nodes.
        times: First forecast sample of each forecast.
        nodes: Nodes that are kept, in [0, N); all if None.
        noise: Variance of the noise on the history.
        seed: Seed of the noise.
        report: Called with the number of new nodes after each subgraph.

    Returns:
        Forecasts, O(T n (K + horizon)) memory; coarse levels are those of the subgraphs.

    Raises:
        ValueError: If a time has no window before it or no horizon after it.
    """
    model, horizon, window = forecaster.model, forecaster.horizon, forecaster.model.data.window
    wanted = np.arange(series.num_nodes) if nodes is None else np.unique(nodes)
    for time in times:
        if not window <= time <= series.num_steps - horizon:
            raise ValueError(
                f"Expected forecast times in [{window}, {series.num_steps - horizon}], with a "
                f"window before and a horizon after them (got {time})."
            )
    shape = (len(times), len(wanted))
    found = Examination(
        wanted,
        np.arange(1, horizon + 1),
        list(times),
        np.empty((*shape, window), dtype=np.float32),
        np.empty((*shape, horizon), dtype=np.float32),
        np.empty((*shape, horizon), dtype=np.float32),
    )
    for place, time in enumerate(times):
        past = History(series.values, time, window, noise, seed)
        found.history[place] = past[wanted]
        found.truth[place] = read_window(series.values, wanted, time, time + horizon)
        waiting = np.zeros(series.num_nodes, dtype=bool)
        waiting[wanted] = True
        for batch, subgraphs in forecaster.batches(past, wanted):
            cores = np.concatenate([sub.core for sub in subgraphs])
            truth = read_window(series.values, cores, time, time + horizon)
            target = torch.from_numpy(truth).to(batch.window.device)
            output = model(replace(batch, target=target))
            last = batch.window[: len(cores), -1:].view(len(subgraphs), -1, 1)
            _compare(found, output.levels, last)
            fine = output.levels[0].prediction.float().cpu().numpy()
            for sub, values in zip(subgraphs, fine, strict=True):
                new = waiting[sub.core]
                waiting[sub.core] = False
                found.forecast[place, np.searchsorted(wanted, sub.core[new])] = values[new]
                if report is not None:
                    report(int(new.sum()))
    return found


def _compare(found: Examination, levels: list[Any], last: torch.Tensor) -> None:
    """Add the coarse levels of some subgraphs."""
    horizon = len(found.steps)
    pooled = levels[0].prediction.float()
    for index, level in enumerate(levels[1:]):
        if index == len(found.consistency):
            found.consistency.append(Consistency.empty(horizon))
        pooled, last = (pool_observable(level.assignment, x) for x in (pooled, last))
        coarse, truth, own, before = (
            x.float().reshape(-1, horizon).cpu().numpy()
            for x in (level.prediction, level.target, pooled, last.expand(-1, -1, horizon))
        )
        errors = found.consistency[index]
        errors.coarse.update(coarse, truth)
        errors.pooled.update(own, truth)
        errors.persistence.update(before, truth)
        errors.gap.update(coarse, own)
