from __future__ import annotations

import itertools
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from roma_pyg.config import PoolConfig, RunConfig, TrainingConfig
from roma_pyg.options.keys import all_keys
from roma_pyg.options.parser import config_to_yaml, load_config, parse_arguments


def parse(*argv: str) -> RunConfig:
    return parse_arguments(argv, "roma-train", "Train.").config


def write_yaml(folder: Path, name: str, text: str) -> str:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_nothing_gives_the_defaults() -> None:
    assert parse() == RunConfig() == load_config()


def test_files_overlay_and_the_command_line_wins_wherever_it_stands(tmp_path: Path) -> None:
    first = write_yaml(tmp_path, "a.yaml", "data: {window: 32, horizon: 8}\ntraining: {seed: 3}\n")
    second = write_yaml(tmp_path, "b.yaml", "data:\n  window: 16\n")
    config = parse("--training.seed", "5", "--config", first, f"--config={second}")
    assert (config.data.window, config.data.horizon, config.training.seed) == (16, 8, 5)
    assert load_config([first, second], {"training.seed": 5}) == config


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_yaml(tmp_path, "a.yaml", "data: {edges: e.csv, series: sub/s.npy, system: files}\n")
    monkeypatch.chdir(tmp_path)
    config = parse("--config", "a.yaml")
    assert (config.data.edges, config.data.series) == ("e.csv", "sub/s.npy")


@pytest.mark.parametrize(
    "words",
    [
        ["--max_steps", "7"],
        ["--max-steps", "7"],
        ["--max-steps=7"],
        ["--training.max-steps", "7"],
        ["--training.max_steps=7"],
    ],
)
def test_dashes_and_underscores(words: list[str]) -> None:
    assert parse(*words).training == replace(TrainingConfig(), max_steps=7)


@pytest.mark.parametrize(
    ("words", "resume"),
    [
        (["--resume"], True),
        (["--resume", "--seed", "3"], True),
        (["--resume", "false"], False),
        (["--resume=true"], True),
        (["--training.resume", "true"], True),
        (["--resume", "auto"], "auto"),
        (["--resume=auto", "--seed", "3"], "auto"),
        (["--training.resume", "auto"], "auto"),
        ([], False),
    ],
)
def test_resume(words: list[str], resume: bool | str) -> None:
    assert parse(*words).training.resume == resume


def test_resume_in_a_file(tmp_path: Path) -> None:
    write_yaml(tmp_path, "a.yaml", "training: {resume: auto}\n")
    assert parse("--config", str(tmp_path / "a.yaml")).training.resume == "auto"
    with pytest.raises(ValueError, match=r"'training.resume' to be true or false or 'auto' \(got"):
        parse("--resume", "maybe")


def test_seed_is_that_of_training_only() -> None:
    config = parse("--seed", "3")
    assert (config.training.seed, config.data.seed) == (3, 0)


def test_own_data() -> None:
    data = parse("--edges", "a/e.csv", "--series", "a/flow.npy", "--dt", "0.5").data
    assert (data.system, data.edges, data.series) == ("files", "a/e.csv", "a/flow.npy")
    assert (data.dt, data.name) == (0.5, "flow")


def test_own_data_keeps_a_given_name() -> None:
    assert parse("--edges", "e.csv", "--series", "s.npy", "--data.name", "mine").data.name == "mine"


def test_negative_numbers_lists_and_exponents() -> None:
    config = parse("--model.pool.sizes", "[8, 4]", "--data.noise", "1e-2")
    assert config.model.pool == PoolConfig(sizes=[8, 4])
    assert config.data.noise == 0.01
    assert parse("--model.pool.link_radius", "-1").model.pool.link_radius == -1


def test_yaml_exponent_without_point_is_a_number(tmp_path: Path) -> None:
    path = write_yaml(tmp_path, "a.yaml", "training: {learning_rate: 2e-5}\n")
    assert load_config(path).training.learning_rate == 2e-5


@pytest.mark.parametrize("text", ["", "# nothing\n", "data:\n  # nothing\n", "data: {}\n"])
def test_empty_files_and_sections(text: str, tmp_path: Path) -> None:
    assert load_config(write_yaml(tmp_path, "a.yaml", text)) == RunConfig()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--data.windw", "3"], "Unknown key 'data.windw'. Did you mean 'data.window'?"),
        (["--training.max", "3"], "Unknown key 'training.max'. Did you mean 'training.max_steps'?"),
        (["--max_stepz", "3"], "Unknown key 'max_stepz'. Did you mean 'max_steps'?"),
        (["--print-confg"], "Unknown key 'print_confg'. Did you mean 'print_config'?"),
        (["--data.window"], "Expected a value after '--data.window' (got none)."),
        (["--config"], "Expected a value after '--config' (got none)."),
        (["--max_steps", "few"], "Expected 'training.max_steps' to be an integer (got 'few')."),
        (["--max_steps", "1.5"], "Expected 'training.max_steps' to be an integer (got '1.5')."),
        (["--max_steps", "0"], "Expected 'training.max_steps' to be at least 1 (got 0)."),
        (["--data.noise", "-1"], "Expected 'data.noise' to be non-negative (got -1.0)."),
        (
            ["--model.trunk.kind", "x"],
            "Expected 'model.trunk.kind' to be one of 'deeponet', 'nomad' (got 'x').",
        ),
        (
            ["--model.pool.sizes", "[4, 8]"],
            "Expected 'pool.sizes' to be decreasing (got [4, 8]).",
        ),
        (
            ["--model.pool.sizes", "8"],
            "Expected 'model.pool.sizes' to be a list of integers, such as [64, 16] (got '8').",
        ),
        (
            ["--edges", "e.csv"],
            "Expected 'data.series' to be a file when data.system is 'files' (got None).",
        ),
        (["--config", "none.yaml"], "Expected a configuration file at 'none.yaml' (got none)."),
    ],
)
def test_wrong_words(words: list[str], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        parse(*words)
    assert str(error.value) == message


def test_stray_word() -> None:
    with pytest.raises(ValueError, match="nrecognized arguments: 12"):
        parse("12")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data: {windw: 3}", "Unknown key 'data.windw'. Did you mean 'data.window'? (in "),
        ("modle: {pool: {sizes: [2]}}", "Unknown key 'modle.pool.sizes'. Did you mean 'model.pool"),
        ("modle: {}", "Unknown key 'modle'. Did you mean 'model'? (in "),
        ("window: 3", "Unknown key 'window'. Did you mean 'data.window'? (in "),
        ("data: 3", "Expected 'data' to be a section (got 3). (in "),
        ("data: {window: {size: 3}}", "Expected 'data.window' to be an integer (got a section)."),
        ("- 3", "Expected sections 'data', 'model', 'training' (got [3]). (in "),
        ("data: {window: 3", "to be YAML (got while parsing"),
        ("data: {window: []}", "Expected 'data.window' to be an integer (got '[]')."),
        ("data: {window: 1}", "Expected 'data.window' to be at least 2 (got 1)."),
    ],
)
def test_wrong_files(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is compared below
        load_config(write_yaml(tmp_path, "a.yaml", text))
    assert message in str(error.value)


def test_wrong_override() -> None:
    with pytest.raises(ValueError, match=r"Unknown key 'data\.windw'"):
        load_config(overrides={"data": {"windw": 3}})


@settings(max_examples=15, deadline=None)
@given(
    window=st.integers(2, 10**6),
    rate=st.floats(1e-12, 1e3),
    noise=st.floats(0, 1),
    sizes=st.lists(st.integers(1, 99), unique=True).map(lambda v: sorted(v, reverse=True)),
    resume=st.booleans(),
    name=st.sampled_from(["roma", "a b", "1e3", "null x", "yes", "x#y", "ünï"]),
)
def test_printed_configuration_parses_to_the_same(
    window: int, rate: float, noise: float, sizes: list[int], resume: bool, name: str
) -> None:
    config = RunConfig()
    config.data.window, config.data.noise, config.data.name = window, noise, name
    config.training.learning_rate, config.training.resume = rate, resume
    config.model.pool.sizes = sizes
    text = config_to_yaml(config)
    assert load_config(overrides=yaml.safe_load(text)) == config


def test_print_config_prints_what_parses_to_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--data.window", "17", "--model.base", "none", "--resume"]
    for flag in ("--print-config", "--print_config"):
        with pytest.raises(SystemExit) as end:
            parse(*words, flag)
        assert end.value.code == 0
        path = write_yaml(tmp_path, "a.yaml", capsys.readouterr().out)
        assert load_config(path) == parse(*words)


def test_printed_configuration_explains_every_key() -> None:
    lines = config_to_yaml(RunConfig()).splitlines()
    for name, key in all_keys().items():
        assert any(
            line.strip().startswith(f"{name.rpartition('.')[2]}:")
            and above.strip() == f"# {key.meaning}"
            for above, line in itertools.pairwise(lines)
        ), name


def test_help_lists_every_key_with_meaning_and_default(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse("--help")
    assert end.value.code == 0
    text = capsys.readouterr().out
    words = " ".join(text.split())
    for name, key in all_keys().items():
        # From Python 3.13 on, argparse writes VALUE once for all forms of an option.
        assert re.search(rf"--{re.escape(name)}(, --\S+)* VALUE", text), name
        # argparse breaks lines after hyphens, too.
        assert key.meaning.replace(" ", "") in words.replace(" ", ""), name


def test_options_of_a_command() -> None:
    arguments = parse_arguments(
        ["--dry-run", "--mode", "fast", "--data.window", "9"],
        "roma-train",
        "Train.",
        lambda parser: (
            parser.add_argument("--dry_run", action="store_true"),
            parser.add_argument("--mode", choices=["fast", "slow"], default="slow"),
            None,
        )[-1],
    )
    assert (arguments.options.dry_run, arguments.options.mode) == (True, "fast")
    assert arguments.config.data.window == 9
