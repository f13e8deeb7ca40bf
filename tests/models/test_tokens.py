from __future__ import annotations

import pytest
import torch

from roma_pyg.config import OperatorConfig
from roma_pyg.models.level import Level
from roma_pyg.models.tokens import TokenEmbedding

WINDOW, SIZES, FEATURES, WIDTH = 3, [6, 4, 2], 5, 8


def embedding(**options):
    torch.manual_seed(0)
    return TokenEmbedding(WINDOW, SIZES, FEATURES, OperatorConfig(width=WIDTH, heads=2, **options))


def levels(sizes=SIZES, masses=(1.0, 1.5, 3.0), graphs=2):
    torch.manual_seed(1)
    none = torch.empty(0)
    return [
        Level(
            points=none,
            features=torch.randn(graphs, n, FEATURES),
            lags=mass * torch.rand(graphs, n, 2 * WINDOW),
            edge_index=none,
            edge_weight=none,
            mass=mass,
            history=torch.randn(graphs, n, 2 * WIDTH),
        )
        for n, mass in zip(sizes, masses, strict=True)
    ]


def test_token_is_the_sum_of_its_parts():
    module, given = embedding(fine_index=0.5, coarse_index=2.0), levels()
    parts = []
    for number, level in enumerate(given):
        scale = 0.5 if number == 0 else 2.0
        table = module.get_parameter(f"index.{number}.weight")
        position = scale * table + module.get_parameter("level.weight")[number]
        parts.append(
            module.lifting(level.lags / level.mass)
            + module.context(level.features)
            + module.history(level.history)
            + position
        )
    tokens = module(given)
    assert tokens.shape == (2, 12, WIDTH)
    torch.testing.assert_close(tokens, torch.cat(parts, dim=1))


def test_lifting_sees_means_and_not_sums():
    module, given = embedding(), levels()
    scaled = levels(masses=(10.0, 15.0, 30.0))
    torch.testing.assert_close(module(scaled), module(given))


def test_context_is_normalised():
    context = embedding().context(torch.randn(3, FEATURES))
    torch.testing.assert_close(context.mean(-1), torch.zeros(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(context.var(-1, correction=0), torch.ones(3), rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("options", "absent"),
    [
        ({"context": False}, "context"),
        ({"level_embedding": False}, "level"),
        ({"fine_index": 0.0}, "index.0"),
        ({"coarse_index": 0.0}, "index.1"),
        ({"history": 0}, "history"),
    ],
)
def test_ablations_have_no_parameters(options, absent):
    full = {name for name, _ in embedding().named_parameters()}
    module = embedding(**options)
    names = {name for name, _ in module.named_parameters()}
    missing = full - names
    assert missing
    prefixes = (absent + ".", "index.2.") if absent == "index.1" else (absent + ".",)
    assert all(name.startswith(prefixes) for name in missing)
    module(levels()).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())


def test_smaller_fine_level_takes_the_first_indices():
    module, given = embedding(), levels()
    small = levels()
    small[0].features = small[0].features[:, :3]
    small[0].lags = small[0].lags[:, :3]
    small[0].history = small[0].history[:, :3]
    torch.testing.assert_close(module(small)[:, :3], module(given)[:, :3])
    assert module(small).shape == (2, 9, WIDTH)


def test_larger_fine_level_needs_an_index_for_each_node():
    with pytest.raises(
        ValueError, match=r"at most 6 tokens on level 0 \(got 7\): data.nodes_per_graph"
    ):
        embedding()(levels(sizes=[7, 4, 2]))
    assert embedding(fine_index=0.0)(levels(sizes=[7, 4, 2])).shape == (2, 13, WIDTH)
