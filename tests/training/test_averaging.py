from __future__ import annotations

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins.precision import DoublePrecision

from roma_pyg.training.averaging import EmaWeights, warm_decay

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class WeightLog(L.Callback):
    """Keeps the bias after each step and during each validation."""

    def __init__(self):
        self.after_step = []
        self.in_validation = []

    def on_train_batch_end(self, trainer, pl_module, *_):
        self.after_step.append(pl_module.model.linear.bias.detach().clone())

    def on_validation_batch_start(self, trainer, pl_module, *_):
        self.in_validation.append(pl_module.model.linear.bias.detach().clone())


def test_warm_decay_by_hand():
    assert warm_decay(1, 0.9) == pytest.approx(2 / 11)
    assert warm_decay(1000, 0.9) == 0.9


def test_decay_out_of_range():
    with pytest.raises(ValueError, match=r"'decay' to be in \(0, 1\) \(got 1\.0\)"):
        EmaWeights(1.0)


def test_validation_and_result_use_the_average(fit):
    log = WeightLog()
    run = fit(steps=4, val_interval=4, average=0.999, extra=[log])
    average = log.after_step[0]
    for count, bias in enumerate(log.after_step[1:], start=1):
        decay = (1 + count) / (10 + count)
        average = decay * average + (1 - decay) * bias
    assert torch.allclose(log.in_validation[0], average, atol=1e-7)
    assert not torch.allclose(log.after_step[-1], average, atol=1e-5)
    assert torch.allclose(run.module.model.linear.bias, average, atol=1e-7)
    best = torch.load(run.folder / "best.ckpt", weights_only=True)
    assert torch.allclose(best["state_dict"]["model.linear.bias"], average, atol=1e-7)
    assert torch.equal(best["current_model_state"]["model.linear.bias"], log.after_step[-1])


def test_averages_have_the_precision_of_the_weights(fit):
    log = WeightLog()
    run = fit(steps=3, average=0.9, extra=[log], plugins=[DoublePrecision()])
    assert log.after_step[0].dtype == torch.float64
    average = log.after_step[0]
    for count, bias in enumerate(log.after_step[1:], start=1):
        average = torch.lerp(average, bias, 1 - warm_decay(count, 0.9))
    torch.testing.assert_close(run.module.model.linear.bias, average, rtol=1e-12, atol=1e-14)
