"""The model of a configuration."""

from __future__ import annotations

from torch import nn

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

    Example:
        >>> make_model(ModelConfig(kind="gps"), DataConfig()).num_parameters > 1e5
        True
    """
    model = KINDS[config.kind](config, data)
    if config.initialization == "orthogonal":
        for module in model.modules():
            if isinstance(module, nn.Linear) and module.weight.device.type != "meta":
                nn.init.orthogonal_(module.weight)
    return model
