from __future__ import annotations

import random

import lightning as L
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

from roma_pyg.config import RunConfig
from roma_pyg.training import dashboard
from roma_pyg.training.charts import FIGURES
from roma_pyg.training.dashboard import Dashboard, draw_model, run_entries

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


def events_of(run) -> EventAccumulator:
    return EventAccumulator(str(run.folder)).Reload()


def drawn_at(run) -> list[int]:
    # Entries stand at the last step that is done, counted from zero.
    return [event.step + 1 for event in events_of(run).Tensors("forecast/nodes")]


def test_drawn_at_the_first_fourth_and_last_validation(fit):
    run = fit(steps=14, val_interval=2, figures=True)
    assert drawn_at(run) == [2, 8, 14]


@pytest.mark.filterwarnings("ignore:You're resuming from a checkpoint that ended")
def test_a_resumed_run_draws_again(fit, tmp_path):
    fit(steps=4, val_interval=2, figures=True, schedule_steps=8)
    run = fit(steps=8, val_interval=2, figures=True, resume=tmp_path / "last.ckpt")
    assert drawn_at(run) == [2, 4, 6, 8]


def test_without_figures_nothing_is_drawn(fit, monkeypatch):
    def forbidden(*_: object) -> None:
        raise AssertionError("Nothing should be drawn.")

    for name in ("draw_forecast", "draw_model", "embed_nodes", "write_whole_graph"):
        monkeypatch.setattr(dashboard, name, forbidden)
    run = fit(steps=4, val_interval=2)
    tags = events_of(run).Tags()
    assert "custom_scalars__config__" in tags["tensors"]
    assert not any(tag in FIGURES for tag in tags["tensors"])


def test_custom_scalars_name_tags_that_are_logged(fit):
    events = events_of(fit(steps=4, val_interval=2))
    tensor = events.Tensors("custom_scalars__config__")[0].tensor_proto
    charts = Layout.FromString(tensor.string_val[0]).category[0].chart
    assert charts[0].title == "Validation loss"
    assert list(charts[0].multiline.tag) == ["^val/loss$"]
    assert "val/loss" in events.Tags()["scalars"]


def test_texts(fit):
    events = events_of(fit(steps=2, val_interval=2))
    text = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "name: stand-in" in text
    guide = events.Tensors("guide/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "Validation sMSPE by steps ahead" in guide


def test_table_of_runs():
    config = RunConfig()
    config.model.pool.sizes = [64, 16]
    columns, options, _ = run_entries(config.to_dict(), 1234, horizon=16)

    def content(summary) -> HParamsPluginData:
        return HParamsPluginData.FromString(summary.value[0].metadata.plugin_data.content)

    experiment = content(columns).experiment
    names = {metric.name.tag: metric.display_name for metric in experiment.metric_infos}
    assert set(names) == {"val/loss", "val/smspe/1", "val/smspe/16", "speed/steps_per_second"}
    assert names["val/smspe/16"] == "sMSPE, steps ahead: 16"
    first = {option.name for option in experiment.hparam_infos if option.differs}
    assert first == {"data set", "learning rate", "optimiser", "seed", "supernodes"}
    values = content(options).session_start_info.hparams
    # Every option of the table exists in the configuration.
    assert set(values) == {*dashboard.OPTIONS, "parameters"}
    assert values["supernodes"].string_value == "64, 16"
    assert values["learning rate"].number_value == config.training.learning_rate
    assert values["parameters"].number_value == 1234


def test_share_of_time_is_logged_and_summed_up(fit):
    run = fit(steps=4, val_interval=2, figures=True)
    board = next(c for c in run.trainer.callbacks if isinstance(c, Dashboard))
    summary = board.summary()
    assert summary["dashboard_seconds"] > 0.1  # two sets of figures
    shares = [event.value for event in events_of(run).Scalars("speed/dashboard_share")]
    # At each validation, and at the end.
    assert len(shares) == 3
    assert min(shares) > 0


class Randomness(L.Callback):
    """Draws random numbers after each validation."""

    def __init__(self) -> None:
        self.drawn: list[tuple[float, float, float]] = []

    def on_validation_end(self, *_: object) -> None:
        numbers = (float(torch.rand(())), float(np.random.rand()), random.random())  # noqa: NPY002
        self.drawn.append(numbers)


def test_random_states_stay_as_they_are(fit, tmp_path, monkeypatch):
    original = dashboard.draw_forecast

    def careless(*arguments):
        torch.rand(3), np.random.rand(3), random.random()  # noqa: NPY002
        return original(*arguments)

    monkeypatch.setattr(dashboard, "draw_forecast", careless)
    runs, numbers = [], []
    for name, figures in (("with", True), ("without", False)):
        random.seed(0)
        np.random.seed(0)  # noqa: NPY002
        watch = Randomness()
        runs.append(fit(tmp_path / name, steps=4, val_interval=2, figures=figures, extra=[watch]))
        numbers.append(watch.drawn)
    assert len(numbers[0]) == 2
    assert numbers[0] == numbers[1]
    one, other = (run.module.state_dict() for run in runs)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_an_error_while_drawing_is_told_once_and_training_goes_on(fit, monkeypatch):
    def broken(*_: object) -> None:
        raise RuntimeError("no ink")

    monkeypatch.setattr(dashboard, "draw_forecast", broken)
    with pytest.warns(UserWarning, match=r"lacks the figures .* \(RuntimeError: no ink\)") as told:
        run = fit(steps=4, val_interval=2, figures=True)
    assert sum("no ink" in str(warning.message) for warning in told) == 1
    assert run.trainer.global_step == 4


def test_a_stop_by_the_user_is_not_swallowed(fit, monkeypatch):
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(dashboard, "draw_forecast", stop)
    with pytest.raises(SystemExit):
        fit(steps=4, val_interval=2, figures=True)


def test_supernodes_and_attention_of_a_model(tiny):
    groups = {"hierarchy", "attention"}
    every = {tag for tag in FIGURES if tag.split("/")[0] in groups}
    assert set(draw_model(tiny.model(), tiny.batch(2))) == every


def test_a_model_without_levels_has_fewer_figures(tiny):
    figures = draw_model(tiny.model(sizes=()), tiny.batch(2))
    assert set(figures) == {"attention/by_distance", "attention/components"}


def test_large_attention_is_not_drawn(tiny, monkeypatch):
    monkeypatch.setattr(dashboard, "ATTENTION_ENTRIES", 2 * 2 * 19**2 - 1)
    figures = draw_model(tiny.model(), tiny.batch(2))
    assert not any(tag.startswith("attention") for tag in figures)
