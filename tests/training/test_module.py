from __future__ import annotations

import numpy as np
import pytest
import torch

from roma_pyg.config import PoolConfig, TrainingConfig
from roma_pyg.training.loss import HorizonWeights, data_loss
from roma_pyg.training.module import NonFiniteLossError, RomaModule

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Recorder(RomaModule):
    """Keeps what a step logs, without a trainer."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.logged = {}

    def log(self, name, value, **_):
        self.logged[name] = float(value)

    def log_dict(self, values, **_):
        self.logged.update({name: float(value) for name, value in values.items()})


def test_validation_by_hand(model, batch):
    module = Recorder(model, TrainingConfig(), PoolConfig(), torch.linspace(0.1, 1, 16))
    module.on_validation_epoch_start()
    with torch.no_grad():
        result = module.validation_step(batch, 0)
        module.on_validation_epoch_end()
        output = model(batch)
    _, terms = data_loss(output, HorizonWeights(torch.linspace(0.1, 1, 16))(batch.steps), 0.1)
    assert module.logged["val/loss"] == pytest.approx(terms["data/0"].item())
    assert module.logged["val/data/1"] == pytest.approx(terms["data/1"].item())
    assert torch.equal(result["output"].levels[0].prediction, output.levels[0].prediction)

    # Steps ahead are 1, 4, 9, 16: 9 is not reported, 64 is not evaluated.
    fine = output.levels[0]
    guess, truth = (x[0, :, 3].double().numpy() for x in (fine.prediction, fine.target))
    r2 = 1 - np.sum((truth - guess) ** 2) / np.sum((truth - truth.mean()) ** 2)
    assert module.logged["val/r2/16"] == pytest.approx(r2)
    error = np.mean(((truth - guess) / (np.abs(truth) + np.abs(guess) + 1e-4)) ** 2)
    assert module.logged["val/smspe/16"] == pytest.approx(error, rel=1e-5)
    reported = {name for name in module.logged if name.startswith("val/smspe/")}
    assert reported == {"val/smspe/1", "val/smspe/4", "val/smspe/16"}


def test_validation_forgets_the_one_before(model, batch):
    module = Recorder(model, TrainingConfig(), PoolConfig())
    scores = []
    for _ in range(2):
        module.on_validation_epoch_start()
        with torch.no_grad():
            module.validation_step(batch, 0)
            module.on_validation_epoch_end()
        scores.append(module.logged["val/smspe/16"])
        with torch.no_grad():
            module.model.linear.bias.fill_(5.0)
    fresh = Recorder(model, TrainingConfig(), PoolConfig())
    with torch.no_grad():
        fresh.validation_step(batch, 0)
        fresh.on_validation_epoch_end()
    assert scores[0] != scores[1]
    assert scores[1] == fresh.logged["val/smspe/16"]


def test_constant_truth_has_no_r2(model, batch):
    module = Recorder(model, TrainingConfig(), PoolConfig())
    batch.target = torch.full_like(batch.target, 0.5)
    with torch.no_grad():
        module.validation_step(batch, 0)
        module.on_validation_epoch_end()
    assert "val/smspe/16" in module.logged
    assert "val/r2/16" not in module.logged


def test_every_parameter_is_optimised(model):
    module = RomaModule(model, TrainingConfig(weight_decay=0.25), PoolConfig(), torch.ones(16))
    optimizer = module.configure_optimizers()["optimizer"]
    groups = optimizer.param_groups
    assert {id(p) for g in groups for p in g["params"]} == {id(p) for p in model.parameters()}
    assert [group["weight_decay"] for group in groups] == [0.25, 0.0]


def test_non_finite_loss_stops_with_the_terms(fit, batch):
    batch.window[0, 0] = float("nan")
    with pytest.raises(
        NonFiniteLossError,
        match=r"finite loss \(got data/0 = nan.*at step 0, learning rate [0-9.e-]+\)",
    ):
        fit(batches=[batch])


def test_loss_falls(fit, batch):
    first = fit(batches=[batch], steps=1).trainer.callback_metrics["loss/data/0"]
    last = fit(batches=[batch], steps=40, val_interval=40).trainer.callback_metrics["loss/data/0"]
    assert last < 0.5 * first


def test_config_must_be_plain(model):
    config = {"data": {"steps": [1, torch.tensor(2)]}}
    with pytest.raises(TypeError, match=r"'config\.data\.steps\[1\]'.*got Tensor"):
        RomaModule(model, TrainingConfig(), PoolConfig(), config=config)
