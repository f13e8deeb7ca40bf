from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from roma_pyg.config import PositionalConfig
from roma_pyg.data.graph import Graph
from roma_pyg.data.series import GraphSeries
from roma_pyg.models.forecast import RomaForecaster

VARIANTS = {
    "default": {},
    "nomad": {"kind": "nomad"},
    "euclidean": {"geometry": "euclidean"},
    "no base": {"base": "none"},
    "persistence": {"base": "persistence"},
    "relative": {"correction": "relative"},
    "plain windows": {"compand": 0.0},
    "no history": {"history": 0},
    "onset": {"onset": 0.1},
    "nomad with onset": {"kind": "nomad", "onset": 0.1},
    "no pooling": {"sizes": ()},
    "one supernode": {"sizes": (3, 1)},
    "two supernodes": {"sizes": (2,)},
    "index only": {"context": False, "level_embedding": False},
    "no index": {"fine_index": 0.0, "coarse_index": 0.0},
}
variants = pytest.mark.parametrize("variant", VARIANTS)


def loss(output, smspe):
    data = sum(smspe(level.prediction, level.target).mean() for level in output.levels)
    return data + 0.1 * sum(output.penalties.values(), torch.zeros(()))


def permuted(batch, order):
    """The same subgraph with its core nodes in another order."""
    count = batch.num_core
    new = torch.cat([order, torch.arange(count, len(batch.window))])
    place = torch.argsort(new)
    receiver = place[batch.edge_index[1]]
    edges = receiver.argsort(stable=True)
    return replace(
        batch,
        window=batch.window[new],
        features=batch.features[new],
        edge_index=torch.stack([place[batch.edge_index[0]], receiver])[:, edges],
        edge_weight=batch.edge_weight[edges],
        node_id=batch.node_id[order],
        target=batch.target[order],
        importance=batch.importance[order],
    )


@variants
def test_shapes_targets_and_names(tiny, variant):
    model, batch = tiny.model(**VARIANTS[variant]), tiny.batch(2)
    output = model(batch)
    sizes = [12, *model.config.pool.sizes]
    target = batch.target.view(2, 12, 4)
    assert [level.prediction.shape for level in output.levels] == [(2, n, 4) for n in sizes]
    for finer, level in zip(sizes[:1] + sizes, output.levels, strict=False):
        if level.assignment is not None:
            assert level.assignment.shape[:2] == (2, finer)
            columns = level.assignment.sum(1)
            torch.testing.assert_close(columns, torch.ones_like(columns))
            n, m = level.assignment.shape[1:]
            target = level.assignment.mT @ target * n / m
        torch.testing.assert_close(level.target, target)
        assert level.prediction.isfinite().all()
        assert (level.prediction >= 0).all()
    names = [f"{name}/{i}" for i in range(1, len(sizes)) for name in _PENALTIES]
    assert list(output.penalties) == names
    torch.testing.assert_close(output.levels[0].importance, batch.importance.view(2, 12))
    assert all(level.importance is None for level in output.levels[1:])


_PENALTIES = ("entropy", "edge_entropy", "link", "modularity")


@variants
def test_every_parameter_gets_a_gradient(tiny, smspe, variant):
    model = tiny.model(**VARIANTS[variant]).train()
    loss(model(tiny.batch(2)), smspe).backward()
    missing = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []
    assert all(p.grad.isfinite().all() for p in model.parameters())


@variants
def test_gradient_of_the_loss_equals_finite_differences(tiny, smspe, variant):
    """In float64, along a random direction in the parameters of every part of the model."""
    model, batch = tiny.model(**VARIANTS[variant]).double(), tiny.double(tiny.batch(2))
    # Small enough not to step over a kink: maxima are piecewise smooth.
    h = 1e-6
    loss(model(batch), smspe).backward()
    generator = torch.Generator().manual_seed(0)
    for name, part in model.named_children():
        slope, start, shifts = 0.0, [], []
        for parameter in part.parameters():
            shift = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            slope += (parameter.grad * shift).sum().item()
            start.append(parameter.detach().clone())
            shifts.append(h * shift)
        values = []
        for sign in (1, -1, 0):
            with torch.no_grad():
                for parameter, x, shift in zip(part.parameters(), start, shifts, strict=True):
                    parameter.copy_(x + sign * shift)
                values.append(loss(model(batch), smspe).item())
        expected = (values[0] - values[1]) / (2 * h)
        assert slope == pytest.approx(expected, rel=1e-4, abs=1e-8), name


@variants
def test_two_graphs_are_each_alone(tiny, variant):
    model, both = tiny.model(**VARIANTS[variant]).double(), tiny.double(tiny.batch(2))
    outputs = model(both)
    core, count = both.num_core // 2, both.num_core
    receiver, sender = both.edge_index[1], both.edge_index[0]
    for g in range(2):
        edges = receiver // core == g
        halo = sender[edges & (sender >= count)].unique()
        nodes = torch.cat([torch.arange(g * core, (g + 1) * core), halo])
        place = torch.full((len(both.window),), -1)
        place[nodes] = torch.arange(len(nodes))
        rows = slice(g * core, (g + 1) * core)
        alone = replace(
            both,
            window=both.window[nodes],
            features=both.features[nodes],
            edge_index=place[both.edge_index[:, edges]],
            edge_weight=both.edge_weight[edges],
            node_id=both.node_id[rows],
            target=both.target[rows],
            importance=both.importance[rows],
            num_graphs=1,
        )
        for one, level in zip(model(alone).levels, outputs.levels, strict=True):
            torch.testing.assert_close(one.prediction[0], level.prediction[g])
            torch.testing.assert_close(one.target[0], level.target[g])
            if level.assignment is not None:
                torch.testing.assert_close(one.assignment[0], level.assignment[g])


@pytest.mark.parametrize("variant", ["no index", "no pooling"])
def test_relabelling_core_nodes_permutes_the_forecast(tiny, variant):
    options = VARIANTS[variant] | {"fine_index": 0.0}
    model, batch = tiny.model(**options).double(), tiny.double(tiny.batch())
    order = torch.randperm(12)
    plain, other = model(batch), model(permuted(batch, order))
    fine, *coarse = zip(plain.levels, other.levels, strict=True)
    torch.testing.assert_close(fine[1].prediction, fine[0].prediction[:, order])
    for one, two in coarse:
        torch.testing.assert_close(two.prediction, one.prediction)
        torch.testing.assert_close(two.target, one.target)
    for name in ("entropy/1", "edge_entropy/2"):
        if name in plain.penalties:
            torch.testing.assert_close(plain.penalties[name], other.penalties[name])


def test_fine_index_breaks_the_symmetry(tiny):
    """The counterpart of the test above: it would pass for a model that ignores the order."""
    model, batch = tiny.model(fine_index=10.0), tiny.batch()
    order = torch.arange(12).flip(0)
    change = (
        model(permuted(batch, order)).levels[0].prediction
        - model(batch).levels[0].prediction[:, order]
    )
    assert change.abs().max() > 1e-4


@pytest.mark.parametrize("variant", ["default", "onset", "persistence", "relative", "no base"])
def test_forecast_is_the_base_and_a_scaled_correction(tiny, variant):
    """By hand: the length of ``base e + sigma operator``, on every level."""
    model, batch = tiny.model(**VARIANTS[variant]).double(), tiny.double(tiny.batch(2))
    levels, _ = model.hierarchy(model.encode(batch))
    tokens = model.attend(levels).split([level.num_nodes for level in levels], dim=1)
    coordinates = torch.tensor([[0.25, 0, 0, 0], [0.5, 0, 0, 0], [0.75, 0, 0, 0], [1, 0, 0, 0]])
    direction = torch.full((3,), 3**-0.5)
    for level, branch, forecast in zip(levels, tokens, model(batch).levels, strict=True):
        correction = model.operator(
            coordinates.double(), branch, level.features, start=model._start([level])
        )
        base = model.base(level.lags, batch.steps, level.mass)
        relative = model.base.slope * base / level.mass
        spread = (model.base.constant**2 + relative**2).sqrt()
        assert model.base.slope.any() == (variant == "relative")
        correction = correction * (level.mass * spread)[..., None]
        expected = (base[..., None] * direction + correction).square().sum(-1).sqrt()
        torch.testing.assert_close(forecast.prediction, expected, rtol=1e-5, atol=1e-6)
        gap = (forecast.prediction - base.abs()).abs()
        assert (gap <= correction.norm(dim=-1) + 1e-12).all()


def test_with_an_onset_the_nearest_steps_ask_the_own_history(tiny):
    """What attention adds weighs the less the nearer the step; without history there is none."""
    model, batch = tiny.model(onset=0.1), tiny.batch()
    levels, _ = model.hierarchy(model.encode(batch))
    branch = model.attend(levels)
    other = branch + torch.randn_like(branch)
    share = model.operator.onset(model._points(batch.steps))[:, 0].detach()

    def effect():
        one, two = (model.decode(levels, tokens, batch.steps)[0] for tokens in (branch, other))
        return (one - two).abs().mean((0, 1))

    found = effect()
    model.operator.onset = None
    ratio = found / effect()
    torch.testing.assert_close(ratio, share, rtol=0.3, atol=0)
    assert ratio[0] < ratio[1] < ratio[2] < ratio[3]
    assert tiny.model(onset=0.1, history=0).operator.onset is None


def test_without_correction_the_forecast_is_the_linear_base(tiny):
    model, batch = tiny.model().double(), tiny.double(tiny.batch())
    with torch.no_grad():
        model.operator.branch.weight.zero_()
        model.operator.branch.bias.zero_()
    own = batch.window[:12].numpy()
    neighbor = np.zeros_like(own)
    for (sender, receiver), weight in zip(batch.edge_index.T, batch.edge_weight, strict=True):
        neighbor[receiver] += float(weight) * batch.window[sender].numpy()
    weight = model.base.weight.numpy()
    base = np.concatenate([own, neighbor], 1) @ weight[:, :-1].T + weight[:, -1]
    levels = model(batch).levels
    forecast = levels[0].prediction[0].numpy(force=True)
    np.testing.assert_allclose(forecast, np.abs(base), rtol=1e-6)
    pooled = torch.from_numpy(base)[None]
    for level in levels[1:]:
        n, m = level.assignment.shape[1:]
        pooled = level.assignment.mT @ pooled * n / m
        torch.testing.assert_close(level.prediction, pooled.abs(), rtol=1e-6, atol=0)


def test_gradient_is_finite_where_the_forecast_vanishes(tiny):
    model, batch = tiny.model(base="none"), tiny.batch()
    with torch.no_grad():
        model.operator.branch.weight.zero_()
        model.operator.branch.bias.zero_()
    prediction = model(batch).levels[0].prediction
    assert not prediction.any()
    prediction.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def test_steps_and_targets_are_optional_parts(tiny):
    """Some steps ahead equal the same columns of all steps; without target there is none."""
    model = tiny.model()
    everything = model(tiny.batch()).levels[0].prediction
    some = model(tiny.batch(steps=(2, 4), target=False)).levels
    torch.testing.assert_close(some[0].prediction, everything[..., [1, 3]])
    assert all(level.target is None for level in some)
    torch.testing.assert_close(model.forecast_fine(tiny.batch()), everything)


def test_statistics_by_hand(tiny):
    batches = [tiny.batch(2, seed=seed) for seed in range(3)]
    model = tiny.model(fitted=False)
    model.fit_statistics(batches)
    own = torch.cat([batch.window[: batch.num_core] for batch in batches])
    torch.testing.assert_close(model.views.mean[0], own.mean())
    torch.testing.assert_close(model.views.std[0], own.std())
    companded = torch.asinh(own / 0.05) / math.asinh(1 / 0.05)
    torch.testing.assert_close(model.views.mean[1], companded.mean())
    torch.testing.assert_close(model.views.std[1], companded.std())
    functions = model.tokens.lifting.functions(own.flatten())
    torch.testing.assert_close(
        functions.mean(0), torch.zeros(functions.shape[1]), rtol=0, atol=1e-3
    )
    target = torch.cat([batch.target for batch in batches])
    lags = torch.cat([model._lags(batch) for batch in batches])
    weight = torch.cat([batch.importance for batch in batches])
    error = model.base(lags, torch.arange(1, 5)) - target
    expected = (weight @ error.square() / weight.sum()).sqrt()
    torch.testing.assert_close(model.base.scale, expected)
    assert (model.base.scale < target.std(0)).all()


def test_state_dict_round_trip(tiny):
    model, batch = tiny.model(), tiny.batch()
    other = tiny.model(seed=1, fitted=False)
    other.load_state_dict(model.state_dict())
    assert torch.equal(other(batch).levels[0].prediction, model(batch).levels[0].prediction)
    assert model.num_parameters == sum(p.numel() for p in other.parameters())


def test_seed_makes_the_model(tiny):
    one, two, three = (tiny.model(seed=seed, fitted=False).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], two[name]) for name in one)
    changed = [name for name in one if not torch.equal(one[name], three[name])]
    assert "tokens.lifting.coefficients" in changed


@variants
def test_autocast_is_finite_and_close(tiny, smspe, variant):
    model, batch = tiny.model(**VARIANTS[variant]), tiny.batch(2)
    full = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        half = model(batch)
        loss(half, smspe).backward()
    assert all(p.grad.isfinite().all() for p in model.parameters())
    for one, two in zip(half.levels, full.levels, strict=True):
        assert one.target.dtype == torch.float32
        assert one.prediction.dtype == torch.float32
        torch.testing.assert_close(one.prediction, two.prediction, rtol=0.1, atol=0.05)
    assert torch.equal(half.levels[0].target, full.levels[0].target)


@variants
def test_isolated_nodes_and_graphs_without_edges(tiny, smspe, variant):
    edgeless = Graph.from_edges(np.array([], int), np.array([], int), 12)
    for graph in (tiny.graph(12, isolated=4), edgeless):
        model = tiny.model(**VARIANTS[variant])
        value = loss(model(tiny.batch(graph=graph)), smspe)
        value.backward()
        assert value.isfinite()
        assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.parametrize("level", [0.0, 1e-6, 1.0, 1e3])
def test_finite_for_constant_and_extreme_windows(tiny, smspe, level):
    model, batch = tiny.model(), tiny.batch()
    batch.window = torch.full_like(batch.window, level)
    value = loss(model(batch), smspe)
    value.backward()
    assert value.isfinite()
    assert all(p.grad.isfinite().all() for p in model.parameters())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_equals_cpu(tiny, smspe):
    model, batch = tiny.model(), tiny.batch(2)
    expected = model(batch).levels
    model.cuda().fit_statistics(tiny.batch(2, seed=100 + i) for i in range(4))
    output = model(batch.to("cuda"))
    loss(output, smspe).backward()
    for one, two in zip(output.levels, expected, strict=True):
        torch.testing.assert_close(one.prediction.cpu(), two.prediction, rtol=1e-3, atol=1e-3)


# Library use: a series in, a forecast or a hierarchy out.


def series(tiny, nodes=12, steps=20):
    return GraphSeries(tiny.graph(nodes), tiny.values(nodes, steps))


def test_forecast_continues_a_series(tiny):
    model, given = tiny.model(), series(tiny)
    forecaster = RomaForecaster.for_series(model, given)
    history = given.values[:, -5:]
    direct = forecaster.forecast(history, given.graph)
    assert np.array_equal(model.forecast(given), direct)
    assert np.array_equal(model.forecast(given, horizon=2), direct[:, :2])
    longer = model.forecast(given, horizon=6)
    again = np.concatenate([history, direct], axis=1)[:, -5:]
    second = forecaster.forecast(again, given.graph)
    assert np.array_equal(longer, np.concatenate([direct, second[:, :2]], axis=1))
    stepwise = model.forecast(given, horizon=2, stride=1)
    again = np.concatenate([history, direct[:, :1]], axis=1)[:, -5:]
    one = forecaster.forecast(again, given.graph)[:, :1]
    assert np.array_equal(stepwise, np.concatenate([direct[:, :1], one], axis=1))


def test_supernodes_of_a_series(tiny):
    hierarchy = tiny.model().supernodes(series(tiny, nodes=30))
    assert [a.shape for a in hierarchy.assignments] == [(30, 4), (4, 3)]
    assert hierarchy.labels(2).shape == (30,)


def test_forecast_leaves_the_mode_of_the_model(tiny):
    model = tiny.model(dropout=0.5).train()
    first, second = (model.forecast(series(tiny)) for _ in range(2))
    assert model.training
    assert all(module.training for module in model.modules())
    assert np.array_equal(first, second)


@pytest.mark.parametrize("call", ["forecast", "supernodes"])
def test_rejects_a_short_or_broken_series(tiny, call):
    method = getattr(tiny.model(), call)
    with pytest.raises(ValueError, match=r"at least 5 samples, the window of the model \(got 4\)"):
        method(series(tiny, steps=4))
    given = series(tiny)
    given.values[3, -2] = np.nan
    with pytest.raises(ValueError, match=r"finite values in the last 5 samples .* node 3"):
        method(given)


def test_rejects_supernodes_of_a_model_without_pooling(tiny):
    with pytest.raises(ValueError, match=r"model\.pool\.sizes is empty"):
        tiny.model(sizes=()).supernodes(series(tiny))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": torch.rand(40, 6)}, r"Expected 'window' of shape \(n_all, 5\)"),
        ({"features": torch.rand(40, 2)}, r"Expected 'features' of shape \(n_all, 3\)"),
        ({"num_graphs": 5}, r"Expected 'num_graphs' to divide the 12 core nodes \(got 5\)"),
        ({"steps": torch.tensor([0, 1])}, r"Expected 'steps' in \[1, 4\] \(got \[0, 1\]\)"),
        ({"steps": torch.tensor([5])}, r"Expected 'steps' in \[1, 4\] \(got \[5\]\)"),
        ({"steps": torch.tensor([], dtype=torch.int64)}, r"Expected 'steps' in \[1, 4\]"),
    ],
)
def test_rejects_batches_of_other_sizes(tiny, change, message):
    with pytest.raises(ValueError, match=message):
        tiny.model(fitted=False)(replace(tiny.batch(), **change))


def test_rejects_more_nodes_than_indices(tiny):
    with pytest.raises(ValueError, match=r"at most 12 tokens on level 0 \(got 15\)"):
        tiny.model(fitted=False)(tiny.batch(size=15))


def test_statistics_need_every_step_ahead(tiny):
    model = tiny.model(fitted=False)
    with pytest.raises(ValueError, match="at least one training batch"):
        model.fit_statistics([])
    for batch, got in ((tiny.batch(steps=(1, 4)), r"\[1, 4\]"), (tiny.batch(target=False), "no")):
        with pytest.raises(ValueError, match=rf"steps ahead 1 to 4 \(got {got}"):
            model.fit_statistics([batch])


def test_published_parts_by_configuration(tiny):
    """More features, levels and blocks need no other code."""
    data = tiny.data(positional=PositionalConfig(eigenmaps=1, walk_embedding=1, degree=True))
    model = tiny.model(data=data, sizes=(6, 4, 3), kind="nomad", heads=4, layers=3)
    assert len(model.blocks) == 3
    assert len(model(tiny.batch()).levels) == 4


def test_companded_windows_are_standardised_too(tiny):
    model = tiny.model(fitted=False)
    batches = [tiny.batch(2, seed=seed) for seed in range(3)]
    model.fit_statistics(batches)
    own = torch.cat([batch.window[: batch.num_core] for batch in batches])
    plain, companded = model.views(own).chunk(2, dim=-1)
    torch.testing.assert_close(plain, (own - own.mean()) / own.std())
    companded_by_hand = torch.asinh(own / 0.05)
    expected = (companded_by_hand - companded_by_hand.mean()) / companded_by_hand.std()
    torch.testing.assert_close(companded, expected)


def test_constant_series_give_finite_companded_windows(tiny):
    model = tiny.model(fitted=False)
    batch = tiny.batch()
    batch = replace(batch, window=batch.window * 0 + 0.3, target=batch.target * 0 + 0.3)
    model.fit_statistics([batch])
    assert model(batch).levels[0].prediction.isfinite().all()
