from __future__ import annotations

import sys
from dataclasses import fields, replace
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from roma_pyg.config import (
    DataConfig,
    ModelConfig,
    PositionalConfig,
    SplitConfig,
    TrainingConfig,
)
from roma_pyg.data import datamodule as module
from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.data.graph import Graph
from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.data.series import GraphSeries
from roma_pyg.models.forecast import BaseForecaster
from roma_pyg.models.make import make_model

NODES, SAMPLES, WINDOW, HORIZON = 240, 300, 6, 10
TRAINING = TrainingConfig(workers=0, steps_ahead=3, val_batches=4)

forked = pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")


def waves():
    """A ring with some chords and a travelling wave on it."""
    rng = np.random.default_rng(0)
    senders = np.concatenate([np.arange(NODES), rng.integers(NODES, size=30)])
    receivers = np.concatenate([(np.arange(NODES) + 1) % NODES, rng.integers(NODES, size=30)])
    place, time = np.arange(NODES)[:, None] * 0.2, np.arange(SAMPLES)
    values = (0.5 + 0.4 * np.sin(place - 0.1 * time)).astype(np.float32)
    return GraphSeries(Graph.from_edges(senders, receivers, NODES), values, 0.1, "waves")


@pytest.fixture
def options(tmp_path):
    return DataConfig(
        root=str(tmp_path),
        positional=PositionalConfig(eigenmaps=2, walk_embedding=2),
        split=SplitConfig(val_nodes=0.1),
        window=WINDOW,
        horizon=HORIZON,
        nodes_per_graph=32,
        graphs_per_batch=2,
        walk_length=4,
    )


@pytest.fixture
def data(options):
    return GraphSeriesData(options, TRAINING, waves())


def at_step(data, step):
    """The data as a trainer would see it at a step."""
    data.trainer = SimpleNamespace(global_step=step)
    return data


def assert_equal(one, other):
    for field in fields(SubgraphBatch):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, torch.Tensor):
            assert torch.equal(left, right), field.name
        else:
            assert left == right


@pytest.mark.parametrize("part", ["train", "val"])
def test_nodes_beside_nodes_that_are_not_seen_are_never_complete(data, part):
    graph, nodes = data.series.graph, data.split.visible(part)
    seen = np.zeros(NODES, dtype=bool)
    seen[nodes] = True
    edges = graph.to_matrix(weighted=False)
    lacking = edges @ ~seen > 0
    sub = data.samplers[part].expand(np.arange(len(nodes)), np.random.default_rng(0))
    np.testing.assert_array_equal(sub.complete, ~lacking[nodes[sub.core]])
    assert 0 < sub.complete.sum() < len(nodes)


def test_shapes(data):
    batch = next(iter(data.train_dataloader()))
    assert batch.num_graphs == 2
    assert batch.num_core == 64
    assert batch.window.shape[1] == WINDOW
    assert batch.target.shape == (64, 3)
    assert batch.features.shape[1] == data.options.num_features == 5 + 64
    assert data.nodes_per_graph == 32
    (statistics,) = data.statistics(1)
    assert statistics.steps.tolist() == list(range(1, HORIZON + 1))


def test_no_part_of_training_touches_what_is_held_out(options):
    series = waves()
    split = GraphSeriesData(options, TRAINING, series).split
    seen = {
        "train": np.ix_(split.nodes["train"], np.arange(split.times["train"][-1] + HORIZON)),
        "val": np.ix_(split.visible("val"), np.arange(split.times["test"][0] - WINDOW)),
    }
    for part, allowed in seen.items():
        values = np.full_like(series.values, np.nan)
        values[allowed] = series.values[allowed]
        data = GraphSeriesData(options, TRAINING, replace(series, values=values))
        streams = {
            "train": [*islice(data.train_dataloader(), 80), *data.statistics(40)],
            "val": [*data.val_dataloader()],
        }
        for batch in streams[part]:
            assert torch.isfinite(batch.window).all()
            assert torch.isfinite(batch.target).all()
            assert not np.isin(batch.node_id, split.nodes["test"]).any()
    # The mask is no idle one: validation batches do not stay inside the training part.
    values = np.full_like(series.values, np.nan)
    values[seen["train"]] = series.values[seen["train"]]
    data = GraphSeriesData(options, TRAINING, replace(series, values=values))
    assert all(torch.isnan(batch.window).any() for batch in data.val_dataloader())


def test_what_training_nodes_remember_has_nothing_of_what_is_held_out(options, data):
    train = data.split.nodes["train"]
    values = np.full_like(data.series.values, np.nan)
    seen = np.ix_(train, np.arange(data.split.times["train"][-1] + HORIZON))
    values[seen] = data.series.values[seen]
    blind = GraphSeriesData(options, TRAINING, replace(data.series, values=values))
    np.testing.assert_array_equal(blind.features.modes.path, data.features.modes.path)
    for name in ("memory", "loadings"):
        rows = [getattr(some.features, name)[:, train] for some in (blind, data)]
        np.testing.assert_array_equal(*rows)
        assert np.isfinite(rows[0]).all()
    for name, buffer in data.memory.state_dict().items():
        assert torch.equal(blind.memory.state_dict()[name], buffer), name
    # Held-out nodes remember their own past, and see all neighbours.
    test = data.split.nodes["test"]
    assert np.abs(blind.features.memory[-1][test] - data.features.memory[-1][test]).max() > 0.1


def test_batches_bring_what_the_modes_expect(data):
    features = data.features
    batch = next(iter(data.train_dataloader()))
    assert batch.course.shape == (1, len(batch.window), len(data.memory.steps))
    # The wave is one of the whole, so that its modes tell the node's own future.
    expected = batch.course[0, : batch.num_core]
    steps = np.intersect1d(batch.steps, data.memory.steps)
    ahead = expected[:, np.isin(data.memory.steps, steps)]
    truth = batch.target[:, np.isin(batch.steps, steps)]
    assert len(steps)
    assert (ahead - truth).abs().mean() < 0.1 * truth.std()
    assert not features.modes.knows(data.split.times["val"][-1])
    assert next(iter(data.val_dataloader())).course.isfinite().all()


def test_edges_to_held_out_nodes_do_not_exist_in_training(data):
    outside = np.concatenate([data.split.nodes["val"], data.split.nodes["test"]])
    train = data.split.visible("train")
    for graph in (data.samplers["train"].graph, data.samplers["val"].graph):
        total = graph.to_matrix().sum(1)
        np.testing.assert_allclose(total[graph.degree > 0], 1, rtol=1e-6)
    inside = data.series.graph.to_matrix(weighted=False)[train]
    lost = inside[:, outside].sum(1)
    assert lost.sum() > 0
    np.testing.assert_array_equal(
        data.samplers["train"].graph.degree, inside.sum(1).astype(int) - lost.astype(int)
    )


def test_training_goes_on_at_the_step_of_the_trainer(data):
    assert data.trainer is None
    first = list(islice(data.train_dataloader(), 6))
    later = list(islice(at_step(data, 4).train_dataloader(), 2))
    for one, other in zip(first[4:], later, strict=True):
        assert_equal(one, other)


@forked
def test_workers_do_not_change_the_stream(options, data):
    loader = GraphSeriesData(options, replace(TRAINING, workers=2), waves()).train_dataloader()
    assert loader.num_workers == 2
    for one, other in zip(islice(loader, 5), data.train_dataloader(), strict=False):
        assert_equal(one, other)


def test_validation_is_the_same_every_time(data):
    first, second = list(data.val_dataloader()), list(data.val_dataloader())
    assert len(first) == TRAINING.val_batches
    for one, other in zip(first, second, strict=True):
        assert_equal(one, other)
    assert first[0].steps.tolist() == [1, 2, 4, 8, 10]
    val = set(data.split.nodes["val"].tolist())
    assert val & set(torch.cat([batch.node_id for batch in first]).tolist())


def test_streams_of_all_purposes_and_seeds_differ(options, data):
    later = [GraphSeriesData(options, replace(TRAINING, seed=seed), waves()) for seed in (1, 2)]
    seeds = {
        next(iter(stream)).seed
        for each in (data, *later)
        for stream in (each.train_dataloader(), each.val_dataloader(), each.statistics(1))
    }
    assert len(seeds) == 9
    # The seed of training does not change what is held out.
    for part, nodes in data.split.nodes.items():
        np.testing.assert_array_equal(later[0].split.nodes[part], nodes)


def test_statistics_are_the_same_at_every_call(data):
    one, other = list(data.statistics(3)), list(data.statistics(2))
    assert len(one) == 3
    for first, second in zip(one[:2], other, strict=True):
        assert_equal(first, second)


def test_few_training_nodes_set_the_size_of_every_subgraph(options):
    data = GraphSeriesData(replace(options, nodes_per_graph=512), TRAINING, waves())
    train, val = (len(data.split.visible(part)) for part in ("train", "val"))
    assert train < val < 512
    assert data.nodes_per_graph == train
    for loader in (data.train_dataloader(), data.val_dataloader()):
        assert next(iter(loader)).num_core == 2 * train


def test_series_are_loaded_where_none_are_given(options, monkeypatch):
    calls = []

    def load(config, progress):
        calls.append((config, progress))
        return waves()

    monkeypatch.setattr(module, "load_series", load)
    data = GraphSeriesData(options, TRAINING, progress=False)
    assert calls == [(options, False)]
    assert data.series.name == "waves"


def test_a_loader_has_no_state_of_its_own(data):
    loader = data.train_dataloader()
    assert loader.state_dict() == {}
    loader.load_state_dict({})


def test_positional_features_are_cached(options, data, tmp_path):
    assert len(list((tmp_path / ".cache").iterdir())) == 1
    again = GraphSeriesData(options, TRAINING, waves())
    np.testing.assert_array_equal(again.position, data.position)


def test_a_series_too_short_or_a_graph_too_small(options):
    series = waves()
    with pytest.raises(ValueError, match=r"Expected at least \d+ samples .* \(got 100;"):
        GraphSeriesData(options, TRAINING, replace(series, values=series.values[:, :100]))
    few = GraphSeries(series.graph.induced(np.arange(4)), series.values[:4])
    with pytest.raises(ValueError, match="Expected enough nodes for every part of the split"):
        GraphSeriesData(options, TRAINING, few)


def test_too_few_samples_are_told_before_they_are_generated(tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("generated")

    monkeypatch.setattr("roma_pyg.data.datamodule.load_series", never)
    config = DataConfig(root=str(tmp_path), steps=300, window=16, horizon=16)
    with pytest.raises(ValueError, match="at least 320 samples"):
        GraphSeriesData(config, TrainingConfig(), progress=False)


@pytest.mark.parametrize("train_time", [0.06, 0.2, 0.5])
def test_a_short_past_does_not_spoil_the_base_forecast(options, train_time):
    """Where memory and modes are not to be had in training, they must not be there later, either.

    A base forecast that was fitted without them would weigh them at random.
    """
    rng = np.random.default_rng(3)
    rate = 0.05 + 0.1 * rng.random((NODES, 1))
    clean = 0.6 + 0.3 * np.sin(rate * np.arange(1200) + 6 * rng.random((NODES, 1)))
    values = (clean + 0.01 * rng.normal(size=clean.shape)).astype(np.float32)
    series = replace(waves(), values=values)
    errors = []
    for size in (0, 8):
        data = GraphSeriesData(
            replace(
                options,
                split=replace(options.split, train_time=train_time),
                memory=replace(options.memory, size=size),
            ),
            TRAINING,
            series,
        )
        model = make_model(ModelConfig(), replace(data.options, nodes_per_graph=32))
        model.fit_statistics(data.statistics(20), data.memory)
        base = BaseForecaster(model, series.graph, data.features)
        truth = values[:, 1100 : 1100 + HORIZON]
        forecast = base.forecast(values[:, 1100 - WINDOW : 1100], series.graph)
        errors.append(float(np.square(forecast - truth).mean()))
    assert errors[1] < 1.1 * errors[0]
    assert train_time < 0.1 or errors[1] < 0.9 * errors[0]
