from __future__ import annotations

import numpy as np
import pytest
import torch

from roma_pyg.data.graph import Graph
from roma_pyg.data.series import GraphSeries
from roma_pyg.data.split import Split
from roma_pyg.models import baselines
from roma_pyg.models.baselines import (
    MLP,
    LinearExtrapolation,
    NodeRidge,
    Persistence,
    Ridge,
    fit_baselines,
)
from roma_pyg.models.baselines import fit as fit_module
from roma_pyg.models.baselines.lags import lag_features
from roma_pyg.models.baselines.ridge import Moments, solve_ridge
from roma_pyg.models.baselines.samples import Windows, WindowSampler
from roma_pyg.models.forecaster import Forecaster, group_of

WINDOW, HORIZON = 6, 4
PATH = Graph.from_edges(np.array([0, 1]), np.array([1, 2]), 3)


def ring(n):
    return Graph.from_edges(np.arange(n), (np.arange(n) + 1) % n, n)


def make_split(n=40, steps=160):
    nodes = np.random.default_rng(5).permutation(n)
    parts = {"train": nodes[: n - 12], "val": nodes[n - 12 : n - 8], "test": nodes[n - 8 :]}
    ends = {"train": (0, 80), "val": (90, 120), "test": (130, steps)}
    return Split(
        nodes={part: np.sort(chosen) for part, chosen in parts.items()},
        times={part: range(a + WINDOW, b - HORIZON + 1) for part, (a, b) in ends.items()},
    )


def make_waves(n=40, steps=160, seed=0):
    place, time = np.arange(n)[:, None] * 2 * np.pi * 3 / n, np.arange(steps)[None, :]
    rng = np.random.default_rng(seed)
    values = 0.5 + 0.3 * np.sin(place - 0.4 * time) + 0.02 * rng.standard_normal((n, steps))
    return GraphSeries(ring(n), values.astype(np.float32), dt=0.1, name="waves")


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(fit_module, "FIT_WINDOWS", 6000)
    monkeypatch.setattr(fit_module, "CHOICE_WINDOWS", 1000)


def fit(series, mlp_steps=0, seed=0, noise=4e-4):
    return fit_baselines(series, make_split(), WINDOW, HORIZON, noise, seed, mlp_steps=mlp_steps)


class TestPersistence:
    def test_exact_on_constants(self):
        history = np.tile(np.array([[1], [2], [3]], dtype=np.float32), (1, 5))
        forecast = Persistence(4).forecast(history, PATH, np.array([2, 0]))
        np.testing.assert_array_equal(forecast, [[3] * 4, [1] * 4])
        assert Persistence(4).forecast(history, PATH).shape == (3, 4)

    def test_horizon(self):
        with pytest.raises(ValueError, match="Expected 'horizon' to be at least 1"):
            Persistence(0)


class TestLinearExtrapolation:
    @pytest.mark.parametrize("points", [2, 3, 6])
    def test_exact_on_a_line(self, points):
        history = np.array([[0, 1, 2, 3, 4, 5], [9, 7, 5, 3, 1, -1], [2] * 6], dtype=np.float32)
        forecast = LinearExtrapolation(6, 3, points).forecast(history, PATH)
        expected = [[6, 7, 8], [-3, -5, -7], [2, 2, 2]]
        np.testing.assert_allclose(forecast, expected, atol=1e-5)

    @pytest.mark.parametrize("points", [2, 4, 8])
    def test_equals_polyfit(self, points):
        history = np.random.default_rng(0).random((3, 8)).astype(np.float32)
        nodes = np.array([2, 1])
        forecast = LinearExtrapolation(8, 5, points).forecast(history, PATH, nodes)
        lines = np.polyfit(np.arange(1 - points, 1), history[nodes, -points:].T, 1)
        np.testing.assert_allclose(
            forecast, np.stack([np.polyval(c, np.arange(1, 6)) for c in lines.T]), rtol=1e-5
        )

    def test_points_may_differ_by_step(self):
        history = np.random.default_rng(0).random((3, 8)).astype(np.float32)
        mixed = LinearExtrapolation(8, 2, np.array([2, 5])).forecast(history, PATH)
        for column, points in enumerate((2, 5)):
            single = LinearExtrapolation(8, 2, points).forecast(history, PATH)
            np.testing.assert_allclose(mixed[:, column], single[:, column], rtol=1e-6)

    def test_noise_asks_for_more_points(self):
        rng = np.random.default_rng(0)
        line = 5 + rng.standard_normal((4000, 1)) * np.arange(12) / 12
        noisy = (line + 0.2 * rng.standard_normal(line.shape)).astype(np.float32)
        samples = [Windows(noisy[:, :8], noisy[:, 8:])]
        assert (LinearExtrapolation.fit(samples, 8, 4).points == 8).all()

    def test_curvature_asks_for_fewer_points(self):
        start = np.random.default_rng(0).random((500, 1))
        curve = (start + 0.1 * np.arange(12) ** 2).astype(np.float32)
        samples = [Windows(curve[:, :8], curve[:, 8:])]
        assert (LinearExtrapolation.fit(samples, 8, 4).points == 2).all()

    @pytest.mark.parametrize("points", [1, 9])
    def test_points_out_of_range(self, points):
        with pytest.raises(ValueError, match=r"Expected 'points' in \[2, 8\]"):
            LinearExtrapolation(8, 2, points)

    def test_nothing_to_fit(self):
        with pytest.raises(ValueError, match="Expected at least one training window"):
            LinearExtrapolation.fit([], 8, 2)


class TestRidge:
    @pytest.mark.parametrize("penalty", [1e-3, 0.5])
    def test_equals_augmented_least_squares(self, penalty):
        rng = np.random.default_rng(1)
        x = rng.standard_normal((200, 5)) @ rng.standard_normal((5, 5)) + 3
        y = rng.standard_normal((200, 2)) + x[:, :2]
        moments = Moments()
        for start, stop in ((0, 3), (3, 120), (120, 200)):
            moments.update(x[start:stop], y[start:stop])
        slope, intercept = solve_ridge(moments, (penalty,))
        center, std = x.mean(0), x.std(0)
        # sqrt(n lambda) I as further observations of zero, about the means.
        rows = np.concatenate([(x - center) / std, np.sqrt(200 * penalty) * np.eye(5)])
        targets = np.concatenate([y - y.mean(0), np.zeros((5, 2))])
        expected = np.linalg.lstsq(rows, targets, rcond=None)[0] / std[:, None]
        np.testing.assert_allclose(slope[0], expected, rtol=1e-9)
        np.testing.assert_allclose(intercept[0], y.mean(0) - center @ expected, rtol=1e-9)

    def test_recovers_an_autoregressive_process(self):
        rng = np.random.default_rng(2)
        x = rng.standard_normal((500, 3)) + 10
        coefficients = np.array([[0.2, 0.0], [-0.7, 1.5], [1.3, -0.4]])
        moments = Moments()
        moments.update(x, x @ coefficients + np.array([0.5, -2]))
        slope, intercept = solve_ridge(moments, (0.0,))
        np.testing.assert_allclose(slope[0], coefficients, atol=1e-10)
        np.testing.assert_allclose(intercept[0], [0.5, -2], atol=1e-9)

    def test_forecasts_an_autoregressive_series_exactly(self, small):
        # x(t) = 2 cos(w) x(t-1) - x(t-2) about the level 0.5, the same for all nodes.
        rng = np.random.default_rng(0)
        amplitude, phase = rng.uniform(0.1, 0.4, (40, 1)), rng.uniform(0, 7, (40, 1))
        values = 0.5 + amplitude * np.sin(0.7 * np.arange(160) + phase)
        series = GraphSeries(ring(40), values.astype(np.float32))
        for ridge in fit(series, noise=0.0)[2:4]:
            forecast = ridge.forecast(series.values[:, 140 - WINDOW : 140], series.graph)
            np.testing.assert_allclose(forecast, values[:, 140 : 140 + HORIZON], atol=1e-6)

    def test_only_neighbour_lags_forecast_a_process_on_the_graph(self, small):
        graph = ring(40)
        rng = np.random.default_rng(0)
        values = np.empty((40, 160))
        values[:, 0] = rng.random(40)
        innovations = 0.2 * rng.standard_normal((40, 160))
        for t in range(1, 160):
            mean = graph.neighbor_mean(values[:, t - 1])
            values[:, t] = 0.1 + 0.9 * mean + innovations[:, t]
        series = GraphSeries(graph, values.astype(np.float32))
        # Everything is visible, so that every training node has its true neighbours.
        split = make_split()
        split = Split({part: np.arange(40) for part in split.nodes}, split.times)
        own, near = fit_baselines(series, split, WINDOW, HORIZON, 0.0, 0, mlp_steps=0)[2:4]
        times = np.arange(20, 80)
        history = [series.values[:, t - WINDOW : t] for t in times]
        error = {
            ridge.name: np.mean(
                [
                    (ridge.forecast(h, graph)[:, 0] - values[:, t]) ** 2
                    for h, t in zip(history, times, strict=True)
                ]
            )
            for ridge in (own, near)
        }
        # The innovations, of variance 0.04, are all that is left to neighbour lags.
        assert error[near.name] == pytest.approx(0.04, rel=0.05)
        assert error[own.name] > 1.5 * error[near.name]
        np.testing.assert_allclose(near.slope[2 * WINDOW - 1, 0], 0.9, atol=0.05)

    def test_the_penalty_with_the_least_validation_error_wins_at_each_step(self):
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((12, 4)), rng.standard_normal((12, 1))
        moments = Moments()
        moments.update(x, np.concatenate([y, x[:, :1]], axis=1))
        check = rng.standard_normal((500, 4)).astype(np.float32)
        target = np.concatenate([np.zeros((500, 1)), check[:, :1]], axis=1).astype(np.float32)
        ridge = Ridge.fit(moments, Windows(check, target), neighbors=True, penalties=(1e-9, 1e3))
        # The first target is pure noise, the second an input.
        np.testing.assert_array_equal(ridge.penalty, [1e3, 1e-9])

    def test_dependent_and_constant_inputs_are_harmless(self):
        x = np.random.default_rng(0).random((50, 2))
        x = np.concatenate([x, x[:, :1], np.full((50, 1), 0.1)], axis=1)
        moments = Moments()
        moments.update(x, x[:, :1] + 1)
        slope, intercept = solve_ridge(moments, (0.0,))
        np.testing.assert_allclose(slope[0][:, 0], [0.5, 0, 0.5, 0], atol=1e-8)
        np.testing.assert_allclose(x @ slope[0] + intercept[0], x[:, :1] + 1, atol=1e-8)

    def test_moments_survive_a_large_offset(self):
        x = np.random.default_rng(0).random((400, 3))
        moments = Moments()
        for part in np.split(x + 1e6, 4):
            moments.update(part, part[:, :1])
        np.testing.assert_allclose(moments.covariance[0], np.cov(x.T, ddof=0), rtol=1e-6)
        np.testing.assert_allclose(moments.std, x.std(0), rtol=1e-6)

    def test_errors(self):
        with pytest.raises(ValueError, match="Expected at least one sample"):
            solve_ridge(Moments(), (0.0,))
        ridge = Ridge(np.zeros((10, 2)), np.zeros(2), neighbors=True)
        with pytest.raises(ValueError, match=r"Expected a history of 5 samples.*\(got 4\)"):
            ridge.forecast(np.ones((3, 4), dtype=np.float32), PATH)


class TestMLP:
    def sampler(self, noise=0.0):
        split = make_split()
        train = split.nodes["train"]
        return WindowSampler(
            make_waves(), train, train, split.times["train"], WINDOW, HORIZON, noise
        )

    def fit(self, **options):
        sampler = self.sampler()
        moments = Moments()
        windows = sampler.draw(np.random.default_rng(0), 40, 2000)
        moments.update(windows.lags, windows.target)
        return MLP.fit(sampler, moments, width=32, layers=2, batch_size=128, **options)

    def test_standardised_inputs_and_increments(self):
        model = self.fit(steps=1)
        lags = np.random.default_rng(0).random((5, 2 * WINDOW)).astype(np.float32)
        inputs = (torch.from_numpy(lags) - model.center) / model.scale
        increment = model.network(inputs) * model.scale[:WINDOW].mean()
        expected = lags[:, WINDOW - 1 : WINDOW] + increment.numpy()
        np.testing.assert_allclose(model(torch.from_numpy(lags)).numpy(), expected, rtol=1e-6)
        windows = self.sampler().draw(np.random.default_rng(1), 40, 2000).lags
        standard = (windows - model.center.numpy()) / model.scale.numpy()
        np.testing.assert_allclose(standard.mean(0), 0, atol=0.1)
        np.testing.assert_allclose(standard.std(0), 1, atol=0.1)

    @pytest.mark.parametrize("neighbors", [False, True])
    def test_learns(self, neighbors):
        series = make_waves()
        early, late = (
            self.fit(steps=steps, neighbors=neighbors, learning_rate=5e-3) for steps in (1, 150)
        )
        history, truth = series.values[:, 140 - WINDOW : 140], series.values[:, 140:144]
        errors = [
            np.square(model.forecast(history, series.graph) - truth).mean()
            for model in (early, late, Persistence(HORIZON))
        ]
        assert errors[1] < 0.1 * min(errors[0], errors[2])

    def test_same_seed_same_network_and_the_global_generator_is_left_alone(self):
        state = torch.get_rng_state()
        first, same, other = self.fit(steps=3), self.fit(steps=3), self.fit(steps=3, seed=1)
        assert torch.equal(torch.get_rng_state(), state)
        for name, value in first.state_dict().items():
            assert torch.equal(value, same.state_dict()[name])
        assert not torch.equal(first.network[0].weight, other.network[0].weight)

    def test_default_size(self):
        model = MLP(64, 64)
        widths = [layer.out_features for layer in model.network if hasattr(layer, "out_features")]
        assert widths == [256, 256, 256, 64]
        assert model.network[0].in_features == 128

    def test_gradients_reach_every_parameter(self):
        model = MLP(WINDOW, HORIZON, width=8)
        model(torch.rand(4, 2 * WINDOW)).square().sum().backward()
        for value in model.parameters():
            assert value.grad is not None
            assert value.grad.abs().sum() > 0

    def test_errors(self):
        with pytest.raises(ValueError, match="Expected 'steps' to be at least 1"):
            self.fit(steps=0)
        with pytest.raises(ValueError, match="Expected 'width' to be at least 1"):
            MLP(4, 4, width=0)
        with pytest.raises(ValueError, match="Expected a history of 6 samples"):
            self.fit(steps=1).forecast(np.ones((40, 5), dtype=np.float32), ring(40))


class TestLags:
    def test_hand_computed_for_all_and_for_some_nodes(self):
        history = np.array([[1, 2], [3, 4], [7, 10]], dtype=np.float32)
        lags = lag_features(history, PATH, None, neighbors=True)
        np.testing.assert_array_equal(lags, [[1, 2, 3, 4], [3, 4, 4, 6], [7, 10, 3, 4]])
        nodes = np.array([2, 1])
        np.testing.assert_array_equal(
            lag_features(history, PATH, nodes, neighbors=True), lags[nodes]
        )
        np.testing.assert_array_equal(
            lag_features(history, PATH, nodes, neighbors=False), history[nodes]
        )

    def test_wrong_number_of_nodes(self):
        with pytest.raises(ValueError, match=r"with N = 3 nodes \(got \(2, 4\)\)"):
            lag_features(np.ones((2, 4), dtype=np.float32), PATH, None, neighbors=True)


class TestWindowSampler:
    def series(self, n=12, steps=60):
        # Every value tells its node and sample.
        values = 100.0 * np.arange(n)[:, None] + np.arange(steps)
        return GraphSeries(ring(n), values.astype(np.float32))

    def sampler(self, noise=0.0):
        visible = np.array([0, 1, 2, 3, 5, 6])
        return WindowSampler(
            self.series(), np.array([1, 2, 3, 5]), visible, range(10, 40), 4, 3, noise
        )

    def test_windows_are_those_of_the_visible_graph(self):
        windows = self.sampler().draw(np.random.default_rng(0), 3, 20)
        assert windows.lags.shape == (3 * 8, 8)
        neighbors = {1: [0, 2], 2: [1, 3], 3: [2], 5: [6]}
        nodes = set()
        for lags, target in zip(windows.lags, windows.target, strict=True):
            node, start = divmod(int(lags[0]), 100)
            nodes.add(node)
            assert start + 4 in range(10, 40)
            np.testing.assert_array_equal(lags[:4], 100 * node + start + np.arange(4))
            near = 100 * np.mean(neighbors[node]) + start + np.arange(4)
            np.testing.assert_allclose(lags[4:], near, rtol=1e-6)
            np.testing.assert_array_equal(target, 100 * node + start + 4 + np.arange(3))
        assert len(nodes) == 3

    def test_noise_on_lags_neighbours_and_targets(self):
        clean = self.sampler().draw(np.random.default_rng(0), 4, 20)
        noisy = self.sampler(1e-4).draw(np.random.default_rng(0), 4, 20)
        for name in ("lags", "target"):
            ratio = np.log(getattr(noisy, name) / getattr(clean, name))
            assert (ratio != 0).any(0).all()
            assert np.abs(ratio).max() < 0.06
        # The mean over two neighbours halves the variance when they are alike.
        assert 0.008 < np.log(noisy.target / clean.target).std() < 0.012

    def test_stream_ends(self):
        draws = list(self.sampler().stream(np.random.default_rng(0), 300))
        assert sum(map(len, draws)) >= 300
        assert sum(map(len, draws[:-1])) < 300

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"nodes": np.array([], dtype=np.int64)}, "Expected at least one entry in 'nodes'"),
            ({"times": range(10, 10)}, "Expected at least one entry in 'times'"),
            ({"times": range(3, 10)}, r"Expected 'times' in \[4, 57\].*\(got 3 to 9\)"),
            ({"times": range(50, 59)}, r"\(got 50 to 58\)"),
            ({"nodes": np.array([1, 9])}, "Expected every node of 'nodes' to be in 'visible'"),
        ],
    )
    def test_errors(self, options, message):
        given = {"nodes": np.array([1]), "visible": np.arange(4), "times": range(10, 40)} | options
        with pytest.raises(ValueError, match=message):
            WindowSampler(self.series(), **given, window=4, horizon=3, noise=0.0)


class TestNodeRidge:
    def series(self, noise=0.0):
        """Every node oscillates at a rate of its own: no pooled linear map forecasts all."""
        rng = np.random.default_rng(0)
        rate, phase = rng.uniform(0.2, 1.2, (40, 1)), rng.uniform(0, 6, (40, 1))
        values = 0.5 + 0.3 * np.sin(rate * np.arange(400) + phase)
        return GraphSeries(ring(40), values.astype(np.float32))

    def test_learns_the_rate_of_each_node(self, small):
        series, split = self.series(), make_split(steps=400)
        methods = fit_baselines(series, split, WINDOW, HORIZON, 0.0, 0, mlp_steps=0)
        error = {}
        for method in methods[2:]:
            at = split.times["test"][0]
            guess = method.forecast(series.values[:, at - WINDOW : at], series.graph)
            truth = series.values[:, at : at + HORIZON]
            error[method.name] = np.square(guess - truth).mean() ** 0.5
        assert error["ridge per node"] < 0.01
        assert error["ridge, own lags"] > 5 * error["ridge per node"]

    def test_agrees_with_least_squares_of_numpy(self):
        rng = np.random.default_rng(1)
        series = GraphSeries(ring(6), rng.random((6, 120)).astype(np.float32))
        method = NodeRidge(series, range(4, 100), 4, 3, 0.0, np.zeros(3))
        past = rng.random((6, 4)).astype(np.float32)
        guess = method.forecast(past, series.graph, np.array([2, 5]))
        for row, node in enumerate((2, 5)):
            u = series.values[node].astype(float)
            lags = np.stack([np.append(u[t - 4 : t], 1) for t in range(4, 100)])
            target = np.stack([u[t : t + 3] for t in range(4, 100)])
            expected = np.append(past[node], 1) @ np.linalg.lstsq(lags, target, rcond=None)[0]
            np.testing.assert_allclose(guess[row], expected, rtol=1e-3)

    def test_reads_training_times_only(self):
        series = self.series()
        hidden = series.values.copy()
        hidden[:, :6] = np.nan
        hidden[:, 202:] = np.nan
        censored = GraphSeries(series.graph, hidden)
        past = series.values[:, 300:310]
        options = (range(16, 200), 10, 3, 1e-3, np.full(3, 1e-3))
        first, second = (
            NodeRidge(s, *options).forecast(past, series.graph) for s in (series, censored)
        )
        np.testing.assert_array_equal(first, second)

    def test_other_nodes_are_fitted_on_their_own_past(self):
        rng = np.random.default_rng(2)
        series, other = (
            GraphSeries(ring(n), rng.random((n, 120)).astype(np.float32)) for n in (6, 9)
        )
        options = (4, 3, 1e-3, np.array([1e-4, 1e-2, 1.0]), 5)
        moved = NodeRidge(series, range(4, 100), *options).on(other, range(4, 60))
        past = rng.random((9, 4)).astype(np.float32)
        expected = NodeRidge(other, range(4, 60), *options).forecast(past, other.graph)
        np.testing.assert_array_equal(moved.forecast(past, other.graph), expected)

    def test_large_graphs_have_none(self, small, monkeypatch):
        monkeypatch.setattr(fit_module, "NODE_RIDGE_NUMBERS", 10)
        assert "ridge per node" not in [method.name for method in fit(make_waves())]


class TestFitBaselines:
    def test_methods(self, small):
        methods = fit(make_waves(), mlp_steps=2)
        assert [method.name for method in methods] == [
            "persistence",
            "linear extrapolation",
            "ridge, own lags",
            "ridge, own + neighbours",
            "ridge per node",
            "MLP, own + neighbours",
        ]
        assert [group_of(method) for method in methods] == ["naive"] * 4 + ["baseline"] * 2
        series = make_waves()
        history = np.ascontiguousarray(series.values[:, :WINDOW])
        nodes = np.array([7, 3, 30])
        for method in methods:
            assert isinstance(method, Forecaster)
            forecast = method.forecast(history, series.graph, nodes)
            assert forecast.dtype == np.float32
            assert forecast.shape == (3, HORIZON)
            every = method.forecast(history, series.graph)
            np.testing.assert_allclose(forecast, every[nodes], rtol=1e-5, atol=1e-6)

    def test_own_lag_mlp_on_request(self, small):
        methods = fit_baselines(
            make_waves(), make_split(), WINDOW, HORIZON, 0.0, 0, 1, mlp_own_lags=True
        )
        assert [method.name for method in methods[5:]] == ["MLP, own lags", "MLP, own + neighbours"]

    def forecasts(self, series, probe, mlp_steps=2):
        history = probe.values[:, 100 - WINDOW : 100]
        # Ridge per node reads held-out nodes at training times, by design.
        return [
            m.forecast(history, probe.graph)
            for m in fit(series, mlp_steps=mlp_steps)
            if not getattr(m, "knows_training_times", False)
        ]

    def test_held_out_values_are_never_read(self, small):
        series, split = make_waves(), make_split()
        hidden = np.full_like(series.values, np.nan)
        seen = {"train": split.nodes["train"], "val": np.setdiff1d(range(40), split.nodes["test"])}
        for part, nodes in seen.items():
            times = split.times[part]
            samples = slice(times[0] - WINDOW, times[-1] + HORIZON)
            hidden[nodes, samples] = series.values[nodes, samples]
        assert np.isnan(hidden).mean() > 0.3
        censored = GraphSeries(series.graph, hidden)
        for a, b in zip(
            self.forecasts(series, series), self.forecasts(censored, series), strict=True
        ):
            np.testing.assert_array_equal(a, b)

    def test_validation_values_only_choose_the_penalty(self, small, monkeypatch):
        monkeypatch.setattr(Ridge.fit.__func__, "__kwdefaults__", {"penalties": (1e-6,)})
        series, split = make_waves(), make_split()
        changed = series.values.copy()
        changed[:, split.times["train"][-1] + HORIZON :] = 0.7
        changed[split.nodes["val"]] = 0.9
        other = GraphSeries(series.graph, changed)
        for a, b in zip(self.forecasts(series, series), self.forecasts(other, series), strict=True):
            np.testing.assert_array_equal(a, b)

    def test_training_values_matter(self, small):
        series, split = make_waves(), make_split()
        changed = series.values.copy()
        changed[split.nodes["train"], 10:40] **= 2
        other = GraphSeries(series.graph, changed)
        pairs = zip(self.forecasts(series, series), self.forecasts(other, series), strict=True)
        same = [np.array_equal(a, b) for a, b in pairs]
        assert same[0]
        assert not any(same[2:])

    def test_deterministic_by_seed(self, small):
        series = make_waves()
        history = series.values[:, :WINDOW]
        first, same, other = (
            [m.forecast(history, series.graph) for m in fit(series, mlp_steps=2, seed=seed)]
            for seed in (0, 0, 1)
        )
        for a, b in zip(first, same, strict=True):
            np.testing.assert_array_equal(a, b)
        assert not np.array_equal(first[-1], other[-1])

    def test_the_series_may_be_a_memory_map(self, small, tmp_path):
        series = make_waves()
        np.save(tmp_path / "values.npy", series.values)
        mapped = np.load(tmp_path / "values.npy", mmap_mode="r")
        stored = GraphSeries(series.graph, mapped)
        for a, b in zip(
            self.forecasts(series, series, 0), self.forecasts(stored, series, 0), strict=True
        ):
            np.testing.assert_array_equal(a, b)

    def test_short_window(self):
        with pytest.raises(ValueError, match="Expected 'window' to be at least 2"):
            fit_baselines(make_waves(), make_split(), 1, HORIZON, 0.0, 0)

    def test_unknown_group(self):
        method = Persistence(1)
        method.group = "oracle"
        with pytest.raises(ValueError, match="Expected 'group' of 'persistence'"):
            group_of(method)


def test_public_names():
    assert set(baselines.__all__) <= set(dir(baselines))
