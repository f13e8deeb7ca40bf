from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from roma_pyg.config import OperatorConfig
from roma_pyg.models.level import Level
from roma_pyg.models.tokens import TokenEmbedding

WINDOW, SIZES, FEATURES, WIDTH = 3, [6, 4, 2], 5, 8


def embedding(**options):
    torch.manual_seed(0)
    return TokenEmbedding(WINDOW, SIZES, FEATURES, OperatorConfig(width=WIDTH, heads=2, **options))


def given(sizes=SIZES, graphs=2):
    """Levels and their windows."""
    torch.manual_seed(1)
    none = torch.empty(0)
    levels = [
        Level(
            points=none,
            features=torch.randn(graphs, n, FEATURES),
            lags=none,
            edge_index=none,
            edge_weight=none,
        )
        for n in sizes
    ]
    return levels, [torch.rand(graphs, n, 2 * WINDOW) for n in sizes]


def test_token_is_the_sum_of_its_parts():
    module = embedding(fine_index=0.5, coarse_index=2.0)
    module.standardize(torch.rand(50, WINDOW) ** 2)
    parts = []
    for number, (level, windows) in enumerate(zip(*given(), strict=True)):
        scale = 0.5 if number == 0 else 2.0
        table = module.get_parameter(f"index.{number}.weight")
        position = scale * table + module.get_parameter("level.weight")[number]
        direct = module.window((windows - module.mean) / module.std)
        parts.append(module.lifting(windows) + module.context(level.features) + direct + position)
    tokens = module(*given())
    assert tokens.shape == (2, 12, WIDTH)
    torch.testing.assert_close(tokens, torch.cat(parts, dim=1))


def test_a_model_gives_windows_per_unit_of_mass(tiny):
    """Lags and masses of all levels ten times as large: the same tokens."""
    model = tiny.model()
    levels, _ = model.hierarchy(model.encode(tiny.batch(2)))
    tokens = model.attend(levels)
    larger = [replace(level, lags=10 * level.lags, mass=10 * level.mass) for level in levels]
    torch.testing.assert_close(model.attend(larger), tokens)


def test_context_is_normalised():
    context = embedding().context(torch.randn(3, FEATURES))
    torch.testing.assert_close(context.mean(-1), torch.zeros(3), rtol=0, atol=1e-6)
    torch.testing.assert_close(context.var(-1, correction=0), torch.ones(3), rtol=1e-2, atol=0)


@pytest.mark.parametrize(
    ("options", "absent"),
    [
        ({"context": False}, "context"),
        ({"window": False}, "window"),
        ({"level_embedding": False}, "level"),
        ({"fine_index": 0.0}, "index.0"),
        ({"coarse_index": 0.0}, "index.1"),
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
    module(*given()).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in module.parameters())


def test_smaller_fine_level_takes_the_first_indices():
    module = embedding()
    levels, windows = given()
    tokens = module(levels, windows)
    levels[0] = replace(levels[0], features=levels[0].features[:, :3])
    smaller = module(levels, [windows[0][:, :3], *windows[1:]])
    torch.testing.assert_close(smaller[:, :3], tokens[:, :3])
    assert smaller.shape == (2, 9, WIDTH)


def test_larger_fine_level_needs_an_index_for_each_node():
    with pytest.raises(
        ValueError, match=r"at most 6 tokens on level 0 \(got 7\): data.nodes_per_graph"
    ):
        embedding()(*given(sizes=[7, 4, 2]))
    assert embedding(fine_index=0.0)(*given(sizes=[7, 4, 2])).shape == (2, 13, WIDTH)
