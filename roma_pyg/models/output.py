"""What ROMA returns: one forecast per level, and the penalties of the coarse graining."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor


@dataclass
class LevelForecast:
    """Forecast of one level; level 0 is the graph itself.

    Attributes:
        prediction: Forecast of every token, shape ``(G, n, Q)``, in units of the observable.
            On coarse levels the observable is ``S^T y n / m``.
        target: The value to forecast, same shape, or None where it is unknown.
        assignment: Matrix S that made this level from the finer one, shape
            ``(G, n_finer, n)``; its columns sum to one. None on level 0.
        importance: Weight of each token in the loss, shape ``(G, n)``; None for one.
    """

    prediction: Tensor
    target: Tensor | None = None
    assignment: Tensor | None = None
    importance: Tensor | None = None


@dataclass
class RomaOutput:
    """Result of one forward pass.

    Attributes:
        levels: Forecasts from fine to coarse.
        penalties: Unweighted scalars by name: ``entropy/l``, ``edge_entropy/l``, ``link/l``,
            ``modularity/l``.
        residuals: Unweighted scalars of the effective law by name: ``residual/l``,
            ``residual_gradient/l`` and ``unexplained/l``; empty without one.
    """

    levels: list[LevelForecast]
    penalties: dict[str, Tensor] = field(default_factory=dict)
    residuals: dict[str, Tensor] = field(default_factory=dict)
