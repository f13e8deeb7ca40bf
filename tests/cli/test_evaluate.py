from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

from roma_pyg.cli.evaluate import main
from roma_pyg.config import DataConfig, RunConfig
from roma_pyg.options.parser import config_to_yaml


class Table:
    def table(self, views: bool = False) -> str:
        return f"| views {views} |"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    seen: list[Any] = []

    def evaluate_run(run: Path, **options: Any) -> Table:
        seen.append((run, options))
        return Table()

    module = types.ModuleType("roma_pyg.training.run")
    module.evaluate_run = evaluate_run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "roma_pyg.training.run", module)
    return seen


@pytest.fixture
def run(tmp_path: Path) -> Path:
    config = RunConfig(data=DataConfig(horizon=8, noise=1e-2))
    (tmp_path / "config.yaml").write_text(config_to_yaml(config), encoding="utf-8")
    return tmp_path


def test_defaults_come_from_the_run(
    run: Path, calls: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run)]) == 0
    options = {
        "times": None,
        "horizons": (1, 2, 8),
        "noises": (0.0, 1e-2),
        "baselines": True,
        "modes": ("direct",),
        "nodes_limit": 1000,
    }
    assert calls == [(run, options)]
    assert capsys.readouterr().out.startswith("| views False |\n")


def test_options(run: Path, calls: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--noise", "0.5", "0", "--horizons", "8", "1", "--times", "3", "--nodes", "0"]
    assert main([str(run), *words, "--split-views", "--no-baselines", "--rollout"]) == 0
    options = {
        "times": 3,
        "horizons": (1, 8),
        "noises": (0.0, 0.5),
        "baselines": False,
        "modes": ("direct", "rollout"),
        "nodes_limit": None,
    }
    assert calls == [(run, options)]
    assert capsys.readouterr().out.startswith("| views True |\n")


def test_steps_beyond_the_horizon_roll_out(run: Path, calls: list[Any]) -> None:
    assert main([str(run), "--horizons", "9"]) == 0
    assert calls[0][1]["modes"] == ("direct", "rollout")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--times", "0"], "Expected '--times' to be at least 1 (got 0)."),
        (["--horizons", "1", "0"], "Expected '--horizons' to be at least 1 (got 0)."),
        (["--noise", "-1"], "Expected '--noise' to be at least 0 (got -1.0)."),
        (["--nodes", "-1"], "Expected '--nodes' to be at least 0 (got -1)."),
        (["--noise", "nan"], "Expected '--noise' to be at least 0 (got nan)."),
    ],
)
def test_impossible_values(
    words: list[str], message: str, run: Path, calls: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(run), *words]) == 2
    assert capsys.readouterr().err == f"roma-eval: error: {message}\n"
    assert calls == []


def test_missing_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none")]) == 2
    assert "Expected the folder of a run at" in capsys.readouterr().err
