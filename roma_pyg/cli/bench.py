"""``roma-bench``: run an experiment, and report on it."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from roma_pyg.cli.console import check_bounds, guarded, write


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``roma-bench``; return its exit code."""
    return guarded(
        "roma-bench",
        lambda: _run(argv),
        "stopped; the same command goes on where this one ended.",
    )


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="roma-bench",
        description="Train every member of an experiment in every condition and with every seed, "
        "and write tables and plots. What is finished is not run again.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="train and score all members, then report")
    run.add_argument(
        "file", type=Path, metavar="FILE", help="such as configs/experiments/comparison.yaml"
    )
    run.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="runs at the same time (default: one per core, or one in all on a GPU)",
    )
    run.add_argument(
        "--threads", type=int, metavar="N", help="threads per run (default: cores / jobs)"
    )
    run.add_argument("--seeds", type=int, nargs="+", metavar="SEED", help="only these seeds")
    run.add_argument("--members", nargs="+", metavar="NAME", help="only these members")
    run.add_argument("--conditions", nargs="+", metavar="NAME", help="only these conditions")
    run.add_argument("--dry-run", action="store_true", help="list the runs and their state")
    report = commands.add_parser("report", help="write tables and plots of what is finished")
    report.add_argument(
        "file", metavar="NAME", help="name of an experiment, or its file", type=Path
    )
    for command in (run, report):
        command.add_argument(
            "--profile", default="small", help="small (two cores, default) or paper (GPUs)"
        )
        command.add_argument(
            "--output",
            type=Path,
            default=Path("runs/bench"),
            metavar="FOLDER",
            help="folder of all experiments (default: runs/bench)",
        )
    return parser


def _run(argv: Sequence[str] | None) -> int:
    options = _make_parser().parse_args(argv)
    # A scheduler's signal ends the runs that were started, too.
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        return _perform(options)
    finally:
        signal.signal(signal.SIGTERM, before)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _perform(options: argparse.Namespace) -> int:
    # Heavy imports wait until the options are known to be right.
    from roma_pyg.experiments.report import write_report
    from roma_pyg.experiments.runner import Place, Selection, run_experiment, states
    from roma_pyg.experiments.spec import load_experiment

    path: Path = options.file
    if not path.suffix:
        path = Path("configs/experiments") / f"{path}.yaml"
    experiment = load_experiment(path, options.profile)
    if options.command == "run":
        check_bounds(options, {"jobs": 1, "threads": 1})
        selection = Selection(options.members, options.conditions, options.seeds)
        if options.dry_run:
            write(states(Place(options.output, experiment)))
            return 0
        write(f"{experiment.title} (profile {experiment.profile})")
        run_experiment(
            experiment,
            options.output,
            jobs=options.jobs,
            threads=options.threads,
            selection=selection,
        )
    folder = write_report(Place(options.output, experiment))
    write((folder / "report.md").read_text(encoding="utf-8"))
    write(f"Report written to {folder}.")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
