"""Runs at the edges of what numbers bear: nothing in them becomes NaN or infinite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import roma_pyg
from roma_pyg.config import EffectiveConfig, PositionalConfig, RunConfig
from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.data.graph import Graph
from roma_pyg.training.restore import load
from roma_pyg.training.run import train
from tests.integration import test_run

NODES, SAMPLES = 40, 160


def make_config(output: Path) -> RunConfig:
    config = test_run.make_config(output)
    position = PositionalConfig(eigenmaps=0, walk_embedding=0, degree=True)
    return replace(config, data=replace(config.data, name="extreme", positional=position))


def ring(isolated: int = 0) -> Graph:
    """A ring, and nodes without an edge."""
    nodes = np.arange(NODES - isolated)
    return Graph.from_edges(nodes, np.roll(nodes, 1), NODES)


def waves() -> np.ndarray:
    phase = 6 * np.random.default_rng(0).random((NODES, 1))
    return 0.5 + 0.4 * np.sin(0.3 * np.arange(SAMPLES) + phase)


def spikes() -> np.ndarray:
    """Single samples a million times as large as all others."""
    values = waves()
    values[::5, ::7] *= 1e6
    return values


def mixed() -> np.ndarray:
    """Of every three nodes one moves, one is constant and one is zero."""
    values = waves()
    values[1::3] = 0.7
    values[2::3] = 0.0
    return values


SERIES = {
    "zero": lambda: np.zeros((NODES, SAMPLES)),
    "constant": lambda: np.full((NODES, SAMPLES), 0.3),
    "tiny": lambda: 1e-20 * waves(),
    "huge": lambda: 1e6 * waves(),
    "mixed": mixed,
    "spikes": spikes,
}


def check(config: RunConfig, graph: Graph, values: np.ndarray) -> GraphSeriesData:
    """Train some steps: weights, averages, moments and a forecast are finite; returns the data."""
    series = roma_pyg.GraphSeries(graph, values.astype(np.float32), dt=0.1, name="extreme")
    data = GraphSeriesData(config.data, config.training, series, progress=False)
    folder = train(config, data=data, progress=False)
    content = torch.load(folder / "last.ckpt", weights_only=True)
    assert content["global_step"] == config.training.max_steps
    tensors = [*content["state_dict"].values(), *content["current_model_state"].values()]
    for state in content["optimizer_states"][0]["state"].values():
        tensors += state.values()
    assert all(value.isfinite().all() for value in tensors)
    forecast = load(folder).forecast(series, horizon=12)
    assert np.isfinite(forecast).all()
    return data


@pytest.mark.parametrize("law", ["none", "emergent"])
@pytest.mark.parametrize("kind", list(SERIES))
def test_series(tmp_path: Path, kind: str, law: str) -> None:
    config = make_config(tmp_path)
    model = replace(config.model, effective=EffectiveConfig(kind=law))  # type: ignore[arg-type]
    check(replace(config, model=model), ring(), SERIES[kind]())


@pytest.mark.parametrize("isolated", [10, NODES])
def test_isolated_nodes(tmp_path: Path, isolated: int) -> None:
    check(make_config(tmp_path), ring(isolated), waves())


@pytest.mark.parametrize("noise", [1.0, 100.0])
def test_extreme_noise(tmp_path: Path, noise: float) -> None:
    config = make_config(tmp_path)
    check(replace(config, data=replace(config.data, noise=noise)), ring(), waves())


@pytest.mark.parametrize("precision", ["bf16-mixed", "32-true"])
def test_extreme_windows_in_either_precision(tmp_path: Path, precision: str) -> None:
    config = make_config(tmp_path)
    training = replace(config.training, precision=precision)
    check(replace(config, training=training), ring(), spikes())


@pytest.mark.slow
def test_a_hub_of_a_hundred_thousand_neighbours(tmp_path: Path) -> None:
    leaves = np.arange(100_000)
    graph = Graph.from_edges(leaves, np.full_like(leaves, 100_000), 100_001)
    values = np.tile(waves().astype(np.float32), (2501, 1))[:100_001]
    config = make_config(tmp_path)
    data = check(replace(config, data=replace(config.data, nodes_per_graph=2048)), graph, values)
    assert 100_000 in data.split.nodes["train"]
    assert data.samplers["train"].graph.degree.max() > 70_000
