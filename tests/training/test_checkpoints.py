from __future__ import annotations

import signal
from collections.abc import Iterator

import lightning as L
import pytest
import torch

from roma_pyg.training.loss import HorizonWeights

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class ValLosses(L.Callback):
    def __init__(self):
        self.by_step = {}

    def on_validation_end(self, trainer, pl_module):
        self.by_step[trainer.global_step] = trainer.callback_metrics["val/loss"].item()


class Failing(L.Callback):
    """Raises after some steps."""

    def __init__(self, step, error):
        self.step, self.error = step, error

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            raise self.error


def load(path):
    return torch.load(path, weights_only=True)


@pytest.mark.parametrize("average", [None, 0.99])
def test_files_load_without_pickle(fit, average):
    run = fit(steps=5, average=average)
    assert sorted(path.name for path in run.folder.glob("*.ckpt")) == ["best.ckpt", "last.ckpt"]
    for name in ("best.ckpt", "last.ckpt"):
        state = load(run.folder / name)
        assert state["hyper_parameters"] == {"model": {"sizes": [2]}, "name": "stand-in"}
        assert {key.split(".")[0] for key in state["state_dict"]} == {"model", "horizon_weights"}
    reference = load(run.folder / "last.ckpt")["state_dict"]["horizon_weights.reference"]
    weights = HorizonWeights(reference)(torch.tensor([1, 16]))
    assert torch.allclose(weights, torch.tensor([100.0, 10.0]))


def test_best_is_the_smallest_and_last_is_the_final_step(fit):
    losses = ValLosses()
    # After ten steps the weights are spoilt: the validation gets worse again.
    run = fit(steps=19, val_interval=3, extra=[losses, Spoiler(after=10)])
    best = min(losses.by_step, key=losses.by_step.get)
    assert best < 18
    assert load(run.folder / "best.ckpt")["global_step"] == best
    assert load(run.folder / "last.ckpt")["global_step"] == 19


class Spoiler(L.Callback):
    """Shifts the weights away from the optimum after some steps."""

    def __init__(self, after):
        self.after = after

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_step > self.after:
            with torch.no_grad():
                pl_module.model.linear.bias.add_(0.3)


@pytest.mark.parametrize("average", [None, 0.99])
def test_resumed_run_ends_where_an_unbroken_one_does(fit, make_batch, tmp_path_factory, average):
    batch = [make_batch(3)]
    options = {"batches": batch, "average": average, "val_interval": 1, "schedule_steps": 6}
    whole = fit(folder=tmp_path_factory.mktemp("whole"), steps=6, **options)
    half = fit(steps=3, **options)
    resumed = fit(steps=6, resume=half.folder / "last.ckpt", **options)
    assert resumed.trainer.global_step == 6
    expected = whole.module.state_dict()
    for name, value in resumed.module.state_dict().items():
        assert torch.allclose(value, expected[name], atol=1e-7), name


@pytest.fixture
def _interruptible() -> Iterator[None]:
    """Lightning ignores further interrupts after the first; undo that."""
    handler = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, handler)


@pytest.mark.usefixtures("_interruptible")
def test_interrupt_saves(fit, tmp_path):
    with pytest.raises(SystemExit):
        fit(steps=9, val_interval=4, extra=[Failing(6, KeyboardInterrupt())])
    assert load(tmp_path / "last.ckpt")["global_step"] == 6


def test_error_does_not_save(fit, tmp_path):
    with pytest.raises(RuntimeError, match="broken"):
        fit(steps=9, val_interval=4, extra=[Failing(7, RuntimeError("broken"))])
    assert load(tmp_path / "last.ckpt")["global_step"] == 4
