"""From the records of an experiment to tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from roma_pyg.analysis.scores import MAIN_VIEW
from roma_pyg.analysis.table import format_error
from roma_pyg.experiments.runner import Place, tuned
from roma_pyg.experiments.spec import SIMPLE, Experiment
from roma_pyg.experiments.statistics import Ratio, paired_ratio

FEW_PAIRS = 2


@dataclass(frozen=True)
class Results:
    """Finished runs of an experiment.

    Attributes:
        experiment: The experiment.
        records: Records of the seeds, without trials.
        tuned: Options found for each member.
        total: Number of runs that the experiment has.
        runs: One row per run: parameters, speed, memory, validation loss.
        scores: One row per method, condition, seed, view, mode and step ahead.
        curves: Validation scalars, one row per run and step.
    """

    experiment: Experiment
    records: list[dict[str, Any]]
    tuned: dict[str, dict[str, Any]]
    total: int
    runs: pd.DataFrame
    scores: pd.DataFrame
    curves: pd.DataFrame

    @property
    def learned(self) -> list[str]:
        """Members with results, in the order of the experiment."""
        found = set(self.runs["member"])
        return [member for member in self.experiment.members if member in found]

    @property
    def methods(self) -> list[str]:
        """Simple forecasts, then members."""
        found = list(dict.fromkeys(self.scores["method"])) if len(self.scores) else []
        simple = [name for name in found if name not in self.experiment.members]
        return [*simple, *(name for name in self.experiment.members if name in found)]


def collect(place: Place) -> Results:
    """Read the records of all finished runs.

    Raises:
        ValueError: If nothing is finished.
    """
    found = tuned(place)
    runs = place.experiment.runs(found)
    records = [record for run in runs if (record := place.finished(run)) is not None]
    if not records:
        raise ValueError(
            f"Expected finished runs in '{place.folder / 'records'}' (got none): "
            "`roma-bench run` makes them."
        )
    scores, curves = [], []
    for record in records:
        key = {name: record[name] for name in ("condition", "member", "seed")}
        scores.append(pd.DataFrame(record["scores"]).assign(**key))
        if record["member"] != SIMPLE:
            curves.append(pd.DataFrame(record["curve"]).assign(**key))
    return Results(
        place.experiment,
        records,
        found,
        len(runs),
        _runs([record for record in records if record["member"] != SIMPLE]),
        pd.concat(scores, ignore_index=True),
        pd.concat(curves) if curves else pd.DataFrame(),
    )


def _runs(records: list[dict[str, Any]]) -> pd.DataFrame:
    """One row per trained model; the columns are there without rows, too."""

    def column(name: str) -> list[Any]:
        return [record[name] for record in records]

    def tokens(config: dict[str, Any]) -> int:
        training, data = config["training"], config["data"]
        return training["max_steps"] * data["nodes_per_graph"] * data["graphs_per_batch"]

    return pd.DataFrame(
        {
            **{name: column(name) for name in ("condition", "member", "seed", "parameters")},
            **{name: column(name) for name in ("steps", "steps_per_second", "peak_memory_mib")},
            "learning_rate": [config["training"]["learning_rate"] for config in column("config")],
            "val_loss": [curve["val/loss"][-1] for curve in column("curve")],
            **{name: column(name) for name in ("nodes", "samples")},
            "compute": [6 * r["parameters"] * tokens(r["config"]) for r in records],
            "seconds": column("seconds"),
        }
    )


@dataclass(frozen=True)
class Column:
    """One thing that methods are compared by.

    Attributes:
        title: Heading.
        view: What is held out.
        mode: Direct or rollout.
        horizons: Steps ahead; the value is their root mean square (of one, itself).
        metric: Column of the scores.
        unit: Factor of what is shown.
    """

    title: str
    view: str
    mode: str
    horizons: tuple[int, ...]
    metric: str = "smspe"
    unit: float = 100


def headline_columns(results: Results, view: str = MAIN_VIEW) -> list[Column]:
    """Direct forecasts, the longest rollout, and the mean over the nodes along the rollout."""
    rows = results.scores[results.scores["view"] == view]
    direct = sorted(set(rows[rows["mode"] == "direct"]["horizon"]))
    rolled = sorted(set(rows[rows["mode"] == "rollout"]["horizon"]))
    columns = [Column(f"{step} ahead", view, "direct", (step,)) for step in direct]
    if rolled:
        last = rolled[-1]
        columns.append(Column(f"{last} ahead, rollout", view, "rollout", (last,)))
        title = f"mean, rollout to {last}"
        columns.append(Column(title, view, "rollout", tuple(rolled), "mean_rmse"))
    return columns


def rows_of(frame: pd.DataFrame, condition: str, member: str) -> pd.DataFrame:
    """Rows of one member in one condition."""
    return frame[(frame["condition"] == condition) & (frame["member"] == member)]


def shared_seeds(results: Results, condition: str) -> list[int]:
    """Seeds that all methods have finished, so that their means compare; empty if there is none."""
    rows = results.scores[results.scores["condition"] == condition]
    finished = [set(seeds) for _, seeds in rows.groupby("method")["seed"]]
    return sorted(set.intersection(*finished)) if finished else []


def values(
    results: Results, condition: str, column: Column, *, every_seed: bool = False
) -> pd.DataFrame:
    """Values of a column, methods as rows and seeds as columns.

    Args:
        results: The finished runs.
        condition: Name of the condition.
        column: What is shown.
        every_seed: Keep seeds that only some methods have finished, though others have.
    """
    rows = results.scores
    if not every_seed and (shared := shared_seeds(results, condition)):
        rows = rows[rows["seed"].isin(shared)]
    rows = rows[
        (rows["condition"] == condition)
        & (rows["view"] == column.view)
        & (rows["mode"] == column.mode)
        & rows["horizon"].isin(column.horizons)
    ]
    single = len(column.horizons) == 1
    table = rows.pivot_table(
        index="method",
        columns="seed",
        values=column.metric,
        aggfunc="mean" if single else lambda x: float(np.sqrt(np.mean(np.square(x)))),
    )
    return table.reindex([method for method in results.methods if method in table.index])


def headline(results: Results, condition: str, view: str = MAIN_VIEW) -> Iterator[str]:
    """Markdown table: mean (standard deviation over seeds) of each method in each column."""
    columns = headline_columns(results, view)
    tables = {column.title: values(results, condition, column) for column in columns}
    r2 = {
        c.title: values(results, condition, Column("", view, c.mode, c.horizons, "r2"))
        for c in columns
        if c.mode == "direct"
    }
    best = {}
    for title, table in tables.items():
        means = table.mean(axis=1)
        best[title] = means.idxmin() if means.notna().any() else None

    def cell(method: str, column: Column) -> str:
        table = tables[column.title]
        if method not in table.index:
            return "-"
        series = pd.Series(table.loc[method]).dropna() * column.unit
        if series.empty:
            return "-"
        text = format_error(float(series.mean()))
        if len(series) > 1:
            text += f" ({format_error(float(series.std()), 2)})"
        text = f"**{text}**" if best[column.title] == method else text
        if column.title in r2 and method in r2[column.title].index:
            text += f" / {r2[column.title].loc[method].mean():.3f}"
        return text

    yield from _table(results.methods, columns, cell)


def in_units_of_reference(
    results: Results, condition: str, view: str
) -> dict[Column, dict[str, Ratio]]:
    """By column, errors of each method that shares a seed with the reference, in units of its."""
    columns = headline_columns(results, view)
    return {column: _ratios(results, condition, column) for column in columns}


def _ratios(results: Results, condition: str, column: Column) -> dict[str, Ratio]:
    reference = results.experiment.reference
    # Pairs are made seed by seed, so that no seed is to be left out.
    table = values(results, condition, column, every_seed=True)
    if reference not in table.index:
        return {}
    ratios = {}
    for method in table.index.drop(reference):
        pair = table.loc[[method, reference]].dropna(axis=1)
        pair = pair.loc[:, (pair > 0).all()]
        if pair.shape[1]:
            errors = (pair.T[name].to_list() for name in (method, reference))
            ratios[method] = paired_ratio(*errors)
    return ratios


def against_reference(results: Results, condition: str, view: str) -> Iterator[str]:
    """Markdown table: errors of each method in units of those of the reference."""
    reference = results.experiment.reference
    ratios = in_units_of_reference(results, condition, view)

    def cell(method: str, column: Column) -> str:
        ratio = ratios[column].get(method)
        if ratio is None:
            return "-"
        text = format_error(ratio.ratio)
        if ratio.pairs >= FEW_PAIRS:
            text += f" [{format_error(ratio.low)}, {format_error(ratio.high)}] p {ratio.p:.2g}"
        return text

    yield from _table([name for name in results.methods if name != reference], list(ratios), cell)


def _table(
    methods: list[str], columns: list[Column], cell: Callable[[str, Column], str]
) -> Iterator[str]:
    """Markdown table of methods and columns; methods without any value are left out."""
    yield "| method | " + " | ".join(column.title for column in columns) + " |"
    yield "| --- |" + " ---: |" * len(columns)
    for method in methods:
        cells = [cell(method, column) for column in columns]
        if any(text != "-" for text in cells):
            yield f"| {method} | " + " | ".join(cells) + " |"


def standing(results: Results, condition: str) -> Iterator[str]:
    """In words: where the reference stands in each column."""
    reference = results.experiment.reference
    for column in headline_columns(results):
        means = values(results, condition, column).mean(axis=1).dropna()
        if reference not in means.index:
            continue
        learned = means[[m for m in means.index if m in results.learned]].sort_values()
        simple = means[[m for m in means.index if m not in results.learned]].sort_values()
        place = list(learned.index).index(reference) + 1
        text = f"- {column.title}: {reference} is {_ordinal(place)} of {len(learned)} learned"
        if place > 1:
            text += f" (first: {learned.index[0]})"
        if len(simple):
            ahead = "ahead of" if means[reference] < simple.iloc[0] else "**behind**"
            text += f", {ahead} the best simple one ({simple.index[0]})"
        yield text + "."


def _ordinal(number: int) -> str:
    """First, second, third, 4th, ..."""
    words = {1: "first", 2: "second", 3: "third"}
    return words.get(number, f"{number}th")


def run_table(results: Results) -> Iterator[str]:
    """Markdown table of parameters, speed and memory."""
    yield (
        "| condition | nodes | member | runs | parameters | learning rate | steps | steps/s | "
        "peak memory GiB | validation loss |"
    )
    yield "| --- | ---: | --- |" + " ---: |" * 7
    for condition in results.experiment.conditions:
        for member in results.learned:
            rows = rows_of(results.runs, condition, member)
            if rows.empty:
                continue
            spread = f" ({rows['val_loss'].std():.4f})" if len(rows) > 1 else ""
            nodes = round(rows["nodes"].mean())
            yield (
                f"| {condition} | {nodes:,} | {member} | {len(rows)} | "
                f"{rows['parameters'].iloc[0]:,} | "
                f"{rows['learning_rate'].iloc[0]:g} | {rows['steps'].iloc[0]:,} | "
                f"{rows['steps_per_second'].mean():.2f} | "
                f"{rows['peak_memory_mib'].max() / 1024:.2f} | "
                f"{rows['val_loss'].mean():.4f}{spread} |"
            )


def steps_to_reach(results: Results, mark: str, tag: str) -> Iterator[str]:
    """Markdown table: steps after which each member has the final validation error of another.

    Args:
        results: The results.
        mark: The other member.
        tag: Validation scalar, such as ``val/smspe/16``.
    """
    yield "| condition | member | steps | share of those of the other | final |"
    yield "| --- | --- | ---: | ---: | ---: |"
    for condition in results.experiment.conditions:
        means = {
            member: rows.groupby("step")[tag].mean()
            for member in results.learned
            for rows in [rows_of(results.curves, condition, member)]
            if len(rows)
        }
        if mark not in means:
            continue
        goal, total = float(means[mark].iloc[-1]), int(means[mark].index[-1]) + 1
        for member, curve in means.items():
            below = curve[curve <= goal]
            steps = f"{int(below.index[0]) + 1:,}" if len(below) else "not reached"
            share = f"{(int(below.index[0]) + 1) / total:.2f}" if len(below) else "-"
            final = format_error(100 * float(curve.iloc[-1]))
            yield f"| {condition} | {member} | {steps} | {share} | {final} |"
