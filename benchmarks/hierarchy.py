"""Is the learned hierarchy real? Agreement of supernodes with communities, chance, and other seeds.

    python benchmarks/hierarchy.py --output runs/hierarchy
    python benchmarks/hierarchy.py --graphs blocks --weights 0 1 --seeds 0 1 --steps 500

ROMA (``configs/small.yaml``) is trained with several weights of the modularity penalty and several
training seeds on one Kuramoto system per graph: ``hyperbolic`` (5,700 nodes), and ``blocks``
(6,000 nodes, 16 planted blocks of 4 smaller ones each, so that the two levels of 64 and 16
supernodes have a truth). Each run is analysed (`roma_pyg.training.analysis`), the first seed is
compared with the others, and two tables are printed: means over the seeds (standard deviation).
What is trained already is taken from the output folder.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

from roma_pyg.options.parser import parse_arguments
from roma_pyg.training.analysis import analyze_run
from roma_pyg.training.run import train

ROOT = Path(__file__).parents[1]
GRAPHS = {
    "hyperbolic": ["--data.name", "km5k"],
    "blocks": [
        *("--data.name", "blocks6k", "--data.graph.kind", "blocks"),
        *("--data.graph.blocks", "[16, 4]", "--data.graph.average_degree", "10"),
    ],
}


def run(graph: str, weight: str, seed: int, steps: int, output: Path) -> Path:
    """Train one model, if it is not there yet; returns its folder."""
    name = f"{graph}-{weight}-{seed}"
    if (output / name / "summary.json").is_file():
        return output / name
    words = ["--config", str(ROOT / "configs" / "small.yaml"), *GRAPHS[graph]]
    words += ["--model.pool.modularity", weight, "--training.seed", str(seed)]
    words += ["--training.learning_rate", "6e-3", "--training.max_steps", str(steps)]
    words += ["--training.output", str(output), "--training.name", name]
    words += ["--training.figures", "false", "--training.workers", "0"]
    return train(parse_arguments(words, "roma-train", "").config, progress=False)


def rows(path: Path) -> list[dict[str, str]]:
    """Read a table of an analysis."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def spread(values: list[float]) -> str:
    """Mean (standard deviation)."""
    deviation = f" ({np.std(values, ddof=1):.2g})" if len(values) > 1 else ""
    return f"{np.mean(values):.3g}{deviation}"


def main() -> None:
    """Train, analyse, and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--graphs", nargs="+", choices=list(GRAPHS), default=list(GRAPHS))
    parser.add_argument("--weights", nargs="+", default=["0", "0.1", "1"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--output", type=Path, default=Path("runs/hierarchy"))
    options = parser.parse_args()
    agreement: dict[tuple[str, ...], list[float]] = defaultdict(list)
    forecast: dict[tuple[str, ...], dict[str, list[float]]] = {}
    for graph in options.graphs:
        for weight in options.weights:
            runs = [run(graph, weight, s, options.steps, options.output) for s in options.seeds]
            scores: dict[str, list[float]] = defaultdict(list)
            for index, folder in enumerate(runs):
                others = [other for place, other in enumerate(runs) if place != index]
                report = analyze_run(folder, others=others).parent
                for row in rows(report / "agreement.csv"):
                    seeds = row["compared with"].startswith("run ")
                    other = "another seed" if seeds else row["compared with"]
                    key = (graph, weight, row["level"], row["supernodes"], other)
                    agreement[key].append(float(row["AMI"]))
                    if other == "another seed":
                        continue
                for row in rows(report / "supernodes.csv"):
                    scores[f"used, level {row['level']}"].append(float(row["used"]))
                for row in rows(report / "error_by_part.csv"):
                    if row["nodes of"] == "test":
                        for ahead in (16, 64):
                            error = 100 * float(row[f"sMSPE {ahead} ahead"])
                            scores[f"sMSPE x 1e-2, {ahead} ahead"].append(error)
                for row in rows(report / "commutation.csv"):
                    if row["steps ahead"] == "64":
                        ratio = float(row["gap"]) / float(row["coarse-grain, then forecast"])
                        scores[f"gap / coarse error, level {row['level']}"].append(ratio)
            forecast[graph, weight] = scores
    names = list(next(iter(forecast.values())))
    print(f"| graph | modularity weight | {' | '.join(names)} |")
    print(f"| --- | --- |{' ---: |' * len(names)}")
    for (graph, weight), scores in forecast.items():
        print(f"| {graph} | {weight} | {' | '.join(spread(scores[name]) for name in names)} |")
    print("\nAMI:\n\n| graph | modularity weight | level | supernodes | compared with | AMI |")
    print("| --- | --- | ---: | --- | --- | ---: |")
    for key, values in agreement.items():
        print(f"| {' | '.join(key)} | {spread(values)} |")


if __name__ == "__main__":
    main()
