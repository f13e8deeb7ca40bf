"""All there is to see of a trained model: hierarchy, attention, forecast, coarse dynamics."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from operator import matmul
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roma_pyg.analysis.agreement import agreement, shuffled
from roma_pyg.analysis.attention import AttentionMaps, attention_maps
from roma_pyg.analysis.attention_figures import (
    components_figure,
    distance_figure,
    fine_to_coarse_figure,
    levels_figure,
)
from roma_pyg.analysis.coarse_graphs import TAU, coarse_graphs, coarse_graphs_figure
from roma_pyg.analysis.curves import Curve
from roma_pyg.analysis.error_figures import (
    consistency_figure,
    curves_figure,
    degree_classes,
    error_by_degree_figure,
    error_by_supernode_figure,
    levels_over_time_figure,
)
from roma_pyg.analysis.examine import Examination, examine
from roma_pyg.analysis.folder import ReportFolder
from roma_pyg.analysis.hierarchy_figures import (
    Spread,
    couplings_figure,
    spread_figure,
    tree_figure,
)
from roma_pyg.analysis.layout import place_nodes
from roma_pyg.analysis.metrics import HorizonErrors
from roma_pyg.analysis.node_map import node_map_figure
from roma_pyg.analysis.partitions import known_partitions, rival_partitions
from roma_pyg.analysis.plots import error_by_horizon_figure, similarity_order, spacetime_figure
from roma_pyg.analysis.power_law import PowerLaw, power_law
from roma_pyg.data.graph import IntArray
from roma_pyg.data.history import History
from roma_pyg.data.series import GraphSeries
from roma_pyg.data.split import Split
from roma_pyg.dynamics.kuramoto import mean_phasor
from roma_pyg.models.forecast import RomaForecaster
from roma_pyg.models.hierarchy import Hierarchy
from roma_pyg.models.roma import Roma

ALL_NODES = 20_000
"""Nodes up to which all are forecast; of larger graphs, the nodes of some subgraphs."""

SUBGRAPHS = 24
"""Subgraphs of a larger graph that are forecast, and subgraphs whose attention is averaged."""

ROWS = 600
"""Rows of space-time images."""


@dataclass(frozen=True, eq=False)
class Subject:
    """A trained model with its data.

    Attributes:
        forecaster: The model on its graph.
        series: The series.
        split: Which nodes and times were held out.
        noise: Variance of the noise on the history.
        untrained: The same model before training; left out if None.
        others: Further trained models of the same graph by name, such as of other seeds.
        curves: Scalars of the training by tag.
    """

    forecaster: RomaForecaster
    series: GraphSeries
    split: Split
    noise: float = 0.0
    untrained: RomaForecaster | None = None
    others: Mapping[str, RomaForecaster] = field(default_factory=dict)
    curves: Mapping[str, Curve] = field(default_factory=dict)


def analyze(
    subject: Subject,
    folder: Path,
    times: int | None = None,
    seed: int = 0,
    report: Callable[[str], object] = lambda stage: None,
) -> Path:
    """Write figures, tables and their data.

    What a model does not have is left out: one without coarse levels has no hierarchy, one with
    fixed communities none that means the same in every subgraph, and only ROMA has attention.

    Args:
        subject: The model and its data.
        folder: Where ``report.md``, ``*.png``, ``*.csv`` and ``*.npz`` go; files of the same names
            are replaced.
        times: Forecast times, evenly over the held-out ones; None for 4, or 1 on more than 20,000
            nodes.
        seed: Seed of noise, samples of nodes, and partitions.
        report: Called with the name of each stage before it begins.

    Returns:
        Path of the report.

    Raises:
        ValueError: If ``times`` is not positive, or another model is of another graph.
    """
    nodes = subject.series.num_nodes
    times = times if times is not None else (4 if nodes <= ALL_NODES else 1)
    if times < 1:
        raise ValueError(f"Expected 'times' to be at least 1 (got {times}).")
    held_out = subject.split.times["test"]
    chosen = [held_out[int(i)] for i in np.linspace(0, len(held_out) - 1, times).round()]
    model = subject.forecaster.model
    out = ReportFolder(folder, f"Analysis of {model.title} on {subject.series.name}")
    out.section("What was analysed", _about(subject, chosen))
    history = History(subject.series.values, chosen[0], model.data.window, subject.noise, seed)
    hierarchy = None
    labels: list[IntArray] = []
    if isinstance(model, Roma) and model.config.pool.sizes:
        if model.config.pool.select == "learned":
            report("supernodes of the whole graph")
            hierarchy = subject.forecaster.hierarchy(history)
            labels = _labels(hierarchy)
            _hierarchy(out, subject, hierarchy, labels)
            report("agreement with other partitions")
            _agreement(out, subject, labels, history, seed)
            report("comparison with classical renormalization")
            _renormalization(out, subject, labels[0], hierarchy, seed)
        report("attention")
        _attention(out, subject, history, seed)
    report("forecasts")
    found = examine(
        subject.forecaster, subject.series, chosen, _sample(subject, seed), subject.noise, seed
    )
    _forecast(out, subject, found, hierarchy, labels)
    if found.consistency:
        _commutation(out, subject, found)
    if subject.curves:
        _training(out, subject.curves)
    return out.finish()


def _about(subject: Subject, times: Sequence[int]) -> str:
    graph, model = subject.series.graph, subject.forecaster.model
    lines = [
        f"{graph.num_nodes:,} nodes, {graph.num_edges:,} directed edges, "
        f"{subject.series.num_steps:,} samples; {model.num_parameters:,} parameters.",
        f"Forecasts from sample {', '.join(map(str, times))} (held-out time), "
        f"{model.data.horizon} samples ahead; noise of variance {subject.noise:g} on the history.",
    ]
    return "\n".join(lines)


def _sample(subject: Subject, seed: int) -> IntArray | None:
    """Nodes that are forecast: all, or those of some subgraphs as in training."""
    if subject.series.num_nodes <= ALL_NODES:
        return None
    rng = np.random.default_rng([0xA7A1, seed])
    sampler = subject.forecaster.sampler
    return np.unique(np.concatenate([sampler.sample(rng).core for _ in range(SUBGRAPHS)]))


def _labels(hierarchy: Hierarchy) -> list[IntArray]:
    """Supernode of each node on every level."""
    return [hierarchy.labels(level + 1) for level in range(len(hierarchy.assignments))]


def _hierarchy(
    out: ReportFolder, subject: Subject, hierarchy: Hierarchy, labels: list[IntArray]
) -> None:
    graph, extras = subject.series.graph, subject.series.extras
    out.section(
        "Supernodes",
        "Each node counts for the supernode it belongs to most. Colours differ between coupled "
        "supernodes; numbers name the largest.",
    )
    place = place_nodes(graph, extras)
    for level, label in enumerate(labels, start=1):
        figure = node_map_figure(graph, place, label, f"Level {level}")
        out.figure(f"map_level_{level}", figure, f"Supernodes of level {level} on the graph")
    out.figure("tree", tree_figure(hierarchy), "Hierarchy: which supernodes make those above")
    out.figure(
        "spread",
        spread_figure(hierarchy),
        "Effective numbers (exponential of the entropy) of the assignments; dashed: most possible",
    )
    out.figure("couplings", couplings_figure(hierarchy), "Coarse couplings, similar rows together")
    rows = []
    for level, (assignment, label) in enumerate(
        zip(hierarchy.assignments, labels, strict=True), start=1
    ):
        spread = Spread.of(assignment)
        rows.append(
            {
                "level": level,
                "supernodes": assignment.shape[1],
                "used": len(np.unique(label)),
                "largest": int(np.bincount(label).max()),
                "effective supernodes per node": float(spread.supernodes_per_node.mean()),
                "effective nodes per supernode": float(spread.nodes_per_supernode.mean()),
            }
        )
    out.table("supernodes", rows, "`used`: supernodes that some node belongs to most")
    named = {f"level_{level}": label for level, label in enumerate(labels, start=1)}
    out.arrays("supernodes", place=place, **named)
    out.arrays("couplings", **{f"level_{k}": c for k, c in enumerate(hierarchy.couplings, start=1)})


def _agreement(
    out: ReportFolder, subject: Subject, labels: list[IntArray], history: History, seed: int
) -> None:
    graph, extras = subject.series.graph, subject.series.extras
    rows = []
    model = subject.forecaster.model
    fresh = [] if subject.untrained is None else _labels(subject.untrained.hierarchy(history))
    others = {name: _labels(other.hierarchy(history)) for name, other in subject.others.items()}
    known_of = known_partitions(graph, extras, model.config.pool.sizes, seed)
    for level, (own, known) in enumerate(zip(labels, known_of, strict=True), start=1):
        compared = {"this run": own}
        if fresh:
            compared["untrained"] = fresh[level - 1]
        compared["shuffled"] = shuffled(own, seed)
        for name, label in compared.items():
            for other, reference in known.items():
                rows.append(_row(level, name, other, label, reference))
        for name, item in others.items():
            if level <= len(item):
                rows.append(_row(level, "this run", f"run {name}", own, item[level - 1]))
        if fresh:
            rows.append(_row(level, "this run", "untrained", own, compared["untrained"]))
    out.section(
        "Is the hierarchy real?",
        "Agreement of the supernodes with what they might be: 1 is the same partition; the "
        "adjusted measures (AMI, ARI) are 0 in the mean for random ones of the same sizes. "
        "`untrained` is the same model before training, `shuffled` the supernodes of this run with "
        "the nodes permuted.",
    )
    out.table("agreement", rows, "AMI, NMI: mutual information; ARI: Rand index")


def _row(level: int, name: str, other: str, label: IntArray, reference: IntArray) -> dict[str, Any]:
    score = agreement(label, reference)
    parts = len(np.unique(reference))
    scores = {"AMI": score.ami, "NMI": score.nmi, "ARI": score.ari}
    return {"level": level, "supernodes": name, "compared with": other, "parts": parts, **scores}


def _renormalization(
    out: ReportFolder, subject: Subject, own: IntArray, hierarchy: Hierarchy, seed: int
) -> None:
    graph, extras = subject.series.graph, subject.series.extras
    parts = len(np.unique(own))
    partitions = {"learned": own, **rival_partitions(graph, extras, parts, seed)}
    graphs = coarse_graphs(graph, partitions, {"learned, soft": hierarchy.couplings[0]})
    out.section(
        "Coarse graphs by several renormalizations",
        f"The graph, and coarse graphs of {parts} supernodes: learned (each node in the supernode "
        "it belongs to most; `soft`: S^T A S), the Laplacian (LRG) and geometric (GRG) "
        "renormalization groups, Louvain communities, and random sets of nodes. Normalised "
        "Laplacian; a plateau of C is half the spectral dimension.",
    )
    out.figure(
        "renormalization",
        coarse_graphs_figure(graphs),
        "Specific heat, spectrum, and degrees (number of nodes in brackets)",
    )
    rows = [
        {
            "graph": name,
            "nodes": item.nodes,
            "coupling kept": item.kept,
            "spectral gap": item.spectral_gap,
            "largest C": float(item.specific_heat.max()),
            "at tau": float(TAU[int(item.specific_heat.argmax())]),
            "largest degree [mean]": float(item.degree.max()),
        }
        for name, item in graphs.items()
    ]
    caption = "`coupling kept`: share of the coupling that runs between supernodes"
    out.table("renormalization", rows, caption)
    arrays: dict[str, NDArray[Any]] = {"tau": TAU}
    for name, item in graphs.items():
        key = name.replace(" ", "_").replace(",", "")
        arrays |= {
            f"{key}_specific_heat": item.specific_heat,
            f"{key}_eigenvalues": item.spectrum.values,
            f"{key}_weights": item.spectrum.weights,
            f"{key}_degree": item.degree,
        }
    out.arrays("renormalization", **arrays)


def _attention(out: ReportFolder, subject: Subject, history: History, seed: int) -> None:
    model, forecaster = subject.forecaster.model, subject.forecaster
    assert isinstance(model, Roma)
    rng = np.random.default_rng([0xA77E, seed])
    cores = [forecaster.sampler.sample(rng).core for _ in range(SUBGRAPHS)]
    maps: list[AttentionMaps] = []
    for core in cores:
        batch, _ = next(iter(forecaster.batches(history, core)))
        maps.append(attention_maps(model, batch))
    shares = np.mean([item.by_level() for item in maps], axis=0)
    distances = [item.by_distance() for item in maps]
    pairs = np.sum([count for _, count in distances], axis=0)
    with np.errstate(invalid="ignore"):
        weights = sum(np.nan_to_num(w) * count for w, count in distances) / pairs
    first = maps[0]
    out.section("Attention", f"Mean over {len(maps)} subgraphs; maps of the first one.")
    out.figure("attention_by_level", levels_figure(shares), "Attention between levels")
    out.figure(
        "attention_by_distance",
        distance_figure(weights, pairs),
        "Attention between nodes by their distance",
    )
    data = {"by_level": shares, "by_distance": weights, "pairs": pairs, "node_id": first.node_id}
    for level, share in enumerate(accumulate(first.assignments, matmul), start=1):
        mean, rows, columns = first.fine_to_coarse(level)
        out.figure(
            f"attention_to_level_{level}",
            fine_to_coarse_figure(mean, rows, columns, share),
            f"Attention of the nodes to the supernodes of level {level}, and their assignment",
        )
        data |= {f"to_level_{level}": mean, f"rows_{level}": rows, f"columns_{level}": columns}
    coordinates, explained = first.components()
    out.figure(
        "attention_components",
        components_figure(coordinates, explained, first.sizes),
        "Principal components of what tokens attend to",
    )
    out.arrays("attention", components=coordinates, explained=explained, **data)


def _forecast(
    out: ReportFolder,
    subject: Subject,
    found: Examination,
    hierarchy: Hierarchy | None,
    labels: list[IntArray],
) -> None:
    series, dt = subject.series, subject.series.dt
    truth, forecast = found.truth[0], found.forecast[0]
    out.section("Forecast", f"{len(found.nodes):,} nodes, {len(found.times)} times.")
    order, label = similarity_order(truth), None
    if labels:
        shown_labels = [level[found.nodes] for level in labels]
        label = shown_labels[0]
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        order = np.lexsort((rank, *shown_labels))
    shown = order[np.unique(np.linspace(0, len(order) - 1, ROWS).astype(np.int64))]
    figure = spacetime_figure(
        found.steps,
        truth,
        forecast,
        dt,
        shown,
        "Node (ordered by supernode)" if label is not None else "Node (ordered by similarity)",
    )
    out.figure("space_time", figure, "Truth, forecast and error; a row of pixels per node")
    horizon = len(found.steps)
    ahead = subject.forecaster.model.data.reported_steps
    errors = {f"{step} ahead": np.maximum(found.node_errors(step), 1e-12) for step in ahead}
    degree = series.graph.degree[found.nodes]
    out.figure("error_by_degree", error_by_degree_figure(degree, errors), "Error by degree")
    by_degree = np.searchsorted(degree_classes(degree), degree, side="right") - 1
    rows = _grouped("degree from", degree_classes(degree), by_degree, errors)
    out.table("error_by_degree", rows, "Mean sMSPE by class of degree")
    if label is not None:
        out.figure(
            "error_by_supernode",
            error_by_supernode_figure(label, errors),
            "Error by supernode of level 1",
        )
        names, group = np.unique(label, return_inverse=True)
        rows = _grouped("supernode", names, group, errors)
        rows.sort(key=lambda row: -row[f"sMSPE {horizon} ahead"])
        caption = "Mean sMSPE by supernode of level 1, the ten with the largest"
        out.table("error_by_supernode", rows, caption, shown=10)
    part = np.empty(series.num_nodes, dtype=np.int64)
    parts = np.array(list(subject.split.nodes))
    for place, name in enumerate(parts):
        part[subject.split.nodes[str(name)]] = place
    names = np.unique(part[found.nodes])
    group = np.searchsorted(names, part[found.nodes])
    rows = _grouped("nodes of", parts[names], group, errors)
    out.table("error_by_part", rows, "Mean sMSPE by part of the split (all at held-out time)")
    last = np.repeat(found.history[..., -1:], horizon, axis=2).reshape(-1, horizon)
    lines = {
        subject.forecaster.name: _smspe(found.forecast.reshape(-1, horizon), found),
        "Persistence": _smspe(last, found),
    }
    out.figure(
        "error_by_time", error_by_horizon_figure(found.steps, lines, dt), "Error by time ahead"
    )
    out.arrays(
        "forecast",
        nodes=found.nodes,
        steps=found.steps,
        times=np.array(found.times),
        truth=found.truth,
        forecast=found.forecast,
        degree=degree,
        order=order,
    )
    _levels_over_time(out, subject, found, hierarchy)


def _smspe(forecast: NDArray[Any], found: Examination) -> NDArray[np.float64]:
    errors = HorizonErrors(len(found.steps))
    errors.update(forecast, found.truth.reshape(forecast.shape))
    return errors.result().smspe


def _grouped(
    title: str,
    names: NDArray[Any],
    group: NDArray[np.integer[Any]],
    errors: Mapping[str, NDArray[np.float64]],
) -> list[dict[str, Any]]:
    """Mean errors of groups, which are numbered as their names."""
    size = np.bincount(group, minlength=len(names))
    means = {key: np.bincount(group, e, len(names)) / size for key, e in errors.items()}
    return [
        {
            title: name.item() if hasattr(name, "item") else name,
            "nodes": int(size[index]),
            **{f"sMSPE {key}": float(mean[index]) for key, mean in means.items()},
        }
        for index, name in enumerate(names)
    ]


def _levels_over_time(
    out: ReportFolder, subject: Subject, found: Examination, hierarchy: Hierarchy | None
) -> None:
    """Collective variable of each level; of Kuramoto oscillators the order parameter, Re Z."""
    parts = [found.history[0], found.truth[0], found.forecast[0]]
    levels = [[values.astype(np.float64)] for values in parts]
    if hierarchy is not None:
        fine = np.asarray(hierarchy.assignments[0][found.nodes], dtype=np.float64)
        for share in accumulate([fine, *hierarchy.assignments[1:]], matmul):
            weight = share / np.maximum(share.sum(axis=0), 1e-30)
            for values, level in zip(parts, levels, strict=True):
                level.append(weight.T @ values.astype(np.float64))
    label = "Observable $u$"
    if "phases" in subject.series.extras:
        levels = [[mean_phasor(values) for values in level] for level in levels]
        label = r"Order parameter Re $Z$ = mean of $\cos\theta$"
    past, truth, forecast = levels
    out.figure(
        "levels_over_time",
        levels_over_time_figure(past, truth, forecast, subject.series.dt, label),
        "Collective variable of each level: weighted means over the nodes of a supernode",
    )
    rows = []
    for index, (true, guess) in enumerate(zip(truth, forecast, strict=True)):
        scale = float(true.mean(axis=0).std())
        error = float(np.sqrt(np.square(guess.mean(axis=0) - true.mean(axis=0)).mean()))
        rows.append(
            {
                "level": index,
                "nodes": len(true),
                "RMSE of the mean": error,
                "std of the mean over time": scale,
                "std over the level, truth": float(true.std(axis=0).mean()),
                "std over the level, forecast": float(guess.std(axis=0).mean()),
            }
        )
    out.table("levels_over_time", rows, "Collective variable of each level over the horizon")


def _commutation(out: ReportFolder, subject: Subject, found: Examination) -> None:
    out.section(
        "Does the dynamics commute with coarse graining?",
        "Errors of the supernodes when the model coarse-grains, then forecasts (its coarse "
        "levels), and when it forecasts, then coarse-grains; the gap is the difference of the two, "
        "on the same scale.",
    )
    out.figure(
        "commutation",
        consistency_figure(found.consistency, subject.series.dt),
        "Two ways to the coarse future, by time ahead",
    )
    rows = []
    for level, errors in enumerate(found.consistency, start=1):
        results = errors.results()
        for step in subject.forecaster.model.data.reported_steps:
            error = {name: float(result.smspe[step - 1]) for name, result in results.items()}
            rows.append(
                {
                    "level": level,
                    "steps ahead": step,
                    "coarse-grain, then forecast": error["coarse"],
                    "forecast, then coarse-grain": error["pooled"],
                    "gap": error["gap"],
                    "persistence": error["persistence"],
                }
            )
    out.table("commutation", rows, "sMSPE of the supernodes")


def _training(out: ReportFolder, curves: Mapping[str, Curve]) -> None:
    names = {"loss/total": "training, total", "val/loss": "validation"}
    named = {title: curves[tag] for tag, title in names.items() if tag in curves}
    if not named:
        return
    laws: dict[str, PowerLaw] = {}
    for name, (steps, values) in named.items():
        later = steps > steps[-1] / 4
        if np.count_nonzero(later) >= 4 and (values > 0).all() and (steps[later] > 0).all():
            laws[name] = power_law(steps[later].tolist(), values[later].tolist())
    out.section(
        "Training",
        "Dashed: power law of the loss against the step, fitted to the last three quarters of the "
        "steps, with the 95 % interval of the exponent. The learning rate falls towards the end, "
        "so this describes the run and does not extrapolate it.",
    )
    out.figure("training", curves_figure(named, laws), "Loss against optimiser steps")
    if laws:
        rows = [
            {
                "curve": name,
                "exponent": -law.exponent,
                "from": -law.high,
                "to": -law.low,
                "R2": law.r2,
                "points": law.points,
            }
            for name, law in laws.items()
        ]
        out.table("training", rows, "Loss proportional to steps to the exponent")
