"""The series that a configuration or a folder asks for."""

from __future__ import annotations

from pathlib import Path

from roma_pyg.config import DataConfig
from roma_pyg.data.files import read_files
from roma_pyg.data.generate import generate
from roma_pyg.data.layout import find_layout, read_positional
from roma_pyg.data.series import POSITION, GraphSeries
from roma_pyg.data.store import METADATA, open_store


def load_series(config: DataConfig, progress: bool = True) -> GraphSeries:
    """Open the data set of a configuration, generating it first if it is missing.

    Args:
        config: ``system`` decides between a generated data set and own files; ``series`` may be
            the folder of a data set that ``roma-data import`` made, which has its own edges.
        progress: Show progress while generating.

    Raises:
        ValueError: If files or stored parameters do not fit the configuration.
        StoreError: If the stored data set is damaged.

    Example:
        Generates ``data/tiny`` the first time, and opens it from then on:

        >>> from roma_pyg import load_config
        >>> series = load_series(load_config("tiny.yaml").data, progress=False)
        >>> series.values.shape == (series.graph.num_nodes, 800)
        True
    """
    if config.system != "files":
        return open_store(generate(config, progress))
    if config.series is not None and (config.edges is None or _is_folder(Path(config.series))):
        return open_folder(Path(config.series), config.dt, config.window + config.horizon)
    if config.edges is None or config.series is None:
        raise ValueError("Expected 'data.edges' and 'data.series' to be files (got none).")
    return read_files(
        Path(config.edges),
        Path(config.series),
        config.dt,
        config.name,
        config.window,
        config.horizon,
    )


def _is_folder(place: Path) -> bool:
    """Whether a series is a data set with edges, and not a file or a zarr array."""
    return place.is_dir() and place.suffix != ".zarr"


def open_folder(place: Path, dt: float = 1.0, min_steps: int = 2) -> GraphSeries:
    """Open a stored data set, or files in the layout of arXiv:2502.15913.

    Args:
        place: Folder of a data set (memory-mapped); or a folder, or ``folder/NAME``, with
            ``x_NAME.parquet``, ``edges_NAME.parquet`` and perhaps ``pe_dimP_NAME.parquet``, which
            are read into memory.
        dt: Time between samples of files; a data set knows its own.
        min_steps: Fewest samples that are of use.

    Raises:
        FileNotFoundError: If there is neither.
        ValueError: If the files cannot be understood, or the series is too short.
        StoreError: If the data set is damaged.
    """
    if (place / METADATA).is_file():
        series = open_store(place)
        if series.num_steps < min_steps:
            raise ValueError(
                f"Expected at least {min_steps} samples in '{place}' (got {series.num_steps})."
            )
        return series
    try:
        files = find_layout(place)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"Expected a data set, or files x_*.parquet and edges_*.parquet, at '{place}' (got "
            f"neither): {error}"
        ) from None
    series = read_files(files.edges, files.series, dt, place.name, min_steps, 0)
    if files.positional is not None:
        series.extras[POSITION] = read_positional(files.positional, series.num_nodes)
    return series
