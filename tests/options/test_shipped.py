"""Shipped configurations are found from any folder, and files that exist win."""

from __future__ import annotations

from pathlib import Path

import pytest

from roma_pyg.experiments.spec import load_experiment
from roma_pyg.options.parser import load_config
from roma_pyg.options.shipped import shipped


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", ["quickstart.yaml", "configs/quickstart.yaml"])
def test_configuration_of_the_package(name: str) -> None:
    assert load_config(name).training.name == "quickstart"


def test_overlay_and_experiment_of_the_package() -> None:
    assert load_config(["configs/km38k.yaml", "configs/sizes/b.yaml"]).data.name == "km38k"
    assert load_experiment(Path("configs/experiments/size.yaml")).title


def test_a_file_of_the_same_name_wins() -> None:
    file = Path("configs/quickstart.yaml")
    file.parent.mkdir()
    file.write_text("training: {name: mine}\n", encoding="utf-8")
    assert load_config(file).training.name == "mine"


def test_what_is_nowhere_is_an_error() -> None:
    with pytest.raises(FileNotFoundError, match=r"Expected a configuration file at 'no\.yaml'"):
        load_config("no.yaml")
    assert shipped(Path("/no/quickstart.yaml")) == Path("/no/quickstart.yaml")
