"""ROMA: neural operators that learn dynamics on graphs together with how they coarse-grain.

From a trained run to a forecast and to the learned supernodes::

    import roma_pyg

    model = roma_pyg.load("runs/quickstart")
    series = roma_pyg.load_series(model.data)
    forecast = model.forecast(series, horizon=64)  # (N, 64)
    supernodes = model.supernodes(series).labels(level=1)  # (N,)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from roma_pyg.__about__ import __version__

if TYPE_CHECKING:
    from roma_pyg.analysis.evaluation import evaluate
    from roma_pyg.config import RunConfig
    from roma_pyg.data.graph import Graph
    from roma_pyg.data.load import load_series
    from roma_pyg.data.series import GraphSeries
    from roma_pyg.data.store import open_store as open_series
    from roma_pyg.models.forecast import RomaForecaster
    from roma_pyg.models.roma import Roma
    from roma_pyg.options.parser import load_config
    from roma_pyg.training.restore import load
    from roma_pyg.training.run import evaluate_run, train

_HOME = {
    "Graph": "roma_pyg.data.graph",
    "GraphSeries": "roma_pyg.data.series",
    "Roma": "roma_pyg.models.roma",
    "RomaForecaster": "roma_pyg.models.forecast",
    "RunConfig": "roma_pyg.config",
    "evaluate": "roma_pyg.analysis.evaluation",
    "evaluate_run": "roma_pyg.training.run",
    "load": "roma_pyg.training.restore",
    "load_config": "roma_pyg.options.parser",
    "load_series": "roma_pyg.data.load",
    "open_series": "roma_pyg.data.store:open_store",
    "train": "roma_pyg.training.run",
}

__all__ = [
    "Graph",
    "GraphSeries",
    "Roma",
    "RomaForecaster",
    "RunConfig",
    "__version__",
    "evaluate",
    "evaluate_run",
    "load",
    "load_config",
    "load_series",
    "open_series",
    "train",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Import a public name when it is first used: the command line answers before torch loads."""
    if name not in _HOME:
        raise AttributeError(f"module 'roma_pyg' has no attribute {name!r}")
    module, _, attribute = _HOME[name].partition(":")
    return getattr(import_module(module), attribute or name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
