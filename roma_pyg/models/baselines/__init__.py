"""Simple forecasts that a model has to beat: one file per method."""

from roma_pyg.models.baselines.fit import fit_baselines
from roma_pyg.models.baselines.linear import LinearExtrapolation
from roma_pyg.models.baselines.mlp import MLP
from roma_pyg.models.baselines.node_ridge import NodeRidge
from roma_pyg.models.baselines.persistence import Persistence
from roma_pyg.models.baselines.ridge import Ridge

__all__ = ["MLP", "LinearExtrapolation", "NodeRidge", "Persistence", "Ridge", "fit_baselines"]
