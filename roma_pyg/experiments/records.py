"""Records of finished runs: one JSON file each, all that a report needs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch

from roma_pyg.__about__ import __version__
from roma_pyg.config import RunConfig
from roma_pyg.reading import read_json
from roma_pyg.training.restore import from_dict
from roma_pyg.writing import write_text

# Options that do not change what a run computes.
_WHERE: dict[str, Any] = {
    "output": "",
    "name": "run",
    "workers": 0,
    "checkpoint_interval": 0,
    "resume": False,
}


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record under a temporary name, then rename it; numbers that are not finite: null."""
    text = json.dumps(_finite(record), separators=(",", ":"), allow_nan=False)
    write_text(path, text + "\n")


def read_record(path: Path) -> dict[str, Any] | None:
    """Read a record; None if there is none, or if it is damaged."""
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return None
    return content if _is_whole(content) else None


_MADE = ("commit", "torch", "processor", "gpu", "threads")
_LEARNED = ("parameters", "steps", "steps_per_second", "peak_memory_mib")
_WORDS = ("method", "group", "view", "mode")
_ERRORS = ("noise", "horizon", "smspe", "smape", "rmse", "r2", "mean_rmse", "count")


def _is_whole(record: Any) -> bool:  # noqa: ANN401 - whatever a file holds
    """Whether a record has all parts that tables and figures need, of the right types."""
    if not isinstance(record, dict):
        return False
    parts: dict[str, Any] = {
        "condition": str,
        "member": str,
        "seed": int,
        "config": dict,
        "trial": dict,
    }
    parts |= {"made": dict} | dict.fromkeys(("nodes", "samples", "seconds"), int | float)
    learned = "curve" in record
    parts |= dict.fromkeys(_LEARNED if learned else (), int | float)
    if not all(isinstance(record.get(name), kind) for name, kind in parts.items()):
        return False
    if not all(isinstance(record.get(name, {}), dict) for name in ("evaluation", "tests")):
        return False
    if not all(name in record["made"] for name in _MADE):
        return False
    curve, scores = record.get("curve", {}), record.get("scores", {})
    if not (_is_table(curve, ()) and _is_table(scores, _WORDS)):
        return False
    complete = not record["trial"] and set(scores) >= {*_WORDS, *_ERRORS}
    return bool(complete or (record["trial"] and learned)) and (
        not learned or len(curve.get("val/loss", ())) > 0
    )


def _is_table(table: Any, words: tuple[str, ...]) -> bool:  # noqa: ANN401
    """Whether columns are lists of equal length: of text where named, else numbers or null."""
    if not isinstance(table, dict) or not all(isinstance(cells, list) for cells in table.values()):
        return False
    right = all(
        isinstance(cell, str if name in words else int | float | None)
        for name, cells in table.items()
        for cell in cells
    )
    return right and len({len(cells) for cells in table.values()}) <= 1


def same_options(first: dict[str, Any], second: dict[str, Any]) -> bool:
    """Whether two resolved configurations mean the same computation.

    Options that did not exist when a configuration was written have their defaults.

    >>> same_options({"training": {"name": "a"}}, {"training": {"name": "b", "seed": 0}})
    True
    """

    def relevant(values: dict[str, Any]) -> RunConfig | None:
        try:
            config = from_dict(RunConfig, values)
        except (TypeError, ValueError):
            return None
        data = replace(config.data, root="")
        return replace(config, data=data, training=replace(config.training, **_WHERE))

    return relevant(first) is not None and relevant(first) == relevant(second)


def placeless(config: RunConfig) -> dict[str, Any]:
    """Options as a record has them: records are shared, and do not tell where a run was."""
    return replace(config, training=replace(config.training, output="runs")).to_dict()


def circumstances() -> dict[str, Any]:
    """What a number depends on besides the configuration: code, versions and machine."""
    return {
        "commit": _commit(),
        "version": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _commit() -> str | None:
    """Commit of the source, with ``+`` if it was changed since; None outside a repository."""
    folder = Path(__file__).parent
    try:
        words = ["git", "-C", str(folder), "describe", "--always", "--dirty=+", "--exclude=*"]
        done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _finite(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
