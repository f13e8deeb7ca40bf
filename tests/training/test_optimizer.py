from __future__ import annotations

import torch
from torch import nn

from roma_pyg.training.optimizer import decay_groups, make_optimizer


class Mixed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 4)
        self.norm = nn.LayerNorm(4)
        self.table = nn.Embedding(5, 3)
        self.index_embedding = nn.Parameter(torch.randn(1, 7, 4))
        self.embedding = nn.Linear(4, 4, bias=False)
        self.temperature = nn.Parameter(torch.tensor(1.0))
        self.frozen = nn.Parameter(torch.randn(2, 2), requires_grad=False)


def names(model, group):
    known = {id(p): name for name, p in model.named_parameters()}
    return {known[id(p)] for p in group["params"]}


def test_only_matrices_of_linear_maps_decay():
    model = Mixed()
    decayed, free = decay_groups(model, 0.3)
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.3, 0.0)
    assert names(model, decayed) == {"linear.weight", "embedding.weight"}
    assert names(model, free) == {
        "linear.bias",
        "norm.weight",
        "norm.bias",
        "table.weight",
        "index_embedding",
        "temperature",
    }


def test_shared_parameters_appear_once():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
    model[1].weight = model[0].weight
    assert sum(len(group["params"]) for group in decay_groups(model, 0.1)) == 3


def test_a_step_without_gradient_signal_shrinks_matrices_only():
    model = nn.Linear(2, 2)
    nn.init.ones_(model.weight)
    nn.init.ones_(model.bias)
    optimizer = make_optimizer(model, learning_rate=0.1, weight_decay=0.5)
    (0 * (model.weight.sum() + model.bias.sum())).backward()
    optimizer.step()
    # Decoupled decay: w <- w (1 - learning_rate * decay).
    assert torch.allclose(model.weight, torch.full((2, 2), 0.95))
    assert torch.equal(model.bias, torch.ones(2))
