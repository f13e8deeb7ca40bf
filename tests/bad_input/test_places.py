"""Paths and words of the commands: what is not there, is no file, or may not be written."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from roma_pyg.cli.analyze import main as analyze
from roma_pyg.cli.data import main as data
from roma_pyg.cli.doctor import main as doctor
from roma_pyg.cli.evaluate import main as evaluate
from roma_pyg.cli.predict import main as predict
from roma_pyg.cli.train import main as train
from tests.bad_input.harness import assert_clear, call, files

Prepare = Callable[[Path], object]
# What lies at the output, its name, and a word of the message; None: the forecast is written.
OUTPUTS: dict[str, tuple[Prepare, str, str | None]] = {
    "new": (lambda path: None, "out.npy", None),
    "new folder": (lambda path: None, "a/b/out.parquet", None),
    "link to nothing": (lambda path: path.symlink_to(path.with_name("x.npy")), "out.npy", None),
    "exists": (lambda path: path.write_text("keep"), "out.npy", "not to exist"),
    "folder": (Path.mkdir, "out.npy", "not to exist"),
    "pipe": (os.mkfifo, "out.npy", "not to exist"),
    "in a file": (lambda path: path.parent.write_text("x"), "file/out.npy", "file"),
    "in a loop of links": (
        lambda path: path.parent.symlink_to(path.parent), "loop/out.npy", "loop"),
    "no suffix": (lambda path: None, "out", "ending in"),
    "other suffix": (lambda path: None, "out.csv", "ending in"),
    "long name": (lambda path: None, "x" * 300 + ".npy", "xxx"),
    "name with a nul": (lambda path: None, "a\0b.npy", "a"),
    "in proc": (lambda path: None, "/proc/self/out.npy", "/proc/self"),
    "full device": (lambda path: None, "/dev/full", "ending in"),
}  # fmt: skip


@pytest.mark.parametrize("case", OUTPUTS)
def test_outputs(case: str, run: Path, tmp_path: Path) -> None:
    prepare, name, expected = OUTPUTS[case]
    if "\0" not in name:
        prepare(tmp_path / name)
    before = files(tmp_path)
    outcome = call(predict, run, "--output", tmp_path / name, "--device", "cpu")
    if expected is None:
        assert outcome.code == 0, outcome.err
        assert len(files(tmp_path)) == len(before) + 1
    else:
        assert outcome.code == 2, outcome.err
        assert expected in outcome.err
        assert "Traceback" not in outcome.err
        assert outcome.message.count("\n") == 1
        assert files(tmp_path) == before


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".zarr"])
def test_a_full_disk_leaves_nothing(suffix: str, run: Path, tmp_path: Path) -> None:
    """No file may grow beyond a limit, which is to a program as a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        outcome = call(predict, run, "--output", tmp_path / f"out{suffix}", "--device", "cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert_clear(outcome, "File too large")
    assert list(tmp_path.iterdir()) == []


# The command, its words (RUN and STORE stand for good ones), and a word of the message.
WORDS: dict[str, tuple[Callable[[list[str]], int], list[object], str]] = {
    "predict nothing": (predict, [], "required"),
    "predict no run": (predict, ["nowhere", "--output", "a.npy"], "nowhere"),
    "predict a file": (predict, ["FILE", "--output", "a.npy"], "file.txt"),
    "predict a pipe": (predict, ["PIPE", "--output", "a.npy"], "pipe"),
    "predict no output": (predict, ["RUN"], "--output"),
    "predict step 0": (predict, ["RUN", "--output", "a.npy", "--steps", 0], "--steps"),
    "predict far step": (predict, ["RUN", "--output", "a.npy", "--steps", 99], "--horizon 99"),
    "predict no horizon": (predict, ["RUN", "--output", "a.npy", "--horizon", 0], "--horizon"),
    "predict horizon of text": (predict, ["RUN", "--output", "a.npy", "--horizon", "x"], "x"),
    "predict absurd horizon": (
        predict, ["RUN", "--output", "a.npy", "--horizon", 10**12], "--horizon"),
    "predict long stride": (predict, ["RUN", "--output", "a.npy", "--stride", 99], "--stride"),
    "predict late": (predict, ["RUN", "--output", "a.npy", "--time", 10**9], "'time'"),
    "predict early": (predict, ["RUN", "--output", "a.npy", "--time", 1], "'time'"),
    "predict negative time": (predict, ["RUN", "--output", "a.npy", "--time", -3], "--time"),
    "predict noise of nan": (predict, ["RUN", "--output", "a.npy", "--noise", "nan"], "--noise"),
    "predict infinite noise": (predict, ["RUN", "--output", "a.npy", "--noise", "inf"], "--noise"),
    "predict negative seed": (predict, ["RUN", "--output", "a.npy", "--seed", -1], "--seed"),
    "predict no batch": (predict, ["RUN", "--output", "a.npy", "--batch-size", 0], "--batch-size"),
    "predict no GPU": (predict, ["RUN", "--output", "a.npy", "--device", "cuda"], "--device"),
    "predict other device": (predict, ["RUN", "--output", "a.npy", "--device", "tpu"], "tpu"),
    "predict no truth": (predict, ["RUN", "--output", "a.npy", "--evaluate"], "--time"),
    "predict edges alone": (predict, ["RUN", "--output", "a.npy", "--edges", "e.csv"], "--series"),
    "predict both": (
        predict,
        ["RUN", "--output", "a.npy", "--data", "d", "--edges", "e.csv", "--series", "s"], "--data"),
    "predict no data": (predict, ["RUN", "--output", "a.npy", "--data", "nowhere"], "nowhere"),
    "predict empty data": (predict, ["RUN", "--output", "a.npy", "--data", "EMPTY"], "empty"),
    "predict no dt": (
        predict,
        ["RUN", "--output", "a.npy", "--dt", 0, "--edges", "EDGES", "--series", "SERIES"], "'dt'"),
    "predict other features": (
        predict, ["RUN", "--output", "a.npy", "--positional", "FILE"], "file.txt"),
    "predict features of another width": (
        predict, ["RUN", "--output", "a.npy", "--positional", "WIDE"], "(got (40, 7)"),
    "eval nothing": (evaluate, [], "required"),
    "eval no run": (evaluate, ["nowhere"], "nowhere"),
    "eval horizon 0": (evaluate, ["RUN", "--horizons", 0], "--horizons"),
    "eval negative noise": (evaluate, ["RUN", "--noise", -1], "--noise"),
    "eval noise of nan": (evaluate, ["RUN", "--noise", "nan"], "--noise"),
    "eval infinite noise": (evaluate, ["RUN", "--noise", "inf"], "noise"),
    "eval no times": (evaluate, ["RUN", "--times", 0], "--times"),
    "eval far": (evaluate, ["RUN", "--horizons", 10**9], "horizons"),
    "eval negative nodes": (evaluate, ["RUN", "--nodes", -1], "--nodes"),
    "analyze nothing": (analyze, [], "required"),
    "analyze no run": (analyze, ["nowhere"], "nowhere"),
    "analyze into a file": (analyze, ["RUN", "--output", "FILE"], "file.txt"),
    "analyze no times": (analyze, ["RUN", "--times", 0], "--times"),
    "analyze noise of nan": (analyze, ["RUN", "--noise", "nan"], "--noise"),
    "analyze beside nothing": (analyze, ["RUN", "--compare", "nowhere"], "nowhere"),
    "data nothing": (data, [], "VERB"),
    "data other verb": (data, ["delete"], "delete"),
    "info nothing": (data, ["info"], "required"),
    "info nowhere": (data, ["info", "nowhere"], "nowhere"),
    "info a file": (data, ["info", "FILE"], "file.txt"),
    "info a pipe": (data, ["info", "PIPE"], "pipe"),
    "check nowhere": (data, ["check", "nowhere"], "nowhere"),
    "check empty": (data, ["check", "EMPTY"], "empty"),
    "generate files": (data, ["generate", "--data.system", "files", "--data.series", "x"], "files"),
    "generate in a file": (
        data, ["generate", "--data.root", "FILE", "--data.steps", 9], "file.txt"),
    "features nowhere": (data, ["features", "--series", "nowhere"], "nowhere"),
    "import nothing": (data, ["import", "--name", "a"], "got neither"),
    "import without a name": (data, ["import", "EMPTY"], "--name"),
    "import both": (data, ["import", "EMPTY", "--edges", "e", "--series", "s", "--name", "a"],
                    "got both"),
    "import an empty folder": (data, ["import", "EMPTY", "--name", "a"], "x_*.parquet"),
    "import nowhere": (data, ["import", "nowhere", "--name", "a"], "nowhere"),
    "import a name that leaves": (
        data, ["import", "--edges", "EDGES", "--series", "SERIES", "--name", "../a"], "--name"),
    "import an empty name": (
        data, ["import", "--edges", "EDGES", "--series", "SERIES", "--name", ""], "--name"),
    "import what exists": (
        data, ["import", "--edges", "EDGES", "--series", "SERIES", "--name", "store",
               "--root", "GOOD"], "not to exist"),
    "import into a file": (
        data, ["import", "--edges", "EDGES", "--series", "SERIES", "--name", "a", "--root", "FILE"],
        "file.txt"),
    "import dt of nan": (
        data, ["import", "--edges", "EDGES", "--series", "SERIES", "--name", "a", "--dt", "nan"],
        "'dt'"),
    "import dt of text": (
        data, ["import", "--edges", "EDGES", "--series", "SERIES", "--name", "a", "--dt", "x"],
        "--dt"),
    "import series as edges": (
        data, ["import", "--edges", "SERIES", "--series", "EDGES", "--name", "a"], "edges"),
    "train on nothing": (train, ["--series", "nowhere"], "nowhere"),
    "train on a pipe": (train, ["--series", "PIPE", "--edges", "EDGES"], "pipe"),
    "train on a short series": (train, ["--series", "STORE"], "window"),
    "train into a file": (
        train, ["--series", "STORE", "--data.window", 4, "--data.horizon", 4,
                "--training.output", "FILE", "--data.positional.eigenmaps", 2,
                "--data.positional.walk_embedding", 0], "file.txt"),
    "train with an absurd width": (
        train, ["--series", "STORE", "--data.window", 4, "--data.horizon", 4,
                "--model.trunk.width", 10**7, "--data.positional.eigenmaps", 2,
                "--data.positional.walk_embedding", 0], "memory"),
    "train with other features": (
        train, ["--series", "STORE", "--data.window", 4, "--data.horizon", 4,
                "--data.positional.stored", 5], "positional.stored"),
    "train with more eigenmaps than nodes": (
        train, ["--series", "STORE", "--data.window", 4, "--data.horizon", 4,
                "--data.positional.eigenmaps", 10**6], "positional.eigenmaps"),
    "train with more channels than nodes": (
        train, ["--series", "STORE", "--data.window", 4, "--data.horizon", 4,
                "--data.positional.eigenmaps", 0, "--data.positional.walk_embedding", 10**6],
        "positional.walk_embedding"),
    "resume nothing": (
        train, ["--series", "STORE", "--training.output", "EMPTY", "--resume"], "last.ckpt"),
    "train in another precision": (
        train, ["--series", "STORE", "--data.window", 4, "--data.horizon", 4,
                "--data.positional.eigenmaps", 2, "--data.positional.walk_embedding", 0,
                "--training.precision", "12-bit"], "training.precision"),
    "train on no GPU": (
        train, ["--series", "STORE", "--data.window", 4, "--data.horizon", 4,
                "--data.positional.eigenmaps", 2, "--data.positional.walk_embedding", 0,
                "--training.accelerator", "gpu"], "training.accelerator"),
    "doctor with words": (doctor, ["aspirin"], "aspirin"),
}  # fmt: skip
HAND_MADE = len(OUTPUTS) + len(WORDS) + 4


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("case", WORDS)
def test_words(
    case: str, good: Path, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    np.save(tmp_path / "wide.npy", np.ones((40, 7), "f4"))
    places = {
        "RUN": run, "GOOD": good, "STORE": good / "store", "EDGES": good / "edges.csv",
        "SERIES": good / "series.npy", "FILE": "file.txt", "EMPTY": "empty", "PIPE": "pipe",
        "WIDE": "wide.npy",
    }  # fmt: skip
    main, words, expected = WORDS[case]
    before, elsewhere = files(tmp_path), files(good)
    outcome = call(main, *(places.get(str(word), word) for word in words))
    assert_clear(outcome, expected)
    left = {name for name in set(files(tmp_path)) - set(before) if ".cache" not in name}
    assert not left, "files are left behind"
    assert files(good) == elsewhere


def test_a_reader_that_leaves(good: Path) -> None:
    """As ``roma-data info data/km5k | head -n 0``."""
    program = (
        "from roma_pyg.cli.data import main\n"
        f"raise SystemExit(main(['info', {str(good / 'store')!r}]))"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=60) == 0
