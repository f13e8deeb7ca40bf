from __future__ import annotations

import numpy as np
import pytest
import torch

from roma_pyg.models.base import BaseForecast
from roma_pyg.nn.pool import assign, pool

WINDOW, HORIZON = 3, 4


def samples(rows=60, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    lags = torch.rand(rows, 2 * WINDOW, generator=generator, dtype=dtype)
    slope = torch.randn(2 * WINDOW, HORIZON, generator=generator, dtype=dtype)
    noise = 0.1 * torch.randn(rows, HORIZON, generator=generator, dtype=dtype)
    weight = 0.2 + torch.rand(rows, generator=generator, dtype=dtype)
    return lags, lags @ slope + 0.3 + noise, weight


def fitted(kind="linear", penalty=0.0):
    base = BaseForecast(WINDOW, HORIZON, kind).double()
    lags, target, weight = samples()
    base.fit(
        [(lags[:25], target[:25], weight[:25]), (lags[25:], target[25:], weight[25:])], penalty
    )
    return base, lags.numpy(), target.numpy(), (weight / weight.sum()).numpy()


def test_linear_is_least_squares_relative_to_a_first_fit():
    base, lags, target, weight = fitted()
    design = np.concatenate([lags, np.ones((len(lags), 1))], axis=1)

    def solve(truth, weight):
        root = np.sqrt(weight)
        return np.linalg.lstsq(root[:, None] * design, root * truth, rcond=None)[0]

    rows = []
    for truth in target.T:
        square = (design @ solve(truth, weight)) ** 2
        rows.append(solve(truth, weight / (square + 0.01 * (weight @ square))))
    expected = np.array(rows)
    np.testing.assert_allclose(base.weight.numpy(), expected, rtol=1e-8, atol=1e-9)
    error = target - design @ expected.T
    np.testing.assert_allclose(base.scale.numpy() ** 2, weight @ error**2, rtol=1e-8)
    relative = error / (np.abs(target) + np.abs(target - error) + 1e-4)
    np.testing.assert_allclose(base.reference.numpy(), weight @ relative**2, rtol=1e-8)


def test_small_values_keep_their_relative_precision():
    """Noise relative to the values: the best linear map of large lags drowns the small targets."""
    rng = np.random.default_rng(0)
    level = np.exp(rng.uniform(np.log(1e-2), 0, 4000))
    noise = 0.05 * rng.standard_normal((4000, 2 * WINDOW))
    lags = torch.from_numpy(level[:, None] ** np.linspace(1, 0.8, 2 * WINDOW) * (1 + noise))
    target = torch.from_numpy(np.repeat(level[:, None], HORIZON, axis=1))
    base = BaseForecast(WINDOW, HORIZON).double()
    base.fit([(lags, target, torch.ones(4000).double())])
    design = torch.cat([lags, torch.ones(4000, 1)], dim=1)
    plain = design @ torch.linalg.lstsq(design, target).solution
    forecast = base(lags, torch.arange(1, HORIZON + 1))
    small = target[:, 0] < 0.1

    def error(guess):
        return (guess / target - 1)[small].square().mean()

    assert error(forecast) < 0.5 * error(plain)
    assert (forecast - target).mean().abs() < 0.01 * target.mean()


def fitted_to(constant, slope, relative=True, rows=40_000):
    """Targets that persistence misses by a spread of ``constant + slope y^2``."""
    generator = torch.Generator().manual_seed(0)
    value = torch.rand(rows, 1, generator=generator, dtype=torch.float64) ** 2
    lags = torch.cat([value] * 2 * WINDOW, dim=1)
    noise = torch.randn(rows, HORIZON, generator=generator, dtype=torch.float64)
    base = BaseForecast(WINDOW, HORIZON, "persistence", relative=relative).double()
    target = value + (constant + slope * value**2) ** 0.5 * noise
    base.fit([(lags, target, torch.ones(rows).double())])
    return base, value, target


@pytest.mark.parametrize(("constant", "slope"), [(0.01, 0.5), (0.3, 0.0), (0.2, 0.2), (1e-4, 1e-3)])
def test_spread_is_that_of_the_errors(constant, slope):
    base, value, target = fitted_to(constant, slope)
    steps = torch.arange(1, HORIZON + 1)
    spread = base.spread(value.expand(-1, HORIZON), steps)
    torch.testing.assert_close(
        base.constant.square(), torch.full((HORIZON,), constant).double(), rtol=0.15, atol=0
    )
    expected = (constant + slope * value**2).sqrt().expand(-1, HORIZON)
    torch.testing.assert_close(spread, expected, rtol=0.08, atol=0)
    torch.testing.assert_close(base.scale, (target - value).square().mean(0).sqrt())
    some = base.spread(value.expand(-1, 2), torch.tensor([4, 2]))
    torch.testing.assert_close(some, spread[:, [3, 1]])


def test_errors_in_proportion_to_the_value_leave_small_values_a_correction():
    base, value, _ = fitted_to(0.0, 0.01)
    tenth = 0.1 * value.square().mean().sqrt()
    torch.testing.assert_close(base.constant, base.slope * tenth)
    assert ((base.slope > 0.08) & (base.slope < 0.1)).all()


@pytest.mark.parametrize("kind", ["linear", "persistence", "none"])
def test_absolute_corrections_are_in_units_of_the_root_mean_square_error(kind):
    base = BaseForecast(WINDOW, HORIZON, kind, relative=False).double()
    lags, target, weight = samples()
    base.fit([(lags, target, weight)])
    steps = torch.arange(1, HORIZON + 1)
    forecast = base(lags, steps)
    error = (weight / weight.sum()) @ (target - forecast).square()
    expected = torch.ones(HORIZON).double() if kind == "none" else error.sqrt()
    torch.testing.assert_close(base.spread(forecast, steps), expected.expand_as(forecast))


def test_penalty_shrinks_the_slopes():
    free, shrunk = fitted()[0], fitted(penalty=10.0)[0]
    assert shrunk.weight[:, :-1].norm() < 0.5 * free.weight[:, :-1].norm()


def test_persistence_by_hand():
    """Errors of the last own value 0.5 against the truths 0.5 and 0.75, weights 1 and 3."""
    base = BaseForecast(2, 1, "persistence")
    lags = torch.tensor([[0.1, 0.5, 9.0, 9.0]] * 2)
    base.fit([(lags, torch.tensor([[0.5], [0.75]]), torch.tensor([1.0, 3.0]))])
    assert base(lags, torch.tensor([1])).flatten().tolist() == [0.5, 0.5]
    assert base.scale.item() == pytest.approx((0.75 * 0.25**2) ** 0.5, rel=1e-5)
    assert base.reference.item() == pytest.approx(0.75 * (0.25 / 1.2501) ** 2, rel=1e-5)


def test_none_is_zero_with_the_reference_of_persistence():
    base, lags, target, weight = fitted("none")
    assert not base(torch.from_numpy(lags), torch.arange(1, HORIZON + 1)).any()
    assert torch.equal(base.scale, torch.ones_like(base.scale))
    assert (base.spread(torch.zeros(5, HORIZON), torch.arange(1, HORIZON + 1)) == 1).all()
    last = lags[:, WINDOW - 1 : WINDOW]
    relative = (target - last) / (np.abs(target) + np.abs(last) + 1e-4)
    np.testing.assert_allclose(base.reference.numpy(), weight @ relative**2, rtol=1e-8)


def test_steps_choose_the_rows():
    base, lags, _, _ = fitted()
    everything = base(torch.from_numpy(lags), torch.arange(1, HORIZON + 1))
    some = base(torch.from_numpy(lags), torch.tensor([4, 2]))
    torch.testing.assert_close(some, everything[:, [3, 1]])


@pytest.mark.parametrize("kind", ["linear", "persistence", "none"])
def test_commutes_with_coarse_graining(kind):
    """Pooling the forecasts is forecasting the pooled lags, over two levels."""
    base = fitted(kind)[0]
    steps = torch.arange(1, HORIZON + 1)
    lags = torch.rand(2, 8, 2 * WINDOW, dtype=torch.float64)
    forecast, mass = base(lags, steps), 1.0
    for n, m in ((8, 3), (3, 2)):
        shares = assign(torch.randn(2, n, m, dtype=torch.float64))
        forecast, lags, mass = pool(shares, forecast), pool(shares, lags), mass * n / m
        torch.testing.assert_close(base(lags, steps, mass), forecast, rtol=1e-12, atol=1e-12)


def test_is_not_trained_and_survives_a_round_trip():
    base = fitted()[0]
    assert not list(base.parameters())
    other = BaseForecast(WINDOW, HORIZON).double()
    other.load_state_dict(base.state_dict())
    lags, steps = torch.rand(3, 2 * WINDOW, dtype=torch.float64), torch.arange(1, HORIZON + 1)
    assert torch.equal(other(lags, steps), base(lags, steps))


def test_constant_series_give_a_finite_forecast():
    base = BaseForecast(WINDOW, HORIZON)
    lags, target = torch.full((20, 2 * WINDOW), 0.4), torch.full((20, HORIZON), 0.4)
    base.fit([(lags, target, torch.ones(20))])
    forecast = base(lags, torch.arange(1, HORIZON + 1))
    torch.testing.assert_close(forecast, target)
    assert (base.scale > 0).all()
    assert (base.spread(forecast, torch.arange(1, HORIZON + 1)) > 0).all()
    assert (base.reference > 0).all()


def test_autocast_keeps_full_precision():
    base, lags = fitted()[0].float(), torch.rand(7, 2 * WINDOW)
    steps = torch.arange(1, HORIZON + 1)
    with torch.autocast("cpu", torch.bfloat16):
        half = base(lags, steps)
    assert torch.equal(half, base(lags, steps))


def test_rejects_an_unknown_kind():
    with pytest.raises(ValueError, match=r"'persistence' or 'none' \(got 'cubic'\)"):
        BaseForecast(3, 4, "cubic")


def test_rejects_no_samples():
    with pytest.raises(ValueError, match="at least one training sample"):
        BaseForecast(WINDOW, HORIZON).fit([])


def test_rejects_shapes_that_do_not_fit():
    lags, target, weight = samples(10, torch.float32)
    with pytest.raises(ValueError, match=r"Expected 'lags' of shape \(10, 6\) \(got \(10, 3\)\)"):
        BaseForecast(WINDOW, HORIZON).fit([(lags[:, :3], target, weight)])
    with pytest.raises(ValueError, match=r"Expected 'target' of shape \(10, 4\) \(got \(10, 2\)\)"):
        BaseForecast(WINDOW, HORIZON).fit([(lags, target[:, :2], weight)])


@pytest.mark.parametrize("kind", ["linear", "persistence", "none"])
def test_rejects_missing_values_by_row(kind):
    lags, target, weight = samples(10, torch.float32)
    target[6, 1] = torch.nan
    with pytest.raises(ValueError, match=r"Expected finite 'target' .* row 6"):
        BaseForecast(WINDOW, HORIZON, kind).fit([(lags, target, weight)])
