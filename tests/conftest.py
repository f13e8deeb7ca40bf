"""Settings and fixtures of all tests."""

from __future__ import annotations

import os

# Before torch and matplotlib are imported: tests are small, and draw without a screen.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from roma_pyg.config import (
    DataConfig,
    EncoderConfig,
    MemoryConfig,
    ModelConfig,
    OperatorConfig,
    PoolConfig,
    PositionalConfig,
    TrunkConfig,
)
from roma_pyg.data.graph import Graph
from roma_pyg.data.sampling import SubgraphBatch, SubgraphSampler, collate
from roma_pyg.kernels import kernel_versions
from roma_pyg.models.roma import Roma

WINDOW, HORIZON, NODES = 5, 4, 12


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if None not in kernel_versions().values():
        return
    missing = ", ".join(name for name, version in kernel_versions().items() if version is None)
    skip = pytest.mark.skip(reason=f"needs {missing}: make kernels")
    for item in items:
        if "kernels" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - third-party code still draws from the global state


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[1]


@dataclass(frozen=True)
class Tiny:
    """Makers of small things with few options; every option has a default."""

    @staticmethod
    def data(**changes) -> DataConfig:
        defaults = {
            "window": WINDOW,
            "horizon": HORIZON,
            "nodes_per_graph": NODES,
            "walk_length": 4,
            "memory": MemoryConfig(size=0),
            "positional": PositionalConfig(eigenmaps=2, walk_embedding=0, degree=True),
        }
        return DataConfig(**(defaults | changes))

    @staticmethod
    def config(
        sizes=(4, 3),
        geometry="hyperbolic",
        kind="deeponet",
        base="linear",
        correction="absolute",
        compand=0.05,
        **operator,
    ) -> ModelConfig:
        return ModelConfig(
            features=6,
            encoder=EncoderConfig(geometry=geometry, width=8, layers=2),
            pool=PoolConfig(sizes=list(sizes), width=8),
            operator=OperatorConfig(**({"width": 8, "heads": 2, "layers": 2} | operator)),
            trunk=TrunkConfig(kind=kind, basis=3, width=8, layers=1, fourier_features=6),
            base=base,
            correction=correction,
            compand=compand,
        )

    @staticmethod
    def graph(nodes=30, extra=20, isolated=0, seed=0) -> Graph:
        """A ring with chords of random weight; the last ``isolated`` nodes have no edge."""
        rng = np.random.default_rng(seed)
        ring = np.arange(nodes - isolated)
        senders = np.concatenate([ring, rng.integers(0, len(ring), extra)])
        receivers = np.concatenate([np.roll(ring, 1), rng.integers(0, len(ring), extra)])
        return Graph.from_edges(senders, receivers, nodes, 0.2 + rng.random(len(senders)))

    @staticmethod
    def values(nodes=30, steps=40, seed=0):
        """Sines in (0, 1) of random frequency and phase, float32."""
        rng = np.random.default_rng(seed)
        phase, rate = 6 * rng.random((nodes, 1)), 0.1 + 0.5 * rng.random((nodes, 1))
        return (0.5 + 0.4 * np.sin(rate * np.arange(steps) + phase)).astype(np.float32)

    @staticmethod
    def position(nodes=30, seed=0):
        return np.random.default_rng(seed).random((nodes, 3)).astype(np.float32)

    @classmethod
    def batch(
        cls, graphs=1, size=NODES, graph=None, seed=0, steps=range(1, HORIZON + 1), target=True
    ) -> SubgraphBatch:
        graph = cls.graph() if graph is None else graph
        rng = np.random.default_rng(seed)
        sampler = SubgraphSampler(graph, size, walk_length=4)
        values = cls.values(graph.num_nodes)
        ahead = np.array(steps)
        subgraphs = [sampler.sample(rng) for _ in range(graphs)]
        times = rng.integers(WINDOW, 40 - HORIZON, graphs)
        pairs = list(zip(subgraphs, times, strict=True))
        cores = [sub.nodes[: sub.num_core] for sub in subgraphs]
        return collate(
            subgraphs,
            [values[sub.nodes, t - WINDOW : t] for sub, t in pairs],
            [cls.position(graph.num_nodes)[sub.nodes] for sub in subgraphs],
            ahead,
            [values[core[:, None], t + ahead - 1] for core, t in zip(cores, times, strict=True)]
            if target
            else None,
            importance=(0.5 + rng.random(sum(map(len, cores)))).astype(np.float32),
            seed=seed,
        )

    @classmethod
    def model(cls, seed=0, fitted=True, data=None, **options) -> Roma:
        torch.manual_seed(seed)
        model = Roma(cls.config(**options), cls.data() if data is None else data)
        if fitted:
            size = model.data.nodes_per_graph
            model.fit_statistics(cls.batch(2, size, seed=100 + i) for i in range(4))
        return model.eval()

    @staticmethod
    def double(batch: SubgraphBatch) -> SubgraphBatch:
        floats = {
            key: value.double()
            for key, value in vars(batch).items()
            if isinstance(value, Tensor) and value.is_floating_point()
        }
        return replace(batch, **floats)


@pytest.fixture
def tiny() -> type[Tiny]:
    return Tiny


@pytest.fixture
def smspe() -> Callable[[Tensor, Tensor], Tensor]:
    return lambda p, y: ((p - y) / (p.abs() + y.abs() + 1e-4)).square()
