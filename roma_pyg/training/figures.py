"""The figures of the dashboard, by tag."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from roma_pyg.analysis.attention import AttentionMaps
from roma_pyg.analysis.attention_figures import (
    components_figure,
    distance_figure,
    fine_to_coarse_figure,
    levels_figure,
)
from roma_pyg.analysis.hierarchy_figures import couplings_figure, spread_figure, tree_figure
from roma_pyg.analysis.node_map import node_map_figure
from roma_pyg.analysis.plots import (
    error_by_horizon_figure,
    forecast_figure,
    order_parameter_figure,
    spacetime_figure,
)
from roma_pyg.data.graph import Graph
from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.hierarchy import Hierarchy
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


def draw_forecast(sample: ForecastSample, dt: float, num_nodes: int = 6) -> dict[str, Figure]:
    """Draw forecasts against the truth.

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
        "forecast/nodes": forecast_figure(
            history[shown], steps, truth[shown], forecast[shown], dt, names
        ),
        "forecast/mean_observable": order_parameter_figure(
            history.mean(axis=0), steps, truth.mean(axis=0), forecast.mean(axis=0), dt
        ),
        "forecast/space_time": spacetime_figure(steps, truth, forecast, dt),
        "forecast/error_by_horizon": error_by_horizon_figure(steps, errors, dt),
    }


def _mean_error(forecast: FloatArray, truth: FloatArray) -> FloatArray:
    return smspe(torch.from_numpy(forecast), torch.from_numpy(truth)).mean(dim=0).numpy()


def draw_hierarchy(
    graph: Graph, place: NDArray[np.float64], hierarchy: Hierarchy
) -> dict[str, Figure]:
    """Draw which nodes make up the supernodes, and how the supernodes are coupled.

    Args:
        graph: The graph, N nodes.
        place: Places of the nodes in the unit disk, shape ``(N, 2)``.
        hierarchy: Its supernodes.

    Returns:
        Figures by tag.
    """
    return {
        "hierarchy/map": node_map_figure(
            graph, place, hierarchy.labels(1), "Supernodes of level 1"
        ),
        "hierarchy/tree": tree_figure(hierarchy),
        "hierarchy/spread": spread_figure(hierarchy),
        "hierarchy/couplings": couplings_figure(hierarchy),
    }


def draw_attention(maps: AttentionMaps) -> dict[str, Figure]:
    """Draw what the tokens of a subgraph attend to.

    Args:
        maps: Attention of one subgraph.

    Returns:
        Figures by tag; without coarse levels, those between levels are left out.
    """
    figures = {
        "attention/by_distance": distance_figure(*maps.by_distance()),
        "attention/components": components_figure(*maps.components(), maps.sizes),
    }
    if maps.assignments:
        figures["attention/by_level"] = levels_figure(maps.by_level())
        figures["attention/fine_to_coarse"] = fine_to_coarse_figure(
            *maps.fine_to_coarse(), maps.assignments[0]
        )
    return figures
