"""The series that a configuration asks for."""

from __future__ import annotations

from pathlib import Path

from roma_pyg.config import DataConfig
from roma_pyg.data.files import read_files
from roma_pyg.data.generate import generate
from roma_pyg.data.series import GraphSeries
from roma_pyg.data.store import open_store


def load_series(config: DataConfig, progress: bool = True) -> GraphSeries:
    """Open the data set of a configuration, generating it first if it is missing.

    Args:
        config: ``system`` decides between a generated data set and own files.
        progress: Show progress while generating.

    Raises:
        ValueError: If files or stored parameters do not fit the configuration.
        StoreError: If the stored data set is damaged.
    """
    if config.system == "kuramoto":
        return open_store(generate(config, progress))
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
