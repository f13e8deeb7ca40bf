"""Named sets of options: how a model is trained, whatever its size and data."""

from __future__ import annotations

from collections.abc import Mapping

RECIPES: dict[str, dict[str, str]] = {
    "roma": {},
    # Gabriel, Johnson & Karniadakis (arXiv:2502.15913), as far as the text says.
    "published": {
        "data.memory.size": "0",
        "data.walk_length": "16",
        "model.base": "none",
        "model.compand": "0.0",
        "model.initialization": "orthogonal",
        "model.operator.history": "0",
        "model.pool.sizes": "[64]",
        "model.pool.entropy": "1.0",
        "model.pool.edge_entropy": "0.001",
        "model.pool.link": "100.0",
        "model.trunk.fourier_std": "0.01",
        "model.effective.residual": "1.0",
        "model.effective.residual_gradient": "1e8",
        "model.effective.weighting": "fixed",
        "training.optimizer": "adamw",
        "training.learning_rate": "2e-5",
        "training.schedule": "linear",
        "training.average": "0.0",
        "training.coarse_weight": "1.0",
        "training.squared_error": "0.0",
        "training.horizon_weights": "false",
    },
}
"""Options by the name of the recipe; ``roma`` are the defaults."""


def expand(assignments: Mapping[str, str]) -> dict[str, str]:
    """Put the options of a recipe in the place of its name; options beside the name win.

    Args:
        assignments: Options by dotted name, maybe with ``recipe``.

    Raises:
        ValueError: If there is no such recipe.

    >>> some = expand({"recipe": "published", "training.learning_rate": "1e-3"})
    >>> some["recipe"], some["training.optimizer"], some["training.learning_rate"]
    ('published', 'adamw', '1e-3')
    """
    name = assignments.get("recipe")
    if name is None:
        return dict(assignments)
    if name not in RECIPES:
        raise ValueError(f"Expected 'recipe' to be one of {', '.join(RECIPES)} (got {name!r}).")
    return {**RECIPES[name], **assignments}
