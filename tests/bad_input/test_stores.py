"""Data sets, unfinished ones, caches: whatever their files say, they open or are refused."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import roma_pyg
from roma_pyg.cli.data import main
from roma_pyg.config import DataConfig, GraphConfig, PositionalConfig
from roma_pyg.data.generate import generate
from roma_pyg.data.graph import Graph
from roma_pyg.data.journal import LOG, PLAN, SAMPLES, Journal
from roma_pyg.data.positional import positional_features
from roma_pyg.data.systems import parameters
from tests.bad_input.conftest import NODES
from tests.bad_input.conftest import SAMPLES as STEPS
from tests.bad_input.harness import (
    Touch,
    assert_clear,
    assert_clear_text,
    attempt,
    call,
    files,
    limits,
    npy,
)

Change = Callable[[Path], object]


def meta(change: Callable[[dict[str, Any]], object], seal: bool = False) -> Change:
    """Other metadata; with a right checksum, or with none."""

    def apply(folder: Path) -> None:
        file = folder / "metadata.json"
        content = json.loads(file.read_text())
        del content["checksum"]
        change(content)
        if seal:
            raw = json.dumps(content, sort_keys=True).encode()
            content["checksum"] = hashlib.blake2b(raw, digest_size=16).hexdigest()
        file.write_text(json.dumps(content))

    return apply


def entry(name: str, **changes: object) -> Change:
    return meta(lambda content: content["files"][name].update(changes))


def raw(content: str | bytes, name: str = "metadata.json") -> Change:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / name).write_bytes(data)


def array(name: str, content: Any, **more: Any) -> Change:
    """Another array, with the size and the checksum that belong to it."""

    def apply(folder: Path) -> None:
        file = folder / f"{name}.npy"
        if isinstance(content, bytes):
            file.write_bytes(content)
        else:
            np.save(file, content, allow_pickle=True)
        digest = hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
        size = file.stat().st_size
        meta(lambda c: c["files"].update({file.name: {"bytes": size, "blake2b": digest}}))(folder)

    return apply


def setting(**changes: object) -> Change:
    return meta(lambda content: content.update(changes), seal=True)


def special(name: str, make: Callable[[Path], object]) -> Change:
    def apply(folder: Path) -> None:
        (folder / name).unlink()
        make(folder / name)

    return apply


WEIGHT = np.ones(2 * NODES, "f4")
STORES: dict[str, tuple[Change, str | None]] = {
    "as it was": (lambda folder: None, None),
    "sealed anew": (setting(), None),
    "more entries": (setting(comment="x"), None),
    "integer dt": (setting(dt=2), None),
    # metadata
    "empty": (raw(""), "metadata.json"),
    "no json": (raw("{"), "metadata.json"),
    "random": (raw(bytes(range(256))), "metadata.json"),
    "list": (raw("[]"), "list"),
    "null": (raw("null"), "NoneType"),
    "text": (raw('"x"'), "str"),
    "deep": (raw("[" * 100_000), "metadata.json"),
    "deep mapping": (raw('{"a":' * 50_000), "metadata.json"),
    "digits": (raw("9" * 10_000), "metadata.json"),
    "other format": (setting(format=99), "format 99"),
    "format of a list": (setting(format=[1]), "format"),
    "no dt": (meta(lambda c: c.pop("dt")), "no dt"),
    "dt text": (setting(dt="fast"), "dt of type str"),
    "dt zero": (setting(dt=0), "'dt'"),
    "dt nan": (meta(lambda c: c.update(dt=float("nan"))), "'dt'"),
    "dt list": (setting(dt=[1.0]), "dt of type list"),
    "name list": (setting(name=["x"]), "name of type list"),
    "files list": (setting(files=[]), "files"),
    "files null": (setting(files=None), "no files"),
    "files text": (setting(files="values.npy"), "files"),
    "no files": (setting(files={}), "values.npy"),
    "file as text": (setting(files={"values.npy": "x"}), "values.npy"),
    "file as list": (setting(files={"values.npy": [1, 2]}), "values.npy"),
    "size of text": (entry("values.npy", bytes="many"), "values.npy"),
    "size of null": (entry("values.npy", bytes=None), "values.npy"),
    "negative size": (entry("values.npy", bytes=-1), "values.npy"),
    "absurd size": (entry("values.npy", bytes=10**30), "values.npy"),
    "checksum of a number": (entry("values.npy", blake2b=5), "values.npy"),
    "other checksum": (entry("values.npy", blake2b="00"), "values.npy"),
    "file outside": (
        meta(lambda c: c["files"].update({"../x.npy": {"bytes": 1, "blake2b": ""}})), "../x.npy"),
    "absolute file": (
        meta(lambda c: c["files"].update({"/etc/passwd": {"bytes": 1, "blake2b": ""}})), "passwd"),
    "scaling of text": (setting(scaling="none"), "scaling of type str"),
    "scaling of nothing": (setting(scaling={}), "scaling"),
    "scaling of other names": (setting(scaling={"a": 1}), "scaling"),
    "scaling of words": (setting(scaling={"minimum": "a", "maximum": "b"}), "minimum"),
    "scaling upside down": (setting(scaling={"minimum": 2, "maximum": 1}), "minimum"),
    "scaling to a point": (
        setting(scaling={"minimum": 1, "maximum": 2, "low": 1, "high": 1}), "low"),
    "parameters of a list": (setting(parameters=[1]), "parameters"),
    # arrays
    "missing values": (lambda folder: (folder / "values.npy").unlink(), "values.npy"),
    "short values": (raw(b"short", "values.npy"), "values.npy"),
    "values of one dimension": (array("values", np.ones(NODES, "f4")), "(N, T)"),
    "values of other nodes": (array("values", np.ones((3, STEPS), "f4")), f"N = {NODES}"),
    "complex values": (array("values", np.ones((NODES, STEPS), "c8")), "complex64"),
    "values of objects": (array("values", np.array([[None]], object)), "Object arrays"),
    "values that lie": (array("values", npy((NODES, 10**15), data=bytes(99))), "the header says"),
    "values of nothing": (array("values", b""), "values.npy"),
    "empty values": (array("values", npy((NODES, 0))), "one sample"),
    "falling offsets": (array("rowptr", np.r_[0, 5, 3, np.full(NODES - 2, 80)]), "rowptr"),
    "offsets of floats": (array("rowptr", np.arange(NODES + 1.0)), "rowptr"),
    "senders beyond": (array("col", np.full(2 * NODES, 10**12)), "'col'"),
    "negative senders": (array("col", np.full(2 * NODES, -5)), "'col'"),
    "weights of nan": (array("weight", WEIGHT * np.nan), "weight"),
    "weights of text": (array("weight", WEIGHT.astype(str)), "weight"),
    "weights of other size": (array("weight", WEIGHT[:3]), "weight"),
    "features": (array("position", np.ones((NODES, 3), "f4")), None),
    "features of other nodes": (array("position", np.ones((3, 3), "f4")), "'position'"),
    "features of one dimension": (array("position", np.ones(NODES, "f4")), "'position'"),
    "features of text": (array("position", np.full((NODES, 2), "a")), "'position'"),
    "labels": (array("label", np.arange(NODES)), None),
    "labels of other nodes": (array("label", np.arange(3)), "'label'"),
    "labels of two dimensions": (array("label", np.ones((NODES, 2), int)), "'label'"),
    # what is no file
    "pipe as metadata": (special("metadata.json", os.mkfifo), "metadata.json"),
    "pipe as values": (special("values.npy", os.mkfifo), "values.npy"),
    "folder as values": (special("values.npy", Path.mkdir), "values.npy"),
    "link to itself": (special("values.npy", lambda path: path.symlink_to(path)), "values.npy"),
}  # fmt: skip


@pytest.mark.parametrize("case", STORES)
def test_stores(case: str, good: Path, tmp_path: Path) -> None:
    change, expected = STORES[case]
    folder = tmp_path / "own"
    shutil.copytree(good / "store", folder)
    change(folder)
    before = files(tmp_path)
    info = call(main, "info", folder)
    error = attempt(lambda: roma_pyg.open_series(folder))
    if expected is None:
        assert error is None
        assert info.code == 0, info.err
    else:
        assert_clear_text(str(error), expected)
        assert_clear(info, str(folder), expected)
    checked = call(main, "check", folder)
    assert checked.code in (0, 2)
    assert "Traceback" not in checked.err
    assert files(tmp_path) == before


def test_an_object_in_a_store_is_not_made(good: Path, tmp_path: Path) -> None:
    folder = tmp_path / "own"
    shutil.copytree(good / "store", folder)
    array("omega", np.array([Touch(tmp_path / "canary")], dtype=object))(folder)
    assert_clear(call(main, "info", folder), "omega.npy", "Object arrays are refused")
    assert not (tmp_path / "canary").exists()


CONFIG = DataConfig(graph=GraphConfig(nodes=50), steps=20, name="own")
PLANS: dict[str, str | bytes] = {
    "empty": "",
    "no json": "{",
    "list": "[]",
    "null": "null",
    "no parameters": "{}",
    "parameters of text": '{"parameters": "x"}',
    "other parameters": '{"parameters": {"system": "pendulum"}}',
    "deep": "[" * 100_000,
    "random": bytes(range(256)),
    "other graph": json.dumps({"parameters": parameters(CONFIG), "graph": "x"}),
}


@pytest.mark.parametrize("case", PLANS)
def test_plans(case: str, tmp_path: Path) -> None:
    """An unfinished data set whose plan is damaged is not gone on with, nor removed."""
    content = PLANS[case]
    journal = tmp_path / ".own.unfinished"
    journal.mkdir()
    (journal / PLAN).write_bytes(content if isinstance(content, bytes) else content.encode())
    before = files(tmp_path)
    words = ["--data.root", tmp_path, "--data.name", "own", "--data.steps", 20]
    outcome = call(main, "generate", *words, "--data.graph.nodes", 50)
    assert_clear(outcome, ".own.unfinished")
    assert files(tmp_path) == before


def sealed(content: object) -> bytes:
    text = json.dumps(content).encode()
    return hashlib.blake2b(text, digest_size=8).hexdigest().encode() + b" " + text + b"\n"


NO_DATA = hashlib.blake2b(digest_size=16).hexdigest()
ENTRY: dict[str, Any] = {
    "samples": 0, "states": 0, "scalars": {},
    "blake2b": {"samples.f32": NO_DATA, "states.f64": NO_DATA},
}  # fmt: skip
LINES: dict[str, bytes] = {
    "empty": b"",
    "rubbish": b"rubbish\n",
    "random": bytes(range(256)),
    "null": sealed(None),
    "list": sealed([1]),
    "nothing": sealed({}),
    "whole": sealed(ENTRY),
    "samples of text": sealed(ENTRY | {"samples": "3"}),
    "samples of fractions": sealed(ENTRY | {"samples": 0.5}),
    "negative samples": sealed(ENTRY | {"samples": -3}),
    "absurd samples": sealed(ENTRY | {"samples": 10**18}),
    "scalars of a list": sealed(ENTRY | {"scalars": [1]}),
    "scalars of text": sealed(ENTRY | {"scalars": {"a": ["x"]}}),
    "digests of numbers": sealed(ENTRY | {"blake2b": {"samples.f32": 1, "states.f64": 2}}),
    "no digests": sealed(ENTRY | {"blake2b": {}}),
    "deep": hashlib.blake2b(b"[" * 100_000, digest_size=8).hexdigest().encode()
    + b" " + b"[" * 100_000 + b"\n",
}  # fmt: skip


@pytest.mark.parametrize("case", LINES)
def test_lines_of_a_journal(case: str, tmp_path: Path) -> None:
    """What is damaged is dropped, with a warning, and written anew."""
    (tmp_path / LOG).write_bytes(LINES[case])
    (tmp_path / SAMPLES).write_bytes(b"rest")
    with limits(), Journal(tmp_path, {"a": 1}, 3, (3,)) as journal:
        assert (journal.samples, journal.states) == (0, 0)
        journal.append(np.ones(3, "f4"), {})
        journal.commit()
        assert [block.tolist() for block in journal.rows()] == [[[1.0], [1.0], [1.0]]]


CACHES: dict[str, Callable[[Path], object]] = {
    "empty": lambda path: path.write_bytes(b""),
    "random": lambda path: path.write_bytes(bytes(range(256))),
    "other arrays": lambda path: np.savez(path, a=1),
    "identity of objects": lambda path: np.savez(
        path, identity=np.array([Touch(path.parent / "canary")], object)),
    "values of text": lambda path: np.savez(
        path, identity="x", values="x", eigenvalues="x", residual="x"),
}  # fmt: skip


@pytest.mark.parametrize("case", CACHES)
def test_caches(case: str, tmp_path: Path) -> None:
    """A damaged cache is computed again."""
    nodes = np.arange(20)
    graph = Graph.from_edges(nodes, np.roll(nodes, 1), 20)
    config = PositionalConfig(eigenmaps=2, walk_embedding=0)
    expected = positional_features(graph, config, tmp_path)
    (cache,) = tmp_path.glob("*.npz")
    CACHES[case](cache)
    with limits(), pytest.warns(UserWarning, match="computed again"):
        again = positional_features(graph, config, tmp_path)
    np.testing.assert_array_equal(again, expected)
    assert [path.name for path in tmp_path.iterdir()] == [cache.name]


def test_a_pipe_in_the_cache_does_not_hang(tmp_path: Path) -> None:
    nodes = np.arange(20)
    graph = Graph.from_edges(nodes, np.roll(nodes, 1), 20)
    config = PositionalConfig(eigenmaps=2, walk_embedding=0)
    positional_features(graph, config, tmp_path)
    (cache,) = tmp_path.glob("*.npz")
    cache.unlink()
    os.mkfifo(cache)
    with limits():
        assert positional_features(graph, config, tmp_path).shape == (20, 3)


BURSTS = ["--data.system", "burgers"]
ABSURD: dict[str, tuple[list[object], str]] = {
    "nodes": (["--data.graph.nodes", 10**12], "data.graph.nodes"),
    "few samples of many nodes": (
        ["--data.graph.nodes", 10**9, "--data.steps", 2], "data.graph.nodes"),
    "degree": (["--data.graph.average_degree", 10**9], "graph.average_degree"),
    "degree of many nodes": (
        ["--data.graph.average_degree", 10**6, "--data.graph.nodes", 10**7], "average_degree"),
    "degree of blocks": (
        ["--data.graph.kind", "blocks", "--data.graph.average_degree", 10**9], "average_degree"),
    "samples": (["--data.steps", 10**14], "data.steps"),
    "substeps": (["--data.kuramoto.substeps", 10**9], "kuramoto.substeps"),
    "sources": ([*BURSTS, "--data.burgers.sources", 10**9], "burgers.sources"),
    "rounds": ([*BURSTS, "--data.burgers.rounds", 10**9], "burgers.rounds"),
    "burn-in": (["--data.kuramoto.burn_in", "1e300"], "kuramoto.burn_in"),
    "tiny dt": (["--data.kuramoto.dt", "1e-300"], "kuramoto.burn_in"),
    "burn-in of bursts": ([*BURSTS, "--data.burgers.burn_in", "1e300"], "burgers.burn_in"),
}  # fmt: skip


@pytest.mark.parametrize("case", ABSURD)
def test_absurd_sizes_are_refused_before_they_are_made(case: str, tmp_path: Path) -> None:
    words, where = ABSURD[case]
    outcome = call(main, "generate", "--data.root", tmp_path, *words)
    assert_clear(outcome, where)
    assert files(tmp_path) == {}


def test_a_finished_data_set_is_left_alone(tmp_path: Path) -> None:
    with limits():
        folder = generate(DataConfig(root=str(tmp_path), steps=20, graph=GraphConfig(nodes=50),
                                     name="own"), progress=False)  # fmt: skip
    before = files(tmp_path)
    outcome = call(main, "generate", "--data.root", tmp_path, "--data.name", "own")
    assert_clear(outcome, str(folder))
    assert files(tmp_path) == before


HAND_MADE = len(STORES) + len(PLANS) + len(LINES) + len(CACHES) + len(ABSURD)
