"""The analysis of runs on a small planted hierarchy, by the command and by the library."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from roma_pyg.analysis.analyze import analyze
from roma_pyg.cli.analyze import main
from roma_pyg.config import DataConfig, GraphConfig, PositionalConfig, RunConfig
from roma_pyg.training.run import train
from tests.integration.test_run import make_config


def make_run(output: Path, name: str, seed: int = 0, data_seed: int = 0, **pool) -> Path:
    config = make_config(output, steps=3)
    data = DataConfig(
        name=f"blocks{data_seed}",
        root=str(output / "data"),
        seed=data_seed,
        steps=300,
        graph=GraphConfig(kind="blocks", nodes=120, blocks=[6, 2], average_degree=6),
        positional=PositionalConfig(eigenmaps=2, walk_embedding=2),
        window=8,
        horizon=8,
        nodes_per_graph=24,
    )
    model = replace(config.model, pool=replace(config.model.pool, **pool))
    training = replace(config.training, name=name, seed=seed, max_steps=3)
    return train(RunConfig(data=data, model=model, training=training), progress=False)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("analysis")


@pytest.fixture(scope="module")
def runs(output: Path) -> list[Path]:
    return [make_run(output, f"seed{seed}", seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def report(runs: list[Path]) -> Path:
    assert main([str(runs[0]), "--compare", str(runs[1]), "--times", "2"]) == 0
    return runs[0] / "analysis" / "report.md"


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_figure_of_the_page_is_there(report: Path) -> None:
    page = report.read_text(encoding="utf-8")
    shown = {part.split(")")[0] for part in page.split("](")[1:]}
    written = {path.name for path in report.parent.glob("*.png")}
    assert shown == written
    assert {
        "map_level_1.png",
        "map_level_2.png",
        "tree.png",
        "spread.png",
        "couplings.png",
        "renormalization.png",
        "attention_by_level.png",
        "attention_by_distance.png",
        "attention_to_level_1.png",
        "attention_components.png",
        "space_time.png",
        "error_by_degree.png",
        "error_by_supernode.png",
        "error_by_time.png",
        "levels_over_time.png",
        "commutation.png",
        "training.png",
    } <= written
    assert not list(report.parent.glob(".*"))


def test_agreement_names_planted_blocks_chance_and_the_other_seed(report: Path) -> None:
    table = rows(report.parent / "agreement.csv")
    compared = {(row["supernodes"], row["compared with"]) for row in table}
    assert {
        ("this run", "planted blocks, level 1"),
        ("this run", "Leiden"),
        ("untrained", "planted blocks, level 2"),
        ("shuffled", "Louvain"),
        ("this run", "run seed1"),
        ("this run", "untrained"),
    } <= compared
    chance = [float(row["AMI"]) for row in table if row["supernodes"] == "shuffled"]
    assert np.abs(np.mean(chance)) < 0.1


def test_data_of_the_figures(report: Path) -> None:
    supernodes = np.load(report.parent / "supernodes.npz")
    assert supernodes["place"].shape == (len(supernodes["level_1"]), 2)
    forecast = np.load(report.parent / "forecast.npz")
    count = len(supernodes["level_1"])
    assert forecast["forecast"].shape == forecast["truth"].shape == (2, count, 8)
    kept = {row["graph"]: float(row["coupling kept"]) for row in rows(
        report.parent / "renormalization.csv")}  # fmt: skip
    assert kept["all nodes"] == 1
    assert {"learned", "learned, soft", "LRG", "GRG", "Louvain", "random"} <= set(kept)
    # Communities keep their coupling inside, random sets do not.
    assert kept["Louvain"] < kept["random"]


def test_another_graph_cannot_be_compared(
    runs: list[Path], output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = make_run(output, "other", data_seed=1)
    assert main([str(runs[0]), "--compare", str(other)]) == 2
    error = capsys.readouterr().err
    assert "runs on one graph" in error
    assert "keep data.seed" in error


def test_fixed_communities_have_no_hierarchy_of_the_whole_graph(output: Path) -> None:
    run = make_run(output, "louvain", select="louvain")
    assert main([str(run), "--times", "1", "--output", str(output / "elsewhere")]) == 0
    written = {path.name for path in (output / "elsewhere").iterdir()}
    assert "tree.png" not in written
    assert {"attention_by_level.png", "commutation.png", "space_time.png"} <= written


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nowhere"], "Expected the folder of a run at 'nowhere'"),
        (["RUN", "--times", "0"], "'--times' to be at least 1"),
        (["RUN", "--noise", "-1"], "'--noise' to be at least 0"),
        (["RUN", "--compare", "none"], "folder of a run at 'none'"),
    ],
)
def test_wrong_words(
    words: list[str], message: str, runs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(runs[0]) if word == "RUN" else word for word in words]) == 2
    assert message in capsys.readouterr().err


def test_library_rejects_no_times(tmp_path: Path, tiny) -> None:
    from roma_pyg.analysis.analyze import Subject
    from roma_pyg.data.series import GraphSeries
    from roma_pyg.data.split import Split
    from roma_pyg.models.forecast import RomaForecaster

    series = GraphSeries(tiny.graph(), tiny.values())
    subject = Subject(
        RomaForecaster(tiny.model(), series.graph, tiny.position()),
        series,
        Split({"train": np.arange(30)}, {"test": range(5, 36)}),
    )
    with pytest.raises(ValueError, match="'times' to be at least 1"):
        analyze(subject, tmp_path, times=0)
