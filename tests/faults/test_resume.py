"""A run that is killed at any moment and resumed is the run that was not."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes"),
]

# Functions of a run, and a number of calls that an attempt reaches.
PLACES = {
    "roma_pyg.data.windows:WindowStream.batch": 12,
    "roma_pyg.training.module:RomaModule.training_step": 12,
    "roma_pyg.training.module:RomaModule.validation_step": 4,
    "roma_pyg.training.muon:Muon._matrix_step": 12,
    "roma_pyg.training.muon:Muon._adam_step": 12,
    "torch.optim.lr_scheduler:LambdaLR.step": 12,
    "roma_pyg.training.averaging:EmaWeights.on_train_batch_end": 12,
    "roma_pyg.training.averaging:EmaWeights._swap_models": 4,
    "roma_pyg.training.checkpoints:BestCheckpoint.on_validation_end": 2,
    "roma_pyg.training.checkpoints:LastCheckpoint._save": 3,
    "lightning.pytorch.loggers:TensorBoardLogger.log_metrics": 6,
    "torch:save": 3,
    "os:fsync": 6,
    "pathlib:Path.replace": 6,
}
HALF_WRITTEN = {"place": "os:fsync", "call": 3, "moment": "half"}


def make_kills(seed: int) -> list[dict[str, Any]]:
    """Two kills in each place, at random calls, and some at random times, in random order."""
    rng = random.Random(seed)
    kills: list[dict[str, Any]] = [HALF_WRITTEN]
    for place, calls in PLACES.items():
        first = rng.randint(1, calls)
        kills.append({"place": place, "call": first, "moment": "before"})
        kills.append({"place": place, "call": rng.randint(1, calls), "moment": "after"})
    kills += [{"seconds": rng.uniform(0.1, 3)} for _ in range(5)]
    rng.shuffle(kills)
    return kills


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def result(folder: Path) -> dict[str, Any]:
    # The sampling in processes of their own in every second run.
    plan = {"folder": str(folder), "kills": make_kills(seed=1), "workers": [0, 2]}
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("driver.py"))],
        input=json.dumps(plan),
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def read(path: Path) -> dict[str, Any]:
    """A checkpoint without what may differ: names, how it was started, and clocks."""
    content = torch.load(path, weights_only=True)
    for key in ("name", "resume", "workers"):
        del content["hyper_parameters"]["training"][key]
    del content["callbacks"]["ResourceMonitor"]["elapsed"]
    return content


def differences(one: Any, other: Any, path: str = "") -> Iterator[str]:
    """Places where two nested contents differ by as much as a bit."""
    if type(one) is not type(other):
        yield path
    elif isinstance(one, dict):
        if one.keys() != other.keys():
            yield path
        for key in one.keys() & other.keys():
            yield from differences(one[key], other[key], f"{path}/{key}")
    elif isinstance(one, list | tuple):
        if len(one) != len(other):
            yield path
        for index, pair in enumerate(zip(one, other, strict=False)):
            yield from differences(*pair, f"{path}/{index}")
    elif isinstance(one, torch.Tensor):
        if one.dtype != other.dtype or not torch.equal(one, other):
            yield path
    elif one != other:
        yield path


def scalars(run: Path) -> dict[str, list[tuple[int, float]]]:
    """The curves that TensorBoard shows, but for speed and memory."""
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if not tag.startswith(("speed", "memory"))]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def test_many_places_were_hit(result: dict[str, Any]) -> None:
    killed = {json.dumps(kill, sort_keys=True) for kill in result["killed"]}
    assert len(killed) >= 20
    assert len({json.loads(kill).get("place") for kill in killed}) >= 10
    assert result["failed"] == []


@pytest.mark.parametrize("name", ["last.ckpt", "previous.ckpt", "best.ckpt"])
def test_checkpoints_are_those_of_the_whole_run(
    result: dict[str, Any], folder: Path, name: str
) -> None:
    whole = read(folder / "whole" / name)
    # Everything is there: raw and averaged weights, moments, schedule, random states.
    assert {"state_dict", "current_model_state", "optimizer_states", "lr_schedulers"} <= set(whole)
    assert {"RandomState", "BestCheckpoint", "EmaWeights"} <= set(whole["callbacks"])
    for run in result["runs"]:
        assert list(differences(whole, read(folder / run / name))) == [], run


def test_logs_are_those_of_the_whole_run(result: dict[str, Any], folder: Path) -> None:
    whole = scalars(folder / "whole")
    assert [step for step, _ in whole["val/loss"]] == [5, 11, 17, 23]
    assert [step for step, _ in whole["loss/total"]] == [*range(2, 24, 3)]
    for run in result["runs"]:
        # An entry is written after the checkpoint of its step if both fall together, and a kill
        # in between takes it; those of validations never.
        curves = scalars(folder / run)
        for tag, curve in whole.items():
            if tag.startswith("val/"):
                assert curves[tag] == curve, (run, tag)
            else:
                assert curves[tag] == [entry for entry in curve if entry in curves[tag]], (run, tag)


def test_the_summary_counts_all_steps(result: dict[str, Any], folder: Path) -> None:
    for run in ("whole", *result["runs"]):
        summary = json.loads((folder / run / "summary.json").read_text(encoding="utf-8"))
        assert summary["steps"] == 24
        assert len(summary["unexplained"]) == 2
        assert yaml.safe_load((folder / run / "config.yaml").read_text(encoding="utf-8"))
