"""A whole experiment on a graph of 200 nodes, as a user runs it."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, redirect_stdout
from dataclasses import replace
from pathlib import Path

import pandas as pd
import psutil
import pytest
import yaml

from roma_pyg.analysis.table import format_error
from roma_pyg.cli.bench import main
from roma_pyg.experiments import runner
from roma_pyg.experiments.plots import fit_points
from roma_pyg.experiments.records import read_record, same_options, write_record
from roma_pyg.experiments.report import condition_section
from roma_pyg.experiments.runner import Place, tuned
from roma_pyg.experiments.spec import load_experiment
from roma_pyg.experiments.tables import Column, collect, shared_seeds, values
from roma_pyg.locks import only_process

SMALL = {
    "options": {
        "data": {
            "name": "tiny",
            "steps": 200,
            "window": 8,
            "horizon": 4,
            "nodes_per_graph": 32,
            "graph.nodes": 300,
            "positional": {"eigenmaps": 2, "walk_embedding": 2},
        },
        "model": {
            "features": 4,
            "encoder": {"width": 8, "layers": 1},
            "pool": {"sizes": [4], "width": 8},
            "operator": {"width": 16, "layers": 1, "heads": 2},
            "trunk": {"basis": 4, "width": 16, "layers": 1},
        },
        "training": {"max_steps": 4, "val_interval": 2, "val_batches": 1, "workers": 0},
    },
    "match": True,
    "seeds": [0, 1],
    "seed_keys": ["training.seed"],
    "reach": ["DON"],
    "conditions": {"one": {}, "two": {"data.noise": 0.01}},
    "members": {"ROMA": {}, "DON": {"model.kind": "tokenwise"}},
    "tests": {"other coupling": {"data": {"name": "strong", "kuramoto.coupling": 3.0}}},
    "tuning": {"options": {"training.learning_rate": [1e-3, 1e-2]}, "steps": 2},
    "fits": [{"x": "samples", "conditions": ["one", "two"]}],
    "evaluation": {
        "horizons": [1, 4],
        "rollout": [4, 8],
        "times": 2,
        "rollout_times": 1,
        "mlp_steps": 5,
    },
    "profiles": {"small": {}},
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    content = {**SMALL, "options": {**SMALL["options"]}}
    content["options"]["data"] = {**SMALL["options"]["data"], "root": str(folder / "data")}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    words = ["run", str(path), "--output", str(folder / "bench"), "--jobs", "2"]
    assert main([*words, "--conditions", "one"]) == 0
    assert main([*words, "--conditions", "two", "--seeds", "1", "--members", "ROMA"]) == 0
    return path, folder / "bench"


def place_of(finished) -> Place:
    path, output = finished
    return Place(output, load_experiment(path))


def test_every_run_has_a_record_with_its_origin(finished):
    place = place_of(finished)
    runs = [*place.experiment.trials(), *place.experiment.runs(tuned(place))]
    records = [record for run in runs if (record := place.finished(run)) is not None]
    assert len(records) == 4 + 6 + 1
    for record in records:
        assert record["made"]["torch"]
        assert record["made"]["processor"]
        assert record["seconds"] > 0


def test_members_get_what_the_search_found(finished):
    place = place_of(finished)
    best = tuned(place)
    assert set(best) == {"ROMA", "DON"}
    for run in place.experiment.trials():
        other = [t for t in place.experiment.trials() if t.member == run.member]
        losses = {
            t.trial["training.learning_rate"]: place.finished(t)["curve"]["val/loss"][-1]
            for t in other
        }
        assert best[run.member]["training.learning_rate"] == min(losses, key=losses.get)
    rates = collect(place).runs.groupby("member")["learning_rate"].unique()
    for member, options in best.items():
        assert list(rates[member]) == [options["training.learning_rate"]]


def test_report_has_tables_figures_and_origin(finished):
    _, output = finished
    folder = output / "tiny" / "small" / "report"
    text = (folder / "report.md").read_text(encoding="utf-8")
    assert "7 of 12 runs finished" in text
    for expected in (
        "## one",
        "## two",
        "| persistence |",
        "| MLP, own + neighbours |",
        "| linear with memory |",
        "| ROMA |",
        "**Held-out nodes and time, in units of ROMA**",
        "**Other coupling, in units of ROMA**",
        "**Other coupling**",
        "8 ahead, rollout",
        "No power law over samples yet",
        "Steps to the final validation sMSPE of `DON`",
        "ROMA is",
    ):
        assert expected in text
    for name in ("errors.png", "ratios.png", "curves.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    scores = pd.read_csv(folder / "scores.csv")
    assert {"persistence", "ROMA", "DON"} <= set(scores["method"])
    assert set(scores["seed"]) == {0, 1}
    origin = json.loads((folder / "experiment.json").read_text(encoding="utf-8"))
    assert origin["seeds"] == [0, 1]
    assert len(origin["runs"]) == 7


def test_table_shows_mean_and_spread_of_the_scores(finished):
    _, output = finished
    results = collect(place_of(finished))
    rows = results.scores
    rows = rows[
        (rows["method"] == "ROMA")
        & (rows["condition"] == "one")
        & (rows["view"] == "held-out nodes and time")
        & (rows["mode"] == "direct")
        & (rows["horizon"] == 4)
    ]["smspe"]
    text = (output / "tiny" / "small" / "report" / "report.md").read_text(encoding="utf-8")
    line = next(line for line in text.splitlines() if line.startswith("| ROMA |"))
    shown = f"{format_error(100 * rows.mean())} ({format_error(100 * rows.std(), 2)})"
    assert shown in line.replace("**", "")


def test_means_are_of_seeds_that_all_methods_have_finished(finished):
    results = collect(place_of(finished))
    column = Column("", "held-out nodes and time", "direct", (4,), "smspe")
    assert list(values(results, "one", column)) == [0, 1]
    scores = results.scores
    late = (scores["condition"] == "one") & (scores["method"] == "DON") & (scores["seed"] == 1)
    partial = replace(results, scores=scores[~late])
    assert shared_seeds(partial, "one") == [0]
    assert list(values(partial, "one", column)) == [0]
    assert list(values(partial, "one", column, every_seed=True)) == [0, 1]
    fit = results.experiment.fits[0]
    assert fit_points(partial, fit, column) == fit_points(results, fit, column)
    text = "\n".join(condition_section(partial, "one"))
    assert "all methods have finished so far: 0." in text
    assert "so far" not in "\n".join(condition_section(results, "one"))
    apart = (scores["method"] == "DON") != (scores["seed"] == 1)
    assert shared_seeds(replace(results, scores=scores[apart]), "one") == []
    text = "\n".join(condition_section(replace(results, scores=scores[apart]), "one"))
    assert "No seed is finished by all methods" in text
    assert "| DON |" in text


def test_what_is_finished_is_not_run_again(finished, capsys):
    path, output = finished
    before = {p: p.stat().st_mtime_ns for p in (output / "tiny/small/records").iterdir()}
    assert main(["run", str(path), "--output", str(output), "--conditions", "one"]) == 0
    assert {p: p.stat().st_mtime_ns for p in before} == before
    printed = capsys.readouterr().out
    assert "search: 4, of which 4 are finished" in printed
    assert "runs: 6, of which 6 are finished" in printed


def test_a_record_with_other_options_does_not_count(finished, tmp_path):
    path, output = finished
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["options"]["training"]["max_steps"] = 6
    other = tmp_path / "tiny.yaml"
    other.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    place = Place(output, load_experiment(other))
    assert all(place.finished(run) is None for run in place.experiment.runs())


@pytest.mark.parametrize(
    "changes",
    [{"evaluation": {"times": 3}}, {"tests": {"other": {"data": {"seed": 77}}}}],
    ids=["evaluation", "tests"],
)
def test_a_record_that_was_scored_otherwise_does_not_count(finished, tmp_path, changes):
    path, output = finished
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key, value in changes.items():
        content[key] = {**content.get(key, {}), **value}
    other = tmp_path / "tiny.yaml"
    other.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    place = Place(output, load_experiment(other))
    assert all(place.finished(run) is None for run in place.experiment.runs())
    # Trials are not scored.
    assert any(place.finished(run) for run in place.experiment.trials())


def test_what_is_trained_is_only_scored_again(finished, tmp_path):
    path, output = finished
    folder = tmp_path / "bench"
    shutil.copytree(output, folder)
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["evaluation"] = {**content["evaluation"], "times": 1}
    other = tmp_path / "tiny.yaml"
    other.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    place = Place(folder, load_experiment(other))
    (before,) = (folder / "tiny/small/runs").glob("one__roma__seed0/summary.json")
    when = before.stat().st_mtime_ns
    words = ["--conditions", "one", "--seeds", "0", "--members", "ROMA"]
    assert main(["run", str(other), "--output", str(folder), *words]) == 0
    assert before.stat().st_mtime_ns == when
    run = next(r for r in place.experiment.runs() if (r.member, r.seed) == ("ROMA", 0))
    record = read_record(place.record(run))
    assert record["evaluation"]["times"] == 1
    old = read_record(place_of(finished).record(run))
    assert record["curve"] == old["curve"]
    assert record["scores"]["smspe"] != old["scores"]["smspe"]


def test_only_a_part(finished):
    _, output = finished
    names = {p.name for p in (output / "tiny/small/records").iterdir()}
    assert [name for name in names if name.startswith("two")] == ["two__roma__seed1.json"]


@pytest.mark.parametrize(
    ("gpu", "accelerator", "jobs", "threads"),
    [(False, "auto", 6, 1), (True, "auto", 1, 6), (True, "cpu", 6, 1), (False, "gpu", 6, 1)],
)
def test_one_run_per_core_or_one_on_a_gpu(
    finished, tmp_path, monkeypatch, gpu, accelerator, jobs, threads
):
    path, _ = finished
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["options"]["training"]["accelerator"] = accelerator
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    calls = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: gpu)
    monkeypatch.setattr(runner, "available_cores", lambda: 6)
    monkeypatch.setattr(
        runner,
        "_perform",
        lambda place, runs, jobs, threads, board, what: calls.append((jobs, threads)),
    )
    runner.run_experiment(load_experiment(other), tmp_path)
    assert calls == [(jobs, threads)] * 2


def test_cores_are_those_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3}, raising=False)
    assert runner.available_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert runner.available_cores() == os.cpu_count()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--members", "GRU"], "members among ROMA, DON"),
        (["--seeds", "7"], "seeds among 0, 1"),
        (["--jobs", "0"], "'--jobs' to be at least 1 (got 0)"),
        (["--threads", "-1"], "'--threads' to be at least 1 (got -1)"),
        (["--profile", "paper"], "'small'"),
    ],
)
def test_says_what_is_wrong(finished, capsys, words, message):
    path, output = finished
    assert main(["run", str(path), "--output", str(output), *words]) == 2
    assert message in capsys.readouterr().err


def test_report_of_nothing(finished, tmp_path, capsys):
    path, _ = finished
    assert main(["report", str(path), "--output", str(tmp_path)]) == 2
    assert "finished runs" in capsys.readouterr().err


def test_a_failing_run_is_named_and_the_others_go_on(finished, tmp_path, capsys):
    path, _ = finished
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    # Found only in the training.
    content["members"]["Broken"] = {"training.learning_rate": 1e30}
    del content["tuning"]
    other = tmp_path / "tiny.yaml"
    other.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    words = ["run", str(other), "--output", str(tmp_path / "bench"), "--seeds", "0"]
    assert main([*words, "--conditions", "one", "--members", "Broken", "DON"]) == 2
    captured = capsys.readouterr()
    assert "FAILED, see" in captured.out
    assert "one__broken__seed0" in captured.err
    assert (tmp_path / "bench/tiny/small/records/one__don__seed0.json").is_file()
    log = tmp_path / "bench/tiny/small/logs/one__broken__seed0.log"
    assert "finite" in log.read_text(encoding="utf-8")


def test_conditions_with_the_same_data_share_their_simple_forecasts(finished, tmp_path, capsys):
    path, _ = finished
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content["conditions"] = {
        "one": {},
        "wide": {"model.features": 8},
        "two": {"data.noise": 0.01},
        "long": {"training.max_steps": 8},
    }
    other = tmp_path / "tiny.yaml"
    other.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    words = ["run", str(other), "--output", str(tmp_path), "--seeds", "0"]
    words += ["--members", "simple forecasts"]
    place = Place(tmp_path, load_experiment(other))
    runs = [r for r in place.experiment.runs() if r.member == "simple forecasts" and r.seed == 0]
    assert main([*words, "--conditions", "one", "wide", "two"]) == 0
    logs = tmp_path / "tiny/small/logs"
    done = ["one__simple-forecasts__seed0", "two__simple-forecasts__seed0"]
    assert sorted(path.stem for path in logs.glob("*seed0.log")) == done
    assert main(words) == 0
    assert "runs: 4, of which 3 are finished" in capsys.readouterr().out
    assert sorted(path.stem for path in logs.glob("*seed0.log")) == done
    records = {run.condition: place.finished(run) for run in runs}
    assert records["one"]["scores"] != records["two"]["scores"]
    for name in ("wide", "long"):
        assert records[name]["scores"] == records["one"]["scores"]
        assert records[name]["seconds"] == 0


def test_goes_on_after_it_was_stopped(finished, tmp_path):
    path, _ = finished
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    del content["tuning"]
    other = tmp_path / "tiny.yaml"
    other.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    words = [sys.executable, "-m", "roma_pyg.cli.bench", "run", str(other)]
    words += ["--output", str(tmp_path), "--members", "ROMA", "--conditions", "one"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=os.environ)
    records = tmp_path / "tiny/small/records"
    deadline = time.monotonic() + 120
    while not (records.is_dir() and any(records.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 130
    workers = [p for p in psutil.process_iter(["cmdline"]) if str(tmp_path) in str(p.info)]
    assert workers == []
    left = {p.name: p.stat().st_mtime_ns for p in records.iterdir()}
    assert left
    subprocess.run(words, check=True, capture_output=True)
    after = {p.name: p.stat().st_mtime_ns for p in records.iterdir()}
    assert len(after) == 2
    assert {name: after[name] for name in left} == left


def test_runs_of_another_process_are_waited_for(finished, tmp_path):
    path, output = finished
    shutil.copytree(output / "tiny/small/records", tmp_path / "tiny/small/records")
    place = Place(tmp_path, load_experiment(path))
    runs = place.experiment.runs(tuned(place))
    mine, other = (
        next(r for r in runs if (r.condition, r.member, r.seed) == ("one", member, 1))
        for member in ("ROMA", "DON")
    )
    record = read_record(place.record(other))
    for run in (mine, other):
        place.record(run).unlink()
    words = ["run", str(path), "--output", str(tmp_path), "--conditions", "one"]
    with ExitStack() as elsewhere:
        elsewhere.enter_context(only_process(place.job(other)))

        def finish() -> None:
            while "waiting for another roma-bench" not in board.getvalue():
                time.sleep(0.1)
            write_record(place.record(other), record)
            elsewhere.close()

        board = io.StringIO()
        thread = threading.Thread(target=finish, daemon=True)
        thread.start()
        with redirect_stdout(board):
            assert main(words) == 0
        thread.join()
    printed = board.getvalue()
    # What is free is done before.
    assert printed.index("[  1/2] one        ROMA") < printed.index("waiting for another")
    assert f"which does {other.slug}\n" in printed
    assert "[  2/2] one        DON" in printed
    logs = {path.stem for path in (tmp_path / "tiny/small/logs").iterdir()}
    assert mine.slug in logs
    assert other.slug not in logs
    assert not list((tmp_path / "tiny/small/jobs").glob(".*.lock"))


def test_records_are_whole_or_not_there(tmp_path):
    path = tmp_path / "records" / "x.json"
    made = dict.fromkeys(("commit", "torch", "processor", "gpu", "threads"))
    scores = {key: ["x"] for key in ("method", "group", "view", "mode")}
    errors = ("noise", "horizon", "smspe", "smape", "rmse", "r2", "mean_rmse", "count")
    scores |= {key: [1.0] for key in errors} | {"r2": [float("nan")]}
    numbers = dict.fromkeys(("seed", "nodes", "samples", "seconds"), 1)
    record = {"condition": "a", "member": "b", "config": {}, "trial": {}, "made": made, **numbers}
    write_record(path, {**record, "scores": scores})
    assert read_record(path) == {**record, "scores": {**scores, "r2": [None]}}
    write_record(path, record)
    assert read_record(path) is None
    path.write_text(path.read_text()[:5])
    assert read_record(path) is None
    assert read_record(Path("nowhere.json")) is None


def test_new_options_have_their_defaults():
    assert same_options({"training": {"seed": 1}}, {"training": {"seed": 1, "clip": 1.0}})
    assert not same_options({"training": {"seed": 1}}, {"training": {"seed": 2}})
    assert not same_options({"training": {"gone": 1}}, {"training": {}})
