"""What the memory of the nodes knows of their future, by what it looks at and by its size.

    python benchmarks/memory.py --config configs/small.yaml --data.name km5k-s100 --data.seed 100
    python benchmarks/memory.py --config configs/small.yaml --data.name bd5k --data.system burgers

The linear forecasts of `NodeMemory` alone, before any network is trained, on held-out nodes and
held-out time: sMSPE x 1e-2 / R2 at several steps ahead, with the noise of the data on the history;
and the seconds to find modes and memory and to recall all nodes. All options are those of
``roma-train``.
"""

from __future__ import annotations

import sys
import time

import numpy as np
import torch

from roma_pyg.analysis.metrics import r2, smspe
from roma_pyg.config import DataConfig, TrainingConfig
from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.data.history import History
from roma_pyg.options.parser import parse_arguments

TIMES = 24
VARIANTS = {
    "own windows": {"memory.neighbors": "false", "memory.collective": "0"},
    "and neighbours": {"memory.collective": "0"},
    "and collective modes": {"memory.neighbors": "false"},
    "both": {},
}
SIZES = (32, 64)


def main() -> None:
    """Print one table."""
    words = sys.argv[1:] or ["--config", "configs/small.yaml"]
    steps: tuple[int, ...] = ()
    for size in SIZES:
        for name, changes in VARIANTS.items():
            more = {"memory.size": str(size)} | changes
            extra = [word for key, value in more.items() for word in (f"--data.{key}", value)]
            config = parse_arguments([*words, *extra], "roma-train", "").config
            if not steps:
                steps = config.data.reported_steps
                titles = " | ".join(f"{step} ahead" for step in steps)
                print(f"| the memory sees | numbers | {titles} | s |")
                print("| --- | ---: |" + " ---: |" * (len(steps) + 1))
            scores, seconds = measure(config.data, config.training, steps)
            row = " | ".join(f"{100 * error:.3g} / {share:.3f}" for error, share in scores)
            print(f"| {name} | {size} | {row} | {seconds:.1f} |", flush=True)


def measure(
    options: DataConfig, training: TrainingConfig, steps: tuple[int, ...]
) -> tuple[list[tuple[float, float]], float]:
    """The sMSPE and R2 at some steps ahead, and the seconds it took to remember."""
    data = GraphSeriesData(options, training, progress=False)
    begin = time.perf_counter()
    features, memory = data.features, data.memory
    seconds = time.perf_counter() - begin
    assert memory is not None
    assert features.memory is not None
    nodes, values = data.split.nodes["test"], data.series.values
    coefficients = torch.from_numpy(features.memory[-1][nodes])
    span = data.split.times["test"]
    columns = np.searchsorted(memory.steps, steps)
    guesses, truths = [], []
    for moment in np.linspace(span[0], span[-1], TIMES).astype(int).tolist():
        past = History(values, moment, options.window, options.noise, seed=1)
        modes, course, around = features.read_modes(past), None, None
        if modes is not None:
            course = torch.from_numpy(features.course(nodes, modes))
        if memory.neighbors:
            mean = data.surroundings.neighbor_mean(past, nodes)
            around = torch.from_numpy(mean.astype(np.float32))
        outlook = memory(torch.from_numpy(past[nodes]), coefficients, course, around)
        guesses.append(outlook.numpy()[:, columns])
        truths.append(np.asarray(values[nodes][:, moment - 1 + np.array(steps)]))
    guess, truth = np.concatenate(guesses), np.concatenate(truths)
    pairs = [(guess[:, i], truth[:, i]) for i in range(len(steps))]
    return [(smspe(*pair), r2(*pair)) for pair in pairs], seconds


if __name__ == "__main__":
    main()
