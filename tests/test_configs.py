"""Every shipped YAML file goes through the real entry point."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from roma_pyg.cli.train import main
from roma_pyg.models.roma import Roma
from roma_pyg.options.keys import all_keys
from roma_pyg.options.parser import load_config

ROOT = Path(__file__).parents[1]
# Experiments of many runs are looked at in tests/experiments.
FILES = sorted(
    path
    for path in (ROOT / "configs").rglob("*.yaml")
    if not {"members", "extends"} & yaml.safe_load(path.read_text(encoding="utf-8")).keys()
)


def flat(content: dict, prefix: str = "") -> dict:
    values = {}
    for name, value in content.items():
        inner = flat(value, f"{prefix}{name}.") if isinstance(value, dict) else None
        values |= inner if inner is not None else {f"{prefix}{name}": value}
    return values


def test_there_are_configurations() -> None:
    assert {"quickstart.yaml", "km38k.yaml", "own_data.yaml"} <= {path.name for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_parses_and_says_what_it_says(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--config", str(path), "--print-config"])
    assert end.value.code == 0
    resolved = flat(yaml.safe_load(capsys.readouterr().out))
    assert set(resolved) == set(all_keys())
    given = flat(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert {name: resolved[name] for name in given} == given


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_holds_only_what_differs_from_the_defaults(path: Path) -> None:
    given = flat(yaml.safe_load(path.read_text(encoding="utf-8")))
    # The name of the quickstart's data set is said although it is the default.
    same = [name for name in given if given[name] == all_keys()[name].default]
    assert [name for name in same if name != "data.name"] == []


def count_parameters(*files: str) -> int:
    config = load_config([ROOT / "configs" / name for name in files])
    # The meta device allocates nothing, so that a billion parameters can be counted anywhere.
    with torch.device("meta"):
        return Roma(config.model, config.data).num_parameters


@pytest.mark.parametrize(
    ("size", "published"), [("b", 264e6), ("l", 738e6), ("h", 1.1e9)], ids=["b", "l", "h"]
)
def test_sizes_have_the_published_numbers_of_parameters(size: str, published: float) -> None:
    count = count_parameters("km38k.yaml", f"sizes/{size}.yaml")
    assert count == pytest.approx(published, rel=0.1)


def test_quickstart_is_small() -> None:
    assert 1e6 <= count_parameters("quickstart.yaml") <= 5e6


@pytest.mark.parametrize("size", ["b", "l", "h"])
def test_sizes_overlay_a_data_set(size: str) -> None:
    base = ROOT / "configs" / "km38k.yaml"
    config = load_config([base, ROOT / "configs" / "sizes" / f"{size}.yaml"])
    assert config.data == load_config(base).data
    assert config.model.operator.num_functions == 128
