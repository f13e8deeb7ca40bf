"""Forecast figures in TensorBoard, drawn from the first batch of each validation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import lightning as L
import numpy as np
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from matplotlib.figure import Figure
from numpy.typing import NDArray

from roma_pyg.analysis.plots import (
    error_by_horizon_figure,
    figure_to_image,
    forecast_figure,
    order_parameter_figure,
    spacetime_figure,
)
from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.output import RomaOutput
from roma_pyg.training.loss import smspe

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class ForecastSample:
    """Forecasts of some nodes, ready to draw.

    Attributes:
        history: Known samples, shape ``(n, K)``.
        steps: Steps ahead, ascending, shape ``(Q,)``.
        truth: True values, shape ``(n, Q)``.
        forecast: Forecast values, shape ``(n, Q)``.
        node_id: Index of the nodes in the data set, shape ``(n,)``.
    """

    history: FloatArray
    steps: NDArray[np.int64]
    truth: FloatArray
    forecast: FloatArray
    node_id: NDArray[np.int64]

    @classmethod
    def from_batch(cls, batch: SubgraphBatch, output: RomaOutput) -> ForecastSample:
        """Take the fine level of the first subgraph of a batch.

        Raises:
            ValueError: If the output has no target.
        """
        fine = output.levels[0]
        if fine.target is None:
            raise ValueError("Expected a batch with 'target' to draw figures (got None).")
        size = batch.num_core // batch.num_graphs
        order = torch.argsort(batch.steps)
        return cls(
            history=_to_numpy(batch.window[:size]),
            steps=batch.steps[order].cpu().numpy(),
            truth=_to_numpy(fine.target[0][:, order]),
            forecast=_to_numpy(fine.prediction[0][:, order]),
            node_id=batch.node_id[:size].cpu().numpy(),
        )


def _to_numpy(values: torch.Tensor) -> FloatArray:
    return values.detach().float().cpu().numpy()


def draw(sample: ForecastSample, dt: float, num_nodes: int = 6) -> dict[str, Figure]:
    """Draw all figures of one sample.

    Args:
        sample: The forecasts.
        dt: Time between samples, in time units.
        num_nodes: Nodes drawn one by one, spread evenly over the sample; its core nodes are
            ordered by degree, so hubs and leaves are both seen.

    Returns:
        Figures by tag.
    """
    history, steps, truth, forecast = sample.history, sample.steps, sample.truth, sample.forecast
    shown = np.unique(np.linspace(0, len(truth) - 1, num_nodes).astype(np.int64))
    names = [f"node {node}" for node in sample.node_id[shown]]
    last = np.repeat(history[:, -1:], len(steps), axis=1)
    errors = {"ROMA": _mean_error(forecast, truth), "Persistence": _mean_error(last, truth)}
    return {
        "figures/forecast": forecast_figure(
            history[shown], steps, truth[shown], forecast[shown], dt, names
        ),
        "figures/mean_observable": order_parameter_figure(
            history.mean(axis=0), steps, truth.mean(axis=0), forecast.mean(axis=0), dt
        ),
        "figures/space_time": spacetime_figure(steps, truth, forecast, dt),
        "figures/error_by_horizon": error_by_horizon_figure(steps, errors, dt),
    }


def _mean_error(forecast: FloatArray, truth: FloatArray) -> FloatArray:
    return smspe(torch.from_numpy(forecast), torch.from_numpy(truth)).mean(dim=0).numpy()


class ForecastFigures(L.Callback):
    """Writes forecast figures to TensorBoard after each validation.

    It uses what ``validation_step`` returned for the first batch; nothing is computed twice.

    Args:
        dt: Time between samples, in time units.
        num_nodes: Nodes drawn one by one.
    """

    def __init__(self, dt: float = 1.0, num_nodes: int = 6) -> None:
        """Remember how to draw."""
        self.dt = dt
        self.num_nodes = num_nodes
        self._sample: ForecastSample | None = None

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: torch.Tensor | Mapping[str, Any] | None,
        batch: SubgraphBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep the first batch."""
        if batch_idx == 0 and not trainer.sanity_checking and isinstance(outputs, Mapping):
            self._sample = ForecastSample.from_batch(batch, outputs["output"])

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw and write."""
        sample, self._sample = self._sample, None
        boards = [log for log in trainer.loggers if isinstance(log, TensorBoardLogger)]
        if sample is None or not boards:
            return
        for tag, figure in draw(sample, self.dt, self.num_nodes).items():
            image = figure_to_image(figure)
            for board in boards:
                # Beside the losses of this step, which Lightning counts from zero: what is written
                # at later ones is purged when the run is resumed from here.
                board.experiment.add_image(tag, image, trainer.global_step - 1, dataformats="HWC")
