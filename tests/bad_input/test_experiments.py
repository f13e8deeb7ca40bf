"""Experiment files, records and jobs."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roma_pyg.cli.bench import main
from roma_pyg.experiments.records import read_record
from roma_pyg.experiments.runner import Place
from roma_pyg.experiments.spec import load_experiment
from roma_pyg.experiments.worker import Job
from tests.bad_input.harness import assert_clear, assert_clear_text, attempt, call, files, limits

GOOD = "members: {a: {}, b: {model.base: none}}\nseeds: [0]\nsimple: false\n"
# Text of the file, and a word of the message; None: it works.
SPECS: dict[str, tuple[str | bytes, str | None]] = {
    "good": (GOOD, None),
    "configuration": ("data: {window: 32}", None),
    "empty": ("", None),
    "no seeds": ("members: {a: {}}\nseeds: []", None),
    "null": ("members: {a: null}\nconditions: null\ntuning: null", None),
    "list": ("[1, 2]", "experiment"),
    "text": ("hello", "experiment"),
    "binary": (bytes(range(256)), "UTF-8"),
    "no yaml": ("members: [", "YAML"),
    "key twice": (GOOD + "seeds: [1]", "'seeds' twice"),
    "python": ("members: !!python/object/apply:os.system ['true']", "constructor"),
    "deep": ("members: " + "[" * 5000, "YAML"),
    "unknown key": (GOOD + "colour: red", "colour"),
    "long key": (GOOD + f"? {'k' * 900}\n: 1", "Unknown key"),
    "members of a list": ("members: [a, b]", "'members'"),
    "members of text": ("members: a", "'members'"),
    "no members": ("members: {}", "at least one member"),
    "member of text": ("members: {a: fast}", "'members'"),
    "member by number": ("members: {1: {}}", "'members'"),
    "unknown option of a member": ("members: {a: {data.windw: 3}}", "data.window"),
    "impossible option of a member": ("members: {a: {data.window: -3}}", "data.window"),
    "conditions of a list": (GOOD + "conditions: [a]", "'conditions'"),
    "condition of a list": (GOOD + "conditions: {a: [1]}", "'conditions'"),
    "options of a list": (GOOD + "options: [1]", "'options'"),
    "seeds of text": ("members: {a: {}}\nseeds: many", "'seeds'"),
    "seeds of a number": ("members: {a: {}}\nseeds: 3", "'seeds'"),
    "seeds of fractions": ("members: {a: {}}\nseeds: [0.5]", "'seeds'"),
    "negative seed": ("members: {a: {}}\nseeds: [-1]", "data.seed"),
    "huge seed": ("members: {a: {}}\nseeds: [99999999999999999999]", "seed"),
    "seed keys of numbers": (GOOD + "seed_keys: [1]", "'seed_keys'"),
    "unknown seed key": (GOOD + "seed_keys: [data.sead]", "data.sead"),
    "reference of a list": (GOOD + "reference: [a]", "'reference'"),
    "unknown reference": (GOOD + "reference: c", "'reference'"),
    "match of text": (GOOD + "match: perhaps", "'match'"),
    "files of numbers": (GOOD + "config: [1]", "'config'"),
    "missing file": (GOOD + "config: nowhere.yaml", "nowhere.yaml"),
    "itself as file": (GOOD + "config: own.yaml", "members"),
    "extends itself": ("extends: own.yaml", "circle"),
    "extends nothing": ("extends: nowhere.yaml", "nowhere.yaml"),
    "extends a folder": ("extends: .", "experiment file"),
    "extends a number": ("extends: 3", "'extends'"),
    "profiles of a list": (GOOD + "profiles: [small]", "'profiles'"),
    "other profile": (GOOD + "profiles: {large: {}}", "'small'"),
    "profile of text": (GOOD + "profiles: {small: fast}", "'profiles'"),
    "profile with unknown key": (GOOD + "profiles: {small: {sead: 1}}", "sead"),
    "profile of another member": (GOOD + "profiles: {small: {members: {c: {}}}}", "'c'"),
    "evaluation of a list": (GOOD + "evaluation: [1]", "'evaluation'"),
    "unknown key of the evaluation": (GOOD + "evaluation: {horizon: 3}", "horizons"),
    "horizons of text": (GOOD + "evaluation: {horizons: all}", "evaluation.horizons"),
    "negative horizons": (GOOD + "evaluation: {horizons: [-1]}", "evaluation.horizons"),
    "no times": (GOOD + "evaluation: {times: 0}", "evaluation.times"),
    "huge times": (GOOD + f"evaluation: {{times: {10**30}}}", "evaluation.times"),
    "tuning of a list": (GOOD + "tuning: [1]", "'tuning'"),
    "tuning without steps": (GOOD + "tuning: {options: {}}", "steps"),
    "tuning of a value": (GOOD + "tuning: {steps: 5, options: {training.clip: 1}}", "tuning.opt"),
    "tuning of nothing": (GOOD + "tuning: {steps: 5, options: {training.clip: []}}", "tuning.opt"),
    "tuning of a billion": (
        GOOD + "tuning:\n  steps: 5\n  options:\n"
        + "".join(f"    training.{k}: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]\n"
                  for k in ("clip", "learning_rate", "max_steps", "rollout", "log_interval")),
        "tuning.options"),
    "tuning on another condition": (
        GOOD + "tuning: {steps: 5, options: {}, condition: z}", "'z'"),
    "fits of a section": (GOOD + "fits: {x: samples}", "'fits'"),
    "fit of nothing": (GOOD + "fits: [{}]", "conditions"),
    "fit of another size": (GOOD + "fits: [{x: weight, conditions: [all]}]", "fits.x"),
    "fit on another condition": (GOOD + "fits: [{x: samples, conditions: [z]}]", "'z'"),
    "fit of another member": (GOOD + "fits: [{x: samples, conditions: [all], member: z}]", "'z'"),
    "reach of text": (GOOD + "reach: a", "'reach'"),
    "reach of another member": (GOOD + "reach: [z]", "'z'"),
    "tests of a list": (GOOD + "tests: [1]", "'tests'"),
}  # fmt: skip


@pytest.mark.parametrize("case", SPECS)
def test_specs(case: str, tmp_path: Path) -> None:
    text, expected = SPECS[case]
    file = tmp_path / "own.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    outcome = call(main, "run", file, "--dry-run", "--output", tmp_path / "bench")
    if expected is None:
        assert outcome.code == 0, outcome.err
    else:
        assert_clear(outcome, expected)
    assert list(files(tmp_path)) == ["own.yaml"]


WORDS: dict[str, tuple[list[str], str]] = {
    "missing": (["run", "nowhere.yaml"], "nowhere.yaml"),
    "missing name": (["report", "nowhere"], "nowhere.yaml"),
    "folder": (["run", "..yaml"], "..yaml"),
    "no jobs": (["run", "own.yaml", "--jobs", "0"], "--jobs"),
    "jobs of text": (["run", "own.yaml", "--jobs", "all"], "--jobs"),
    "unknown member": (["run", "own.yaml", "--members", "z"], "'z'"),
    "unknown condition": (["run", "own.yaml", "--conditions", "z"], "'z'"),
    "unknown seed": (["run", "own.yaml", "--seeds", "77"], "77"),
    "unknown profile": (["run", "own.yaml", "--profile", "z"], "'z'"),
    "nothing to report": (["report", "own.yaml"], "records"),
    "no command": ([], "command"),
    "unknown command": (["walk"], "walk"),
}


@pytest.mark.parametrize("case", WORDS)
def test_words(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("own.yaml").write_text(GOOD)
    words, where = WORDS[case]
    outcome = call(main, *words)
    if case in ("no command", "unknown command"):
        assert outcome.code == 2
        assert where.lower() in outcome.err.lower()
    else:
        assert_clear(outcome, where)
    assert list(files(tmp_path)) == ["own.yaml"]


@pytest.fixture(scope="module")
def record(repository: Path) -> dict[str, Any]:
    """A record as a run has written it."""
    folder = repository / "docs/experiments/recipe/small/records"
    return json.loads((folder / "km__roma__seed0.json").read_text())


Change = Callable[[dict[str, Any]], object]
RECORDS: dict[str, Change | str | bytes] = {
    "empty": "",
    "no json": "{",
    "list": "[]",
    "null": "null",
    "deep": "[" * 100_000,
    "random": bytes(range(256)),
    "digits": "9" * 10_000,
    "nothing": "{}",
    "no configuration": lambda r: r.pop("config"),
    "configuration of text": lambda r: r.update(config="x"),
    "no seed": lambda r: r.pop("seed"),
    "member of a list": lambda r: r.update(member=["ROMA"]),
    "seconds of text": lambda r: r.update(seconds="1"),
    "no parameters": lambda r: r.pop("parameters"),
    "no scores": lambda r: r.pop("scores"),
    "scores of a list": lambda r: r.update(scores=[]),
    "scores of other lengths": lambda r: r["scores"]["r2"].append(0),
    "scores of text": lambda r: r["scores"].update(r2=["x"] * len(r["scores"]["r2"])),
    "scores of lists": lambda r: r["scores"].update(r2=[[]] * len(r["scores"]["r2"])),
    "methods of numbers": lambda r: r["scores"].update(method=[1] * len(r["scores"]["r2"])),
    "curve of a list": lambda r: r.update(curve=[]),
    "curve of nothing": lambda r: r.update(curve={}),
    "curve of no length": lambda r: r.update(curve={"step": [], "val/loss": []}),
    "made of nothing": lambda r: r.update(made={}),
    "made of text": lambda r: r.update(made="x"),
    "trial of text": lambda r: r.update(trial="x"),
    "evaluation of text": lambda r: r.update(evaluation="x"),
    "tests of a list": lambda r: r.update(tests=[{}]),
}


@pytest.mark.parametrize("case", RECORDS)
def test_records(case: str, record: dict[str, Any], tmp_path: Path, repository: Path) -> None:
    """A record that is damaged counts as none: its run is made again."""
    experiment = load_experiment(repository / "configs/experiments/recipe.yaml")
    place = Place(tmp_path, experiment)
    run = next(run for run in experiment.runs() if (run.member, run.seed) == ("ROMA", 0))
    file = place.record(run)
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(record))
    assert read_record(file) is not None
    change = RECORDS[case]
    if isinstance(change, str | bytes):
        file.write_bytes(change if isinstance(change, bytes) else change.encode())
    else:
        other = json.loads(json.dumps(record))
        change(other)
        file.write_text(json.dumps(other))
    before = files(tmp_path)
    with limits():
        assert read_record(file) is None
        assert place.finished(run) is None
    words = ["--output", tmp_path]
    assert_clear(call(main, "report", repository / "configs/experiments/recipe.yaml", *words))
    assert files(tmp_path) == before


def test_a_pipe_as_record_does_not_hang(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with limits():
        assert read_record(tmp_path / "a.json") is None


JOBS = {"empty": "", "list": "[]", "nothing": "{}", "deep": "[" * 100_000}


@pytest.mark.parametrize("case", JOBS)
def test_jobs(case: str, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(JOBS[case])
    assert_clear_text(str(attempt(lambda: Job.read(tmp_path / "job.json"))), "job.json")


HAND_MADE = len(SPECS) + len(WORDS) + len(RECORDS) + len(JOBS)
