from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from roma_pyg.config import EffectiveConfig, PoolConfig
from roma_pyg.models.forecast import RomaForecaster
from roma_pyg.models.make import KINDS, make_model
from roma_pyg.models.rivals.slices import SliceAttention
from roma_pyg.training.restore import from_dict

RIVALS = [kind for kind in KINDS if kind != "roma"]
rivals = pytest.mark.parametrize("kind", RIVALS)


def rival(tiny, kind, seed=0, **changes):
    torch.manual_seed(seed)
    config = replace(tiny.config(), kind=kind, **changes)
    model = make_model(config, tiny.data())
    model.fit_statistics(tiny.batch(2, seed=100 + i) for i in range(4))
    return model.eval()


@pytest.mark.parametrize("trunk", ["deeponet", "nomad"])
@rivals
def test_forecasts_the_core_on_one_level(tiny, kind, trunk):
    changes = {"trunk": replace(tiny.config().trunk, kind=trunk)}
    model, batch = rival(tiny, kind, **changes), tiny.batch(2)
    output = model(batch)
    (level,) = output.levels
    assert level.prediction.shape == (2, 12, 4)
    assert torch.equal(level.target.flatten(0, 1), batch.target)
    assert output.penalties == {}
    torch.testing.assert_close(model.forecast_fine(batch), level.prediction)


@rivals
def test_every_parameter_learns(tiny, kind):
    model, batch = rival(tiny, kind).train(), tiny.batch(2)
    (model(batch).levels[0].prediction - batch.target.view(2, 12, 4)).square().sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # The mean over all graphs does not change with what softmax takes out, a bias of all keys.
    assert idle == []


@rivals
def test_subgraphs_of_a_batch_do_not_see_each_other(tiny, kind):
    model, batch = rival(tiny, kind), tiny.batch(2, seed=3)
    sender, receiver = batch.edge_index
    halo_of_first = sender[(receiver < 12) & (sender >= 24)].unique()
    other = torch.ones(len(batch.window), dtype=torch.bool)
    other[:12] = False
    other[halo_of_first] = False
    window = torch.where(other[:, None], torch.rand_like(batch.window), batch.window)
    changed = model.forecast_fine(replace(batch, window=window))
    before = model.forecast_fine(batch)
    torch.testing.assert_close(changed[0], before[0])
    assert not torch.allclose(changed[1], before[1])


def token_change(model, batch, node, neighbour):
    """How far a token moves with the window of another node."""
    window = batch.window.clone()
    window[neighbour] = torch.rand(model.data.window)
    before = model.represent(batch).branch[0, node]
    return (model.represent(replace(batch, window=window)).branch[0, node] - before).abs().max()


@pytest.mark.parametrize(
    ("kind", "near", "far"),
    [
        ("tokenwise", False, False),
        ("recurrent", True, False),
        ("message_passing", True, True),
        ("mesh", True, True),
        ("gps", True, True),
        ("slices", True, True),
    ],
)
@pytest.mark.parametrize("compand", [0.0, 0.05])
def test_how_far_a_node_sees(tiny, kind, near, far, compand):
    """Two layers of message passing reach two edges far, attention everywhere."""
    model, batch = rival(tiny, kind, compand=compand), tiny.batch()
    edges = batch.edge_index[:, batch.edge_index[0] < 12]
    reach = torch.zeros(12, 12, dtype=torch.bool)
    reach[edges[1], edges[0]] = True
    two = (reach.float() @ reach.float() > 0) & ~reach & ~torch.eye(12, dtype=torch.bool)
    (node, one), (center, second) = reach.nonzero()[0].tolist(), two.nonzero()[0].tolist()
    assert (token_change(model, batch, node, one) > 1e-6) == near
    assert (token_change(model, batch, center, second) > 1e-6) == far


@rivals
def test_forecasts_a_whole_graph(tiny, kind):
    forecaster = RomaForecaster(rival(tiny, kind), tiny.graph(), tiny.position(), name=kind)
    result = forecaster.forecast(tiny.values(30, 5), tiny.graph())
    assert forecaster.name == kind
    assert result.shape == (30, 4)
    assert np.isfinite(result).all()
    with pytest.raises(ValueError, match="coarse levels"):
        forecaster.hierarchy(tiny.values(30, 5))


@pytest.mark.parametrize("law", ["emergent", "burgers"])
@rivals
def test_learns_an_effective_law(tiny, kind, law):
    model = rival(tiny, kind, effective=EffectiveConfig(kind=law, times=1)).train()
    residuals = model(tiny.batch()).residuals
    assert set(residuals) == {"residual/0", "residual_gradient/0", "unexplained/0"}
    residuals["residual/0"].backward()
    assert model.features.weight.grad.any()


@rivals
def test_the_same_seed_gives_the_same_model(tiny, kind):
    batch = tiny.batch()
    first, second = (rival(tiny, kind).forecast_fine(batch) for _ in range(2))
    assert torch.equal(first, second)


def test_what_all_nodes_have_in_common_does_not_hide_their_differences(tiny):
    """Large biases of GraphGPS layers drown the tokens behind layer norms."""
    model, batch = rival(tiny, "gps"), tiny.batch(2)
    before = model.represent(batch).branch
    with torch.no_grad():
        for layer in model.layers:
            layer.conv.bias.copy_(100 * torch.randn_like(layer.conv.bias))
            layer.mlp[3].bias.copy_(100 * torch.randn_like(layer.mlp[3].bias))
    torch.testing.assert_close(model.represent(batch).branch, before, rtol=1e-2, atol=1e-2)


def test_slice_attention_is_attention_among_means_of_slices():
    """With weights that put each node into one slice, as with plain group means."""
    torch.manual_seed(0)
    block = SliceAttention(4, 1, slices=2).double()
    with torch.no_grad():
        for linear in (block.weigh, block.value, block.output):
            linear.weight.copy_(torch.eye(4))
            linear.bias.zero_()
        block.slice.weight.copy_(torch.tensor([[1e3, 0, 0, 0], [-1e3, 0, 0, 0]]))
        block.slice.bias.zero_()
        block.mlp[3].weight.zero_()
        block.mlp[3].bias.zero_()
    tokens = torch.randn(1, 6, 4, dtype=torch.double)
    normed = block.norm(tokens)[0]
    group = (normed[:, 0] < 0).long()
    means = torch.stack([normed[group == k].mean(0) for k in (0, 1)])
    query, key, value = block.query_key_value(means).chunk(3, dim=-1)
    mixed = (query @ key.T / 2).softmax(-1) @ value
    torch.testing.assert_close(block(tokens), tokens + mixed[group], atol=1e-4, rtol=1e-4)


def test_orthogonal_initialization(tiny):
    torch.manual_seed(0)
    model = make_model(replace(tiny.config(), initialization="orthogonal"), tiny.data())
    for name, weight in model.named_parameters():
        if name.endswith("output.weight") and weight.ndim == 2:
            rows, columns = weight.shape
            gram = weight @ weight.T if rows <= columns else weight.T @ weight
            torch.testing.assert_close(gram, torch.eye(len(gram)), atol=1e-5, rtol=0)


def test_louvain_supernodes_have_nothing_to_learn(tiny):
    torch.manual_seed(0)
    config = replace(tiny.config(), pool=PoolConfig(sizes=[4, 3], select="louvain"))
    model = make_model(config, tiny.data())
    model.fit_statistics(tiny.batch(2, seed=100 + i) for i in range(4))
    assert not [name for name, _ in model.named_parameters() if "select" in name]
    output = model(tiny.batch(2))
    shares = output.levels[1].assignment
    assert shares.shape == (2, 12, 4)
    # Every node is in one supernode, whose members have equal shares.
    assert torch.equal((shares > 1e-6).sum(-1), torch.ones(2, 12, dtype=torch.long))
    torch.testing.assert_close(shares.sum(1), torch.ones(2, 4))
    forecaster = RomaForecaster(model, tiny.graph(), tiny.position())
    with pytest.raises(ValueError, match="learned supernodes"):
        forecaster.hierarchy(tiny.values(30, 5))


def test_configurations_survive_dictionaries(tiny):
    from dataclasses import asdict

    config = replace(tiny.config(), kind="gps")
    assert from_dict(type(config), asdict(config)) == config
