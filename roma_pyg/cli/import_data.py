"""``roma-data import``: own files of any size into a data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from roma_pyg.cli.console import write
from roma_pyg.config import is_plain_name


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="roma-data import",
        description="Make a data set of your own files: every value is checked, scaled into (0, 1] "
        "where it lies outside, and stored so that training and forecasts read only what they "
        "need. Files may be larger than memory.",
    )
    add = parser.add_argument
    add(
        "place",
        type=Path,
        nargs="?",
        metavar="FOLDER",
        help="files x_NAME.parquet, edges_NAME.parquet and perhaps pe_dimP_NAME.parquet: their "
        "folder, or FOLDER/NAME where it holds several; instead of --edges and --series",
    )
    add("--edges", type=Path, metavar="FILE", help="edge list: .csv, .parquet or .npz")
    add("--series", type=Path, metavar="FILE", help="node series: .npy, .parquet, .csv or .zarr")
    add("--positional", type=Path, metavar="FILE", help="positional features: .npy or .parquet")
    add("--dt", type=float, default=1.0, metavar="TIME", help="time between samples (default: 1)")
    add("--name", required=True, metavar="NAME", help="name of the data set")
    add("--root", type=Path, default=Path("data"), help="folder of the data sets (default: data)")
    return parser


def run_import(argv: list[str]) -> int:
    """Import the files that a command line names; return the exit code.

    Raises:
        ValueError: If the command line names no files, or too many, or they cannot be read.
        OSError: If a file is missing, or the data set exists.
    """
    arguments = _make_parser().parse_args(argv)
    # Slow to import: the command line is checked first.
    from tqdm import tqdm

    from roma_pyg.data.importing import import_files
    from roma_pyg.data.layout import Layout, find_layout
    from roma_pyg.data.series_files import open_rows

    pair = (arguments.edges, arguments.series)
    if arguments.place is not None:
        if any(pair):
            raise ValueError("Expected FOLDER, or --edges and --series (got both).")
        files = find_layout(arguments.place)
    elif all(pair):
        files = Layout(arguments.series, arguments.edges, None)
    else:
        raise ValueError("Expected FOLDER, or both --edges and --series (got neither).")
    if not is_plain_name(arguments.name):
        raise ValueError(f"Expected '--name' to be a plain folder name (got '{arguments.name}').")
    try:
        nodes, samples = open_rows(files.series).shape
        bar: tqdm[Any]
        with tqdm(total=2 * nodes, desc="Importing", unit=" nodes", disable=None) as bar:
            path = import_files(
                files.edges,
                files.series,
                arguments.root / arguments.name,
                arguments.dt,
                arguments.positional or files.positional,
                bar.update,
            )
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from None
    write(f"Data set {path}: {nodes:,} nodes x {samples:,} samples")
    write(f"Train on it: roma-train --series {path}")
    return 0
