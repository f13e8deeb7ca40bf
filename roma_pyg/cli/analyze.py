"""``roma-analyze``: figures and tables of a finished run."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from roma_pyg.cli.console import check_bounds, check_run, guarded, write


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``roma-analyze``; return its exit code."""
    return guarded("roma-analyze", lambda: _run(argv))


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="roma-analyze",
        description="Show what a run has learned: supernodes on the graph, their hierarchy and "
        "what it agrees with, coarse graphs beside those of classical renormalization, attention, "
        "forecasts by node and level, and whether the coarse dynamics commutes with coarse "
        "graining. Writes report.md, figures (PNG) and their data (CSV, NPZ).",
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="folder of the run, such as runs/roma"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FOLDER", help="where to write (default: RUN/analysis)"
    )
    parser.add_argument(
        "--compare",
        type=Path,
        nargs="+",
        default=[],
        metavar="RUN",
        help="further runs on the same graph, such as of other seeds: do they find the same "
        "supernodes?",
    )
    parser.add_argument(
        "--times",
        type=int,
        metavar="N",
        help="forecast times (default: 4; 1 on more than 20,000 nodes)",
    )
    parser.add_argument(
        "--noise",
        type=float,
        metavar="VARIANCE",
        help="variance of the noise on the history (default: that of the training)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of noise and samples")
    return parser


def _run(argv: Sequence[str] | None) -> int:
    arguments = _make_parser().parse_args(argv)
    for run in (arguments.run, *arguments.compare):
        check_run(run)
    check_bounds(arguments, {"times": 1, "noise": 0, "seed": 0})

    from roma_pyg.training.analysis import analyze_run

    path = analyze_run(
        arguments.run,
        arguments.output,
        arguments.compare,
        times=arguments.times,
        noise=arguments.noise,
        seed=arguments.seed,
        report=lambda stage: write(f"{stage} ..."),
    )
    write(f"Report, figures and data: {path}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
