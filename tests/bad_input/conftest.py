"""Valid files of every kind, as the starting point of bad ones."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import roma_pyg
from roma_pyg.config import (
    DataConfig,
    EncoderConfig,
    ModelConfig,
    OperatorConfig,
    PoolConfig,
    PositionalConfig,
    RunConfig,
    TrainingConfig,
    TrunkConfig,
)
from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.data.importing import import_files
from roma_pyg.training.run import train

NODES, SAMPLES = 40, 160


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a ring and waves on it, in every format that is read, and a data set."""
    folder = tmp_path_factory.mktemp("good")
    ring = np.arange(NODES)
    phase = 0.35 * np.arange(SAMPLES) - 0.4 * ring[:, None]
    values = ((1.05 + np.cos(phase)) / 2.1).astype(np.float32)
    edges = np.stack([ring, (ring + 1) % NODES])
    np.save(folder / "series.npy", values)
    frame = pd.DataFrame(values, columns=[str(i) for i in range(SAMPLES)])
    frame.to_parquet(folder / "series.parquet")
    frame.to_csv(folder / "series.csv", index=False)
    table = pd.DataFrame({"source": edges[0], "target": edges[1], "weight": 1.0})
    table.to_csv(folder / "edges.csv", index=False)
    table.to_parquet(folder / "edges.parquet")
    np.savez(folder / "edges.npz", edge_index=edges, edge_weight=np.ones(NODES))
    np.save(folder / "position.npy", np.random.default_rng(0).random((NODES, 3), np.float32))
    import_files(folder / "edges.csv", folder / "series.npy", folder / "store")
    return folder


@pytest.fixture(scope="session")
def run(good: Path) -> Path:
    """A tiny model that was trained for two steps."""
    config = RunConfig(
        data=DataConfig(
            name="store", root=str(good / "data"), system="files", series=str(good / "store"),
            window=8, horizon=8, nodes_per_graph=16, noise=0.0,
            positional=PositionalConfig(eigenmaps=2, walk_embedding=0),
        ),
        model=ModelConfig(
            features=4, encoder=EncoderConfig(width=8, layers=1),
            pool=PoolConfig(sizes=[4], width=8),
            operator=OperatorConfig(width=8, layers=1, heads=2, num_functions=2),
            trunk=TrunkConfig(basis=2, width=8, layers=1, fourier_features=2),
        ),
        training=TrainingConfig(
            output=str(good), name="run", max_steps=2, val_interval=2, val_batches=1,
            figures=False, workers=0, accelerator="cpu",
        ),
    )  # fmt: skip
    data = GraphSeriesData(config.data, config.training, progress=False)
    return train(replace(config), data=data, progress=False)


@pytest.fixture(scope="session")
def model(run: Path) -> roma_pyg.Roma:
    loaded = roma_pyg.load(run)
    assert isinstance(loaded, roma_pyg.Roma)
    return loaded


Mutate = Callable[[bytes, int], bytes]


def mutate(content: bytes, seed: int) -> bytes:
    """Flip, cut, insert, swap or repeat some bytes: every seed does something else."""
    rng = random.Random(seed)
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 8])):
        size = max(1, len(data))
        start = rng.randrange(size)
        # Headers and footers are short: half of all changes go there.
        if rng.random() < 0.5:
            start = rng.randrange(min(size, 128))
            start = start if rng.random() < 0.5 else size - 1 - start
        kind = rng.choice(["flip", "cut", "insert", "swap", "zero", "drop", "digits"])
        stop = min(size, start + rng.choice([1, 2, 4, 8, 64]))
        if kind == "flip":
            data[start : start + 1] = bytes([rng.randrange(256)])
        elif kind == "cut":
            del data[start:]
        elif kind == "insert":
            data[start:start] = rng.randbytes(rng.choice([1, 4, 32]))
        elif kind == "swap":
            other = rng.randrange(size)
            data[start:stop], data[other : other + stop - start] = (
                data[other : other + stop - start],
                data[start:stop],
            )
        elif kind == "zero":
            data[start:stop] = bytes(stop - start)
        elif kind == "drop":
            del data[start:stop]
        else:
            data[start:stop] = b"9" * (stop - start)
    return bytes(data)
