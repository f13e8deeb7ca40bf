"""ROMA's quickstart against the simple forecasts, over seeds, with clean and with noisy input.

    python benchmarks/forecast_seeds.py --seeds 0 1 2 --noises 0 4e-4 --jobs 2

Each member has its own graph, frequencies, split and initialisation (``data.seed`` and
``training.seed``); it is trained with the noise it is tested with, and so are the baselines. What
is finished is not run again. The table (mean and standard deviation over seeds) is written to
``OUTPUT/table.md``, all scores to ``OUTPUT/*/evaluation.csv``.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd

HORIZONS = (1, 16, 64)
ROOT = Path(__file__).parents[1]


def member(config: Path, output: Path, seed: int, noise: float, threads: int, steps: int) -> Path:
    """Train and evaluate one member in a process of its own; returns its folder."""
    name = f"seed{seed}-noise{noise:g}"
    folder = output / name
    if (folder / "evaluation.csv").is_file():
        return folder
    words = ["--config", str(config), "--training.output", str(output), "--training.name", name]
    words += ["--data.name", f"{config.stem}-seed{seed}", "--data.seed", str(seed)]
    words += ["--training.seed", str(seed), "--data.noise", str(noise)]
    words += ["--evaluate", "none", "--training.figures", "false"]
    words += ["--max_steps", str(steps)] if steps else []
    words += ["--resume", "auto"]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    with (output / f"{name}.log").open("w") as log:
        for module, arguments in (
            ("train", words),
            (
                "evaluate",
                [
                    *(str(folder), "--split-views", "--noise", str(noise), "--nodes", "0"),
                    *("--horizons", *map(str, HORIZONS)),
                ],
            ),
        ):
            command = [sys.executable, "-m", f"roma_pyg.cli.{module}", *arguments]
            subprocess.run(command, cwd=ROOT, env=environment, stdout=log, stderr=log, check=True)
    return folder


def rows(folders: dict[tuple[int, float], Path]) -> Iterator[str]:
    """Lines of the table, one block per noise and view."""
    frames = [
        pd.read_csv(folder / "evaluation.csv").assign(seed=seed)
        for (seed, _), folder in folders.items()
    ]
    scores = pd.concat(frames)
    scores = scores[scores["mode"] == "direct"]
    for (noise, view), block in scores.groupby(["noise", "view"], sort=False):
        yield f"\n**{view}, input noise {noise:g}**: sMSPE x 1e-2 / R2, mean (standard deviation)\n"
        yield "| method | " + " | ".join(f"{h} steps ahead" for h in HORIZONS) + " |"
        yield "| --- |" + " --- |" * len(HORIZONS)
        cells: dict[str, list[str]] = defaultdict(list)
        for method in dict.fromkeys(block["method"]):
            for horizon in HORIZONS:
                part = block[(block["method"] == method) & (block["horizon"] == horizon)]
                error, r2 = 100 * part["smspe"], part["r2"]
                spread = np.std(error), np.std(r2)
                cells[method].append(
                    f"{error.mean():.3f} ({spread[0]:.3f}) / {r2.mean():.4f} ({spread[1]:.4f})"
                )
        for method, entries in cells.items():
            yield f"| {method} | " + " | ".join(entries) + " |"


def main() -> None:
    """Run all members and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "quickstart.yaml")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--noises", type=float, nargs="+", default=[0.0, 4e-4])
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "forecast_seeds")
    parser.add_argument("--jobs", type=int, default=1, help="members trained at the same time")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="per member")
    parser.add_argument("--max-steps", type=int, default=0, help="0 for those of the config")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    keys = [(seed, noise) for noise in options.noises for seed in options.seeds]
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = {
            key: pool.submit(
                member, options.config, options.output, *key, options.threads, options.max_steps
            )
            for key in keys
        }
        folders = {key: future.result() for key, future in futures.items()}
    text = "\n".join(rows(folders)) + "\n"
    (options.output / "table.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
