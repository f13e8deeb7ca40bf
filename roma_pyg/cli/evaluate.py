"""``roma-eval``: evaluate a finished run beside the simple forecasts."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from roma_pyg.cli.console import check_bounds, check_run, guarded, write
from roma_pyg.options.parser import load_config


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``roma-eval``; return its exit code."""
    return guarded("roma-eval", lambda: _run(argv))


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="roma-eval",
        description="Evaluate a run on held-out nodes and held-out time, beside the simple "
        "forecasts; skill = 1 - error / best simple error.",
    )
    parser.add_argument(
        "run", type=Path, metavar="RUN", help="folder of the run, such as runs/roma"
    )
    parser.add_argument(
        "--noise",
        type=float,
        nargs="+",
        metavar="VARIANCE",
        help="variances of the input noise (default: none and that of the training)",
    )
    parser.add_argument(
        "--horizons",
        type=int,
        nargs="+",
        metavar="STEPS",
        help="steps ahead; beyond the trained horizon the forecast rolls out "
        "(default: 1, a quarter of the horizon, the horizon)",
    )
    parser.add_argument(
        "--times",
        type=int,
        metavar="N",
        help="forecast times evaluated (default: 16; 4 on more than 200,000 nodes)",
    )
    parser.add_argument(
        "--split-views",
        action="store_true",
        help="also show held-out nodes in training time and training nodes in held-out time",
    )
    parser.add_argument("--no-baselines", action="store_true", help="evaluate the model alone")
    parser.add_argument(
        "--rollout",
        action="store_true",
        help="also feed each method its own forecasts; always done for steps beyond the trained "
        "horizon",
    )
    parser.add_argument(
        "--nodes",
        type=int,
        default=1000,
        metavar="N",
        help="nodes scored per view, drawn at random; 0 for all (default: 1000)",
    )
    return parser


def _run(argv: Sequence[str] | None) -> int:
    arguments = _make_parser().parse_args(argv)
    run: Path = arguments.run
    check_run(run)
    check_bounds(arguments, {"times": 1, "horizons": 1, "noise": 0, "nodes": 0})

    from roma_pyg.cli.train import default_horizons
    from roma_pyg.training.run import evaluate_run

    config = load_config(run / "config.yaml")
    noises = arguments.noise if arguments.noise is not None else [0.0, config.data.noise]
    horizons = tuple(sorted(set(arguments.horizons or default_horizons(config))))
    rollout = arguments.rollout or horizons[-1] > config.data.horizon
    evaluation = evaluate_run(
        run,
        times=arguments.times,
        horizons=horizons,
        noises=tuple(sorted(set(noises))),
        baselines=not arguments.no_baselines,
        modes=("direct", "rollout") if rollout else ("direct",),
        nodes_limit=arguments.nodes or None,
    )
    write(evaluation.table(views=arguments.split_views))
    write(f"All scores: {run / 'evaluation.csv'}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
