"""AdamW with weight decay on matrices only."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import AdamW


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Split trainable parameters into decayed matrices and everything else.

    Decay pulls weights towards zero, which only makes sense for linear maps. Biases, the scales
    of norms and scalars have at most one axis; embedding tables (``nn.Embedding``, or a parameter
    with ``embedding`` in its own name) hold one vector per index. None of those is decayed.

    Args:
        model: Any module.
        weight_decay: Decay of the matrices, non-negative.

    Returns:
        Two groups for an optimiser: decayed and not decayed. Shared parameters appear once.

    >>> groups = decay_groups(nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3)), 0.1)
    >>> [(group["weight_decay"], len(group["params"])) for group in groups]
    [(0.1, 1), (0.0, 3)]
    """
    tables = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, nn.Embedding | nn.EmbeddingBag)
        for parameter in module.parameters(recurse=False)
    }
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        own_name = name.rsplit(".", 1)[-1]
        table = id(parameter) in tables or "embedding" in own_name
        (free if parameter.ndim < 2 or table else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": free, "weight_decay": 0.0},
    ]


def make_optimizer(model: nn.Module, learning_rate: float, weight_decay: float) -> AdamW:
    """Return AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) over :func:`decay_groups`."""
    return AdamW(decay_groups(model, weight_decay), lr=learning_rate)
