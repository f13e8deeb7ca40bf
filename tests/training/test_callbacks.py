from __future__ import annotations

import pytest
import torch
from lightning.pytorch.callbacks import Checkpoint
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from roma_pyg.config import TrainingConfig
from roma_pyg.training.averaging import EmaWeights
from roma_pyg.training.callbacks import make_callbacks
from roma_pyg.training.dashboard import Dashboard
from roma_pyg.training.progress import TrainingBar
from roma_pyg.training.schedule import learning_rate_factor

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")

SCALARS = {
    "loss/total",
    "loss/data/0",
    "loss/data/1",
    "loss/entropy/1",
    "loss/link/1",
    "smspe/0",
    "smspe/1",
    "optimizer/learning_rate",
    "optimizer/gradient_norm",
    "speed/steps_per_second",
    "speed/nodes_per_second",
    "memory/process_mib",
    "val/loss",
    "val/data/0",
    "val/data/1",
    "val/smspe/1",
    "val/smspe/4",
    "val/smspe/16",
    "val/r2/16",
}
IMAGES = {
    "forecast/nodes",
    "forecast/mean_observable",
    "forecast/space_time",
    "forecast/error_by_horizon",
}


def test_event_file_of_a_short_run(fit):
    run = fit(steps=5, val_interval=4, figures=True)
    events = EventAccumulator(str(run.folder)).Reload()
    tags = events.Tags()
    assert set(tags["scalars"]) >= SCALARS
    assert set(tags["tensors"]) >= IMAGES

    def values(tag):
        return [event.value for event in events.Scalars(tag)]

    rates = [0.01 * learning_rate_factor(step, 5) for step in range(5)]
    assert values("optimizer/learning_rate") == pytest.approx(rates)
    config = run.module.pool
    total = (
        torch.tensor(values("loss/data/0"))
        + 0.1 * torch.tensor(values("loss/data/1"))
        + config.entropy * torch.tensor(values("loss/entropy/1"))
        + config.link * torch.tensor(values("loss/link/1"))
    )
    assert values("loss/total") == pytest.approx(total.tolist(), rel=1e-5)
    assert len(values("optimizer/gradient_norm")) == 5
    assert values("speed/nodes_per_second") == pytest.approx(
        [6 * rate for rate in values("speed/steps_per_second")]
    )
    assert min(values("memory/process_mib")) > 10


def test_gradient_norm_is_the_norm_before_clipping(fit, model, batch):
    run = fit(steps=1, batches=[batch])
    logged = run.trainer.callback_metrics["optimizer/gradient_norm"]
    torch.manual_seed(0)
    fresh = type(run.module)(
        type(model)(), run.module.options, run.module.pool, torch.linspace(0.01, 0.1, 16)
    )
    fresh._evaluate(batch)[1]["total"].backward()
    squares = sum(float(p.grad.square().sum()) for p in fresh.parameters() if p.grad is not None)
    assert logged.item() == pytest.approx(squares**0.5, rel=1e-5)
    assert squares > 1  # the clip of 1 would show


def test_callbacks_follow_the_options(tmp_path):
    def kinds(**options):
        chosen = make_callbacks(TrainingConfig(figures=False), tmp_path, **options)
        return {type(callback) for callback in chosen}

    assert EmaWeights in kinds()
    assert EmaWeights not in kinds(average=0)
    assert TrainingBar not in kinds(progress=False)
    assert Dashboard in kinds()
    every = make_callbacks(TrainingConfig(), tmp_path)
    assert sum(isinstance(callback, Checkpoint) for callback in every) == 2
