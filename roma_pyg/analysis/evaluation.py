"""Evaluates forecasters on held-out nodes and held-out time, all on the same noisy histories."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from roma_pyg.analysis.metrics import HorizonErrors
from roma_pyg.analysis.scores import MAIN_VIEW, Evaluation, Mode, Score, with_skill
from roma_pyg.data.graph import IntArray
from roma_pyg.data.noise import noisy_history
from roma_pyg.data.pages import read_window
from roma_pyg.data.series import GraphSeries
from roma_pyg.data.split import Split
from roma_pyg.models.forecaster import Forecaster, Group, group_of
from roma_pyg.models.rollout import rollout

__all__ = ["CEILING", "VIEWS", "Evaluation", "Score", "evaluate"]

# View: part of the nodes, part of the times.
VIEWS = {
    "held-out nodes": ("test", "train"),
    "held-out time": ("train", "test"),
    MAIN_VIEW: ("test", "test"),
}
CEILING = "simulator (ceiling)"

# Series, time t and number of samples n to the true samples t .. t + n - 1, shape (N, n).
Simulator = Callable[[GraphSeries, int, int], NDArray[np.float32]]


def evaluate(
    forecasters: Sequence[Forecaster],
    series: GraphSeries,
    split: Split,
    window: int,
    horizons: Sequence[int] = (1, 4, 16, 64),
    noises: Sequence[float] = (0.0, 4e-4),
    times_per_view: int = 16,
    seed: int = 0,
    rollout_stride: int | None = None,
    nodes_limit: int | None = None,
    *,
    modes: Sequence[Mode] = ("direct", "rollout"),
    views: Sequence[str] = tuple(VIEWS),
    simulator: Simulator | None = None,
    ceiling: bool = True,
    progress: bool = False,
) -> Evaluation:
    """Compare forecasts with the clean truth in three views: new nodes, new time, and both.

    At test time the whole graph is there: every method may read the (noisy) history of all nodes,
    also of nodes that did not exist in its training. All methods get the same history, whose noise
    depends on ``seed`` and the time only. Where the dynamics is known, the exact simulator started
    from the true state is added as the ceiling.

    Time grows as times x noises x methods; a rollout forecasts all N nodes
    ``max(horizons) / stride`` times. Memory is O(N (K + max(horizons))).

    Args:
        forecasters: Methods with distinct names.
        series: The series; its values may be a memory map.
        split: Held-out nodes and times.
        window: History length K, in samples.
        horizons: Steps ahead that are scored, in samples. Direct forecasts are scored up to the
            horizon of the method, rollouts at all of them.
        noises: Variances of the multiplicative noise on the history.
        times_per_view: Forecast times per view, evenly spaced over its part of the series.
        seed: Seed of the noise and of the choice of nodes.
        rollout_stride: Samples kept per round of a rollout; a quarter of the shortest direct
            horizon (at least 1) if None.
        nodes_limit: Score at most so many nodes per view, drawn at random; all if None.
        modes: Direct forecasts, rollouts or both.
        views: What is held out, some of ``VIEWS``.
        simulator: The ceiling, called with ``(series, time, samples)``; if None, that of
            the system for a generated series, and none for others.
        ceiling: Whether to add the ceiling.
        progress: Show a progress bar.

    Raises:
        ValueError: If an argument is impossible, the series is too short for the horizons, or a
            forecast has the wrong shape.

    Example:
        Any object with a name, a horizon and a ``forecast`` can be compared:

        >>> from roma_pyg.config import SplitConfig
        >>> from roma_pyg.data.split import make_split
        >>> from roma_pyg.models.baselines import LinearExtrapolation, Persistence
        >>> nodes = np.arange(40)
        >>> waves = 0.5 + 0.4 * np.sin(0.3 * np.arange(300) - 0.5 * nodes[:, None])
        >>> series = GraphSeries.from_arrays([nodes, np.roll(nodes, 1)], waves)
        >>> split = make_split(series.graph, 300, SplitConfig(), window=8, horizon=4)
        >>> methods = [Persistence(4), LinearExtrapolation(8, 4)]
        >>> result = evaluate(methods, series, split, 8, horizons=(1, 4), modes=("direct",))
        >>> score = {(row.method, row.horizon): row.smspe for row in result.rows}
        >>> score["linear extrapolation", 1] < score["persistence", 1]
        True
    """
    plan = _plan(forecasters, horizons, noises, modes, rollout_stride)
    length = max(plan.horizons)
    board = _Scoreboard(plan)
    simulator = (simulator or _simulator_of(series)) if ceiling else None
    unknown = [view for view in views if view not in VIEWS]
    if unknown or not views:
        raise ValueError(f"Expected 'views' among {', '.join(VIEWS)} (got {tuple(views)}).")
    wanted_views = {view: VIEWS[view] for view in VIEWS if view in views}
    chosen_times: dict[str, list[int]] = {}
    for time_part in dict.fromkeys(part for _, part in wanted_views.values()):
        times = choose_times(split.times[time_part], series.num_steps - length, times_per_view)
        chosen_times[time_part] = times
        nodes_of = {
            view: _choose_nodes(split.nodes[nodes], nodes_limit, seed)
            for view, (nodes, part) in wanted_views.items()
            if part == time_part
        }
        wanted = np.unique(np.concatenate(list(nodes_of.values())))
        rows = {view: np.searchsorted(wanted, nodes) for view, nodes in nodes_of.items()}
        for time in tqdm(
            times, desc=f"{time_part} times", unit="time", disable=None if progress else True
        ):
            truth = read_window(series.values, wanted, time, time + length)
            for noise in plan.noises:
                history = noisy_history(series.values, time, window, noise, seed)
                for method in forecasters:
                    if time_part == "train" and getattr(method, "knows_training_times", False):
                        continue
                    usable = method.at(time) if hasattr(method, "at") else method
                    for mode, guess in _forecasts(usable, history, series, wanted, plan):
                        board.add(method.name, group_of(method), noise, mode, guess, truth, rows)
            if simulator is not None:
                guess = simulator(series, time, length)[wanted]
                for noise in plan.noises:
                    for mode in plan.modes:
                        board.add(CEILING, "ceiling", noise, mode, guess, truth, rows)
    metadata = {
        "series": series.name,
        "dt": series.dt,
        "seed": seed,
        "window": window,
        "rollout_stride": plan.stride,
        "nodes_limit": nodes_limit,
        "times": chosen_times,
    }
    return Evaluation(board.scores(), metadata)


def _simulator_of(series: GraphSeries) -> Simulator | None:
    """Exact simulator of a stored series, if its dynamics is known."""
    # Most series, such as a user's own, need no simulator.
    if "phases" in series.extras:
        from roma_pyg.dynamics.kuramoto import true_forecast as kuramoto_forecast

        return kuramoto_forecast
    if "states" in series.extras:
        from roma_pyg.dynamics.burgers_simulation import true_forecast as burgers_forecast

        return burgers_forecast
    return None


@dataclass(frozen=True)
class _Plan:
    """What is evaluated, checked."""

    horizons: tuple[int, ...]
    noises: tuple[float, ...]
    modes: tuple[Mode, ...]
    stride: int


def _plan(
    forecasters: Sequence[Forecaster],
    horizons: Sequence[int],
    noises: Sequence[float],
    modes: Sequence[Mode],
    stride: int | None,
) -> _Plan:
    if not forecasters:
        raise ValueError("Expected at least one forecaster (got none).")
    names = [method.name for method in forecasters] + [CEILING]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"Expected distinct names of forecasters (got {repeated} twice).")
    if not horizons or min(horizons) < 1:
        raise ValueError(f"Expected 'horizons' of at least 1 (got {tuple(horizons)}).")
    if not noises:
        raise ValueError("Expected at least one noise variance in 'noises' (got none).")
    if not modes or not set(modes) <= set(get_args(Mode)):
        raise ValueError(f"Expected 'modes' among {get_args(Mode)} (got {tuple(modes)}).")
    shortest = min(method.horizon for method in forecasters)
    stride = max(1, shortest // 4) if stride is None else stride
    if "rollout" in modes and not 1 <= stride <= shortest:
        raise ValueError(
            f"Expected 'rollout_stride' in [1, {shortest}], the shortest direct horizon "
            f"(got {stride})."
        )
    return _Plan(tuple(sorted(set(horizons))), tuple(dict.fromkeys(noises)), tuple(modes), stride)


def choose_times(times: range, last: int, count: int) -> list[int]:
    """Evenly spaced times, as many as there are room for, none above ``last``.

    Args:
        times: Forecast times to choose from.
        last: The last time at which the longest horizon ends inside the series.
        count: How many, at most.

    Raises:
        ValueError: If there is no such time, or none is wanted.
    """
    usable = times[: max(0, last - times.start + 1)]
    if count < 1:
        raise ValueError(f"Expected 'times_per_view' to be at least 1 (got {count}).")
    if len(usable) == 0:
        raise ValueError(
            f"Expected forecast times up to {last}, so that the longest horizon ends inside the "
            f"series (got {times.start} to {times.stop - 1}): use shorter horizons."
        )
    places = np.linspace(0, len(usable) - 1, min(count, len(usable))).round().astype(int)
    return [usable[int(place)] for place in places]


def _choose_nodes(nodes: IntArray, limit: int | None, seed: int) -> IntArray:
    """All nodes, or a random part of them in ascending order."""
    if limit is None or limit >= len(nodes):
        return nodes
    if limit < 1:
        raise ValueError(f"Expected 'nodes_limit' to be at least 1 (got {limit}).")
    return np.sort(np.random.default_rng([0x0E7A, seed]).choice(nodes, limit, replace=False))


def _forecasts(
    method: Forecaster,
    history: NDArray[np.float32],
    series: GraphSeries,
    wanted: IntArray,
    plan: _Plan,
) -> Iterator[tuple[Mode, NDArray[np.float32]]]:
    """Direct forecast and rollout of the wanted nodes; the rollout starts from the direct one."""
    # Only a rollout needs the forecast of all nodes.
    nodes = None if "rollout" in plan.modes else wanted
    direct = method.forecast(history, series.graph, nodes)
    expected = (len(history if nodes is None else wanted), method.horizon)
    if direct.shape != expected:
        raise ValueError(
            f"Expected the forecast of '{method.name}' to have shape {expected} "
            f"(got {tuple(direct.shape)})."
        )
    if "direct" in plan.modes:
        yield "direct", direct if nodes is not None else direct[wanted]
    if "rollout" in plan.modes:
        length = max(plan.horizons)
        rolled = rollout(method, history, series.graph, length, plan.stride, first=direct)
        yield "rollout", rolled[wanted]


@dataclass
class _Tally:
    """Errors of one method in one view, noise and mode."""

    group: Group
    horizons: tuple[int, ...]
    nodes: HorizonErrors = field(init=False)
    mean: HorizonErrors = field(init=False)

    def __post_init__(self) -> None:
        self.nodes = HorizonErrors(len(self.horizons))
        self.mean = HorizonErrors(len(self.horizons))


class _Scoreboard:
    """Streams the errors of all methods, views, noises and modes."""

    def __init__(self, plan: _Plan) -> None:
        self.plan = plan
        self._tallies: dict[tuple[str, str, float, Mode], _Tally] = {}

    def add(
        self,
        method: str,
        group: Group,
        noise: float,
        mode: Mode,
        guess: NDArray[np.float32],
        truth: NDArray[np.float32],
        rows: dict[str, IntArray],
    ) -> None:
        """Score one forecast in the views that share its time."""
        horizons = tuple(h for h in self.plan.horizons if h <= guess.shape[1])
        columns = np.asarray(horizons, dtype=np.int64) - 1
        if not horizons:
            return
        for view, places in rows.items():
            key = (method, view, noise, mode)
            tally = self._tallies.setdefault(key, _Tally(group, horizons))
            y, yhat = truth[places][:, columns], guess[places][:, columns]
            tally.nodes.update(yhat, y)
            tally.mean.update(
                yhat.mean(0, keepdims=True, dtype=np.float64),
                y.mean(0, keepdims=True, dtype=np.float64),
            )

    def scores(self) -> list[Score]:
        """One row per tally and step ahead, with skills; views in the order of ``VIEWS``."""
        rows = []
        order = list(VIEWS)
        for (method, view, noise, mode), tally in sorted(
            self._tallies.items(), key=lambda item: order.index(item[0][1])
        ):
            errors, mean = tally.nodes.result(), tally.mean.result()
            for place, horizon in enumerate(tally.horizons):
                rows.append(
                    Score(
                        method=method,
                        group=tally.group,
                        view=view,
                        noise=noise,
                        mode=mode,
                        horizon=horizon,
                        smspe=float(errors.smspe[place]),
                        smape=float(errors.smape[place]),
                        rmse=float(errors.rmse[place]),
                        r2=float(errors.r2[place]),
                        mean_rmse=float(mean.rmse[place]),
                        count=errors.count,
                    )
                )
        return with_skill(rows)
