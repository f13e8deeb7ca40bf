from __future__ import annotations

import io
import re

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from roma_pyg.training.charts import (
    CHARTS,
    FIGURES,
    LAW,
    Named,
    NamedScalars,
    describe,
    guide,
    image_entry,
    layout,
)


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        ("val/loss", "Validation loss"),
        ("val/smspe/64", "sMSPE, steps ahead: 64"),
        ("loss/data", "Forecast part of the loss"),
        ("loss/data/0", "Training loss, level 0"),
        ("loss/edge_entropy/2", "Entropy of the couplings, level 2"),
        ("gradient/residual_gradient", "Gradient norm, residual gradient term"),
        ("memory/gpu_peak_mib", "Memory, gpu peak [MiB]"),
    ],
)
def test_names_of_tags(tag, name):
    assert describe(tag).name == name


@pytest.mark.parametrize("tag", ["val/loss/1", "my_val/loss", "smspe", "loss/data/x"])
def test_other_tags_have_no_name(tag):
    assert describe(tag) is None


def test_no_tag_is_in_two_charts():
    tags = ["loss/data", "loss/data/1", "loss/residual", "effective/residual/0", "val/data/0"]
    for tag in tags:
        assert sum(re.fullmatch(chart.tags, tag) is not None for chart in CHARTS) == 1


def test_the_law_has_a_group_only_where_there_is_one():
    groups = ["Forecast error", "Coarse levels", "Pooling", "Optimiser", "Speed and memory"]
    assert list(layout(law=False)) == groups
    assert list(layout(law=True)) == [*groups[:3], LAW, *groups[3:]]
    assert "Viscosity" in guide(law=True)
    assert "Viscosity" not in guide(law=False)


def test_charts_take_whole_tags():
    kind, (pattern,) = layout(law=False)["Forecast error"]["Training loss, forecast part"]
    assert kind == "Multiline"
    assert re.match(pattern, "loss/data")
    assert not re.match(pattern, "loss/data/1")


def test_logger_keeps_tags_and_values_and_adds_names(tmp_path):
    logger = NamedScalars(tmp_path, name="", version="")
    for step in range(3):
        logger.log_metrics({"val/loss": 1 - 0.25 * step, "other": 2.0, "epoch": 0}, step)
    logger.experiment.flush()
    events = EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {"val/loss", "other"}
    points = [(event.step, event.value) for event in events.Scalars("val/loss")]
    assert points == [(0, 1.0), (1, 0.75), (2, 0.5)]
    metadata = events.SummaryMetadata("val/loss")
    assert metadata.display_name == "Validation loss"
    assert "best.ckpt" in metadata.summary_description
    named = events.Tensors("val/loss")
    assert [(event.step, float(make_ndarray(event.tensor_proto))) for event in named] == [(0, 1.0)]


def test_image_entry_holds_size_and_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 3), dtype=np.uint8)
    (value,) = image_entry("forecast/nodes", Named("Nodes", "Text"), pixels).value
    width, height, png = make_ndarray(value.tensor)
    assert (width, height) == (b"5", b"3")
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png))), pixels)
    assert value.metadata.display_name == "Nodes"
    assert value.metadata.plugin_data.plugin_name == "images"


def test_the_page_explains_every_chart_and_figure(repository):
    page = (repository / "docs" / "dashboard.md").read_text(encoding="utf-8")
    for chart in CHARTS:
        assert f"| {chart.group} | {chart.title} | `" in page
        assert chart.text in page
    for tag, figure in FIGURES.items():
        assert f"| `{tag}` | {figure.name}: " in page


def test_shipped_screenshots_are_small(repository):
    shots = list((repository / "docs" / "images").glob("dashboard_*.png"))
    assert len(shots) == 10
    assert max(path.stat().st_size for path in shots) < 200_000
