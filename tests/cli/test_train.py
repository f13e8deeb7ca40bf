from __future__ import annotations

import json
import signal
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from roma_pyg.cli.train import default_horizons, main
from roma_pyg.config import DataConfig, RunConfig


class Table:
    def table(self) -> str:
        return "| the table |"


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """Replace training and evaluation by recorders: here only the command is tested."""
    seen: list[Any] = []
    monkeypatch.chdir(tmp_path)

    def train(config: RunConfig) -> Path:
        seen.append(config)
        run = Path(config.training.output) / config.training.name
        run.mkdir(parents=True, exist_ok=True)
        summary = {"parameters": 1234, "steps": 3, "steps_per_second": 2.5, "peak_memory_mib": 512}
        (run / "summary.json").write_text(json.dumps(summary), encoding="utf-8")
        return run

    def evaluate_run(run: Path, **options: Any) -> Table:
        seen.append((run, options))
        return Table()

    module = types.ModuleType("roma_pyg.training.run")
    module.train, module.evaluate_run = train, evaluate_run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "roma_pyg.training.run", module)
    return seen


def test_trains_evaluates_and_prints(calls: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data.horizon", "32", "--max_steps", "3"]) == 0
    config, (run, options) = calls
    assert (config.data.horizon, config.training.max_steps) == (32, 3)
    assert run == Path("runs/roma")
    assert options["horizons"] == (1, 8, 32)
    assert options["noises"] == (0.0, 4e-4)
    assert options["baselines"] is True
    written = capsys.readouterr().out
    assert "1,234 parameters, 3 steps at 2.50 steps/s, peak memory 0.50 GiB." in written
    assert "Run written to runs/roma" in written
    assert written.endswith("| the table |\n")


def test_evaluation_can_be_quick_or_left_out(calls: list[Any]) -> None:
    assert main(["--evaluate", "none"]) == 0
    assert len(calls) == 1
    assert main(["--evaluate=quick"]) == 0
    assert calls[2][1]["baselines"] is False


def test_a_signal_ends_with_its_code_and_one_line(
    calls: list[Any], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from roma_pyg.training.stopping import Stopped

    def train(_: RunConfig) -> Path:
        raise Stopped(signal.SIGTERM, 7, Path("runs/roma/last.ckpt"))

    monkeypatch.setattr(sys.modules["roma_pyg.training.run"], "train", train)
    assert main([]) == 143
    assert capsys.readouterr().err == (
        "roma-train: stopped by SIGTERM after step 7, which 'runs/roma/last.ckpt' holds. "
        "The same command with --resume auto goes on.\n"
    )


def test_impossible_values_end_with_2_and_no_traceback(
    calls: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--max_steps", "0"]) == 2
    assert capsys.readouterr().err == (
        "roma-train: error: Expected 'training.max_steps' to be at least 1 (got 0).\n"
    )
    assert main(["--data.windw", "3"]) == 2
    assert "Did you mean 'data.window'?" in capsys.readouterr().err
    assert main(["--evaluate", "all"]) == 2
    assert calls == []


def test_horizons_of_short_forecasts() -> None:
    assert default_horizons(RunConfig(data=DataConfig(horizon=1))) == (1,)
    assert default_horizons(RunConfig(data=DataConfig(horizon=3))) == (1, 3)
