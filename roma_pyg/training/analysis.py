"""The analysis of a finished run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from roma_pyg.analysis.analyze import Subject, analyze
from roma_pyg.analysis.curves import read_scalars
from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.models.forecast import RomaForecaster
from roma_pyg.models.make import make_model
from roma_pyg.models.roma import Roma
from roma_pyg.training.restore import load_model


def analyze_run(
    run: Path,
    output: Path | None = None,
    others: Sequence[Path] = (),
    *,
    times: int | None = None,
    noise: float | None = None,
    seed: int = 0,
    report: Callable[[str], object] = lambda stage: None,
) -> Path:
    """Analyse the best checkpoint of a run; see `roma_pyg.analysis.analyze.analyze`.

    Args:
        run: Folder of the run.
        output: Folder of figures and tables; ``RUN/analysis`` if None.
        others: Folders of further runs on the same graph, such as with other seeds, whose
            supernodes are compared.
        times: Forecast times; see `analyze`.
        noise: Variance of the noise on the history; that of the training if None.
        seed: Seed of noise, samples of nodes, and partitions.
        report: Called with the name of each stage before it begins.

    Returns:
        Path of ``report.md``.

    Raises:
        FileNotFoundError: If a folder holds no finished checkpoint.
        ValueError: If a checkpoint is damaged, or another run has another graph.
    """
    report("run and data")
    model, config = load_model(run)
    data = GraphSeriesData(config.data, config.training, memory=model.memory, progress=False)
    graph = data.series.graph
    untrained = None
    if isinstance(model, Roma):
        torch.manual_seed(config.training.seed)
        fresh = make_model(config.model, config.data)
        fresh.fit_statistics(data.statistics(), data.memory)
        untrained = RomaForecaster(fresh, graph, data.features)
    rivals: dict[str, RomaForecaster] = {}
    for folder in others:
        other, other_config = load_model(folder)
        theirs = GraphSeriesData(
            other_config.data, other_config.training, memory=other.memory, progress=False
        )
        if theirs.series.graph.checksum != graph.checksum:
            raise ValueError(
                f"Expected runs on one graph, to compare their supernodes (got another graph of "
                f"{theirs.series.num_nodes} nodes in '{folder}'): train with other values of "
                "training.seed, and keep data.seed."
            )
        name = folder.resolve().name
        while name in rivals:
            name += "'"
        rivals[name] = RomaForecaster(other, graph, theirs.features)
    subject = Subject(
        RomaForecaster(model, graph, data.features),
        data.series,
        data.split,
        config.data.noise if noise is None else noise,
        untrained,
        rivals,
        read_scalars(run / "tensorboard", ("loss/total", "val/loss")),
    )
    return analyze(subject, output or run / "analysis", times, seed, report)
