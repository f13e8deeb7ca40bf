"""``roma-train``: make or read the data, train, evaluate, and print the table of forecasts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser

from roma_pyg import ranks
from roma_pyg.cli.console import guarded, write
from roma_pyg.config import RunConfig
from roma_pyg.options.parser import parse_arguments
from roma_pyg.reading import read_json, shorten

DESCRIPTION = """Train ROMA and compare it with simple forecasts. Without options this is the
quickstart: a small Kuramoto system is generated. Own data: --edges FILE --series FILE."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``roma-train``; return its exit code."""
    stopped = "stopped; the same command with --resume auto continues from the last checkpoint."
    return guarded("roma-train", lambda: _run(argv), stopped)


def default_horizons(config: RunConfig) -> tuple[int, ...]:
    """Steps ahead that are reported: the first, a quarter of the horizon, and the horizon.

    >>> default_horizons(RunConfig())
    (1, 16, 64)
    """
    return config.data.reported_steps


def _extend(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--evaluate",
        choices=["full", "quick", "none"],
        default="full",
        help="Final table: against all simple forecasts (full), without those that are trained "
        "or simulated (quick), or none.",
    )


def _run(argv: Sequence[str] | None) -> int:
    arguments = parse_arguments(argv, "roma-train", DESCRIPTION, _extend)
    config = arguments.config

    # Heavy imports wait until the options are known to be right.
    from roma_pyg.training.run import evaluate_run, train
    from roma_pyg.training.stopping import Stopped

    try:
        run = train(config)
    except Stopped as stop:
        if ranks.rank() == 0:
            sys.stderr.write(f"roma-train: {stop} The same command with --resume auto goes on.\n")
        return int(stop.code or 0)
    if ranks.rank() > 0:
        return 0
    summary = _read_summary(run / "summary.json")
    together = f" on {summary['ranks']} ranks" if summary.get("ranks", 1) > 1 else ""
    write(
        f"{summary['parameters']:,} parameters, {summary['steps']:,} steps{together} at "
        f"{summary['steps_per_second']:.2f} steps/s, peak memory "
        f"{summary['peak_memory_mib'] / 1024:.2f} GiB."
    )
    write(
        f"Run written to {run}. Curves and figures: tensorboard --logdir {config.training.output}"
    )
    if "unexplained" in summary:
        levels = ", ".join(f"{x:.0%} on level {i}" for i, x in enumerate(summary["unexplained"]))
        write(f"The effective law leaves of the squared rate of change: {levels}.")
    if arguments.options.evaluate != "none":
        full = arguments.options.evaluate == "full"
        evaluation = evaluate_run(
            run,
            times=None if full else 2,
            horizons=default_horizons(config),
            noises=tuple(sorted({0.0, config.data.noise})),
            baselines=full,
        )
        write(evaluation.table())
    return 0


def _read_summary(path: Path) -> dict[str, Any]:
    summary = read_json(path)
    numbers = ("parameters", "steps", "steps_per_second", "peak_memory_mib")
    known = summary if isinstance(summary, dict) else {}
    bad = [name for name in numbers if not isinstance(known.get(name), int | float)]
    shares = known.get("unexplained", [])
    if bad or not isinstance(shares, list) or not all(isinstance(x, int | float) for x in shares):
        raise ValueError(
            f"Expected '{path}' to hold the numbers {', '.join(numbers)} (got {shorten(summary)}): "
            "remove it, and the same command with --resume writes it again."
        )
    return known


if __name__ == "__main__":
    raise SystemExit(main())
