"""TensorBoard as the dashboard of a run: charts, figures, options, embedding and texts."""

from __future__ import annotations

import random
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import lightning as L
import numpy as np
import torch
import yaml
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from roma_pyg.analysis.attention import attention_maps
from roma_pyg.analysis.hierarchy_figures import tree_figure
from roma_pyg.analysis.layout import place_nodes
from roma_pyg.analysis.node_map import node_map_figure
from roma_pyg.analysis.plots import figure_to_image
from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.data.history import History
from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.data.series import GraphSeries
from roma_pyg.models.forecast import RomaForecaster
from roma_pyg.models.hierarchy import local_hierarchy
from roma_pyg.models.roma import Roma
from roma_pyg.training.charts import FIGURES, describe, guide, image_entry, layout
from roma_pyg.training.figures import (
    ForecastSample,
    draw_attention,
    draw_forecast,
    draw_hierarchy,
)
from roma_pyg.training.projector import embed_nodes, write_embedding

WHOLE_GRAPH = 20_000
"""Nodes up to which the hierarchy of the whole graph is drawn at the end."""

ATTENTION_ENTRIES = 20_000_000
"""Entries of all attention maps of a subgraph up to which they are drawn; 160 MB."""

COMPARED_STEPS = (1, 16, 64)
"""Steps ahead whose errors are columns of the table of runs."""

OPTIONS = {
    "data set": "data.name",
    "input noise": "data.noise",
    "window": "data.window",
    "nodes per subgraph": "data.nodes_per_graph",
    "model": "model.kind",
    "geometry": "model.encoder.geometry",
    "encoder width": "model.encoder.width",
    "encoder layers": "model.encoder.layers",
    "supernodes": "model.pool.sizes",
    "pooling": "model.pool.select",
    "modularity weight": "model.pool.modularity",
    "operator width": "model.operator.width",
    "operator layers": "model.operator.layers",
    "heads": "model.operator.heads",
    "trunk": "model.trunk.kind",
    "base forecast": "model.base",
    "effective law": "model.effective.kind",
    "optimiser": "training.optimizer",
    "learning rate": "training.learning_rate",
    "weight decay": "training.weight_decay",
    "rollout": "training.rollout",
    "coarse weight": "training.coarse_weight",
    "steps": "training.max_steps",
    "seed": "training.seed",
}
"""Columns of the table of runs, and the options they show."""

SHOWN = ("data set", "learning rate", "optimiser", "seed", "supernodes")
"""Columns that are shown before others are chosen; TensorBoard shows five."""


class Dashboard(L.Callback):
    """Writes everything that TensorBoard shows besides the scalars of module and monitor.

    At the start: configuration, data card and guide (Text), the layout of the charts (Custom
    Scalars) and the options of the run (HParams). With ``figures``, the first batch of the 1st,
    4th, 16th, ... and of the last validation is drawn with the averaged weights: forecasts,
    supernodes and attention. (A drawing takes some two seconds.) At the end, with ``figures``:
    supernodes of the whole graph, if it has at most 20,000 nodes, and the embedding of up to
    3,000 nodes (Projector).

    Training is the same with it and without it: random states are restored, and an error while
    drawing becomes a warning, the first one only. ``speed/dashboard_share`` tells the share of time
    that it takes.

    Args:
        dt: Time between samples, in time units.
        figures: Draw figures and write the embedding.
    """

    def __init__(self, dt: float = 1.0, figures: bool = True) -> None:
        """Start without having drawn."""
        self.dt = dt
        self.figures = figures
        self._seconds = 0.0
        self._start = time.perf_counter()
        self._drawn = 0
        self._warned = False

    @property
    def share(self) -> float:
        """Seconds spent here over the seconds of training without them."""
        return self._seconds / max(time.perf_counter() - self._start - self._seconds, 1e-9)

    def summary(self) -> dict[str, float]:
        """Return the seconds spent here since the start of training, and their share."""
        return {
            "dashboard_seconds": round(self._seconds, 2),
            "dashboard_share": round(self.share, 5),
        }

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write texts, layout and options."""
        self._seconds, self._start, self._drawn = 0.0, time.perf_counter(), 0
        config = dict(pl_module.hparams)
        law = getattr(pl_module, "residual_weights", None) is not None
        data = _data(trainer)
        parameters = sum(p.numel() for p in pl_module.parameters())
        for writer in _writers(trainer):
            with self._account(pl_module, "texts and tables"):
                text = yaml.safe_dump(config, sort_keys=False)
                writer.add_text("config", f"```yaml\n{text}```")
                if data is not None:
                    writer.add_text("data", data_card(data))
                writer.add_text("guide", guide(law))
                writer.add_custom_scalars(layout(law))
                horizon = data.options.horizon if data else max(COMPARED_STEPS)
                for entry in run_entries(config, parameters, horizon)[:2]:
                    writer._get_file_writer().add_summary(entry)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: torch.Tensor | Mapping[str, Any] | None,
        batch: SubgraphBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw the first batch, while the averaged weights are in place."""
        step = trainer.global_step
        last = 0 < trainer.max_steps <= step
        if (
            not self.figures
            or batch_idx
            or trainer.sanity_checking
            or not isinstance(outputs, Mapping)
            or not (last or step >= 4 * self._drawn)
        ):
            return
        self._drawn = step
        data = _data(trainer)
        for writer in _writers(trainer):
            with self._account(pl_module, "the figures of a validation"):
                sample = ForecastSample.from_batch(batch, outputs["output"])
                write_figures(writer, draw_forecast(sample, self.dt), _place(trainer))
                model = getattr(pl_module, "model", None)
                if isinstance(model, Roma):
                    series = data.series if data else None
                    write_figures(writer, draw_model(model, batch, series), _place(trainer))

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the share of time spent here."""
        self._write_share(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the whole graph, the embedding, and that the run is finished."""
        data, model = _data(trainer), getattr(pl_module, "model", None)
        for writer in _writers(trainer):
            if self.figures and data is not None and isinstance(model, Roma):
                training = model.training
                model.eval()
                with self._account(pl_module, "the embedding of the nodes"):
                    write_embedding(writer, embed_nodes(model, data), trainer.global_step)
                with self._account(pl_module, "the whole graph"):
                    write_whole_graph(writer, model, data, _place(trainer))
                model.train(training)
            with self._account(pl_module, "the end of the run"):
                writer._get_file_writer().add_summary(run_entries({}, 0, 0)[2])
        self._write_share(trainer)

    def _write_share(self, trainer: L.Trainer) -> None:
        if trainer.sanity_checking:
            return
        for board in _boards(trainer):
            board.log_metrics({"speed/dashboard_share": self.share}, _place(trainer))

    @contextmanager
    def _account(self, module: L.LightningModule, what: str) -> Iterator[None]:
        """Count the time, keep all random states, and turn the first error into a warning."""
        begin = time.perf_counter()
        states = np.random.get_state(), random.getstate()  # noqa: NPY002
        devices = [module.device] if module.device.type == "cuda" else []
        try:
            with torch.random.fork_rng(devices):
                yield
        except Exception as error:
            if not self._warned:
                self._warned = True
                warnings.warn(
                    f"The dashboard lacks {what} ({type(error).__name__}: {error}). Training is "
                    "not affected; training.figures: false turns figures off.",
                    stacklevel=2,
                )
        finally:
            np.random.set_state(states[0])  # noqa: NPY002
            random.setstate(states[1])
            self._seconds += time.perf_counter() - begin


def draw_model(
    model: Roma, batch: SubgraphBatch, series: GraphSeries | None = None
) -> dict[str, Figure]:
    """Draw supernodes and attention of the first subgraph of a batch.

    Args:
        model: The model, in evaluation mode.
        batch: Subgraphs with windows.
        series: Tells where the nodes lie; they are placed by their couplings if None.

    Returns:
        Figures by tag; only those that the model has levels and memory for.
    """
    figures: dict[str, Figure] = {}
    size = batch.num_core // batch.num_graphs
    if model.config.pool.sizes:
        graph, hierarchy = local_hierarchy(model, batch)
        nodes = batch.node_id[:size].cpu().numpy()
        extras = series.extras if series else {}
        known: dict[str, Any] = {
            key: np.asarray(extras[key])[nodes] for key in ("angle", "radius") if key in extras
        }
        figures |= draw_hierarchy(graph, place_nodes(graph, known), hierarchy)
    operator = model.config.operator
    tokens = size + sum(model.config.pool.sizes)
    if operator.layers * operator.heads * tokens**2 <= ATTENTION_ENTRIES:
        figures |= draw_attention(attention_maps(model, batch))
    return figures


def write_whole_graph(writer: SummaryWriter, model: Roma, data: GraphSeriesData, step: int) -> None:
    """Draw the supernodes of the whole graph at the last validation time.

    Nothing is written for large graphs, without coarse levels, or for supernodes that are not
    learned, as these mean something else in every subgraph.
    """
    series, pool = data.series, model.config.pool
    if series.num_nodes > WHOLE_GRAPH or not pool.sizes or pool.select != "learned":
        return
    history = History(series.values, data.split.times["val"][-1], data.options.window)
    hierarchy = RomaForecaster(model, series.graph, data.features).hierarchy(history)
    place = place_nodes(series.graph, series.extras)
    figures = {
        "whole_graph/map": node_map_figure(
            series.graph, place, hierarchy.labels(1), "Supernodes of level 1"
        ),
        "whole_graph/tree": tree_figure(hierarchy),
    }
    write_figures(writer, figures, step)


def write_figures(writer: SummaryWriter, figures: Mapping[str, Figure], step: int) -> None:
    """Write figures as named images.

    Args:
        writer: Where to write.
        figures: Figures by tag, see :data:`roma_pyg.training.charts.FIGURES`.
        step: Step of the optimiser.
    """
    for tag, figure in figures.items():
        entry = image_entry(tag, FIGURES[tag], figure_to_image(figure))
        writer._get_file_writer().add_summary(entry, step)


def run_entries(
    config: Mapping[str, Any], parameters: int, horizon: int
) -> tuple[Summary, Summary, Summary]:
    """Entries of the table of runs: its columns, the options of this run, and its end.

    Args:
        config: The resolved configuration as plain values.
        parameters: Number of parameters.
        horizon: Longest step ahead.
    """
    values: dict[str, bool | float | str] = {}
    for name, key in OPTIONS.items():
        value: Any = config
        for part in key.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, list):
            value = ", ".join(map(str, value)) or "none"
        if value is not None:
            values[name] = value
    values["parameters"] = parameters
    metrics = ["val/loss", *(f"val/smspe/{step}" for step in COMPARED_STEPS if step <= horizon)]
    metrics.append("speed/steps_per_second")
    columns, options, end = hparams(values, dict.fromkeys(metrics, 0.0))
    plugin = columns.value[0].metadata.plugin_data
    content = HParamsPluginData.FromString(plugin.content)
    for option in content.experiment.hparam_infos:
        # TensorBoard shows options first that are said to differ; older ones do not know of it.
        if hasattr(option, "differs"):
            option.differs = option.name in SHOWN
    for metric in content.experiment.metric_infos:
        if named := describe(metric.name.tag):
            metric.display_name = named.name
    plugin.content = content.SerializeToString()
    return columns, options, end


def data_card(data: GraphSeriesData) -> str:
    """Describe a data set and its split, as a table in Markdown."""
    series, split = data.series, data.split
    rows = [
        ("nodes", f"{series.num_nodes:,}"),
        ("directed edges", f"{series.graph.num_edges:,}"),
        ("mean degree", f"{series.graph.num_edges / series.num_nodes:.2f}"),
        ("samples", f"{series.num_steps:,}"),
        ("time between samples", f"{series.dt:g} time units"),
        ("history given to the model", f"{data.options.window} samples"),
        ("forecast horizon", f"{data.options.horizon} samples"),
        ("variance of the input noise", f"{data.options.noise:g}"),
        *((f"{part} nodes", f"{len(split.nodes[part]):,}") for part in split.nodes),
        *((f"{part} forecast times", f"{len(split.times[part]):,}") for part in split.times),
    ]
    body = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"**{series.name}**\n\n| property | value |\n|---|---|\n{body}"


def _place(trainer: L.Trainer) -> int:
    """Step beside the losses, which Lightning counts from zero.

    What lies at later ones is purged when the run is resumed from here.
    """
    return max(trainer.global_step - 1, 0)


def _boards(trainer: L.Trainer) -> list[TensorBoardLogger]:
    return [log for log in trainer.loggers if isinstance(log, TensorBoardLogger)]


def _writers(trainer: L.Trainer) -> list[SummaryWriter]:
    return [board.experiment for board in _boards(trainer)]


def _data(trainer: L.Trainer) -> GraphSeriesData | None:
    data = getattr(trainer, "datamodule", None)
    return data if isinstance(data, GraphSeriesData) else None
