from __future__ import annotations

import io
import re

import pytest

from roma_pyg.training.progress import TrainingBar, progress_line

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_line_by_hand():
    line = progress_line(40, 100, 0.5, 0.12345, 0.6)
    assert line == "step  40/100  0.50 steps/s  ETA 02:00  loss 0.123  val 0.600"
    assert "ETA ?" in progress_line(0, 100, 0.0, 1.0, None)


def test_plain_lines_outside_a_terminal(fit):
    stream = io.StringIO()
    fit(steps=25, val_interval=15, extra=[TrainingBar(log_interval=1, stream=stream)])
    lines = stream.getvalue().splitlines()
    assert [line.split("/")[0] for line in lines] == ["step 10", "step 20", "step 25"]
    assert "val" not in lines[0]
    assert re.fullmatch(
        r"step 20/25  [\d.]+ steps/s  ETA 00:\d\d  loss \d+\.\d{3}  val \d+\.\d{3}", lines[1]
    )


def test_one_bar_in_a_terminal(fit):
    stream = Terminal()
    fit(steps=12, val_interval=5, extra=[TrainingBar(stream=stream)])
    text = stream.getvalue()
    last = text.replace("\n", "").split("\r")[-1]
    assert re.match(r"12/12 \|.*\| +[\d.]+ steps/s, ETA 00:00, loss \d+\.\d{3}, val \d", last)
    assert text.count("\n") == 1
    assert "Validation" not in text


def test_bar_is_closed_before_an_error(fit, batch):
    stream = Terminal()
    batch.target[0, 0] = float("inf")
    with pytest.raises(ValueError, match="finite loss"):
        fit(steps=5, batches=[batch], extra=[TrainingBar(stream=stream)])
    assert stream.getvalue().endswith("\n")


@pytest.mark.filterwarnings("ignore:.*your dataloader is not resumable")
def test_resumed_bar_starts_at_the_saved_step(fit, tmp_path):
    fit(steps=4, val_interval=4, schedule_steps=8)
    stream = io.StringIO()
    bar = TrainingBar(log_interval=1, stream=stream)
    fit(steps=8, val_interval=4, resume=tmp_path / "last.ckpt", extra=[bar])
    assert stream.getvalue().startswith("step 8/8 ")
    assert bar._first_step == 4
