"""Configuration files and command lines: nothing but plain, known options gets through."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from roma_pyg.cli.train import main
from roma_pyg.config import RunConfig
from roma_pyg.options.keys import all_keys
from roma_pyg.options.parser import load_config
from tests.bad_input.harness import assert_clear, assert_clear_text, call, limits

LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join(['*' + old] * 9)}]\n"
    for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
# Text of the file, and what the message must say besides the name of the file; None: it works.
YAML: dict[str, tuple[str | bytes, str | None]] = {
    "empty": ("", None),
    "comment": ("# nothing", None),
    "null": ("null", None),
    "document end": ("---\ndata: {window: 32}\n...\n", None),
    "byte order mark": (b"\xef\xbb\xbfdata: {window: 32}\n", None),
    "crlf": (b"data:\r\n  window: 32\r\n", None),
    "alias": ("data: {window: &w 32, horizon: *w}", None),
    "merge": ("x: &x {window: 32}\ndata: {<<: *x}", "Unknown key 'x"),
    "scalar": ("hello", "sections"),
    "number": ("42", "sections"),
    "list": ("- data\n- model", "sections"),
    "two documents": ("data: {}\n---\nmodel: {}", "single document"),
    "tab": ("data:\n\twindow: 3", "cannot start any token"),
    "open bracket": ("data: {window: [", "YAML"),
    "open quote": ("data: 'abc", "YAML"),
    "colon": ("data: window: 3", "not allowed here"),
    "nul": (b"data: {window: 3\x00}", "YAML"),
    "latin-1": ("data: {name: é}".encode("latin1"), "UTF-8"),
    "utf-16": ("data: {window: 3}".encode("utf-16"), "UTF-8"),
    "random bytes": (bytes(range(256)), "UTF-8"),
    "unknown key": ("data: {windw: 3}", "data.window"),
    "unknown section": ("dta: {window: 3}", "Did you mean"),
    "unknown dotted key": ("data.windw: 3", "data.window"),
    "key twice": ("data: {window: 3}\ndata: {window: 4}", "'data' twice"),
    "key twice inside": ("data:\n  window: 3\n  window: 4\n", "'window' twice"),
    "python object": ("data: !!python/object/apply:os.system ['true']", "constructor"),
    "python name": ("data: !!python/name:os.system", "constructor"),
    "python module": ("!!python/module:os : 1", "constructor"),
    "own tag": ("data: {window: !number 3}", "constructor"),
    "binary": ("data: {window: !!binary aGVsbG8=}", "data.window"),
    "set": ("data: {window: !!set {a, b}}", "data.window"),
    "date": ("data: {window: 2020-01-01}", "data.window"),
    "impossible date": ("data: {window: 2020-13-45}", "YAML"),
    "billion laughs": (LAUGHS, "aliases"),
    "billion laughs by merging": (
        "a: &a {x: 1}\n"
        + "".join(
            f"{n}: &{n} {{y: [{', '.join(['*' + o] * 20)}]}}\n" for o, n in ["ab", "bc", "cd", "de"]
        ),
        "aliases",
    ),
    "cycle": ("data: &d [*d]", "alias inside"),
    "cycle of mappings": ("data: &d {window: *d}", "alias inside"),
    "alias of nothing": ("data: *nothing", "undefined alias"),
    "deep list": ("data: " + "[" * 500 + "]" * 500, "nested"),
    "deep mapping": ("data: " + "{a: " * 500 + "1" + "}" * 500, "nested"),
    "very deep": ("[" * 100_000, "YAML"),
    "large": ("# " + "x" * 300_000, "bytes"),
    "many keys": ("".join(f"k{i}: 1\n" for i in range(10_000)), "than"),
    "unhashable key": ("? [a, b]\n: 1", "YAML"),
    "key of numbers": ("1: 2", "Unknown key '1'"),
    "key of truth": ("on: 2", "Unknown key 'True'"),
    "null key": ("null: 2", "Unknown key 'None'"),
    "long key": ("? " + "k" * 900 + "\n: 1", "Unknown key"),
    "very long key": ("? " + "k" * 5000 + "\n: 1", "5000 characters"),
    "section as value": ("data: 3", "to be a section"),
    "section as list": ("data: [window]", "to be a section"),
    "value as section": ("data: {window: {a: 1}}", "data.window"),
    "text": ("data: {window: abc}", "data.window"),
    "fraction": ("data: {window: 3.5}", "data.window"),
    "truth": ("data: {window: true}", "data.window"),
    "null value": ("data: {window: null}", "data.window"),
    "list value": ("data: {window: [3]}", "data.window"),
    "negative": ("data: {window: -3}", "data.window"),
    "zero": ("data: {window: 0}", "data.window"),
    "huge integer": (f"data: {{window: {10**30}}}", "data.window"),
    "five thousand digits": ("data: {window: " + "9" * 5000 + "}", "YAML"),
    "sexagesimal": ("data: {window: " + "1:" * 3000 + "1}", "YAML"),
    "nan": ("data: {noise: .nan}", "data.noise"),
    "infinity": ("data: {noise: .inf}", "data.noise"),
    "negative infinity": ("training: {learning_rate: -.inf}", "training.learning_rate"),
    "overflow": ("data: {noise: 1e999}", "data.noise"),
    "nan in a list": ("model: {pool: {sizes: [.nan]}}", "pool.sizes"),
    "text in a list": ("model: {pool: {sizes: [a, b]}}", "pool.sizes"),
    "rising sizes": ("model: {pool: {sizes: [4, 8]}}", "pool.sizes"),
    "many sizes": (f"model: {{pool: {{sizes: {list(range(3000, 0, -1))}}}}}", "pool.sizes"),
    "huge size in a list": (f"model: {{pool: {{sizes: [{10**40}]}}}}", "pool.sizes"),
    "layers": ("model: {encoder: {layers: 1000000000}}", "encoder.layers"),
    "heads": ("model: {operator: {heads: 7}}", "operator.heads"),
    "choice": ("model: {kind: best}", "model.kind"),
    "recipe": ("recipe: mine", "recipe"),
    "recipe of sections": ("recipe: {a: 1}", "recipe"),
    "workers": ("training: {workers: 1000000}", "training.workers"),
    "name with a slash": ("data: {name: a/b}", "data.name"),
    "name that leaves": ("data: {name: ..}", "data.name"),
    "name of a run that leaves": ("training: {name: ../../x}", "training.name"),
    "empty name": ("training: {name: ''}", "training.name"),
    "long name": ("training: {name: " + "x" * 500 + "}", "training.name"),
    "name with a line": ('training: {name: "a\\nb"}', "training.name"),
    "negative seed": ("training: {seed: -1}", "training.seed"),
    "files without series": ("data: {system: files}", "data.series"),
}
WORDS: dict[str, tuple[list[str], str]] = {
    "missing file": (["--config", "nowhere.yaml"], "nowhere.yaml"),
    "folder as file": (["--config", "."], "'.'"),
    "device as file": (["--config", "/dev/zero"], "/dev/zero"),
    "no value": (["--config"], "--config"),
    "unknown option": (["--wndow", "3"], "wndow"),
    "value without option": (["stray"], "stray"),
    "wrong type": (["--data.window", "x"], "data.window"),
    "not a number": (["--data.noise", "nan"], "data.noise"),
    "infinite": (["--data.noise=inf"], "data.noise"),
    "empty value": (["--data.window", ""], "data.window"),
    "yaml in a value": (["--data.window", "{a: 1}"], "data.window"),
    "tag in a value": (["--data.window", "!!python/name:os.system"], "data.window"),
    "open list": (["--model.pool.sizes", "[1, 2"], "pool.sizes"),
    "deep value": (["--model.pool.sizes", "[" * 3000], "pool.sizes"),
    "long value": (["--data.window", "9" * 10_000], "data.window"),
    "surrogate": (["--training.name", "a\udcff"], "training.name"),
    "choice": (["--evaluate", "perhaps"], "evaluate"),
    "resume": (["--resume", "maybe"], "training.resume"),
}
HAND_MADE = len(YAML) + len(WORDS)


@pytest.mark.parametrize("name", YAML)
def test_yaml(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text, expected = YAML[name]
    file = tmp_path / "own.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    outcome = call(main, "--config", "own.yaml", "--print-config")
    if expected is None:
        assert outcome.code == 0, outcome.err
        assert isinstance(yaml.safe_load(outcome.out), dict)
    else:
        # A value is the business of its option; what the file itself is must be said of the file.
        where = [expected] if "." in expected else [expected, "own.yaml"]
        assert_clear(outcome, *(where[:1] if expected == "recipe" else where))
    assert [path.name for path in tmp_path.iterdir()] == ["own.yaml"]


@pytest.mark.parametrize("name", WORDS)
def test_words(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words, where = WORDS[name]
    outcome = call(main, *words, "--print-config")
    assert_clear(outcome, where)
    assert list(tmp_path.iterdir()) == []


EXTREMES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-3, 3), st.floats(), st.text(max_size=5),
    st.sampled_from([10**18, -(10**18), 2**53, 1e308, 5e-324, "", "nan", "1e9999", "0x10", "1_0"]),
    st.lists(st.one_of(st.integers(), st.floats(), st.text(max_size=3)), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


@settings(settings.get_profile("bad-input"), max_examples=150)
@given(key=st.sampled_from(sorted(all_keys())), value=EXTREMES)
def test_any_value_of_any_option(key: str, value: object) -> None:
    with limits():
        try:
            config = load_config(overrides={key: value})
        except ValueError as error:
            assert_clear_text(str(error))
        else:
            # What gets through is written, and read again as the same.
            assert load_config(overrides=config.to_dict()) == config


@settings(settings.get_profile("bad-input"), max_examples=150)
@given(
    content=st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(
                st.one_of(
                    st.text(max_size=4), st.sampled_from(["data", "model", "training", "pool"])
                ),
                inner,
                max_size=3,
            ),
        ),
        max_leaves=10,
    )
)
def test_any_content(content: object, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    for text in (json.dumps(content), yaml.safe_dump(content)):
        file.write_text(text)
        with limits():
            try:
                assert isinstance(load_config(file), RunConfig)
            except ValueError as error:
                assert_clear_text(str(error))


@settings(settings.get_profile("bad-input"), max_examples=150)
@given(
    text=st.one_of(st.binary(max_size=60), st.text("{}[]:,-&*!|>'\"#%@`?a1 \n\t").map(str.encode))
)
def test_any_text(text: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "any.yaml"
    file.write_bytes(text)
    with limits():
        try:
            assert load_config(file) == RunConfig()
        except ValueError as error:
            assert_clear_text(str(error), "any.yaml")
