"""Models of equal size: the width that gives a model a wanted number of parameters."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace

import torch

from roma_pyg.config import DataConfig, ModelConfig
from roma_pyg.models.make import make_model

TOLERANCE = 0.05
_counts: dict[str, int] = {}


def count_parameters(model: ModelConfig, data: DataConfig) -> int:
    """Trained numbers of a model, without making it."""
    # Even without memory, making a model takes a while, and every run of an experiment asks.
    shape = (data.window, data.horizon, data.num_features, data.nodes_per_graph)
    key = json.dumps([asdict(model), asdict(data.memory), shape])
    if key not in _counts:
        with torch.device("meta"):
            _counts[key] = make_model(model, data).num_parameters
    return _counts[key]


def match_parameters(model: ModelConfig, data: DataConfig, target: int) -> ModelConfig:
    """Choose ``operator.width`` such that the model has about ``target`` parameters.

    Args:
        model: Kind and sizes; its width does not matter.
        data: Window, horizon, subgraph size and number of positional features.
        target: Wanted number of parameters.

    Returns:
        The model, with a multiple of ``operator.heads`` as width.

    Raises:
        ValueError: If no width comes within 5 % of the target.
    """

    def with_width(units: int) -> ModelConfig:
        width = units * model.operator.heads
        return replace(model, operator=replace(model.operator, width=width))

    return with_width(_search(with_width, data, target))


def _search(with_width: Callable[[int], ModelConfig], data: DataConfig, target: int) -> int:
    """Number of channels per head that comes closest."""
    low, high = 1, 2
    while count_parameters(with_width(high), data) < target:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        if count_parameters(with_width(middle), data) < target:
            low = middle
        else:
            high = middle
    counts = {units: count_parameters(with_width(units), data) for units in (low, high)}
    best = min(counts, key=lambda units: abs(counts[units] - target))
    if abs(counts[best] / target - 1) > TOLERANCE:
        raise ValueError(
            f"Expected a width with which '{with_width(best).kind}' has {target:,} parameters "
            f"within {TOLERANCE:.0%} (got {counts[best]:,} at best): change its layers, heads or "
            "trunk."
        )
    return best
