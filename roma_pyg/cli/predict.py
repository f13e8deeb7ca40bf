"""``roma-predict``: forecast every node of a graph, of any size, into a file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roma_pyg import ranks
from roma_pyg.cli.console import check_bounds, check_run, guarded, write

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from roma_pyg.config import RunConfig
    from roma_pyg.data.series import GraphSeries
    from roma_pyg.models.graph_operator import GraphOperator


MOST_STEPS = 1_000_000
"""Longest rollout, in samples: each is a column of the output."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``roma-predict``; return its exit code."""
    return guarded("roma-predict", lambda: _run(argv), "stopped; nothing is left of the output.")


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="roma-predict",
        description="Forecast every node of a graph with a trained model, subgraph by subgraph: "
        "memory does not grow with the series. Rows are nodes, columns steps ahead. Ranks that "
        "torchrun starts share the work.",
    )
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="folder of the run, such as runs/roma")
    add(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="where the forecast goes: .npy, .parquet or .zarr",
    )
    add(
        "--time",
        type=int,
        metavar="T",
        help="first sample to forecast; the model sees the window before it (default: the first "
        "after the end of the series)",
    )
    source = parser.add_argument_group("data (default: that of the run)")
    source.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="data set made by roma-data, or a folder with x_*.parquet and edges_*.parquet",
    )
    source.add_argument("--edges", type=Path, metavar="FILE", help="edge list of your own")
    source.add_argument("--series", type=Path, metavar="FILE", help="node series of your own")
    source.add_argument(
        "--dt", type=float, metavar="TIME", help="time between samples of --series (default: 1)"
    )
    source.add_argument(
        "--positional",
        type=Path,
        metavar="FILE",
        help="positional features of your own, one row per node, used as they are; .npy or "
        ".parquet",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--horizon",
        type=int,
        metavar="STEPS",
        help="samples to forecast; beyond the trained horizon the forecast rolls out (default: the "
        "trained horizon)",
    )
    length.add_argument(
        "--steps",
        type=int,
        nargs="+",
        metavar="STEP",
        help="only these steps ahead, within the trained horizon",
    )
    add(
        "--stride",
        type=int,
        metavar="STEPS",
        help="samples kept per round of a rollout (default: the trained horizon)",
    )
    add(
        "--noise",
        type=float,
        default=0.0,
        metavar="VARIANCE",
        help="variance of multiplicative noise on the history (default: 0, none)",
    )
    add("--seed", type=int, default=0, metavar="SEED", help="seed of subgraphs and noise")
    add(
        "--evaluate",
        action="store_true",
        help="compare with the series where it goes on, beside persistence; every step ahead goes "
        "to FILE.errors.csv",
    )
    add("--scaled", action="store_true", help="keep the unit of the model, values in (0, 1]")
    add("--overwrite", action="store_true", help="replace an output that exists")
    add(
        "--batch-size",
        type=int,
        default=4,
        metavar="N",
        help="subgraphs per forward pass (default: 4)",
    )
    add(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="where the model runs (default: auto, CUDA where there is any)",
    )
    return parser


def _run(argv: Sequence[str] | None) -> int:
    arguments = _make_parser().parse_args(argv)
    _check(arguments)
    # torch is slow to import: the command line is checked first.
    from roma_pyg import exchange
    from roma_pyg.training.restore import load_model

    model, config = load_model(arguments.run)
    with exchange.connected(config.training.timeout):
        return _predict(arguments, model, config)


def _predict(arguments: argparse.Namespace, model: GraphOperator, config: RunConfig) -> int:
    """Forecast with the other ranks, if there are any; rank 0 evaluates and tells of the result."""
    import numpy as np
    import torch
    from tqdm import tqdm

    from roma_pyg import exchange
    from roma_pyg.analysis.forecast_check import check_forecast
    from roma_pyg.data.affine import AffineScaling
    from roma_pyg.data.export import Header
    from roma_pyg.data.history import History
    from roma_pyg.data.shared_export import SharedRowWriter
    from roma_pyg.models.forecast import RomaForecaster
    from roma_pyg.models.predict import predict, rounds

    horizon = config.data.horizon
    steps = list(range(1, (arguments.horizon or horizon) + 1))
    if arguments.steps:
        steps = sorted(set(arguments.steps))
        if steps[-1] > horizon:
            raise ValueError(
                f"Expected '--steps' in [1, {horizon}], the trained horizon (got {steps[-1]}): use "
                f"--horizon {steps[-1]} to roll out."
            )
    stride = arguments.stride or horizon
    if stride > horizon:
        raise ValueError(f"Expected '--stride' in [1, {horizon}] (got {stride}).")
    with exchange.first():
        series = _open(arguments, config)
        position = _positional(arguments, config, series)
    time = series.num_steps if arguments.time is None else arguments.time
    past = History(series.values, time, config.data.window, arguments.noise, arguments.seed)
    if arguments.evaluate and time >= series.num_steps:
        raise ValueError(
            f"Expected '--time' below {series.num_steps}, the end of the series, to evaluate (got "
            f"{time}): the truth is needed too."
        )
    scaling = None if arguments.scaled else AffineScaling.from_metadata(series.metadata)
    about = {"run": arguments.run.resolve().name, "series": series.name, "time": time}
    about |= {"dt": series.dt, "unit": "scaled" if arguments.scaled else "of the data"}
    header = Header([str(step) for step in steps], series.extras.get("label"), about)
    try:
        writer = SharedRowWriter(
            arguments.output,
            series.num_nodes,
            header,
            None if scaling is None else lambda rows: scaling.invert(rows).astype(np.float32),
            overwrite=arguments.overwrite,
        )
    except ModuleNotFoundError as error:
        raise ValueError(str(error)) from None
    device = arguments.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError(
            "Expected a GPU for '--device cuda' (got none that torch can use): take auto or cpu."
        )
    if device == "cuda" and ranks.size() > 1:
        device = f"cuda:{ranks.local_rank() % torch.cuda.device_count()}"
    with exchange.joint():
        forecaster = RomaForecaster.for_series(
            model.to(device),
            series,
            time=time,
            position=position,
            seed=arguments.seed,
            batch_size=arguments.batch_size,
            progress=ranks.rank() == 0,
        )
    wanted: int | list[int] = steps if arguments.steps else len(steps)
    passes = len(rounds(wanted, horizon, stride))

    def bar(text: str, total: int) -> tqdm[Any]:
        # Nodes per second, and the time that is left, are part of tqdm's line.
        quiet = True if ranks.rank() > 0 else None
        return tqdm(total=total, desc=text, unit=" nodes", unit_scale=True, disable=quiet)

    with writer:
        share = passes * series.num_nodes // ranks.size()
        with bar("Forecasting", share) as progress, exchange.joint():
            predict(forecaster, past, writer, wanted, stride, progress.update)
        if arguments.evaluate and ranks.rank() == 0:
            order = series.extras.get("order_parameter")
            with bar("Evaluating", series.num_nodes) as progress:
                check = check_forecast(writer.rows, steps, past, series.dt, order, progress.update)
    if ranks.rank() > 0:
        return 0
    write(
        f"{arguments.output}: {series.num_nodes:,} nodes x {len(steps)} steps ahead, samples "
        f"{time + steps[0] - 1} to {time + steps[-1] - 1}, {_unit(series, arguments.scaled)}"
    )
    if arguments.evaluate:
        table = arguments.output.with_name(f"{arguments.output.name}.errors.csv")
        check.to_csv(table)
        write(check.table())
        write(f"All steps: {table}")
    return 0


def _check(arguments: argparse.Namespace) -> None:
    """Refuse what cannot work, before anything slow begins."""
    check_run(arguments.run)
    least = {"horizon": 1, "steps": 1, "stride": 1, "time": 1, "noise": 0, "seed": 0}
    check_bounds(arguments, {**least, "batch-size": 1})
    if (arguments.horizon or 0) > MOST_STEPS:
        raise ValueError(
            f"Expected '--horizon' to be at most {MOST_STEPS:,} (got {arguments.horizon:,})."
        )
    if (arguments.edges is None) != (arguments.series is None):
        raise ValueError("Expected both '--edges' and '--series' (got one of them).")
    if arguments.data is not None and arguments.edges is not None:
        raise ValueError("Expected '--data', or '--edges' and '--series' (got both).")


def _open(arguments: argparse.Namespace, config: RunConfig) -> GraphSeries:
    """Open the series that is asked for, or that of the run."""
    from roma_pyg.data.load import load_series, open_folder

    dt = 1.0 if arguments.dt is None else arguments.dt
    if arguments.data is not None:
        return open_folder(arguments.data, dt, config.data.window)
    if arguments.edges is not None:
        from roma_pyg.data.files import read_files

        name = arguments.series.stem
        return read_files(arguments.edges, arguments.series, dt, name, config.data.window, 0)
    return load_series(config.data)


def _positional(
    arguments: argparse.Namespace, config: RunConfig, series: GraphSeries
) -> NDArray[np.float32]:
    """Read the positional features from a file, or compute those of the model."""
    if arguments.positional is not None:
        from roma_pyg.data.layout import read_positional

        return read_positional(arguments.positional, series.num_nodes)
    from roma_pyg.data.positional import node_positions

    return node_positions(series, config.data.positional, Path(config.data.root) / ".cache")


def _unit(series: GraphSeries, scaled: bool) -> str:
    if series.metadata.get("scaling") is None:
        return "in the unit of the data"
    return "scaled to (0, 1]" if scaled else "in the unit of the data (errors: scaled)"


if __name__ == "__main__":
    raise SystemExit(main())
