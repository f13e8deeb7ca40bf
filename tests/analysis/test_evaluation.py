from __future__ import annotations

import json
import math
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from roma_pyg.analysis.evaluation import CEILING, VIEWS, evaluate
from roma_pyg.analysis.metrics import r2, rmse, smape, smspe
from roma_pyg.analysis.table import format_error
from roma_pyg.data.graph import Graph
from roma_pyg.data.noise import noisy_history
from roma_pyg.data.series import GraphSeries
from roma_pyg.data.split import Split
from roma_pyg.models.baselines import LinearExtrapolation, Persistence, fit_baselines
from roma_pyg.models.baselines import fit as fit_module

WINDOW, HORIZON = 6, 8
MAIN = "held-out nodes and time"
SPLIT = Split(
    nodes={
        "train": np.arange(0, 40),
        "val": np.arange(40, 45),
        "test": np.arange(45, 60),
    },
    times={
        "train": range(WINDOW, 100 - HORIZON + 1),
        "val": range(115 + WINDOW, 150 - HORIZON + 1),
        "test": range(165 + WINDOW, 200 - HORIZON + 1),
    },
)


def make_waves(extras=None):
    place, time = np.arange(60)[:, None] * 2 * np.pi * 4 / 60, np.arange(200)[None, :]
    values = 0.5 + 0.3 * np.sin(place - 0.3 * time)
    graph = Graph.from_edges(np.arange(60), (np.arange(60) + 1) % 60, 60)
    return GraphSeries(graph, values.astype(np.float32), 0.1, "waves", extras or {})


def exact(series, time, samples):
    return series.values[:, time : time + samples]


class Recorder:
    """Persistence that counts as a model and remembers what it saw."""

    def __init__(self, name="recorder", horizon=HORIZON, offset=0.0):
        self.name, self.horizon, self.offset = name, horizon, offset
        self.seen = []

    def forecast(self, history, graph, nodes=None):
        self.seen.append((history.copy(), nodes))
        last = history[:, -1:] if nodes is None else history[nodes, -1:]
        return np.repeat(last + np.float32(self.offset), self.horizon, axis=1)


class TestViews:
    def test_scores_equal_the_formulas(self):
        series = make_waves()
        result = evaluate(
            [Persistence(HORIZON)], series, SPLIT, WINDOW, (1, 5), (4e-4,), 4, 3, modes=("direct",)
        )
        assert len(result.rows) == 3 * 2
        for view, (nodes, part) in VIEWS.items():
            nodes, times = SPLIT.nodes[nodes], result.metadata["times"][part]
            assert len(times) == 4
            assert set(times) <= set(SPLIT.times[part])
            assert (times[0], times[-1]) == (SPLIT.times[part][0], SPLIT.times[part][-1])
            for horizon in (1, 5):
                truth = np.stack([series.values[nodes, t + horizon - 1] for t in times])
                last = [noisy_history(series.values, t, WINDOW, 4e-4, 3)[nodes, -1] for t in times]
                guess = np.stack(last)
                mean_rmse = rmse(guess.mean(1, dtype=float), truth.mean(1, dtype=float))
                (row,) = result.select(view=view, horizon=horizon)
                assert row.smspe == pytest.approx(smspe(guess, truth), rel=1e-9)
                assert row.smape == pytest.approx(smape(guess, truth), rel=1e-9)
                assert row.rmse == pytest.approx(rmse(guess, truth), rel=1e-9)
                assert row.r2 == pytest.approx(r2(guess, truth), rel=1e-9)
                assert row.mean_rmse == pytest.approx(mean_rmse, rel=1e-9)
                assert row.count == truth.size

    def test_all_methods_get_the_same_noisy_history_of_the_whole_graph(self):
        methods = [Recorder("a"), Recorder("b")]
        series = make_waves()
        evaluate(methods, series, SPLIT, WINDOW, (1,), (0.0, 1e-2), 2, 5, modes=("direct",))
        first, second = (method.seen for method in methods)
        assert len(first) == 2 * 2 * 2
        for (a, nodes), (b, _) in zip(first, second, strict=True):
            np.testing.assert_array_equal(a, b)
            assert a.shape == (60, WINDOW)
            assert len(nodes) in (15, 55)
        start = SPLIT.times["train"][0]
        np.testing.assert_array_equal(first[0][0], series.values[:, start - WINDOW : start])
        np.testing.assert_array_equal(
            first[1][0], noisy_history(series.values, start, WINDOW, 1e-2, 5)
        )

    def test_nodes_limit_is_drawn_by_seed(self):
        seen = []
        for seed in (0, 0, 1):
            method = Recorder()
            evaluate(
                [method],
                make_waves(),
                SPLIT,
                WINDOW,
                (1,),
                (0.0,),
                1,
                seed,
                nodes_limit=5,
                modes=("direct",),
            )
            seen.append([nodes.tolist() for _, nodes in method.seen])
        assert [len(nodes) for nodes in seen[0]] == [5, 10]
        assert set(seen[0][0]) <= set(SPLIT.nodes["test"].tolist())
        assert seen[0] == seen[1] != seen[2]


class TestModes:
    def test_a_short_horizon_is_rolled_out(self):
        methods = [LinearExtrapolation(WINDOW, 3), Persistence(HORIZON)]
        result = evaluate(methods, make_waves(), SPLIT, WINDOW, (1, 3, 8, 12), (0.0,), 3)
        assert result.metadata["rollout_stride"] == 1
        steps = {
            (name, mode): [r.horizon for r in result.select(method=name, mode=mode, view=MAIN)]
            for name in ("linear extrapolation", "persistence")
            for mode in ("direct", "rollout")
        }
        assert steps == {
            ("linear extrapolation", "direct"): [1, 3],
            ("linear extrapolation", "rollout"): [1, 3, 8, 12],
            ("persistence", "direct"): [1, 3, 8],
            ("persistence", "rollout"): [1, 3, 8, 12],
        }
        # Times end early enough for the longest rollout.
        assert result.metadata["times"]["test"][-1] == 200 - 12

    def test_rollout_feeds_back_and_agrees_with_direct_up_to_the_stride(self):
        method = Recorder(offset=0.01)
        result = evaluate(
            [method], make_waves(), SPLIT, WINDOW, (2, 8), (0.0,), 2, rollout_stride=4
        )
        direct, rolled = (result.select(view=MAIN, mode=mode) for mode in ("direct", "rollout"))
        assert direct[0].rmse == rolled[0].rmse
        assert direct[1].rmse != rolled[1].rmse
        assert len(method.seen) == 2 * 2 * 2
        assert all(nodes is None for _, nodes in method.seen)
        history, again = method.seen[0][0], method.seen[1][0]
        np.testing.assert_array_equal(again[:, :2], history[:, 4:])
        np.testing.assert_allclose(again[:, 2:], np.repeat(history[:, -1:] + 0.01, 4, axis=1))


class TestCeiling:
    def test_the_simulator_is_beside_the_methods_but_never_best(self):
        result = evaluate(
            [Persistence(HORIZON), Recorder(offset=0.02)],
            make_waves(),
            SPLIT,
            WINDOW,
            (1, 8),
            (0.0, 4e-4),
            2,
            simulator=exact,
        )
        rows = result.select(method=CEILING)
        assert len(rows) == 3 * 2 * 2 * 2
        assert {row.group for row in rows} == {"ceiling"}
        for row in rows:
            assert (row.smspe, row.r2, row.skill) == (0, 1, 1)
        (persistence,) = result.select(
            method="persistence", view=MAIN, noise=0.0, mode="direct", horizon=8
        )
        assert persistence.skill == 0
        assert "0*" not in result.table().split()

    def test_kuramoto_stores_bring_their_simulator(self, monkeypatch):
        kuramoto = SimpleNamespace(true_forecast=exact)
        monkeypatch.setitem(sys.modules, "roma_pyg.dynamics.kuramoto", kuramoto)
        for extras, count in (({}, 0), ({"phases": np.zeros((1, 60))}, 2)):
            series = make_waves(extras)
            result = evaluate([Persistence(HORIZON)], series, SPLIT, WINDOW, (1,), (0.0,), 1)
            assert len(result.select(method=CEILING, view=MAIN)) == count


@pytest.fixture(scope="module")
def waves_result():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fit_module, "FIT_WINDOWS", 5000)
        patch.setattr(fit_module, "CHOICE_WINDOWS", 1000)
        series = make_waves()
        methods = fit_baselines(series, SPLIT, WINDOW, HORIZON, 4e-4, 0, mlp_steps=5)
    methods.append(Recorder("model"))
    return evaluate(methods, series, SPLIT, WINDOW, (1, 8), (0.0, 4e-4), 4, rollout_stride=4)


class TestEndToEnd:
    def test_ridge_wins_on_travelling_waves(self, waves_result):
        for view in VIEWS:
            rows = waves_result.select(view=view, noise=4e-4, mode="direct", horizon=8)
            error = {row.method: row.smspe for row in rows}
            assert "ridge" in min(error, key=error.get)
            assert error["ridge, own + neighbours"] < 0.1 * error["persistence"]

    def test_skills(self, waves_result):
        naive = [
            "persistence",
            "linear extrapolation",
            "ridge, own lags",
            "ridge, own + neighbours",
        ]
        groups = {}
        for row in waves_result.rows:
            groups.setdefault((row.view, row.noise, row.mode, row.horizon), []).append(row)
        assert len(groups) == 3 * 2 * 2 * 2
        for rows in groups.values():
            error = {row.method: row.smspe for row in rows}
            best = min(error[name] for name in naive)
            baselines = [n for n in ("MLP, own + neighbours", "ridge per node") if n in error]
            every = min(best, *(error[name] for name in baselines))
            # It was fitted on all nodes at training times.
            assert ("ridge per node" in error) == (rows[0].view != "held-out nodes")
            for row in rows:
                assert row.skill == pytest.approx(1 - row.smspe / best)
                assert row.skill_baselines == pytest.approx(1 - row.smspe / every)

    def test_table(self, waves_result):
        text = waves_result.table(noise=0.0, mode="direct")
        lines = text.splitlines()
        assert lines[0] == (
            "waves, held-out nodes and time, clean input, direct forecast: "
            "sMSPE x 1e-2 / R2 (* best)"
        )
        assert lines[1].split() == ["steps", "ahead", "(time)", "1", "(0.1)", "8", "(0.8)"]
        assert [line.split("  ")[0] for line in lines[3:]] == [
            "persistence",
            "linear extrapolation",
            "ridge, own lags",
            "ridge, own + neighbours",
            "ridge per node",
            "MLP, own + neighbours",
            "model",
            "skill of model vs best naive",
            "skill of model vs best baseline",
        ]
        (row,) = waves_result.select(
            method="persistence", view=MAIN, noise=0.0, mode="direct", horizon=8
        )
        assert lines[3].split()[-3:] == [format_error(100 * row.smspe), "/", f"{row.r2:.4f}"]
        assert max(map(len, lines[1:])) <= 100

    @pytest.mark.parametrize(("style", "mark"), [("text", "{}*"), ("markdown", "**{}**")])
    def test_the_best_of_each_column_is_marked(self, waves_result, style, mark):
        table = waves_result.table(noise=0.0, mode="direct", metrics=("smspe",), style=style)
        body = table.partition("---")[2]
        assert body.count(mark.format("").strip()[:1]) == 2 * len(mark.format(""))
        for horizon in (1, 8):
            rows = waves_result.select(view=MAIN, noise=0.0, mode="direct", horizon=horizon)
            best = min(rows, key=lambda row: row.smspe)
            (line,) = (line for line in body.splitlines() if best.method in line)
            assert mark.format(format_error(100 * best.smspe)) in line

    def test_tables_of_all_views(self, waves_result):
        assert waves_result.table().count("held-out") == 4
        text = waves_result.table(views=True)
        assert [text.count(f"waves, {view},") for view in VIEWS] == [4, 4, 4]
        assert waves_result.table("held-out time").count("waves, held-out time,") == 4

    def test_markdown_is_a_table(self, waves_result):
        lines = waves_result.table(noise=0.0, mode="rollout", style="markdown").splitlines()
        assert lines[1] == ""
        assert {line.count("|") for line in lines[2:]} == {4}
        assert set(lines[3]) <= set("|-: ")

    def test_csv_round_trip(self, waves_result, tmp_path):
        path = tmp_path / "new" / "scores.csv"
        waves_result.to_csv(path)
        frame = pd.read_csv(path)
        assert len(frame) == len(waves_result.rows)
        assert frame.smspe.to_numpy() == pytest.approx([r.smspe for r in waves_result.rows])
        assert frame.method.tolist() == [r.method for r in waves_result.rows]
        assert [p.name for p in path.parent.iterdir()] == ["scores.csv"]

    def test_json_has_no_nan(self, tmp_path):
        result = evaluate([Recorder()], make_waves(), SPLIT, WINDOW, (1,), (0.0,), 1)
        assert math.isnan(result.rows[0].skill)
        result.to_json(tmp_path / "scores.json")
        content = json.loads((tmp_path / "scores.json").read_text(), parse_constant=pytest.fail)
        assert content["rows"][0]["skill"] is None
        assert content["rows"][0]["smspe"] == result.rows[0].smspe
        assert content["metadata"]["series"] == "waves"
        assert "skill" not in result.table()

    def test_a_failed_write_leaves_the_old_file(self, waves_result, tmp_path):
        path = tmp_path / "scores.json"
        path.write_text("old")
        broken = type(waves_result)(waves_result.rows, {"bad": object()})
        with pytest.raises(TypeError):
            broken.to_json(path)
        assert path.read_text() == "old"


class TestDiverged:
    def test_a_diverged_method_is_scored_and_nobodys_reference(self):
        broken = Recorder("broken", offset=math.inf)
        broken.group = "naive"
        result = evaluate(
            [broken, Persistence(HORIZON), Recorder("model", offset=0.1)],
            make_waves(),
            SPLIT,
            WINDOW,
            (1,),
            (0.0,),
            2,
            modes=("direct",),
        )
        rows = {row.method: row for row in result.select(view=MAIN)}
        assert math.isnan(rows["broken"].smspe)
        assert rows["persistence"].skill == 0
        assert rows["model"].skill < 0
        row = next(line for line in result.table().splitlines() if line.startswith("broken"))
        assert row.split()[1] == "-"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"forecasters": []}, "Expected at least one forecaster"),
        ({"forecasters": [Persistence(4), Persistence(8)]}, "Expected distinct names.*persistence"),
        ({"horizons": (0, 1)}, r"Expected 'horizons' of at least 1 \(got \(0, 1\)\)"),
        ({"horizons": ()}, "Expected 'horizons'"),
        ({"horizons": (300,)}, "Expected forecast times up to -100.*shorter horizons"),
        ({"noises": ()}, "Expected at least one noise variance"),
        ({"noises": (-1.0,)}, "Expected 'variance' to be finite"),
        ({"modes": ("direct", "oracle")}, "Expected 'modes' among"),
        ({"rollout_stride": 9}, r"Expected 'rollout_stride' in \[1, 8\]"),
        ({"times_per_view": 0}, "Expected 'times_per_view' to be at least 1"),
        ({"nodes_limit": 0}, "Expected 'nodes_limit' to be at least 1"),
    ],
)
def test_errors(options, message):
    given = {"forecasters": [Persistence(HORIZON)], "horizons": (1,)} | options
    with pytest.raises(ValueError, match=message):
        evaluate(series=make_waves(), split=SPLIT, window=WINDOW, **given)


def test_a_forecast_of_the_wrong_shape_is_named():
    method = Recorder("odd")
    method.forecast = lambda history, graph, nodes=None: history
    with pytest.raises(ValueError, match=r"'odd' to have shape \(60, 8\) \(got \(60, 6\)\)"):
        evaluate([method], make_waves(), SPLIT, WINDOW, (1,))


def test_table_errors():
    result = evaluate([Persistence(HORIZON)], make_waves(), SPLIT, WINDOW, (1,), (0.0,), 1)
    with pytest.raises(ValueError, match=r"Expected scores of 'moon'.*'held-out time'"):
        result.table("moon")
    with pytest.raises(ValueError, match=r"Expected a metric among smspe.*'mse'"):
        result.table(metrics=("mse",))
    with pytest.raises(ValueError, match="Expected 'style' to be 'text' or 'markdown'"):
        result.table(style="html")
    with pytest.raises(ValueError, match=r"Expected a column among method.*'colour'"):
        result.select(colour="red")
