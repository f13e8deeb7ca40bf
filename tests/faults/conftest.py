"""A tiny run whose command is killed, stopped and resumed.

The programs that the tests of this folder start are no modules to look for examples in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

collect_ignore_glob = ["*driver.py"]


@pytest.fixture(scope="session")
def write_tiny_run() -> Callable[..., None]:
    """Writes edges, series and ``tiny.yaml`` of a tiny run into a folder."""
    return _write


def _write(
    folder: Path, data: Mapping[str, Any] | None = None, training: Mapping[str, Any] | None = None
) -> None:
    rng = np.random.default_rng(0)
    ring = np.arange(40)
    edges = np.stack([ring, (ring + 1) % 40], 1)
    np.savetxt(folder / "edges.csv", edges, "%d", ",", comments="", header="source,target")
    values = 0.5 + 0.4 * np.sin(0.3 * np.arange(200) + 6 * rng.random((40, 1)))
    np.save(folder / "series.npy", values.astype(np.float32))
    options = {
        "data": {
            "system": "files",
            "edges": "edges.csv",
            "series": "series.npy",
            "positional": {"eigenmaps": 2, "walk_embedding": 0},
            "window": 8,
            "horizon": 8,
            "nodes_per_graph": 12,
            **(data or {}),
        },
        "model": {
            "features": 4,
            "encoder": {"width": 8, "layers": 1},
            "pool": {"sizes": [4], "width": 8},
            "operator": {"width": 16, "layers": 1, "heads": 2, "num_functions": 4},
            "trunk": {"basis": 4, "width": 8, "layers": 1, "fourier_features": 4},
        },
        "training": {
            "val_interval": 100000,
            "val_batches": 1,
            "log_interval": 1,
            "accelerator": "cpu",
            "figures": False,
            **(training or {}),
        },
    }
    (folder / "tiny.yaml").write_text(yaml.safe_dump(options), encoding="utf-8")
