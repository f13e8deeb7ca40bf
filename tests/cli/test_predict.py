"""``roma-predict`` on a tiny trained run: every node once, in every format, and honest errors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import roma_pyg
from roma_pyg.cli.predict import main
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
from roma_pyg.models.rollout import rollout
from roma_pyg.training.run import train

N, T, K, H = 80, 300, 8, 8


def write_data(folder: Path) -> None:
    """Waves that travel round a ring, in the layout of the authors."""
    ring = np.arange(N)
    rng = np.random.default_rng(0)
    phase = 0.35 * np.arange(T) + rng.normal(0, 0.1, (N, 1)) - 0.4 * ring[:, None]
    values = ((1.05 + np.cos(phase)) / 2.1).astype(np.float32)
    frame = pd.DataFrame(values, columns=[str(i) for i in range(T)])
    frame.to_parquet(folder / "x_ring.parquet")
    (20 * frame - 5).to_parquet(folder / "celsius.parquet")
    pd.DataFrame({"0": ring, "1": (ring + 1) % N}).to_parquet(folder / "edges_ring.parquet")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    write_data(folder)
    config = RunConfig(
        data=DataConfig(
            name="ring",
            root=str(folder / "data"),
            system="files",
            edges=str(folder / "edges_ring.parquet"),
            series=str(folder / "x_ring.parquet"),
            dt=0.1,
            positional=PositionalConfig(eigenmaps=2, walk_embedding=2),
            window=K,
            horizon=H,
            nodes_per_graph=24,
            noise=0.0,
        ),
        model=ModelConfig(
            features=4,
            encoder=EncoderConfig(width=8),
            pool=PoolConfig(sizes=[6], width=8),
            operator=OperatorConfig(width=16, layers=1, heads=2, num_functions=4),
            trunk=TrunkConfig(basis=4, width=8, layers=1, fourier_features=4),
        ),
        training=TrainingConfig(
            output=str(folder), name="run", max_steps=2, val_interval=2, val_batches=1,
            figures=False, workers=0, accelerator="cpu",
        ),
    )  # fmt: skip
    data = GraphSeriesData(config.data, config.training, progress=False)
    return train(config, data=data, progress=False)


@pytest.fixture(scope="module")
def series(run: Path) -> roma_pyg.GraphSeries:
    return roma_pyg.load_series(roma_pyg.load(run).data)


def predict(run: Path, output: Path, *words: object) -> np.ndarray:
    assert main([str(run), "--output", str(output), *map(str, words)]) == 0
    if output.suffix == ".npy":
        return np.load(output)
    if output.suffix == ".parquet":
        return pd.read_parquet(output).to_numpy()
    import zarr

    return np.asarray(zarr.open_array(str(output), mode="r")[:])


def before(series: roma_pyg.GraphSeries, time: int) -> roma_pyg.GraphSeries:
    return replace(series, values=series.values[:, :time])


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".zarr"])
def test_equals_the_forecast_of_the_library(
    run: Path,
    series: roma_pyg.GraphSeries,
    tmp_path: Path,
    suffix: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if suffix == ".zarr":
        pytest.importorskip("zarr")
    result = predict(run, tmp_path / f"f{suffix}")
    expected = roma_pyg.load(run).forecast(series)
    np.testing.assert_allclose(result, expected, rtol=1e-5)
    assert "80 nodes x 8 steps ahead, samples 300 to 307" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == [f"f{suffix}"]


def test_earlier_times_and_some_steps(
    run: Path, series: roma_pyg.GraphSeries, tmp_path: Path
) -> None:
    expected = roma_pyg.load(run).forecast(before(series, 200))
    whole = predict(run, tmp_path / "a.npy", "--time", 200)
    np.testing.assert_allclose(whole, expected, rtol=1e-5)
    some = predict(run, tmp_path / "b.parquet", "--time", 200, "--steps", 8, 2, 2)
    np.testing.assert_allclose(some, expected[:, [1, 7]], rtol=1e-5)
    assert pd.read_parquet(tmp_path / "b.parquet").columns.tolist() == ["2", "8"]


@pytest.mark.parametrize("stride", [3, 8])
def test_rollout(run: Path, series: roma_pyg.GraphSeries, tmp_path: Path, stride: int) -> None:
    model = roma_pyg.load(run)
    forecaster = roma_pyg.RomaForecaster.for_series(model, series)
    expected = rollout(forecaster, series.values[:, 200 - K : 200], series.graph, 20, stride)
    result = predict(run, tmp_path / "f.npy", "--time", 200, "--horizon", 20, "--stride", stride)
    np.testing.assert_allclose(result, expected, rtol=1e-4)


def test_evaluation(
    run: Path, series: roma_pyg.GraphSeries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = predict(run, tmp_path / "f.npy", "--time", 295, "--evaluate")
    # The series ends after five of the eight steps.
    rows = pd.read_csv(tmp_path / "f.npy.errors.csv")
    assert rows["steps ahead"].tolist() == [1, 2, 3, 4, 5]
    truth, last = series.values[:, 295:], series.values[:, 294:295]
    for name, guess in (("", result[:, :5]), (" persistence", last)):
        error = np.square((guess - truth) / (guess + truth + 1e-4)).mean(0)
        np.testing.assert_allclose(rows[f"sMSPE{name}"], 100 * error, rtol=1e-4)
    np.testing.assert_allclose(rows["mean truth"], truth.mean(0), rtol=1e-5)
    np.testing.assert_allclose(rows["mean forecast"], result[:, :5].mean(0), rtol=1e-5)
    assert "R2 persistence" in capsys.readouterr().out


def test_noise_by_seed(run: Path, tmp_path: Path) -> None:
    clean = predict(run, tmp_path / "a.npy")
    noisy = [
        predict(run, tmp_path / f"{i}.npy", "--noise", 0.01, "--seed", seed)
        for i, seed in enumerate((1, 1, 2))
    ]
    np.testing.assert_array_equal(noisy[0], noisy[1])
    assert not np.allclose(noisy[0], clean)
    assert not np.allclose(noisy[0], noisy[2])


def test_other_data_in_its_own_unit(run: Path, tmp_path: Path) -> None:
    folder = run.parent
    edges, own = folder / "edges_ring.parquet", folder / "celsius.parquet"
    files = ["--edges", edges, "--series", own]
    scaled = predict(run, tmp_path / "a.npy", *files, "--scaled")
    result = predict(run, tmp_path / "b.npy", *files)
    raw = pd.read_parquet(own).to_numpy()
    low, high = raw.min(), raw.max()
    np.testing.assert_allclose(
        result, low + (high - low) * (scaled - 0.02) / 0.98, rtol=1e-4, atol=1e-3
    )
    # The same from a data set made of the files, and from the files in the layout of the authors.
    from roma_pyg.data.importing import import_files

    store = import_files(edges, own, tmp_path / "store")
    np.testing.assert_allclose(
        predict(run, tmp_path / "c.npy", "--data", store), result, rtol=1e-4, atol=1e-3
    )
    direct = predict(run, tmp_path / "d.npy")
    np.testing.assert_array_equal(
        predict(run, tmp_path / "e.npy", "--data", folder / "ring"), direct
    )


def test_positional_features_of_a_file(
    run: Path, series: roma_pyg.GraphSeries, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    direct = predict(run, tmp_path / "a.npy")
    own = roma_pyg.RomaForecaster.for_series(roma_pyg.load(run), series).features.position
    np.save(tmp_path / "p.npy", own)
    same = predict(run, tmp_path / "b.npy", "--positional", tmp_path / "p.npy")
    np.testing.assert_allclose(same, direct, rtol=1e-5)
    np.save(tmp_path / "p.npy", own[:, 1:])
    words = [str(run), "--output", str(tmp_path / "c.npy"), "--positional"]
    assert main([*words, str(tmp_path / "p.npy")]) == 2
    assert "Expected 'position' of shape (80, 5) (got (80, 4))" in capsys.readouterr().err


def test_output_that_exists(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "f.npy"
    output.write_bytes(b"mine")
    assert main([str(run), "--output", str(output)]) == 2
    assert "not to exist" in capsys.readouterr().err
    assert output.read_bytes() == b"mine"
    assert predict(run, output, "--overwrite").shape == (N, H)


def test_interrupted_run_leaves_nothing(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from roma_pyg.models.roma import Roma

    original, calls = Roma.forecast_fine, []

    def stop(self: Roma, batch: object) -> torch.Tensor:
        calls.append(batch)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Roma, "forecast_fine", stop)
    words = [str(run), "--output", str(tmp_path / "f.npy"), "--batch-size", "1"]
    assert main(words) == 130
    assert "nothing is left of the output" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--time", "7"], "Expected 'time' in [8, 300] for a window of 8 samples"),
        (["--time", "301"], "(got 301)"),
        (["--time", "300", "--evaluate"], "Expected '--time' below 300"),
        (["--evaluate"], "Expected '--time' below 300"),
        (["--output", "f.csv"], "Expected an output ending in .npy, .parquet, .zarr (got '.csv'"),
        (["--steps", "9"], "Expected '--steps' in [1, 8], the trained horizon (got 9)"),
        (["--steps", "0"], "Expected '--steps' to be at least 1 (got 0)."),
        (["--horizon", "0"], "Expected '--horizon' to be at least 1 (got 0)."),
        (["--stride", "9"], "Expected '--stride' in [1, 8] (got 9)."),
        (["--noise", "-1"], "Expected '--noise' to be at least 0 (got -1.0)."),
        (["--batch-size", "0"], "Expected '--batch-size' to be at least 1 (got 0)."),
        (["--edges", "e.csv"], "Expected both '--edges' and '--series'"),
        (["--edges", "e", "--series", "s", "--data", "d"], "or '--edges' and '--series' (got both"),
        (["--data", "nowhere/at/all"], "Expected a data set, or files x_*.parquet"),
    ],
)
def test_impossible_requests(
    run: Path,
    tmp_path: Path,
    words: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([str(run), "--output", "f.npy", *words]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_missing_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "none"), "--output", "f.npy"]) == 2
    assert "Expected the folder of a run" in capsys.readouterr().err
