"""Names of what TensorBoard shows: scalars, their groups, and the figures."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from lightning.pytorch.loggers import TensorBoardLogger
from numpy.typing import NDArray
from PIL import Image
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.image import metadata as image_metadata
from tensorboard.plugins.scalar import metadata as scalar_metadata
from tensorboard.util.tensor_util import make_tensor_proto

LAW = "Effective law"


@dataclass(frozen=True)
class Chart:
    """One chart of the custom scalars, and the name of each of its lines.

    Attributes:
        group: Heading under which the chart stands.
        title: Title of the chart.
        tags: Regular expression that a tag of the chart matches as a whole. What its groups match
            fills the braces in ``line``.
        line: Name of one line.
        text: What is drawn, with unit, and which direction is good.
    """

    group: str
    title: str
    tags: str
    line: str
    text: str


CHARTS = (
    Chart(
        "Forecast error",
        "Validation loss",
        r"val/loss",
        "Validation loss",
        "Loss of the forecast on validation nodes and times; where it is smallest, best.ckpt is "
        "saved.",
    ),
    Chart(
        "Forecast error",
        "Validation sMSPE by steps ahead",
        r"val/smspe/(\d+)",
        "sMSPE, steps ahead: {}",
        "Squared error over the squared sum of forecast and truth, mean over nodes; 0 is perfect.",
    ),
    Chart(
        "Forecast error",
        "Validation R² by steps ahead",
        r"val/r2/(\d+)",
        "R², steps ahead: {}",
        "Share of the variance that the forecast explains; 1 is perfect, 0 is as good as the mean.",
    ),
    Chart(
        "Forecast error",
        "Training loss",
        r"loss/total",
        "Training loss",
        "Everything that is minimised, of one training batch: forecast of all levels and weighted "
        "penalties.",
    ),
    Chart(
        "Forecast error",
        "Training loss, forecast part",
        r"loss/data",
        "Forecast part of the loss",
        "The part of the training loss that the forecasts of all levels make up.",
    ),
    Chart(
        "Coarse levels",
        "Training loss by level",
        r"loss/data/(\d+)",
        "Training loss, level {}",
        "Loss of the forecast on each level; 0 is the graph itself, higher levels are coarser.",
    ),
    Chart(
        "Coarse levels",
        "Training sMSPE by level",
        r"smspe/(\d+)",
        "Training sMSPE, level {}",
        "sMSPE of one training batch on each level, without weights.",
    ),
    Chart(
        "Coarse levels",
        "Validation loss by level",
        r"val/data/(\d+)",
        "Validation loss, level {}",
        "Loss of the forecast on each level, on validation nodes and times.",
    ),
    Chart(
        "Pooling",
        "Entropy of the assignment",
        r"loss/entropy/(\d+)",
        "Entropy of the assignment, level {}",
        "How evenly a supernode is spread over what it is made of; smaller is more localised.",
    ),
    Chart(
        "Pooling",
        "Entropy of the coarse couplings",
        r"loss/edge_entropy/(\d+)",
        "Entropy of the couplings, level {}",
        "How evenly the couplings between supernodes are spread; smaller is a sparser coarse "
        "graph.",
    ),
    Chart(
        "Pooling",
        "Link prediction",
        r"loss/link/(\d+)",
        "Link prediction, level {}",
        "Cross entropy of telling linked from unlinked pairs by their distance in the embedding.",
    ),
    Chart(
        "Pooling",
        "One less the modularity",
        r"loss/modularity/(\d+)",
        "One less the modularity, level {}",
        "Smaller where supernodes are communities: coupled within more than between. Not minimised "
        "unless it has a weight.",
    ),
    Chart(
        LAW,
        "Share left unexplained",
        r"val/unexplained/(\d+)",
        "Left by the law, level {}",
        "Share of the squared rate of change that the law does not explain; 0 is perfect.",
    ),
    Chart(
        LAW,
        "Share left unexplained in training",
        r"effective/unexplained/(\d+)",
        "Left by the law in training, level {}",
        "The same of one training batch.",
    ),
    Chart(
        LAW,
        "Share of nodes that are asked",
        r"effective/asked/(\d+)",
        "Asked, level {}",
        "A law that sees neighbours is asked only of nodes whose neighbours are all in the "
        "subgraph.",
    ),
    Chart(
        LAW,
        "Residual",
        r"effective/residual/(\d+)",
        "Residual, level {}",
        "Mean square of what the law leaves of the rate of change of the forecast.",
    ),
    Chart(
        LAW,
        "Gradient of the residual",
        r"effective/residual_gradient/(\d+)",
        "Gradient of the residual, level {}",
        "Mean square of the gradient of the residual in time and latent space.",
    ),
    Chart(
        LAW,
        "Parts of the loss",
        r"loss/(residual|residual_gradient)",
        "Loss, {}",
        "The two terms of the law in the training loss, unweighted.",
    ),
    Chart(
        LAW,
        "Weights in the loss",
        r"effective/weight/(\w+)",
        "Weight of the {}",
        "Weight of each term of the law; balanced by gradient norms if so configured.",
    ),
    Chart(
        LAW,
        "Gradient norms of the terms",
        r"gradient/(\w+)",
        "Gradient norm, {} term",
        "Norm of the gradient of each term of the loss by itself.",
    ),
    Chart(
        LAW,
        "Viscosity",
        r"effective/viscosity",
        "Viscosity",
        "Coefficient of the Laplacian in a Burgers-like law, learned.",
    ),
    Chart(
        "Optimiser",
        "Learning rate",
        r"optimizer/learning_rate",
        "Learning rate",
        "Rises during the warm-up, then falls.",
    ),
    Chart(
        "Optimiser",
        "Gradient norm before clipping",
        r"optimizer/gradient_norm",
        "Gradient norm before clipping",
        "Norm of the gradient of all parameters; above training.clip it is scaled down.",
    ),
    Chart(
        "Speed and memory",
        "Training steps per second",
        r"speed/steps_per_second",
        "Training steps per second",
        "Without validation, checkpoints and figures.",
    ),
    Chart(
        "Speed and memory",
        "Nodes per second",
        r"speed/nodes_per_second",
        "Nodes per second",
        "Nodes that are trained on, halo not counted.",
    ),
    Chart(
        "Speed and memory",
        "Memory [MiB]",
        r"memory/(process|gpu_peak)_mib",
        "Memory, {} [MiB]",
        "Resident memory of the main process, and the largest allocation on the GPU.",
    ),
    Chart(
        "Speed and memory",
        "Share of time for this dashboard",
        r"speed/dashboard_share",
        "Share of time for this dashboard",
        "Seconds spent on figures and tables here over the seconds of training without them.",
    ),
)


@dataclass(frozen=True)
class Named:
    """Name and explanation of what a tag holds."""

    name: str
    text: str


FIGURES = {
    "forecast/nodes": Named(
        "Forecast of single nodes",
        "History, truth and forecast of nodes from the largest hub to a leaf.",
    ),
    "forecast/mean_observable": Named(
        "Forecast of the mean", "Mean of the observable over the nodes of one subgraph."
    ),
    "forecast/space_time": Named(
        "Forecast in space and time", "One row of pixels per node; the last panel is the error."
    ),
    "forecast/error_by_horizon": Named(
        "Error by time ahead", "sMSPE of one subgraph against that of keeping the last value."
    ),
    "hierarchy/map": Named(
        "Supernodes of a subgraph",
        "Nodes coloured by the supernode they belong to most; hubs are larger.",
    ),
    "hierarchy/tree": Named(
        "Hierarchy of a subgraph",
        "Below each supernode lie those it is made of; widths are numbers of nodes.",
    ),
    "hierarchy/spread": Named(
        "Spread of the assignment",
        "Over how many supernodes a node is spread, and over how many nodes a supernode.",
    ),
    "hierarchy/couplings": Named(
        "Couplings between supernodes", "S^T A S of each level, similar supernodes side by side."
    ),
    "attention/by_level": Named("Attention by level", "Where the attention of each level goes."),
    "attention/by_distance": Named(
        "Attention by distance",
        "Attention between nodes against their distance; 1 is even attention to all tokens.",
    ),
    "attention/fine_to_coarse": Named(
        "Attention of nodes to supernodes",
        "Nodes and supernodes ordered by clustering, so that those that attend alike lie together.",
    ),
    "attention/components": Named(
        "Principal components of attention", "Tokens that attend alike lie together."
    ),
    "whole_graph/map": Named(
        "Supernodes of the whole graph",
        "Nodes coloured by the supernode of level 1 they belong to most.",
    ),
    "whole_graph/tree": Named(
        "Hierarchy of the whole graph",
        "Below each supernode lie those it is made of; widths are numbers of nodes.",
    ),
}


def describe(tag: str) -> Named | None:
    """Name and explanation of a scalar, None if it has none.

    Example:
        >>> describe("val/smspe/16").name
        'sMSPE, steps ahead: 16'
    """
    for chart in CHARTS:
        if match := re.fullmatch(chart.tags, tag):
            words = (word.replace("_", " ") for word in match.groups())
            return Named(chart.line.format(*words), chart.text)
    return None


def layout(law: bool) -> dict[str, dict[str, list[object]]]:
    """Charts by group, as ``SummaryWriter.add_custom_scalars`` takes them.

    Args:
        law: Whether the model learns an effective law; its group is left out otherwise.
    """
    groups: dict[str, dict[str, list[object]]] = {}
    for chart in CHARTS:
        if law or chart.group != LAW:
            lines = groups.setdefault(chart.group, {})
            lines[chart.title] = ["Multiline", [f"^{chart.tags}$"]]
    return groups


def guide(law: bool) -> str:
    """Explain every scalar, as a table in Markdown.

    Args:
        law: Whether the model learns an effective law.
    """
    rows = [
        f"| {chart.group} | {chart.title} | {chart.text} |"
        for chart in CHARTS
        if law or chart.group != LAW
    ]
    return "\n".join(["| group | chart | meaning |", "|---|---|---|", *rows])


class NamedScalars(TensorBoardLogger):
    """A logger that gives scalars the names and explanations of :data:`CHARTS`; tags stay the same.

    TensorBoard reads a name from the first entry of a tag, and only from one that holds a tensor,
    while other readers expect plain numbers. So the first value is written in both forms.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        """Take the arguments of :class:`TensorBoardLogger`."""
        super().__init__(*arguments, **options)
        self._named: set[str] = set()

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write scalars.

        Args:
            metrics: Values by tag. ``epoch`` is left out: training is a single endless one.
            step: Step of the optimiser.
        """
        values = {tag: value for tag, value in metrics.items() if tag != "epoch"}
        for tag in values.keys() - self._named:
            self._named.add(tag)
            if named := describe(tag):
                entry = scalar_entry(tag, named, float(values[tag]))
                self.experiment._get_file_writer().add_summary(entry, step)
        super().log_metrics(values, step)


def scalar_entry(tag: str, named: Named, value: float) -> Summary:
    """Entry of a scalar with a name."""
    metadata = scalar_metadata.create_summary_metadata(named.name, named.text)
    tensor = make_tensor_proto(np.float32(value))
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])


def image_entry(tag: str, named: Named, pixels: NDArray[np.uint8]) -> Summary:
    """Entry of an image with a name.

    Args:
        tag: Tag of the image.
        named: Its name and explanation.
        pixels: Red, green and blue, shape ``(height, width, 3)``.
    """
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    height, width, _ = pixels.shape
    metadata = image_metadata.create_summary_metadata(named.name, named.text)
    tensor = make_tensor_proto([str(width).encode(), str(height).encode(), stream.getvalue()])
    return Summary(value=[Summary.Value(tag=tag, metadata=metadata, tensor=tensor)])
