from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import lightning as L
import pytest
import torch
from lightning.pytorch.plugins.precision import MixedPrecision

from roma_pyg.training.checkpoints import AtomicCheckpointIO
from roma_pyg.training.loss import HorizonWeights
from roma_pyg.training.module import NonFiniteLossError
from roma_pyg.training.stopping import SIGNALS, Stopped

FILES = ("best.ckpt", "last.ckpt", "previous.ckpt")

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
    assert sorted(path.name for path in run.folder.glob("*.ckpt")) == [*FILES]
    for name in FILES:
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


def test_the_scaler_of_half_precision_goes_on(fit, make_batch, tmp_path_factory):
    """Its scale grows after every second step, and halves after a gradient that overflows."""

    def half_precision():
        scaler = torch.amp.GradScaler("cpu", init_scale=16.0, growth_interval=2)
        return {"plugins": [MixedPrecision("16-mixed", "cpu", scaler)]}

    options = {"batches": [make_batch(3)], "average": 0.99, "val_interval": 7, "schedule_steps": 7}
    extra = {"extra": [ScaledOverflow()], "checkpoint_interval": 3}
    whole = tmp_path_factory.mktemp("whole")
    fit(folder=whole, steps=7, **options, **extra, **half_precision())
    half = fit(steps=3, **options, **extra, **half_precision())
    fit(steps=7, resume=half.folder / "last.ckpt", **options, **extra, **half_precision())
    one, other = (load(folder / "last.ckpt") for folder in (whole, half.folder))
    assert one["MixedPrecision"]["scale"] == 32
    assert one["MixedPrecision"] == other["MixedPrecision"]
    for part in ("state_dict", "current_model_state"):
        for name, value in one[part].items():
            assert value.isfinite().all(), name
            assert torch.equal(value, other[part][name]), name


def steps_of(folder: Path) -> dict[str, int]:
    return {name: load(folder / name)["global_step"] for name in FILES if (folder / name).exists()}


def test_steps_of_the_checkpoints(fit, tmp_path):
    """Every third step, after every fourth, which is validated, and at the end."""
    seen = []

    class Seen(L.Callback):
        def on_train_batch_start(self, *_):
            seen.append(steps_of(tmp_path))

    fit(steps=11, val_interval=4, checkpoint_interval=3, extra=[Seen()])
    last = [steps.get("last.ckpt") for steps in seen]
    assert last == [None, None, None, 3, 4, 4, 6, 6, 8, 9, 9]
    assert [steps.get("previous.ckpt") for steps in seen][4:] == [3, 3, 4, 4, 6, 8, 8]
    assert {name: steps_of(tmp_path)[name] for name in FILES[1:]} == {
        "last.ckpt": 11,
        "previous.ckpt": 9,
    }


class Signal(L.Callback):
    """Sends this process signals in the middle of a step, or of a validation."""

    def __init__(self, step, *numbers, validation=False):
        self.step, self.numbers, self.validation = step, numbers, validation

    def send(self, trainer):
        if trainer.global_step == self.step:
            for number in self.numbers:
                os.kill(os.getpid(), number)

    def on_before_optimizer_step(self, trainer, *_):
        if not self.validation:
            self.send(trainer)

    def on_validation_batch_start(self, trainer, *_):
        if self.validation:
            self.send(trainer)


@pytest.fixture
def _handlers():
    """Lightning ignores further interrupts after the first; undo that."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_handlers")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_ends_the_run_after_the_step(fit, tmp_path, number):
    with pytest.raises(Stopped, match=f"{number.name} after step 7, which '.*last.ckpt'") as stop:
        # Schedulers may repeat themselves.
        fit(steps=9, val_interval=4, extra=[Signal(6, number, signal.SIGTERM)])
    assert stop.value.code == 128 + number
    assert steps_of(tmp_path)["last.ckpt"] == 7
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.usefixtures("_handlers")
def test_a_signal_waits_for_the_end_of_a_validation(fit, tmp_path):
    with pytest.raises(Stopped, match="after step 4"):
        fit(steps=9, val_interval=4, extra=[Signal(4, signal.SIGTERM, validation=True)])
    assert steps_of(tmp_path) == {"best.ckpt": 4, "last.ckpt": 4}


@pytest.mark.usefixtures("_handlers")
def test_interrupt_ends_the_run_after_the_step(fit, tmp_path):
    with pytest.raises(SystemExit):
        fit(steps=9, val_interval=4, extra=[Signal(6, signal.SIGINT)])
    assert steps_of(tmp_path)["last.ckpt"] == 7


@pytest.mark.usefixtures("_handlers")
def test_a_second_interrupt_ends_the_run_at_once(fit, tmp_path):
    with pytest.raises(SystemExit):
        fit(steps=9, val_interval=4, extra=[Signal(6, signal.SIGINT, signal.SIGINT)])
    assert steps_of(tmp_path)["last.ckpt"] == 4


def test_a_full_disk_leaves_the_files_as_they_were(tmp_path, monkeypatch):
    path, kept = tmp_path / "last.ckpt", tmp_path / "previous.ckpt"
    for step in (1, 2):
        AtomicCheckpointIO().save_checkpoint({"global_step": step}, path, kept)

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device"):
        AtomicCheckpointIO().save_checkpoint({"global_step": 3}, path, kept)
    assert steps_of(tmp_path) == {"last.ckpt": 2, "previous.ckpt": 1}
    assert len([*tmp_path.iterdir()]) == 2


class ScaledOverflow(L.Callback):
    """Makes a gradient infinite where the scaler still sees it, and leaves the step out."""

    def on_after_backward(self, trainer, pl_module):
        if trainer.global_step == 5:
            pl_module.model.linear.weight.grad[0, 0] = float("inf")


class Overflow(L.Callback):
    """Makes a gradient infinite, whose clipped value is no number."""

    def on_before_optimizer_step(self, trainer, pl_module, _):
        if trainer.global_step == 5:
            pl_module.model.linear.weight.grad[0, 0] = float("inf")


@pytest.mark.parametrize("interval", [1, 100])
def test_weights_that_are_not_finite_are_not_saved(fit, tmp_path, interval):
    message = r"finite weights \(got NaN or infinity in '.*linear.weight' after step 6, .*gradient"
    with pytest.raises(NonFiniteLossError, match=message):
        fit(steps=9, val_interval=4, checkpoint_interval=interval, extra=[Overflow()])
    assert steps_of(tmp_path)["last.ckpt"] == (5 if interval == 1 else 4)
    for value in load(tmp_path / "last.ckpt")["state_dict"].values():
        assert value.isfinite().all()


def test_error_does_not_save(fit, tmp_path):
    with pytest.raises(RuntimeError, match="broken"):
        fit(steps=9, val_interval=4, extra=[Failing(7, RuntimeError("broken"))])
    assert load(tmp_path / "last.ckpt")["global_step"] == 4
