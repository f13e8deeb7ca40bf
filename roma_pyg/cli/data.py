"""``roma-data``: generate, describe and check data sets."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jsonargparse import ArgumentParser

from roma_pyg.cli.console import guarded, write
from roma_pyg.options.parser import parse_arguments

GENERATE = """Generate the data set of a configuration in data.root/data.name. A data set that is
already there with the same options is used again, one that was interrupted is finished."""
FEATURES = """Compute the positional features of a configuration, and keep them for the runs that
use them. Runs compute what is missing; on a graph of millions this shows how long it takes."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``roma-data``; return its exit code."""
    return guarded("roma-data", lambda: _run(sys.argv[1:] if argv is None else list(argv)))


def _run(argv: list[str]) -> int:
    if argv[:1] == ["generate"]:
        return _generate(argv[1:])
    if argv[:1] == ["import"]:
        from roma_pyg.cli.import_data import run_import

        return run_import(argv[1:])
    if argv[:1] == ["features"]:
        return _features(argv[1:])
    parser = argparse.ArgumentParser(prog="roma-data", description="Data sets of roma_pyg.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("generate", help="generate a data set (--config FILE, --data.KEY VALUE)")
    verbs.add_parser("features", help="compute positional features (--config FILE)")
    verbs.add_parser("import", help="make a data set of your own files, of any size")
    for verb, text in (
        ("info", "describe a data set: sizes, parameters, range and regime"),
        ("check", "check that a data set is whole: every file against its checksum"),
    ):
        child = verbs.add_parser(verb, help=text, description=text[0].upper() + text[1:] + ".")
        child.add_argument(
            "path", type=Path, metavar="PATH", help="folder of the data set, such as data/km5k"
        )
    arguments = parser.parse_args(argv)
    return _info(arguments.path) if arguments.verb == "info" else _check(arguments.path)


def _generate(argv: list[str]) -> int:
    arguments = parse_arguments(argv, "roma-data generate", GENERATE, _extend)
    config = arguments.config.data
    if config.system == "files":
        raise ValueError(
            "Expected 'data.system' to be a system that can be generated (got 'files'); "
            "your own files are read by roma-train --edges FILE --series FILE."
        )
    if arguments.options.dry_run:
        from roma_pyg.data.estimate import estimate

        write(f"'{Path(config.root) / config.name}': {estimate(config)}")
        return 0
    from roma_pyg.data.generate import generate

    path = Path(generate(config))
    write(f"Data set {path}")
    return _info(path)


def _extend(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="Only say what disk, memory and time it would take.",
    )


def _features(argv: list[str]) -> int:
    config = parse_arguments(argv, "roma-data features", FEATURES).config.data
    from roma_pyg.data.load import load_series
    from roma_pyg.data.positional import compute_positional

    graph = load_series(config).graph
    start = time.perf_counter()
    features = compute_positional(graph, config.positional, Path(config.root) / ".cache")
    seconds = time.perf_counter() - start
    nodes, channels = features.values.shape
    residual = f"; largest residual of the eigenmaps {features.residual:.1e}"
    write(
        f"{channels} features of {nodes:,} nodes in {seconds:.1f} s"
        f"{residual if config.positional.eigenmaps else ''}."
    )
    return 0


def _check(path: Path) -> int:
    from roma_pyg.data.store import StoreError, check_store

    problems = check_store(path)
    if problems:
        raise StoreError("\n  ".join([f"{len(problems)} problems in '{path}':", *problems]))
    write(f"{path}: every file is whole.")
    return 0


def _info(path: Path) -> int:
    from roma_pyg.data.store import open_store

    series = open_store(path)
    # Enough to show the range; a large data set is not read whole.
    nodes = np.linspace(0, series.num_nodes - 1, min(series.num_nodes, 1000)).astype(np.int64)
    sample = np.asarray(series.values[nodes])
    degree = series.graph.degree
    rows: list[tuple[str, Any]] = [
        ("name", series.name),
        ("nodes N", f"{series.num_nodes:,}"),
        ("directed edges E", f"{series.graph.num_edges:,}"),
        ("degree", f"mean {degree.mean():.2f}, largest {degree.max()}"),
        ("samples T", f"{series.num_steps:,}, every {series.dt:g} time units"),
        ("values", f"{sample.min():.4f} to {sample.max():.4f}, mean {sample.mean():.4f}"),
        ("further arrays", ", ".join(sorted(series.extras)) or "none"),
    ]
    rows += _flat(series.metadata)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        write(f"{name:<{width}}  {value}")
    return 0


def _flat(metadata: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Metadata by dotted name; the files and their checksums are for ``check``, and left out."""
    rows: list[tuple[str, Any]] = []
    for name, value in metadata.items():
        if isinstance(value, dict):
            rows += [] if name == "files" else _flat(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, value))
    return rows


if __name__ == "__main__":
    raise SystemExit(main())
