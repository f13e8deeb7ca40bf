from __future__ import annotations

import pytest
import torch

from roma_pyg.config import OperatorConfig
from roma_pyg.models.history import HistoryNetwork
from roma_pyg.models.level import Level

FEATURES, WINDOW, WIDTH = 5, 3, 8


def network(**options) -> HistoryNetwork:
    torch.manual_seed(0)
    return HistoryNetwork(WINDOW, FEATURES, OperatorConfig(width=WIDTH, heads=2, **options))


def level(nodes=6, graphs=2):
    torch.manual_seed(1)
    none = torch.empty(0)
    return Level(none, torch.randn(graphs, nodes, FEATURES), none, none, none)


def test_shapes_and_the_sum():
    module, given = network(), level()
    windows = torch.randn(2, 6, WINDOW)
    result = module(given, windows)
    assert result.history.shape == (2, 6, 2 * WIDTH)
    torch.testing.assert_close(result.features, given.features + module.features(result.history))
    assert given.history is None


def test_the_history_of_a_node_is_its_own():
    module, given = network(), level()
    windows = torch.randn(2, 6, WINDOW)
    other = windows.clone()
    other[0, 2] += 1
    change = (module(given, other).history - module(given, windows).history).abs().sum(-1)
    assert change[0, 2] > 0
    change[0, 2] = 0
    assert not change.any()


@pytest.mark.parametrize("context", [True, False])
def test_without_context_it_sees_windows_alone(context):
    """Or the ablations of positions would see them through it."""
    module, windows = network(context=context), torch.randn(2, 6, WINDOW)
    given = level()
    before = module(given, windows).history
    given.features = torch.randn_like(given.features)
    assert torch.equal(module(given, windows).history, before) == (not context)


@pytest.mark.parametrize("history", [-1, 1001])
def test_bad_numbers_of_blocks_are_refused(history):
    with pytest.raises(ValueError, match=r"operator\.history"):
        OperatorConfig(history=history)


def test_a_bad_onset_is_refused():
    with pytest.raises(ValueError, match=r"operator\.onset"):
        OperatorConfig(onset=-0.1)
