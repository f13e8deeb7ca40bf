from __future__ import annotations

import pytest
import torch

from roma_pyg.config import PoolConfig
from roma_pyg.models.output import LevelForecast, RomaOutput
from roma_pyg.training.loss import (
    HorizonWeights,
    data_loss,
    penalty_loss,
    residual_loss,
    smspe,
    step_errors,
)


def two_levels() -> RomaOutput:
    fine = LevelForecast(
        prediction=torch.tensor([[[1.0, 3.0], [1.0, 1.0]]]),
        target=torch.tensor([[[1.0, 1.0], [3.0, 1.0]]]),
    )
    coarse = LevelForecast(torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 1.0]]]))
    return RomaOutput([fine, coarse])


def test_smspe_by_hand():
    errors = smspe(torch.tensor([0.0, 1.0, 0.2]), torch.tensor([0.0, 0.0, 0.6]), eps=0.2)
    assert torch.allclose(errors, torch.tensor([0.0, (1 / 1.2) ** 2, (0.4 / 1.0) ** 2]))


def test_smspe_is_symmetric_and_bounded():
    y, p = torch.rand(2, 100, dtype=torch.float64) * 10
    assert torch.equal(smspe(p, y), smspe(y, p))
    assert smspe(p, y).max() < 1
    assert smspe(-p, y).max() < 1
    assert torch.equal(smspe(y, y), torch.zeros_like(y))


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e-8, 1.0, 1e8])
def test_smspe_has_finite_gradients(size):
    prediction = torch.tensor([0.0, size, -size], requires_grad=True)
    smspe(prediction, torch.tensor([size, 0.0, size])).sum().backward()
    assert torch.isfinite(prediction.grad).all()


def test_smspe_gradient_agrees_with_differences():
    prediction = torch.tensor([0.3, 0.9, 2.0], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([0.5, 0.1, 2.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: smspe(p, target), prediction)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_smspe_of_half_precision_is_single(dtype):
    prediction, target = torch.tensor([0.5, 0.75], dtype=dtype), torch.tensor([1.0, 0.25]).to(dtype)
    errors = smspe(prediction, target)
    assert errors.dtype == torch.float32
    assert torch.equal(errors, smspe(prediction.float(), target.float()))


def test_smspe_rejects_broadcasting():
    with pytest.raises(ValueError, match=r"shape \(2, 3\) \(got \(2, 1\)\)"):
        smspe(torch.ones(2, 1), torch.ones(2, 3))


def test_horizon_weights_make_the_reference_cost_one_at_every_step():
    reference = torch.tensor([0.002, 0.02, 0.2])
    steps = torch.tensor([3, 1, 2])
    weights = HorizonWeights(reference)(steps)
    assert torch.allclose(weights * reference[steps - 1], torch.ones(3))


def test_horizon_weights_default_and_floor():
    assert torch.equal(HorizonWeights()(torch.tensor([7, 90])), torch.ones(2))
    assert HorizonWeights(torch.tensor([0.0]), floor=0.5)(torch.tensor([1])).item() == 2.0


def test_horizon_weights_are_saved():
    weights = HorizonWeights(torch.tensor([0.5, 0.25]))
    assert torch.equal(weights.state_dict()["reference"], torch.tensor([0.5, 0.25]))


@pytest.mark.parametrize("steps", [[0, 1], [1, 4]])
def test_horizon_weights_reject_steps_outside(steps):
    with pytest.raises(ValueError, match=r"'steps' in \[1, 3\]"):
        HorizonWeights(torch.ones(3))(torch.tensor(steps))


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        (torch.ones(2, 2), r"shape \(horizon,\) \(got \(2, 2\)\)"),
        (torch.tensor([0.1, float("nan")]), r"got nan for step 2"),
        (torch.tensor([-1.0]), r"got -1\.0 for step 1"),
    ],
)
def test_horizon_weights_reject_bad_references(reference, message):
    with pytest.raises(ValueError, match=message):
        HorizonWeights(reference)


def test_data_loss_by_hand():
    # Fine: steps 1 and 2 have one of two nodes off by (2/4)^2; coarse: step 1 is off by 1.
    total, terms = data_loss(two_levels(), torch.tensor([2.0, 4.0]), coarse_weight=0.1)
    fine = (2.0 * 0.125 + 4.0 * 0.125) / 2
    coarse = (2.0 * 1.0 + 4.0 * 0.0) / 2
    assert list(terms) == ["data/0", "data/1"]
    assert terms["data/0"].item() == pytest.approx(fine, rel=2e-4)
    assert terms["data/1"].item() == pytest.approx(coarse, rel=3e-4)
    assert total.item() == pytest.approx(fine + 0.1 * coarse, rel=2e-4)


def test_step_errors_by_hand():
    errors = step_errors(two_levels().levels[0])
    assert torch.allclose(errors, torch.tensor([0.125, 0.125]), rtol=1e-4)


def test_data_loss_does_not_depend_on_the_order_of_nodes_and_steps():
    prediction, target = torch.rand(2, 2, 5, 3)
    weights = torch.rand(3)
    nodes, steps = torch.randperm(5), torch.tensor([2, 0, 1])
    before, _ = data_loss(RomaOutput([LevelForecast(prediction, target)]), weights, 0.1)
    level = LevelForecast(prediction[:, nodes][..., steps], target[:, nodes][..., steps])
    after, _ = data_loss(RomaOutput([level]), weights[steps], 0.1)
    assert torch.allclose(before, after)


def test_data_loss_needs_targets_and_fitting_weights():
    output = two_levels()
    with pytest.raises(ValueError, match=r"'weights' of shape \(2,\)"):
        data_loss(output, torch.ones(3), 0.1)
    output.levels[1].target = None
    with pytest.raises(ValueError, match=r"target \(got None\)"):
        data_loss(output, torch.ones(2), 0.1)


def test_penalties_are_weighted_by_kind():
    config = PoolConfig(entropy=2.0, edge_entropy=3.0, link=5.0)
    values = {"entropy/1": 1.0, "entropy/2": 10.0, "edge_entropy/1": 100.0, "link/1": 1000.0}
    penalties = {name: torch.tensor(value) for name, value in values.items()}
    assert penalty_loss(penalties, config).item() == 2 * 11 + 300 + 5000
    assert penalty_loss({}, config).item() == 0.0


def test_unknown_penalty():
    with pytest.raises(ValueError, match=r"got 'balance/1'"):
        penalty_loss({"balance/1": torch.tensor(1.0)}, PoolConfig())


def output_with_residuals():
    levels = [LevelForecast(torch.zeros(1, n, 2)) for n in (6, 2)]
    residuals = {
        "residual/0": torch.tensor(1.0),
        "residual/1": torch.tensor(5.0),
        "residual_gradient/0": torch.tensor(2.0),
        "residual_gradient/1": torch.tensor(2.0),
        "unexplained/0": torch.tensor(9.0),
        "unexplained/1": torch.tensor(9.0),
    }
    return RomaOutput(levels, residuals=residuals)


def test_residual_loss_is_a_mean_over_tokens():
    weights = {"residual": 0.5, "residual_gradient": 3.0}
    total, terms = residual_loss(output_with_residuals(), weights)
    assert terms["residual"].item() == pytest.approx((6 * 1 + 2 * 5) / 8)
    assert terms["residual_gradient"].item() == pytest.approx(2.0)
    assert total.item() == pytest.approx(0.5 * 2 + 3 * 2)


def test_no_residual_no_loss():
    total, terms = residual_loss(RomaOutput([LevelForecast(torch.zeros(1, 3, 2))]), {"residual": 1})
    assert (total.item(), terms) == (0.0, {})
