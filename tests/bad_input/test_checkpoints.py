"""Checkpoints and runs: nothing in them is executed, no size is believed."""

from __future__ import annotations

import io
import os
import pickle
import shutil
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import roma_pyg
from roma_pyg.cli.analyze import main as analyze
from roma_pyg.cli.evaluate import main as evaluate
from roma_pyg.cli.predict import main as predict
from roma_pyg.cli.train import main as train
from roma_pyg.training.restore import read_checkpoint
from tests.bad_input.harness import (
    Touch,
    assert_clear,
    assert_clear_text,
    attempt,
    call,
    evil_pickle,
    files,
    limits,
)

Content = dict[str, Any]
HUGE = 10**15


def raw(make: Callable[[bytes], bytes]) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(make(path.read_bytes()))


def saved(change: Callable[[Content], object]) -> Callable[[Path], object]:
    """The checkpoint with other content, as torch saves it."""

    def apply(path: Path) -> None:
        content = torch.load(path, weights_only=True)
        other = change(content)
        torch.save(content if other is None or isinstance(other, bool) else other, path)

    return apply


def option(section: str, **values: object) -> Callable[[Path], object]:
    """Other options, of a dotted section."""

    def change(content: Content) -> None:
        inner = content["hyper_parameters"]
        for part in section.split("."):
            inner = inner[part] if part else inner
        inner.update(values)

    return saved(change)


def weight(make: Callable[[torch.Tensor], object]) -> Callable[[Path], object]:
    """Another first matrix of the model."""

    def change(content: Content) -> None:
        state = content["state_dict"]
        name = next(n for n, v in state.items() if n.startswith("model.") and v.ndim == 2)
        state[name] = make(state[name])

    return saved(change)


def rezip(
    path: Path,
    method: int = zipfile.ZIP_STORED,
    change: Callable[[str, bytes], bytes] | None = None,
) -> None:
    """The archive with other parts, and right checksums."""
    with zipfile.ZipFile(path) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in parts.items():
            archive.writestr(name, change(name, content) if change else content)


def program(content: bytes) -> Callable[[Path], object]:
    """The archive with another pickle inside."""
    return lambda path: rezip(
        path, change=lambda name, old: content if name.endswith("data.pkl") else old
    )


def evil(path: Path) -> None:
    torch.save({"state_dict": Touch(path.parent / "canary"), "global_step": 1}, path)


def evil_old(path: Path) -> None:
    torch.save(Touch(path.parent / "canary"), path, _use_new_zipfile_serialization=False)


def bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("best/data.pkl", pickle.dumps({}))
        archive.writestr("best/data/0", bytes(1 << 26))


def overlap(path: Path) -> None:
    """Many entries that are all the same bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("best/data.pkl", bytes(1 << 16))
        first = archive.infolist()[0]
        for i in range(2000):
            part = zipfile.ZipInfo(f"best/data/{i}")
            part.file_size, part.compress_size = first.file_size, first.compress_size
            part.CRC, part.header_offset = first.CRC, first.header_offset
            archive.filelist.append(part)


def lying_storage(path: Path) -> None:
    """A storage that claims a gigabyte where a few bytes are: nothing beyond them is read."""

    def change(name: str, content: bytes) -> bytes:
        if not name.endswith("data.pkl"):
            return content
        # The first number of entries: BININT1 n, then the end of the tuple.
        at = content.index(b"X\x03\x00\x00\x00cpu")
        at = content.index(b"K", at + 8)
        return content[:at] + b"J\x00\x00\x00\x10" + content[at + 2 :]

    rezip(path, change=change)


# How the best checkpoint is changed, and a word of the message; None: it works.
CHECKPOINTS: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "as it was": (lambda path: None, None),
    "saved again": (saved(lambda content: None), None),
    "more entries": (saved(lambda content: content.update(comment="x")), None),
    "in half precision": (weight(lambda w: w.half()), None),
    "missing": (Path.unlink, "got no file"),
    "folder": (lambda path: (path.unlink(), path.mkdir()), "got no file"),
    "pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "got no file"),
    "empty": (raw(lambda data: b""), "BadZipFile"),
    "random": (raw(lambda data: bytes(range(256))), "BadZipFile"),
    "truncated": (raw(lambda data: data[: len(data) // 2]), "BadZipFile"),
    "one byte less": (raw(lambda data: data[:-1]), "checkpoint of tensors"),
    "one bit": (raw(lambda data: data[:9000] + bytes([data[9000] ^ 1]) + data[9001:]), "damaged"),
    "code": (evil, "never loaded"),
    "code of an old format": (evil_old, "never loaded"),
    "code in a pickle": (
        lambda path: path.write_bytes(evil_pickle(path.parent / "canary")), "never loaded"),
    "code in the archive": (
        lambda path: program(evil_pickle(path.parent / "canary"))(path), "never loaded"),
    "system": (program(b"cposix\nsystem\n(S'true'\ntR."), "never loaded"),
    "eval": (program(b"c__builtin__\neval\n(S'1'\ntR."), "never loaded"),
    "absurd bytes": (
        program(b"\x80\x02cbuiltins\nbytearray\n\x8a\x08" + HUGE.to_bytes(8, "little") + b"\x85R."),
        "never loaded"),
    "deep pickle": (program(b"\x80\x02" + b"]" * 10_000 + b"a" * 9_999 + b"."), "checkpoint"),
    "no pickle": (program(b""), "damaged"),
    "script": (lambda path: torch.jit.save(torch.jit.trace(torch.nn.Linear(2, 2), torch.ones(2)),
                                           str(path)), "damaged"),
    "compressed": (lambda path: rezip(path, zipfile.ZIP_DEFLATED), "BadZipFile"),
    "bomb": (bomb, "BadZipFile"),
    "overlap": (overlap, "BadZipFile"),
    "storage that claims more than there is": (lying_storage, None),
    "list": (saved(lambda content: [1]), "one without"),
    "number": (saved(lambda content: 3), "one without"),
    "no options": (saved(lambda content: content.pop("hyper_parameters")), "hyper_parameters"),
    "no weights": (saved(lambda content: content.pop("state_dict") and None), "state_dict"),
    "no step": (saved(lambda content: content.pop("global_step") and None), "global_step"),
    "step of text": (saved(lambda content: content.update(global_step="2")), "global_step"),
    "step of truth": (saved(lambda content: content.update(global_step=True)), "global_step"),
    "negative step": (saved(lambda content: content.update(global_step=-1)), "global_step"),
    "options of a list": (saved(lambda content: content.update(hyper_parameters=[])), "hyper_p"),
    "unknown option": (option("data", colour="red"), "colour"),
    "unknown section": (option("", colour={}), "colour"),
    "key of a number": (saved(lambda c: c["hyper_parameters"].update({3: 1})), "'3'"),
    "section of text": (option("", data="x"), "DataConfig"),
    "option of text": (option("data", window="8"), "data.window"),
    "option of a fraction": (option("data", window=8.5), "data.window"),
    "option of nan": (option("data", noise=float("nan")), "data.noise"),
    "option of a list": (option("model.encoder", width=[8]), "encoder.width"),
    "option of a tensor": (option("data", window=torch.tensor(8)), "data.window"),
    "list of text": (option("model.pool", sizes="big"), "pool.sizes"),
    "absurd window": (option("data", window=10**12), "fit its configuration"),
    "absurd width": (option("model.trunk", width=10**9), "fit its configuration"),
    "absurd layers": (option("model.operator", layers=10**9), "operator.layers"),
    "absurd levels": (option("model.pool", sizes=list(range(10**5, 0, -1))), "pool.sizes"),
    "absurd option": (option("data", window=10**40), "data.window"),
    "larger model": (option("model.trunk", basis=100_000), "fit its configuration"),
    "other kind": (option("model", kind="gps"), "fit its configuration"),
    "no weight": (saved(lambda c: c["state_dict"].clear()), "fit its configuration"),
    "other weights": (
        saved(lambda c: c.update(state_dict=OrderedDict({"model.a": torch.ones(2)}))),
        "no 'direction'",
    ),
    "weight of other shape": (weight(lambda w: torch.ones(3, 3)), "of shape (3, 3)"),
    "weight of text": (weight(lambda w: "x"), "plain tensor"),
    "weight of a list": (weight(lambda w: [1.0]), "plain tensor"),
    "sparse weight": (weight(lambda w: w.to_sparse()), "plain tensor"),
    "complex weight": (weight(lambda w: w.to(torch.complex64)), "complex64"),
    "weight on no device": (weight(lambda w: w.to("meta")), "plain tensor"),
    "weight of nan": (weight(lambda w: w * float("nan")), "finite"),
    "absurd weight": (weight(lambda w: torch.zeros(1).expand(10**6, 10**6)), "every entry"),
    "key of a weight": (
        saved(lambda c: c["state_dict"].update({5: torch.ones(1)})), None),
}  # fmt: skip


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """A copy of the run."""
    shutil.copytree(run, tmp_path / "own", ignore=shutil.ignore_patterns("analysis", "tensorboard"))
    return tmp_path / "own"


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("case", CHECKPOINTS)
def test_checkpoints(case: str, own: Path) -> None:
    change, expected = CHECKPOINTS[case]
    change(own / "best.ckpt")
    before = files(own)
    error = attempt(lambda: roma_pyg.load(own))
    if expected is None:
        assert error is None
    else:
        assert_clear_text(str(error), "best.ckpt", expected)
        for main, words in (
            (predict, ["--output", own / "out.npy"]),
            (evaluate, []),
            (analyze, []),
        ):
            assert_clear(call(main, own, *words), "best.ckpt")
    assert not (own / "canary").exists(), "something was executed"
    assert files(own) == before


LAST: dict[str, Callable[[Path], object]] = {
    "truncated": raw(lambda data: data[: len(data) // 2]),
    "code": evil,
    "bomb": bomb,
    "other weights": weight(lambda w: torch.ones(3, 3)),
    "memory of other shapes": saved(
        lambda content: content["state_dict"].update(
            {name: torch.ones(3, 3) for name in content["state_dict"] if "memory." in name})),
    "no optimiser": saved(lambda content: content.pop("optimizer_states") and None),
    "optimiser of text": saved(lambda content: content.update(optimizer_states="x")),
    "loops of text": saved(lambda content: content.update(loops="x")),
    "loops of nothing": saved(lambda content: content.update(loops={})),
    "callbacks of a list": saved(lambda content: content.update(callbacks=[])),
    "callbacks of text inside": saved(
        lambda content: content["callbacks"].update(dict.fromkeys(content["callbacks"], "x"))),
    "schedule of a list": saved(lambda content: content.update(lr_schedulers=[[]])),
    "optimiser of other shapes": saved(
        lambda content: content["optimizer_states"][0].update(param_groups=[])),
}  # fmt: skip


@pytest.mark.parametrize("case", LAST)
def test_resuming(case: str, own: Path) -> None:
    """A run goes on from a damaged checkpoint with an error, or not at all."""
    LAST[case](own / "last.ckpt")
    words = [
        "--config",
        own / "config.yaml",
        "--training.output",
        own.parent,
        "--training.name",
        "own",
    ]
    outcome = call(train, *words, "--resume", "--max_steps", 4, "--evaluate", "none")
    assert_clear(outcome, "last.ckpt")
    assert not (own / "canary").exists(), "something was executed"
    assert read_checkpoint(own / "best.ckpt").step == 2


RUNS: dict[str, tuple[Callable[[Path], object], str]] = {
    "configuration": (lambda run: (run / "config.yaml").write_text("data: ["), "config.yaml"),
    "configuration of bytes": (
        lambda run: (run / "config.yaml").write_bytes(bytes(range(256))), "config.yaml"),
    "no configuration": (lambda run: (run / "config.yaml").unlink(), "config.yaml"),
    "pipe as configuration": (
        lambda run: (
            (run / "config.yaml").unlink(), os.mkfifo(run / "config.yaml")), "config.yaml"),
    "key twice": (
        lambda run: (run / "config.yaml").write_text("data: {}\ndata: {}"), "config.yaml"),
    "no checkpoint": (lambda run: (run / "best.ckpt").unlink(), "best.ckpt"),
    "missing data": (lambda run: option(
        "data", series=str(run / "nowhere"))(run / "best.ckpt"), "nowhere"),
    "short data": (lambda run: option("data", window=159)(run / "best.ckpt"), "best.ckpt"),
    "empty folder": (lambda run: (shutil.rmtree(run), run.mkdir()), "own"),
    "file": (lambda run: (shutil.rmtree(run), run.write_text("x")), "own"),
    "missing": (shutil.rmtree, "own"),
}  # fmt: skip


@pytest.mark.parametrize("case", RUNS)
def test_runs(case: str, own: Path) -> None:
    change, where = RUNS[case]
    change(own)
    before = files(own.parent)
    assert_clear(call(evaluate, own), where)
    assert files(own.parent) == before


@pytest.mark.parametrize("text", ["", "{", "[]", "[" * 100_000, '{"steps": "x"}'])
def test_summary(text: str, own: Path) -> None:
    """A run that is finished, whose summary is not one."""
    (own / "summary.json").write_text(text)
    words = [
        "--config",
        own / "config.yaml",
        "--training.output",
        own.parent,
        "--training.name",
        "own",
    ]
    outcome = call(train, *words, "--resume", "--max_steps", 2, "--evaluate", "none")
    assert_clear(outcome, "summary.json")


def test_events(own: Path) -> None:
    """Damaged TensorBoard events leave out the curves."""
    (own / "tensorboard").mkdir()
    (own / "tensorboard/events.out.tfevents.1.x").write_bytes(bytes(range(256)) * 4)
    from roma_pyg.analysis.curves import read_scalars

    with limits():
        assert read_scalars(own / "tensorboard") == {}


def test_the_canary_would_sing(tmp_path: Path) -> None:
    stream = io.BytesIO()
    torch.save(Touch(tmp_path / "canary"), stream)
    stream.seek(0)
    with torch.load(stream, weights_only=False):
        assert (tmp_path / "canary").exists()


HAND_MADE = len(CHECKPOINTS) + len(LAST) + len(RUNS) + 5
