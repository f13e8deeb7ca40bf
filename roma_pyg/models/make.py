"""The model of a configuration."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from roma_pyg.config import DataConfig, ModelConfig
from roma_pyg.models.graph_operator import GraphOperator
from roma_pyg.models.rivals import (
    GraphGPS,
    MeshGraphNet,
    MessagePassingOperator,
    RecurrentOperator,
    TokenwiseOperator,
    Transolver,
)
from roma_pyg.models.roma import Roma
from roma_pyg.reading import available_memory

KINDS: dict[str, type[GraphOperator]] = {
    "roma": Roma,
    "tokenwise": TokenwiseOperator,
    "message_passing": MessagePassingOperator,
    "recurrent": RecurrentOperator,
    "mesh": MeshGraphNet,
    "gps": GraphGPS,
    "slices": Transolver,
}


def make_model(config: ModelConfig, data: DataConfig) -> GraphOperator:
    """Make the model that ``config.kind`` names, from torch's current random state.

    Args:
        config: Kind and sizes.
        data: Window, horizon, subgraph size and number of positional features.

    Raises:
        ValueError: If the model does not fit in memory.

    Example:
        >>> make_model(ModelConfig(kind="gps"), DataConfig()).num_parameters > 1e5
        True
    """
    if torch.empty(0).device.type != "meta":
        _check_room(config, data)
    model = KINDS[config.kind](config, data)
    if config.initialization == "orthogonal":
        for module in model.modules():
            if isinstance(module, nn.Linear) and module.weight.device.type != "meta":
                nn.init.orthogonal_(module.weight)
    return model


def model_shapes(config: ModelConfig, data: DataConfig) -> dict[str, Tensor]:
    """State of a model without its numbers, as tensors on torch's device ``meta``.

    Args:
        config: Kind and sizes.
        data: Window, horizon, subgraph size and number of positional features.
    """
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return make_model(config, data).state_dict()


def _check_room(config: ModelConfig, data: DataConfig) -> None:
    """Refuse a model that is larger than the memory, before it is made."""
    size = sum(tensor.nbytes for tensor in model_shapes(config, data).values())
    if size > available_memory():
        raise ValueError(
            f"Expected a model that fits in memory, {available_memory() / 1e9:.3g} GB free (got "
            f"{size / 1e9:.3g} GB): choose smaller widths in 'model', or a shorter 'data.window' "
            "and 'data.horizon'."
        )
