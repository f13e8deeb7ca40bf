"""Valid files with some bytes changed: each opens, or is refused; nothing hangs, crashes or stays.

Flips, cuts, insertions, swaps, zeros and runs of digits, half of them in headers and footers. The
seeds are fixed, so that a failure can be made again; `--hypothesis-seed` changes nothing.
"""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import roma_pyg
from roma_pyg.cli.bench import main as bench
from roma_pyg.cli.data import main as data
from roma_pyg.cli.predict import main as predict
from roma_pyg.data.files import read_files
from roma_pyg.data.journal import LOG, PLAN, SAMPLES, STATES, Journal, JournalError
from roma_pyg.data.layout import read_positional
from roma_pyg.experiments.records import read_record
from roma_pyg.options.parser import load_config
from roma_pyg.training.restore import read_checkpoint
from tests.bad_input.conftest import NODES, mutate
from tests.bad_input.harness import assert_clear, assert_clear_text, attempt, call, files, limits

SEEDS = st.integers(0, 10**9)


def profile(examples: int) -> settings:
    return settings(settings.get_profile("bad-input"), max_examples=examples)


def changed(folder: Path, source: Path, seed: int) -> Path:
    """A copy of a file with some bytes changed, beside nothing else."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path = folder / source.name
    path.write_bytes(mutate(source.read_bytes(), seed))
    return path


@pytest.mark.parametrize("name", ["series.npy", "series.csv", "series.parquet"])
@profile(60)
@given(seed=SEEDS)
def test_series(name: str, seed: int, good: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = changed(tmp_path_factory.getbasetemp() / "mutated", good / name, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        error = attempt(lambda: read_files(good / "edges.csv", path, 1.0, "own", 8, 8))
    if error is not None:
        assert_clear_text(str(error))
        assert path.name in str(error) or "edges.csv" in str(error)


@pytest.mark.parametrize("name", ["edges.csv", "edges.parquet", "edges.npz"])
@profile(60)
@given(seed=SEEDS)
def test_edges(name: str, seed: int, good: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = changed(tmp_path_factory.getbasetemp() / "mutated", good / name, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        error = attempt(lambda: read_files(path, good / "series.npy", 1.0, "own", 8, 8))
    if error is not None:
        assert_clear_text(str(error), name)


@profile(60)
@given(seed=SEEDS)
def test_positional(seed: int, good: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = changed(tmp_path_factory.getbasetemp() / "mutated", good / "position.npy", seed)
    error = attempt(lambda: read_positional(path, NODES))
    if error is not None:
        assert_clear_text(str(error), "position.npy")


@pytest.mark.parametrize("name", ["series.npy", "series.parquet", "series.csv"])
@profile(15)
@given(seed=SEEDS)
def test_import(name: str, seed: int, good: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The command leaves a whole data set, or nothing."""
    path = changed(tmp_path_factory.getbasetemp() / "mutated", good / name, seed)
    root = path.parent / "data"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcome = call(
            data, "import", "--edges", good / "edges.csv", "--series", path,
            "--name", "own", "--root", root,
        )  # fmt: skip
    if outcome.code == 0:
        assert call(data, "check", root / "own").code == 0
    else:
        assert_clear(outcome)
        assert list(files(path.parent)) == [name]


@pytest.mark.parametrize(
    "name", ["metadata.json", "values.npy", "rowptr.npy", "col.npy", "weight.npy"]
)
@pytest.mark.parametrize("sealed", [False, True])
@profile(30)
@given(seed=SEEDS)
def test_stores(
    name: str, sealed: bool, seed: int, good: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Also where no checksum tells."""
    folder = tmp_path_factory.getbasetemp() / "mutated-store"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good / "store", folder)
    (folder / name).write_bytes(mutate((folder / name).read_bytes(), seed))
    if not sealed and name != "metadata.json":
        content = json.loads((folder / "metadata.json").read_text())
        del content["checksum"]
        content["files"][name]["bytes"] = (folder / name).stat().st_size
        (folder / "metadata.json").write_text(json.dumps(content))
    verify = "auto" if sealed else "size"
    error = attempt(lambda: roma_pyg.open_series(folder, verify))  # type: ignore[arg-type]
    if error is not None:
        assert_clear_text(str(error), "mutated-store")


@pytest.mark.parametrize("name", ["best.ckpt", "last.ckpt"])
@profile(60)
@given(seed=SEEDS)
def test_checkpoints(
    name: str, seed: int, run: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = changed(tmp_path_factory.getbasetemp() / "mutated", run / name, seed)
    error = attempt(lambda: read_checkpoint(path))
    if error is not None:
        assert_clear_text(str(error), name)
    error = attempt(lambda: roma_pyg.load(path))
    if error is not None:
        assert_clear_text(str(error), name)


@profile(10)
@given(seed=SEEDS)
def test_predict(seed: int, run: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = changed(tmp_path_factory.getbasetemp() / "mutated", run / "best.ckpt", seed)
    outcome = call(predict, path.parent, "--output", path.with_name("a.npy"), "--device", "cpu")
    if outcome.code == 0:
        assert np.isfinite(np.load(path.with_name("a.npy"))).all()
    else:
        assert_clear(outcome, "best.ckpt")
        assert list(files(path.parent)) == ["best.ckpt"]


@profile(60)
@given(seed=SEEDS)
def test_configurations(seed: int, run: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = changed(tmp_path_factory.getbasetemp() / "mutated", run / "config.yaml", seed)
    error = attempt(lambda: load_config(path))
    if error is not None:
        assert_clear_text(str(error))


@profile(30)
@given(seed=SEEDS)
def test_experiments(seed: int, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = repository / "configs/experiments/recipe.yaml"
    path = changed(tmp_path_factory.getbasetemp() / "mutated", source, seed)
    text = path.read_bytes().replace(b"../small.yaml", bytes(repository / "configs/small.yaml"))
    path.write_bytes(text)
    outcome = call(bench, "run", path, "--dry-run", "--output", path.parent)
    if outcome.code:
        assert_clear(outcome)
    assert list(files(path.parent)) == ["recipe.yaml"]


@profile(60)
@given(seed=SEEDS)
def test_records(seed: int, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    source = repository / "docs/experiments/recipe/small/records/km__roma__seed0.json"
    path = changed(tmp_path_factory.getbasetemp() / "mutated", source, seed)
    with limits():
        record = read_record(path)
    assert record is None or isinstance(record["config"], dict)


@pytest.mark.parametrize("name", [LOG, PLAN, SAMPLES, STATES])
@profile(30)
@given(seed=SEEDS)
def test_journals(name: str, seed: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """What was committed before the damage is kept, and a whole journal can be made of it."""
    folder = tmp_path_factory.getbasetemp() / "journal"
    shutil.rmtree(folder, ignore_errors=True)
    samples = np.random.default_rng(0).random((6, 3)).astype(np.float32)
    with Journal(folder, {"a": 1}, 3, (3,)) as journal:
        for sample in samples:
            journal.append(sample, {"mean": float(sample.mean())})
            journal.append_state(sample.astype(np.float64))
            journal.commit()
    (folder / name).write_bytes(mutate((folder / name).read_bytes(), seed))
    with limits():
        try:
            journal = Journal(folder, {"a": 1}, 3, (3,))
        except (JournalError, ValueError) as error:
            assert name == PLAN, error  # noqa: PT017
            assert_clear_text(str(error), PLAN)
            return
        with journal:
            kept = journal.samples
            assert kept == journal.states
            rows = [block for block in journal.rows() if kept]
            np.testing.assert_array_equal(np.concatenate(rows or [samples[:0].T]), samples[:kept].T)
