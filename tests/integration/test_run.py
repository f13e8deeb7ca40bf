"""A whole run on a tiny system: train, resume, load, forecast, supernodes, evaluate."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

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
from roma_pyg.training.run import evaluate_run, train


def make_series(nodes: int = 80, samples: int = 300) -> roma_pyg.GraphSeries:
    """Waves that travel round a ring: the neighbours tell what comes."""
    rng = np.random.default_rng(0)
    ring = np.arange(nodes)
    edges = np.stack([ring, (ring + 1) % nodes])
    phase = 0.35 * np.arange(samples) + rng.normal(0, 0.1, (nodes, 1)) - 0.4 * ring[:, None]
    values = (1.05 + np.cos(phase)) / 2.1
    return roma_pyg.GraphSeries.from_arrays(edges, values.astype(np.float32), dt=0.1, name="ring")


def make_config(output: Path, steps: int = 6) -> RunConfig:
    return RunConfig(
        data=DataConfig(
            name="ring",
            root=str(output / "data"),
            system="files",
            edges="edges.csv",
            series="series.csv",
            positional=PositionalConfig(eigenmaps=2, walk_embedding=2),
            window=8,
            horizon=8,
            nodes_per_graph=24,
            noise=0.0,
        ),
        model=ModelConfig(
            features=4,
            encoder=EncoderConfig(width=8),
            pool=PoolConfig(sizes=[6, 2], width=8),
            operator=OperatorConfig(width=16, layers=1, heads=2, num_functions=4),
            trunk=TrunkConfig(basis=4, width=8, layers=1, fourier_features=4),
        ),
        training=TrainingConfig(
            output=str(output),
            name="run",
            max_steps=steps,
            val_interval=3,
            val_batches=1,
            log_interval=1,
            figures=False,
            workers=0,
            accelerator="cpu",
        ),
    )


@pytest.fixture(scope="module")
def series() -> roma_pyg.GraphSeries:
    return make_series()


def run(config: RunConfig, series: roma_pyg.GraphSeries) -> Path:
    data = GraphSeriesData(config.data, config.training, series, progress=False)
    return train(config, data=data, progress=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, series: roma_pyg.GraphSeries) -> Path:
    return run(make_config(tmp_path_factory.mktemp("runs")), series)


def test_the_folder_holds_what_is_needed_to_go_on(finished: Path) -> None:
    names = {path.name for path in finished.iterdir()}
    assert {"config.yaml", "best.ckpt", "last.ckpt", "tensorboard"} <= names
    config = yaml.safe_load((finished / "config.yaml").read_text(encoding="utf-8"))
    assert config["data"]["window"] == 8
    assert config["training"]["max_steps"] == 6


def test_load_forecast_and_supernodes(finished: Path, series: roma_pyg.GraphSeries) -> None:
    model = roma_pyg.load(finished)
    direct = model.forecast(series, horizon=8)
    assert direct.shape == (80, 8)
    assert np.isfinite(direct).all()
    # The trained horizon is 8: the rest is rolled out from the forecast.
    rolled = model.forecast(series, horizon=20)
    np.testing.assert_allclose(rolled[:, :8], direct, rtol=1e-5)
    hierarchy = model.supernodes(series)
    assert [s.shape for s in hierarchy.assignments] == [(80, 6), (6, 2)]
    for assignment in hierarchy.assignments:
        np.testing.assert_allclose(assignment.sum(axis=0), 1, rtol=1e-4)
    assert hierarchy.labels(2).shape == (80,)


@pytest.mark.parametrize("law", ["none", "emergent", "burgers", "none, rolled"])
def test_a_resumed_run_ends_with_the_weights_of_an_unbroken_one(
    tmp_path: Path, series: roma_pyg.GraphSeries, law: str
) -> None:
    unbroken, config = make_config(tmp_path / "unbroken"), make_config(tmp_path / "stopped")
    for each in (unbroken, config):
        each.model.effective.kind = law.split(",")[0]  # type: ignore[assignment]
        each.training.rollout = 3 if "rolled" in law else 1
    # The learning rate follows the length of the whole run, also while only half of it is run.
    import lightning as L

    original = L.Trainer.__init__

    def stop_early(self: L.Trainer, *args: object, **kwargs: object) -> None:
        original(self, *args, **{**kwargs, "max_steps": 3})  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(L.Trainer, "__init__", stop_early)
        run(config, series)
    config.training.resume = True
    checkpoints = [
        torch.load(run(each, series) / "last.ckpt", weights_only=True)
        for each in (unbroken, config)
    ]
    for part in ("current_model_state", "state_dict"):
        one, other = (checkpoint[part] for checkpoint in checkpoints)
        assert one.keys() == other.keys()
        for name, value in one.items():
            assert torch.equal(value, other[name]), name
    if not law.startswith("none"):
        weight = checkpoints[0]["state_dict"]["residual_weights.weight"]
        assert weight.isfinite().all()
        assert weight.abs().sum() > 0


def test_figures_change_nothing(tmp_path: Path, series: roma_pyg.GraphSeries) -> None:
    """The weights are those of a run without figures, also if it is stopped and resumed."""
    import lightning as L

    original = L.Trainer.__init__

    def stop_early(self: L.Trainer, *args: object, **kwargs: object) -> None:
        original(self, *args, **{**kwargs, "max_steps": 3})  # type: ignore[arg-type]

    plain, drawn = make_config(tmp_path / "plain"), make_config(tmp_path / "drawn")
    drawn.training.figures = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(L.Trainer, "__init__", stop_early)
        run(drawn, series)
    drawn.training.resume = True
    folder = run(drawn, series)
    one, other = (
        torch.load(path / "last.ckpt", weights_only=True) for path in (run(plain, series), folder)
    )
    for part in ("current_model_state", "state_dict"):
        for name, value in one[part].items():
            assert torch.equal(value, other[part][name]), name
    assert (folder / "tensorboard" / "00006" / "nodes" / "tensors.tsv").is_file()
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert summary["dashboard_seconds"] > 0
    assert summary["dashboard_share"] > 0


def test_a_law_is_watched(tmp_path: Path, series: roma_pyg.GraphSeries) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    config = make_config(tmp_path, steps=3)
    config.model.effective.kind = "burgers"
    folder = run(config, series)
    summary = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    assert len(summary["unexplained"]) == 3
    assert all(share > 0 for share in summary["unexplained"])
    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    tags = set(events.Tags()["scalars"])
    kinds = ("residual", "residual_gradient")
    assert {f"loss/{kind}" for kind in kinds} <= tags
    assert {f"gradient/{kind}" for kind in ("data", *kinds)} <= tags
    assert {f"effective/weight/{kind}" for kind in kinds} <= tags
    assert {f"effective/{kind}/{level}" for kind in kinds for level in range(3)} <= tags
    assert {"effective/viscosity", "val/unexplained/0", "val/unexplained/2"} <= tags


def test_an_existing_run_is_not_overwritten(tmp_path: Path, series: roma_pyg.GraphSeries) -> None:
    config = make_config(tmp_path, steps=1)
    config.training.val_interval = 1
    names = [run(config, series).name for _ in range(3)]
    assert names == ["run", "run-2", "run-3"]


def test_there_must_be_something_to_resume(tmp_path: Path, series: roma_pyg.GraphSeries) -> None:
    config = make_config(tmp_path)
    config.training.resume = True
    with pytest.raises(FileNotFoundError, match="to resume from"):
        run(config, series)


def test_evaluation_of_a_run(
    finished: Path, series: roma_pyg.GraphSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("roma_pyg.data.datamodule.load_series", lambda *_, **__: series)
    result = evaluate_run(
        finished, times=2, horizons=(1, 8), noises=(0.0,), baselines=False, progress=False
    )
    methods = {score.method for score in result.rows}
    assert {"ROMA", "persistence", "ridge, own + neighbours", "linear with memory"} <= methods
    assert (finished / "evaluation.csv").is_file()
    assert "ROMA" in result.table()


@pytest.mark.parametrize("kind", ["deeponet", "nomad"])
def test_training_learns_what_neighbours_tell(
    tmp_path: Path, series: roma_pyg.GraphSeries, kind: str
) -> None:
    config = make_config(tmp_path, steps=120)
    config.model.base = "persistence"
    config.model.trunk.kind = kind  # type: ignore[assignment]
    config.training.learning_rate = 1e-2
    folder = run(config, series)
    model = roma_pyg.load(folder)
    past = roma_pyg.GraphSeries(series.graph, series.values[:, :-8], series.dt)
    truth = series.values[:, -8:]
    error = np.abs(model.forecast(past) - truth).mean()
    naive = np.abs(series.values[:, -9:-8] - truth).mean()
    assert error < 0.5 * naive
