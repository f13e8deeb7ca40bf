"""What every forecasting method looks like from outside."""

from __future__ import annotations

from typing import Literal, Protocol, get_args, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.graph import Graph, IntArray

Group = Literal["naive", "baseline", "model", "ceiling"]


@runtime_checkable
class Forecaster(Protocol):
    """A method that forecasts the next ``horizon`` samples of nodes of a graph.

    A class may also have an attribute ``group``, see :func:`group_of`, and
    ``knows_training_times``, if it was fitted on the series of held-out nodes: it is then scored at
    held-out times only; or a method ``at(time)``, which returns the forecaster to use at a time,
    without what it knows of the future of that time.
    """

    @property
    def name(self) -> str:
        """Short unique name used in tables."""
        ...

    @property
    def horizon(self) -> int:
        """Number of samples forecast directly."""
        ...

    def forecast(
        self, history: NDArray[np.float32], graph: Graph, nodes: IntArray | None = None
    ) -> NDArray[np.float32]:
        """Forecast from the last samples of every node.

        Args:
            history: Last K samples of all N nodes, shape ``(N, K)``, oldest first.
            graph: The graph of the N nodes.
            nodes: Nodes whose forecast is wanted, shape ``(n,)``; all if None.

        Returns:
            Forecast of the next samples, shape ``(n, horizon)``.
        """
        ...


def group_of(forecaster: Forecaster) -> Group:
    """What a method counts as when skill is computed.

    ``naive``: persistence, linear extrapolation and ridge; ``baseline``: other methods to beat,
    such as the MLP; ``ceiling``: uses knowledge that no method has; ``model``: everything else.

    Raises:
        ValueError: If the method names an unknown group.
    """
    group: Group = getattr(forecaster, "group", "model")
    if group not in get_args(Group):
        raise ValueError(
            f"Expected 'group' of '{forecaster.name}' to be one of {get_args(Group)} "
            f"(got {group!r})."
        )
    return group
