from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from roma_pyg.config import LAW_INPUTS, EffectiveConfig
from roma_pyg.models.base import BaseForecast
from roma_pyg.models.effective import EffectiveDynamics
from roma_pyg.models.roma import Roma
from roma_pyg.nn.trunk import DeepONet, FourierFeatures, Nomad
from roma_pyg.physics import Jet


def law_of(seed=0, operator=DeepONet, **options):
    torch.manual_seed(seed)
    config = EffectiveConfig(**({"kind": "emergent"} | options))

    def make(field):
        return operator(6, 5, 3, 8, 1, FourierFeatures(6, 0.3), field)

    return EffectiveDynamics(config, make, spread=2.0).double().eval()


POINTS = torch.tensor([[0.2, 0.1, -0.3, 0.2], [0.7, 0.0, 0.1, -0.1]], dtype=torch.float64)


def inputs(seed=1):
    generator = torch.Generator().manual_seed(seed)
    branch = torch.randn(1, 3, 6, generator=generator, dtype=torch.float64)
    features = torch.randn(1, 3, 5, generator=generator, dtype=torch.float64)
    return branch, features


def field_at(points, order):
    """A field of three tokens."""
    torch.manual_seed(5)
    network = DeepONet(6, 5, 3, 8, 1, FourierFeatures(6, 0.3)).double()
    branch, features = inputs(2)
    return network(Jet.coordinates(points, order), 3 * branch, features)


def stencil(function, points, axis, step=0.004):
    unit = torch.zeros_like(points)
    unit[:, axis] = step
    pairs = zip((1, 2, 3, 4), (4 / 5, -1 / 5, 4 / 105, -1 / 280), strict=True)
    return (
        sum(w * (function(points + k * unit) - function(points - k * unit)) for k, w in pairs)
        / step
    )


@pytest.mark.parametrize("kind", ["emergent", "burgers"])
@pytest.mark.parametrize("operator", [DeepONet, Nomad])
def test_total_gradient_against_finite_differences(kind, operator):
    law = law_of(kind=kind, derivative="total", operator=operator)
    branch, features = inputs()

    def residual(points):
        return law(points, field_at(points, law.order), branch, features)

    found = residual(POINTS).gradient
    for axis in range(4):
        expected = stencil(lambda p: residual(p).value, POINTS, axis)
        assert (found[axis] - expected).norm() < 1e-8 * expected.norm()


@pytest.mark.parametrize("kind", ["emergent", "burgers"])
def test_partial_gradient_holds_the_field_fixed(kind):
    law = law_of(kind=kind)
    branch, features = inputs()
    field = field_at(POINTS, law.order)
    found = law(POINTS, field, branch, features)
    for axis in range(4):
        expected = stencil(lambda p: law(p, field, branch, features).value, POINTS, axis)
        assert (found.gradient[axis] - expected).norm() < 1e-8 * expected.norm()
    total = law_of(kind=kind, derivative="total")
    same = total(POINTS, field_at(POINTS, 3), branch, features)
    torch.testing.assert_close(found.value, same.value)


@pytest.mark.parametrize("missing", LAW_INPUTS[:-1])
def test_a_law_sees_its_inputs_only(missing):
    law = law_of(inputs=[name for name in LAW_INPUTS[:-1] if name != missing])
    branch, features = inputs()
    field = field_at(POINTS, 2)
    before = law(POINTS, field, branch, features)
    points = POINTS
    if missing == "coordinates":
        points = POINTS + 0.1
        assert not before.gradient.any()
    elif missing == "branch":
        branch = branch + 1
    elif missing == "features":
        features = features + 1
    else:
        value, derivatives = field.value.clone(), field.derivatives.clone()
        if missing == "field":
            value += 1
        elif missing == "gradient":
            derivatives[1:4] += 1
        else:
            derivatives[4] += 1
        field = Jet(value, derivatives, 4, 2)
    torch.testing.assert_close(law(points, field, branch, features).value, before.value)
    full = law_of()
    changed = full(points, field, branch, features).value
    assert not torch.allclose(changed, full(POINTS, field_at(POINTS, 2), *inputs()).value)


def test_neighbors_are_seen_where_asked_for():
    law = law_of(inputs=["neighbors"])
    branch, features = inputs()
    field = field_at(POINTS, 2)

    def difference(values):
        return values.roll(1, dims=-3) - values

    first = law(POINTS, field, branch, features, difference).value
    second = law(POINTS, field, branch, features, lambda x: 2 * difference(x)).value
    assert not torch.allclose(first, second)
    with pytest.raises(ValueError, match="Expected 'neighbors'"):
        law(POINTS, field, branch, features)


def test_units_are_root_mean_squares_of_training():
    law = law_of().train()
    branch, features = inputs()
    field = field_at(POINTS, 2)
    law(POINTS, field, branch, features)
    expected = [field.value, field.space / 2, field.laplacian / 4, field.time]
    squares = torch.stack([part.square().mean() for part in expected])
    torch.testing.assert_close(law.scale.double(), squares.detach(), rtol=1e-5, atol=0)
    twice = Jet(2 * field.value, 2 * field.derivatives, 4, 2)
    law(POINTS, twice, branch, features)
    torch.testing.assert_close(law.scale.double(), 2.5 * squares.detach(), rtol=1e-5, atol=0)
    law.eval()(POINTS, field, branch, features)
    assert law.count == 2
    law.train().count.fill_(100)
    before = law.scale.clone()
    law(POINTS, field, branch, features)
    assert torch.equal(law.scale, before)


def test_terms_by_hand():
    law = law_of()
    residual = law(POINTS, field_at(POINTS, 2), *inputs())
    terms = residual.terms([2, 1])
    square = residual.value.square().sum(-1)[0]
    assert terms["residual/0"].item() == pytest.approx(square[:2].mean().item())
    assert terms["residual/1"].item() == pytest.approx(square[2:].mean().item())
    steep = residual.gradient.square().sum((0, -1))[0]
    assert terms["residual_gradient/1"].item() == pytest.approx(steep[2:].mean().item())
    rate = residual.rate.square().sum(-1)[0, :2].mean().item()
    assert terms["unexplained/0"].item() == pytest.approx(terms["residual/0"].item() / rate)


def test_terms_of_tokens_that_are_asked():
    residual = law_of()(POINTS, field_at(POINTS, 2), *inputs())
    alone = replace(residual, value=residual.value[:, 1:], gradient=residual.gradient[:, :, 1:])
    alone = replace(alone, rate=residual.rate[:, 1:]).terms([1, 1])
    residual.asked = torch.tensor([[False, True, True]])
    terms = residual.terms([2, 1])
    for name, value in alone.items():
        torch.testing.assert_close(terms[name], value)
    assert (terms["asked/0"].item(), terms["asked/1"].item()) == (0.5, 1.0)
    residual.asked = torch.zeros(1, 3, dtype=torch.bool)
    assert all(value == 0 for value in residual.terms([2, 1]).values())


def test_viscosity_is_positive_and_learned():
    law = law_of(kind="burgers")
    assert law.viscosity.item() == pytest.approx(0.25)  # one over spread squared
    law(POINTS, field_at(POINTS, 2), *inputs()).value.square().sum().backward()
    assert law.raw_viscosity.grad.abs() > 0
    with pytest.raises(ValueError, match="kind 'burgers'"):
        _ = law_of().viscosity


def test_base_forecast_derivatives_are_those_of_its_spline():
    base = BaseForecast(2, 6)
    generator = torch.Generator().manual_seed(0)
    lags = torch.rand(50, 4, generator=generator, dtype=torch.float64)
    target = torch.rand(50, 6, generator=generator, dtype=torch.float64)
    base.fit([(lags.float(), target.float(), torch.ones(50))])
    steps = torch.tensor([1, 4, 6])
    everything = base(lags, torch.arange(1, 7), mass=2.0).numpy()
    spline = CubicSpline(np.arange(1, 7) / 6, everything, axis=1)
    for order in (1, 2):
        found = base(lags, steps, mass=2.0, derivative=order)
        np.testing.assert_allclose(found, spline(steps.numpy() / 6, order), rtol=1e-10)


@pytest.mark.parametrize("kind", ["linear", "none"])
@pytest.mark.parametrize("relative", [True, False])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_spread_and_its_derivatives_are_those_of_its_splines(kind, relative, order):
    base = BaseForecast(2, 6, kind, relative=relative).double()
    generator = torch.Generator().manual_seed(0)
    lags = torch.rand(50, 4, generator=generator, dtype=torch.float64)
    noise = torch.randn(50, 6, generator=generator, dtype=torch.float64)
    target = lags[:, 1:2] * (1 + 0.5 * noise)
    base.fit([(lags, target, torch.ones(50).double())])
    steps, everything = torch.tensor([1, 4, 6]), torch.arange(1, 7)
    parts = [base(lags, steps, derivative=k).unsqueeze(-1) for k in range(3)]
    jet = base.spread_jet(Jet.of_time(parts, 4, order), steps)
    torch.testing.assert_close(jet.value[..., 0], base.spread(parts[0][..., 0], steps))

    def between(values):
        return CubicSpline(everything / 6, values, axis=-1)

    forecast = between(base(lags, everything).numpy())
    constant, slope = between(base.constant.numpy()), between(base.slope.numpy())

    def spread(time):
        return np.hypot(constant(time), slope(time) * forecast(time))

    assert base.slope.any() == (relative and kind == "linear")
    time, h = steps.numpy() / 6, 1e-4
    first = (spread(time + h) - spread(time - h)) / (2 * h)
    np.testing.assert_allclose(jet.derivatives[0, ..., 0], first, rtol=1e-5, atol=1e-5)
    if order == 3:
        second = (spread(time + h) - 2 * spread(time) + spread(time - h)) / h**2
        np.testing.assert_allclose(jet.second[0, 0, ..., 0], second, rtol=1e-3, atol=1e-3)


def model_with_law(tiny, correction="absolute", **options):
    config = tiny.config(correction=correction, onset=0.1 if correction == "relative" else 0.0)
    config = replace(config, effective=EffectiveConfig(**({"kind": "emergent"} | options)))
    torch.manual_seed(0)
    model = Roma(config, tiny.data())
    model.fit_statistics(tiny.batch(2, seed=100 + i) for i in range(4))
    return model


corrections = pytest.mark.parametrize("correction", ["absolute", "relative"])


@corrections
@pytest.mark.parametrize("order", [1, 2, 3])
def test_field_is_the_forecast(tiny, order, correction):
    model, batch = model_with_law(tiny, correction), tiny.batch(2)
    levels, _ = model.hierarchy(model.encode(batch))
    branch = model.attend(levels)
    field = model.field(levels, branch, batch.steps, order)
    assert field.order == order
    length = torch.linalg.vector_norm(field.value, dim=-1)
    sizes = [level.num_nodes for level in levels]
    forecasts = model.decode(levels, branch, batch.steps)
    for level, part, forecast in zip(levels, length.split(sizes, 1), forecasts, strict=True):
        torch.testing.assert_close(level.mass * part, forecast)


@corrections
def test_time_derivative_of_the_field(tiny, correction):
    # The field along time is the spline of base and scale with the operator in between.
    model, batch = model_with_law(tiny, correction), tiny.batch()
    levels, _ = model.hierarchy(model.encode(batch))
    branch = model.attend(levels)
    steps, horizon = batch.steps, model.data.horizon
    field = model.field(levels, branch, steps, 3)
    features = torch.cat([level.features for level in levels], dim=1)
    fine = levels[0]
    base = CubicSpline(steps / horizon, model.base(fine.lags, steps).detach(), axis=2)
    constant = CubicSpline(steps / horizon, model.base.constant)
    slope = CubicSpline(steps / horizon, model.base.slope)

    def u(shift):
        points = model._points(steps)
        points[:, 0] += shift
        start = model._start(levels)
        correction = model.operator(points, branch, features, start=start)
        correction = correction[:, : fine.num_nodes].detach()
        time = points[:, 0]
        spread = np.hypot(constant(time), slope(time) * base(time))
        along = torch.from_numpy(base(time)).unsqueeze(-1) * model.direction
        return along + torch.from_numpy(spread).unsqueeze(-1) * correction

    h = 1e-2
    first = (8 * (u(h) - u(-h)) - (u(2 * h) - u(-2 * h))) / (12 * h)
    found = field.time[:, : fine.num_nodes].double()
    torch.testing.assert_close(found, first.double(), rtol=2e-3, atol=2e-3)
    second = (u(h) - 2 * u(0) + u(-h)) / h**2
    found = field.second[0, 0][:, : fine.num_nodes].double()
    torch.testing.assert_close(found, second.double(), rtol=5e-2, atol=5e-2)


@pytest.mark.parametrize(
    "options",
    [{}, {"kind": "burgers"}, {"derivative": "total"}, {"derivative": "sampled"}],
)
def test_model_with_a_law(tiny, options):
    model, batch = model_with_law(tiny, times=2, **options), tiny.batch(2)
    output = model(batch)
    kinds = ("residual", "residual_gradient", "unexplained")
    assert set(output.residuals) == {f"{kind}/{level}" for kind in kinds for level in range(3)}
    sum(v for k, v in output.residuals.items() if k.startswith("residual")).backward()
    for name, parameter in model.named_parameters():
        if name.startswith(("effective.", "operator.", "blocks.", "encoder.")):
            assert parameter.grad is not None, name
            assert parameter.grad.isfinite().all(), name


def test_residual_stays_in_full_precision_under_autocast(tiny):
    model, batch = model_with_law(tiny).eval(), tiny.batch()
    levels, _ = model.hierarchy(model.encode(batch))
    branch = model.attend(levels)
    full = model.residual(levels, branch, batch.steps)
    with torch.autocast("cpu", torch.bfloat16):
        half = model.residual(levels, branch, batch.steps)
        output = model(batch)
    assert torch.equal(full.value, half.value)
    assert torch.equal(full.gradient, half.gradient)
    assert all(value.isfinite() for value in output.residuals.values())


def test_neighbors_of_all_levels(tiny):
    model = model_with_law(tiny, inputs=["field", "neighbors"], derivative="total")
    assert model(tiny.batch(2)).residuals["residual/2"].isfinite()


def test_a_law_that_sees_neighbours_is_asked_of_nodes_that_have_theirs(tiny):
    model = model_with_law(tiny, inputs=["field", "neighbors"], times=100).eval()
    batch = tiny.batch(2)
    asked = batch.complete.view(2, -1)
    assert 0 < asked.sum() < asked.numel()
    encoding = model.represent(batch)
    residual = model.residual(encoding.levels, encoding.branch, batch.steps)
    terms = model(batch).residuals
    square = residual.value[:, : asked.shape[1]].square().sum(-1)
    torch.testing.assert_close(terms["residual/0"], square[asked].mean())
    rest = residual.value[:, asked.shape[1] :].square().sum(-1)
    supernodes = [level.num_nodes for level in encoding.levels[1:]]
    torch.testing.assert_close(terms["residual/1"], rest[:, : supernodes[0]].mean())
    torch.testing.assert_close(terms["asked/0"], asked.float().mean())
    assert terms["asked/1"] == terms["asked/2"] == 1
    # Another law is asked of all, and a batch that does not tell has all neighbours.
    other = model_with_law(tiny, times=100).eval()
    assert "asked/0" not in other(batch).residuals
    assert model(replace(batch, complete=None)).residuals["asked/0"] == 1


def test_same_batch_same_draws(tiny):
    model, batch = model_with_law(tiny, times=2), tiny.batch()
    order, signs = model._drawn(batch)
    assert sorted(order.tolist()) == list(range(len(batch.steps)))
    assert set(signs.abs().tolist()) == {1.0}
    assert all(torch.equal(*pair) for pair in zip((order, signs), model._drawn(batch), strict=True))
    draws = [model._drawn(replace(batch, seed=seed)) for seed in range(20)]
    assert len({tuple(order[:2].tolist()) for order, _ in draws}) > 5
    assert len({tuple(signs.tolist()) for _, signs in draws}) > 5


@pytest.mark.parametrize("kind", ["emergent", "burgers"])
def test_a_sampled_gradient_is_the_product_with_its_direction(tiny, kind):
    model, batch = model_with_law(tiny, kind=kind).eval().double(), tiny.double(tiny.batch())
    encoding = model.represent(batch)
    inputs = encoding.levels, encoding.branch, batch.steps
    whole = model.residual(*inputs)
    directions = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=4))).double()
    parts = [model.residual(*inputs, direction) for direction in directions]
    for direction, part in zip(directions, parts, strict=True):
        torch.testing.assert_close(part.value, whole.value)
        expected = torch.einsum("a,a...->...", direction, whole.gradient)
        torch.testing.assert_close(part.gradient, expected[None], rtol=1e-9, atol=1e-15)
    # Over all signs the mean square is the whole one.
    mean = torch.stack([part.gradient.square() for part in parts]).mean(0)
    expected = whole.gradient.square().sum(0, keepdim=True)
    torch.testing.assert_close(mean, expected, rtol=1e-9, atol=1e-20)
    assert expected.mean() > 1e-9


def test_a_sampled_gradient_in_training_and_the_whole_one_in_evaluation(tiny):
    model, batch = model_with_law(tiny, derivative="sampled", times=100), tiny.batch()
    exact = model_with_law(tiny, times=100)
    exact.load_state_dict(model.state_dict())
    key = "residual_gradient/0"
    found = model(batch).residuals[key]
    assert found > 0
    assert found != exact(batch).residuals[key]
    assert torch.equal(found, model(batch).residuals[key])
    torch.testing.assert_close(model.eval()(batch).residuals[key], exact(batch).residuals[key])


@pytest.mark.parametrize("times", [1, 3, 100])
def test_the_law_leaves_the_forecast_alone(tiny, times):
    # Where there is a residual the forecast is taken from its field.
    model, batch = model_with_law(tiny, times=times), tiny.batch(2)
    output = model(batch)
    encoding = model.represent(batch, seed=batch.seed)
    expected = model.decode(encoding.levels, encoding.branch, batch.steps)
    for level, forecast in zip(output.levels, expected, strict=True):
        torch.testing.assert_close(level.prediction, forecast)
    chosen = model._drawn(batch)[0][:times]
    residual = model.residual(encoding.levels, encoding.branch, batch.steps[chosen])
    terms = residual.terms([level.num_nodes for level in encoding.levels])
    for name, value in terms.items():
        torch.testing.assert_close(output.residuals[name], value)


def test_no_law_and_no_target(tiny):
    model, batch = tiny.model(), tiny.batch()
    assert model(batch).residuals == {}
    assert model_with_law(tiny)(tiny.batch(target=False)).residuals == {}
    levels, _ = model.hierarchy(model.encode(batch))
    with pytest.raises(ValueError, match="model with an effective law"):
        model.residual(levels, model.attend(levels), batch.steps)


def test_a_law_needs_two_steps(tiny):
    config = replace(tiny.config(), effective=EffectiveConfig(kind="emergent"))
    with pytest.raises(ValueError, match="horizon' of at least 2"):
        Roma(config, tiny.data(horizon=1))
    Roma(config, tiny.data(horizon=2))


def test_config_is_checked():
    with pytest.raises(ValueError, match=r"effective\.inputs"):
        EffectiveConfig(inputs=["velocity"])
    with pytest.raises(ValueError, match=r"effective\.times"):
        EffectiveConfig(times=0)
    with pytest.raises(ValueError, match=r"effective\.residual_gradient"):
        EffectiveConfig(residual_gradient=-1)
