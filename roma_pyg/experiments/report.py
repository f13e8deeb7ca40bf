"""The report of an experiment: tables, plots, and what is needed to make them again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from roma_pyg.analysis.scores import MAIN_VIEW
from roma_pyg.experiments.plots import curves_figure, errors_figure, fit_figure, ratios_figure
from roma_pyg.experiments.runner import Place
from roma_pyg.experiments.tables import (
    Results,
    against_reference,
    collect,
    headline,
    headline_columns,
    run_table,
    shared_seeds,
    standing,
    steps_to_reach,
)
from roma_pyg.writing import replacing, write_text


def write_report(place: Place) -> Path:
    """Write the report of what is finished.

    ``report.md`` holds the tables, ``scores.csv`` and ``runs.csv`` every number behind them,
    ``experiment.json`` configurations, seeds, commits, versions and hardware; figures are PNG.

    Args:
        place: The experiment and where its records are.

    Returns:
        The folder of the report.

    Raises:
        ValueError: If nothing is finished.
    """
    results = collect(place)
    folder = place.folder / "report"
    folder.mkdir(parents=True, exist_ok=True)
    parts = list(_head(results))
    for condition in results.experiment.conditions:
        parts += condition_section(results, condition)
    parts += ["## Runs", "", *run_table(results), ""]
    parts += _figures(results, folder)
    scores = results.scores.to_csv(index=False, float_format="%.6g", lineterminator="\n")
    write_text(folder / "scores.csv", scores)
    write_text(folder / "runs.csv", results.runs.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "experiment.json", json.dumps(_origin(results), indent=1) + "\n")
    write_text(folder / "report.md", "\n".join(parts).rstrip() + "\n")
    return folder


def _head(results: Results) -> Iterator[str]:
    experiment = results.experiment
    yield f"# {experiment.title}"
    yield ""
    finished = len(results.records)
    yield (
        f"Experiment `{experiment.name}`, profile `{experiment.profile}`; {finished} of "
        f"{results.total} runs finished; seeds {', '.join(map(str, experiment.seeds))}"
        f" ({', '.join(experiment.seed_keys)})."
    )
    yield ""
    made = [record["made"] for record in results.records]
    for key, title in (
        ("commit", "Commit"),
        ("torch", "torch"),
        ("processor", "Processor"),
        ("gpu", "GPU"),
        ("threads", "Threads per run"),
    ):
        counts = Counter(str(entry[key]) for entry in made if entry[key] is not None)
        if counts:
            text = ", ".join(f"{value} ({count} runs)" for value, count in counts.items())
            yield f"- {title}: {text if len(counts) > 1 else next(iter(counts))}"
    hours = sum(record["seconds"] for record in results.records) / 3600
    yield f"- Time of all runs: {hours:.2f} h"
    if results.tuned:
        yield "- Found by the search (lowest validation loss):"
        for member, options in results.tuned.items():
            yield f"  - {member}: {', '.join(f'{k} = {v}' for k, v in options.items())}"
    yield ""


def condition_section(results: Results, condition: str) -> Iterator[str]:
    """Lines on one condition: tables by view, ratios, and the rank of the reference."""
    scores = results.scores[results.scores["condition"] == condition]
    if scores.empty:
        return
    nodes = [record["nodes"] for record in results.records if record["condition"] == condition]
    yield f"## {condition} ({sum(nodes) / len(nodes):,.0f} nodes)"
    yield ""
    yield (
        "sMSPE x 1e-2 (and R2 of direct forecasts), RMSE x 1e-2 of the mean over the nodes; mean "
        "(standard deviation) over seeds. The truth is clean, the history noisy as in training."
    )
    yield ""
    begun = sorted(set(scores["seed"]))
    shared = shared_seeds(results, condition)
    if shared != begun:
        names = ", ".join(str(seed) for seed in shared)
        yield (
            f"The means are of the seeds that all methods have finished so far: {names}."
            if shared
            else "No seed is finished by all methods so far: the means are of different seeds."
        )
        yield ""
    views = list(dict.fromkeys(scores["view"]))
    for view in sorted(views, key=lambda view: view != MAIN_VIEW):
        title = view[0].upper() + view[1:]
        yield f"**{title}**"
        yield ""
        yield from headline(results, condition, view)
        yield ""
        if len(results.methods) == 1:
            continue
        yield (
            f"**{title}, in units of {results.experiment.reference}** (above one is worse): "
            "geometric mean over seeds [95 % confidence interval], p of the paired t-test"
        )
        yield ""
        yield from against_reference(results, condition, view)
        yield ""
        if view == MAIN_VIEW:
            yield from standing(results, condition)
            yield ""


def _figures(results: Results, folder: Path) -> Iterator[str]:
    _save(errors_figure(results), folder / "errors.png")
    yield "## Figures"
    yield ""
    yield "![Errors of all methods](errors.png)"
    yield ""
    ratios = ratios_figure(results)
    if ratios is not None:
        _save(ratios, folder / "ratios.png")
        yield f"![Errors of the learned in units of {results.experiment.reference}](ratios.png)"
        yield ""
    if not results.curves.empty:
        tags = [tag for tag in results.curves if str(tag).startswith("val/smspe/")]
        steps = sorted(int(str(tag).rsplit("/", 1)[-1]) for tag in tags)
        middle = 16 if 16 in steps else steps[-1] if steps else None
        if middle is not None:
            label = f"Validation sMSPE, {middle} ahead"
            _save(curves_figure(results, f"val/smspe/{middle}", label), folder / "curves.png")
            yield "![Validation error against steps](curves.png)"
            yield ""
            for mark in results.experiment.reach:
                yield f"**Steps to the final validation sMSPE of `{mark}`**, {middle} ahead, x 1e-2"
                yield ""
                yield from steps_to_reach(results, mark, f"val/smspe/{middle}")
                yield ""
    columns = [c for c in headline_columns(results) if c.mode == "direct" and c.horizons[-1] > 1]
    for fit in results.experiment.fits:
        try:
            figure, laws = fit_figure(results, fit, columns)
        except ValueError as error:
            yield f"No power law over {fit.x} yet: {error}"
            yield ""
            continue
        _save(figure, folder / f"power_law_{fit.x}.png")
        yield (
            f"**Power law, error ~ {fit.x}^-a** (95 % confidence interval): one exponent for all "
            "seeds, and a prefactor for each, as each has data of its own; R2 within seeds"
        )
        yield ""
        yield "| | a | low | high | R2 | points |"
        yield "| --- | ---: | ---: | ---: | ---: | ---: |"
        for column, law in zip(columns, laws, strict=True):
            yield (
                f"| {column.title} | {law.exponent:.3f} | {law.low:.3f} | {law.high:.3f} | "
                f"{law.r2:.3f} | {law.points} |"
            )
        yield ""
        yield f"![Error against {fit.x}](power_law_{fit.x}.png)"
        yield ""


def _origin(results: Results) -> dict[str, Any]:
    """Configurations, seeds, commits, versions and hardware."""
    experiment = results.experiment
    return {
        "experiment": experiment.name,
        "profile": experiment.profile,
        "seeds": experiment.seeds,
        "seed_keys": experiment.seed_keys,
        "tuned": results.tuned,
        "runs": [
            {key: record.get(key) for key in ("condition", "member", "seed", "made", "config")}
            for record in results.records
        ],
    }


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as stream:
        figure.savefig(stream, format="png", dpi=110)
