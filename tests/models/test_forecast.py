from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import torch

from roma_pyg.config import MemoryConfig
from roma_pyg.data.collective import CollectiveModes
from roma_pyg.data.features import NodeFeatures
from roma_pyg.data.history import History
from roma_pyg.data.memory import NodeMemory
from roma_pyg.data.sampling import SubgraphSampler, collate
from roma_pyg.data.series import GraphSeries
from roma_pyg.data.surroundings import Surroundings
from roma_pyg.models.forecast import BaseForecaster, RomaForecaster
from roma_pyg.models.forecaster import Forecaster, group_of
from roma_pyg.models.roma import Roma


def forecaster(tiny, nodes=30, model=None, **options):
    model = tiny.model() if model is None else model
    return RomaForecaster(model, tiny.graph(nodes), tiny.position(nodes), **options)


def history(tiny, nodes=30):
    return tiny.values(nodes, 5)


def test_one_subgraph_equals_a_direct_forward_pass(tiny):
    made = forecaster(tiny, nodes=12)
    rng = np.random.default_rng(7)
    sub = SubgraphSampler(made.graph, 12).expand(np.arange(12), rng)
    window = history(tiny, 12)
    batch = collate([sub], [window[sub.nodes]], [tiny.position(12)[sub.nodes]], np.arange(1, 5))
    with torch.no_grad():
        direct = made.model(batch).levels[0].prediction[0].numpy()
    expected = np.empty_like(direct)
    expected[sub.nodes] = direct
    np.testing.assert_allclose(made.forecast(window, made.graph), expected, rtol=1e-6)


def test_each_node_is_forecast_in_a_subgraph_that_holds_it(tiny):
    made, window = forecaster(tiny), history(tiny)
    result = made.forecast(window, made.graph)
    assert result.shape == (30, 4)
    assert result.dtype == np.float32
    expected = np.full_like(result, np.nan)
    for batch, subgraphs in made.batches(window, np.arange(30)):
        with torch.no_grad():
            predictions = made.model(batch).levels[0].prediction
        for sub, prediction in zip(subgraphs, predictions, strict=True):
            for place, node in enumerate(sub.nodes[: sub.num_core]):
                if np.isnan(expected[node, 0]):
                    expected[node] = prediction[place].numpy()
    np.testing.assert_allclose(result, expected, rtol=1e-6)


def test_batches_cover_the_wanted_nodes_with_their_own_windows(tiny):
    made, window = forecaster(tiny, batch_size=2), history(tiny)
    wanted = np.array([3, 17, 29])
    covered = set()
    for batch, subgraphs in made.batches(window, wanted):
        assert batch.num_graphs == len(subgraphs) <= 2
        ids = batch.node_id.numpy()
        covered |= set(ids.tolist())
        assert np.array_equal(batch.window[: len(ids)].numpy(), window[ids])
        assert np.array_equal(batch.features[: len(ids)].numpy(), tiny.position()[ids])
        assert batch.steps.tolist() == [1, 2, 3, 4]
    assert covered >= set(wanted.tolist())


def test_some_nodes_in_their_order(tiny):
    made, window = forecaster(tiny, nodes=12), history(tiny, 12)
    everything = made.forecast(window, made.graph)
    wanted = np.array([7, 2, 7])
    np.testing.assert_allclose(made.forecast(window, made.graph, wanted), everything[wanted])
    assert made.forecast(window, made.graph, np.array([], dtype=np.int64)).shape == (0, 4)


def test_seed_and_batch_size(tiny):
    window = history(tiny)
    model = tiny.model()
    one, two, other, single = (
        made.forecast(window, made.graph)
        for made in (
            forecaster(tiny, model=model, seed=1),
            forecaster(tiny, model=model, seed=1),
            forecaster(tiny, model=model, seed=2),
            forecaster(tiny, model=model, seed=1, batch_size=1),
        )
    )
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    # Where nothing is sampled but the cover, the batches do not matter.
    np.testing.assert_allclose(one, single, rtol=1e-5)


@pytest.mark.parametrize(("nodes", "isolated"), [(5, 0), (40, 10), (3, 3)])
def test_small_and_broken_graphs(tiny, nodes, isolated):
    """Fewer nodes than in training, and nodes without neighbours."""
    graph = tiny.graph(nodes, extra=0 if nodes == isolated else 5, isolated=isolated)
    made = RomaForecaster(tiny.model(), graph, tiny.position(nodes))
    result = made.forecast(history(tiny, nodes), graph)
    assert result.shape == (nodes, 4)
    assert np.isfinite(result).all()


@pytest.mark.parametrize("wanted", [None, np.array([7, 2, 7, 21])])
def test_stream_gives_each_wanted_node_once(tiny, wanted):
    made, window = forecaster(tiny, nodes=100), history(tiny, 100)
    blocks = list(made.stream(window, wanted))
    nodes = np.concatenate([block[0] for block in blocks])
    expected = np.arange(100) if wanted is None else np.unique(wanted)
    np.testing.assert_array_equal(np.sort(nodes), expected)
    rows = np.concatenate([block[1] for block in blocks])
    np.testing.assert_array_equal(rows, made.forecast(window, made.graph, wanted)[
        nodes if wanted is None else [wanted.tolist().index(node) for node in nodes]
    ])  # fmt: skip


def test_stream_of_some_steps(tiny):
    made, window = forecaster(tiny), history(tiny)
    everything = made.forecast(window, made.graph)
    for nodes, rows in made.stream(window, steps=[4, 2]):
        np.testing.assert_allclose(rows, everything[nodes][:, [3, 1]], rtol=1e-5)
    for steps in ([0], [5], [], [[1]]):
        with pytest.raises(ValueError, match=r"'steps' in \[1, 4\]"):
            next(made.stream(window, steps=steps))


def test_windows_are_read_from_the_series(tiny, tmp_path):
    np.save(tmp_path / "x.npy", tiny.values(30, 40))
    made, values = forecaster(tiny), np.load(tmp_path / "x.npy", mmap_mode="r")
    past = History(values, time=20, window=5)
    expected = made.forecast(np.array(values[:, 15:20]), made.graph)
    assert np.array_equal(made.forecast(past, made.graph), expected)


def test_stream_holds_no_history_and_no_result(tiny, tmp_path):
    """Peak memory stays far below the N x horizon forecast and the N x K history."""
    count, horizon, window = 3000, 256, 256
    data = tiny.data(window=window, horizon=horizon)
    model = Roma(tiny.config(), data).eval()
    made = RomaForecaster(model, tiny.graph(count, 2000), tiny.position(count), batch_size=1)
    values = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, (count, window))
    values[:] = 0.5
    past = History(values, window, window)
    next(made.stream(past, np.array([0])))  # the order of the nodes is found once
    tracemalloc.start()
    try:
        total = sum(len(nodes) for nodes, _ in made.stream(past))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        made.forecast(past, made.graph)
        whole = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == count
    assert peak < 0.3 * 4 * count * horizon < whole


def test_a_stream_that_is_left_gives_the_model_back(tiny):
    made = forecaster(tiny)
    made.model.train()
    next(iter(made.stream(history(tiny))))
    assert made.model.training


def test_is_a_forecaster(tiny):
    made = forecaster(tiny)
    assert isinstance(made, Forecaster)
    assert (made.name, made.horizon, group_of(made)) == ("ROMA", 4, "model")


def test_mode_of_the_model_comes_back_after_an_error(tiny):
    made = forecaster(tiny)
    made.model.train()
    made.model.base.weight = torch.zeros(2)
    with pytest.raises((IndexError, RuntimeError)):
        made.forecast(history(tiny), made.graph)
    assert made.model.training


def test_double_histories_are_taken(tiny):
    made, window = forecaster(tiny), history(tiny)
    expected = made.forecast(window, made.graph)
    result = made.forecast(window.astype(np.float64), made.graph)
    assert np.array_equal(result, expected)


def test_no_gradients_are_kept(tiny):
    made = forecaster(tiny)
    made.forecast(history(tiny), made.graph)
    assert all(parameter.grad is None for parameter in made.model.parameters())


def test_rejects_what_does_not_fit(tiny):
    model = tiny.model(fitted=False)
    with pytest.raises(ValueError, match=r"'features' of shape \(30, 3\) \(got \(30, 2\)\)"):
        RomaForecaster(model, tiny.graph(), np.zeros((30, 2), np.float32))
    with pytest.raises(ValueError, match=r"'batch_size' to be at least 1 \(got 0\)"):
        forecaster(tiny, model=model, batch_size=0)
    made = forecaster(tiny, model=model)
    with pytest.raises(ValueError, match=r"'history' of shape \(30, 5\) \(got \(30, 6\)\)"):
        made.forecast(tiny.values(30, 6), made.graph)
    for nodes in ([0, 30], [-1]):
        with pytest.raises(ValueError, match=r"'nodes' in \[0, 30\)"):
            made.forecast(history(tiny), made.graph, np.array(nodes))
    for other in (tiny.graph(29), tiny.graph(30, seed=1)):
        with pytest.raises(ValueError, match="graph of 30 nodes that this forecaster was made"):
            made.forecast(history(tiny), other)


def remembering(tiny, values, blocks=2):
    """A model with memory, its features and the times they remember."""
    times = range(5, 70)
    data = tiny.data(memory=MemoryConfig(size=3, collective=2, blocks=blocks))
    memory = NodeMemory.of(data)
    graph = tiny.graph()
    series = GraphSeries(graph, values)
    modes = CollectiveModes.find(
        values,
        np.arange(30),
        times,
        window=data.window,
        steps=memory.steps,
        count=2,
        blocks=blocks,
    )
    around = Surroundings(graph, modes)
    memory.fit(values, np.arange(20), times, around=around)
    features = NodeFeatures.remember(
        series, tiny.position(), memory, times, around=around, blocks=blocks
    )
    torch.manual_seed(0)
    model = Roma(tiny.config(), data)
    rng = np.random.default_rng(0)
    sampler = SubgraphSampler(graph, data.nodes_per_graph, walk_length=4)
    batches = []
    for time in range(6, 26, 4):
        sub = sampler.sample(rng)
        course = features.course(sub.nodes, modes.before(time), time)
        batches.append(
            collate(
                [sub],
                [values[sub.nodes, time - data.window : time]],
                [features.read(sub.nodes, time)],
                np.arange(1, data.horizon + 1),
                [values[sub.core, time : time + data.horizon]],
                courses=[course[None]],
            )
        )
    model.fit_statistics(batches, memory)
    return model.eval(), series, features, memory


def as_trained(features, block):
    """Features that know one row of the memory only."""
    return replace(
        features,
        memory=features.memory[block][None],
        loadings=features.loadings[block][None],
        modes=replace(features.modes, forecasts=features.modes.forecasts[block][None]),
    )


def test_a_model_continues_windows_by_its_memory(tiny):
    values = tiny.values(steps=80)
    model, series, features, memory = remembering(tiny, values)
    made = RomaForecaster(model, series.graph, features, batch_size=1)
    history = np.ascontiguousarray(values[:, 25 - model.data.window : 25])
    for batch, (sub,) in made.batches(history, np.arange(30)):
        fine = model.encode(batch)
        past = fine.lags[0, :, : model.data.window]
        np.testing.assert_array_equal(past.numpy(), history[sub.core])
        outlook = fine.lags[0, :, model.data.window : model.num_inputs]
        rows = torch.from_numpy(features.memory[-1][sub.core])
        own = torch.from_numpy(history[sub.core])
        mean = torch.from_numpy(series.graph.to_matrix() @ history)[sub.core]
        course = features.loadings[-1][sub.core] @ features.modes.forecast(
            features.modes.read(history), features.modes.blocks
        )
        expected = memory(own, rows, torch.from_numpy(course), mean)
        torch.testing.assert_close(outlook, expected)
        # Both of the surroundings are looked at.
        for other in (memory(own, rows, None, mean), memory(own, rows, torch.from_numpy(course))):
            assert (other - expected).abs().max() > 1e-4
    forecast = made.forecast(history, series.graph)
    assert forecast.shape == (30, model.data.horizon)
    # Another memory, another forecast; and the position alone does not do.
    other = replace(features, memory=features.memory + 0.5)
    changed = RomaForecaster(model, series.graph, other).forecast(history, series.graph)
    assert np.abs(changed - forecast).max() > 1e-3
    with pytest.raises(ValueError, match=r"'features' of shape \(30, 6\) \(got \(30, 3\)\)"):
        RomaForecaster(model, series.graph, features.position)


def test_the_base_forecast_is_the_forecast_without_the_network(tiny):
    values = tiny.values(steps=80)
    model, series, features, _ = remembering(tiny, values)
    history = np.ascontiguousarray(values[:, 25 - model.data.window : 25])
    base = BaseForecaster(model, series.graph, features)
    assert (base.name, base.group, base.horizon) == (
        "linear with memory",
        "baseline",
        model.data.horizon,
    )
    forecast = base.forecast(history, series.graph)
    made = RomaForecaster(model, series.graph, features)
    assert np.abs(forecast - made.forecast(history, series.graph)).max() > 1e-3
    model.base.scale.zero_()
    np.testing.assert_allclose(forecast, made.forecast(history, series.graph), atol=1e-6)
    # At a training time, it forgets the future as well.
    early = base.at(6).forecast(history, series.graph)
    assert not np.array_equal(early, forecast)
    np.testing.assert_allclose(early, made.at(6).forecast(history, series.graph), atol=1e-6)


def test_at_a_training_time_its_future_is_forgotten(tiny):
    values = tiny.values(steps=80)
    model, series, features, _ = remembering(tiny, values)
    made = RomaForecaster(model, series.graph, features)
    history = np.ascontiguousarray(values[:, 20 - model.data.window : 20])
    plain = made.forecast(history, series.graph)
    first, last, later = (made.at(t).forecast(history, series.graph) for t in (6, 69, 75))
    np.testing.assert_array_equal(later, plain)
    for block, forecast in enumerate((first, last)):
        only = as_trained(features, block)
        expected = RomaForecaster(model, series.graph, only).forecast(history, series.graph)
        np.testing.assert_array_equal(forecast, expected)
        assert not np.array_equal(forecast, plain)


def test_a_series_is_remembered_up_to_a_time(tiny):
    values = tiny.values(steps=80)
    model, series, _, memory = remembering(tiny, values)
    made = RomaForecaster.for_series(model, series, time=25, position=tiny.position())
    changed = values.copy()
    changed[:, 25:] = 0.5
    same = RomaForecaster.for_series(
        model, GraphSeries(series.graph, changed), time=25, position=tiny.position()
    )
    np.testing.assert_array_equal(made.features.memory, same.features.memory)
    np.testing.assert_array_equal(made.features.loadings, same.features.loadings)
    times = range(model.data.window, 25 - model.data.horizon + 1)
    around = Surroundings(series.graph, made.features.modes)
    expected = memory.recall(values, times, around=around)
    np.testing.assert_array_equal(made.features.memory, expected[..., :3])
    np.testing.assert_array_equal(made.features.loadings, expected[..., 3:])
    # Shorter than window and horizon: a memory of zero.
    short = RomaForecaster.for_series(model, series, time=6, position=tiny.position())
    assert not short.features.memory.any()
    assert short.features.modes is None
    assert np.isfinite(short.forecast(values[:, :5], series.graph)).all()


def test_a_model_with_memory_needs_one(tiny):
    model = Roma(tiny.config(), tiny.data(memory=MemoryConfig(size=3)))
    with pytest.raises(ValueError, match=r"Expected 'memory' for a model with data.memory.size"):
        model.fit_statistics([tiny.batch()])
