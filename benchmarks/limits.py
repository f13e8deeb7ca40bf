"""What limits the forecast far ahead: the network, or what it is told?

    python benchmarks/limits.py --config configs/small.yaml --data.name km5k-s100 --data.seed 100
    python benchmarks/limits.py --config configs/small.yaml --data.name bd5k --data.system burgers

On held-out nodes and held-out time, sMSPE x 1e-2 / R2 at several steps ahead, of

- the linear forecasts of `NodeMemory`, and the same if it knew the collective modes to come;
- a perceptron per node that corrects them from all that is known (own window, mean window of the
  neighbours, what collective modes expect of the node), trained long on squared errors; told in
  addition what the memory of the neighbours expects of them; and told what they will really do.

The second and the last of these rows cannot be had; they bound what better forecasts of the modes
and of the neighbours would bring. All options are those of ``roma-train``; ``--training.max_steps``
is the number of steps of the perceptron, and the noise is that of the data.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from roma_pyg.analysis.metrics import r2, smspe
from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.data.history import History
from roma_pyg.data.memory import NodeMemory
from roma_pyg.options.parser import parse_arguments

TIMES = 24
TRAINING_TIMES = 160
NODES = 2000
WIDTH = 384
BATCH = 1024
RATE = 1.5e-3
FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Samples:
    """What is known of some nodes at some times, and what becomes of them.

    Attributes:
        window: Own window, shape ``(n, K)``.
        around: Mean window of the neighbours, shape ``(n, K)``.
        course: What collective modes expect, shape ``(n, Q)``.
        outlook: Forecasts of the memory, shape ``(n, Q)``.
        informed: The same if it knew the modes to come, shape ``(n, Q)``.
        expected: Mean of these forecasts over the neighbours, shape ``(n, Q)``.
        neighbors: Mean of the true values of the neighbours, shape ``(n, Q)``.
        truth: True values, shape ``(n, Q)``.
    """

    window: FloatArray
    around: FloatArray
    course: FloatArray
    outlook: FloatArray
    informed: FloatArray
    expected: FloatArray
    neighbors: FloatArray
    truth: FloatArray

    def inputs(self, *names: str) -> FloatArray:
        """Some of these side by side."""
        return np.concatenate([getattr(self, name) for name in names], axis=1)


def main() -> None:
    """Print one table."""
    config = parse_arguments(
        sys.argv[1:] or ["--config", "configs/small.yaml"], "roma-train", ""
    ).config
    steps = config.data.reported_steps
    data = GraphSeriesData(config.data, config.training, progress=False)
    split, rng = data.split, np.random.default_rng(config.training.seed)
    span = split.times["test"]
    spread = np.linspace(span[0], span[-1], TIMES).astype(int)
    test = _gather(data, split.nodes["test"], spread.tolist(), training=False)
    times, nodes = np.array(split.times["train"]), split.nodes["train"]
    drawn = rng.choice(times, min(TRAINING_TIMES, len(times)), replace=False)
    train = _gather(
        data, rng.choice(nodes, min(NODES, len(nodes)), replace=False), drawn.tolist(), True
    )
    memory = data.memory
    assert memory is not None
    columns = np.searchsorted(memory.steps, steps)
    print("| forecast | " + " | ".join(f"{step} ahead" for step in steps) + " |")
    print("| --- |" + " ---: |" * len(steps))

    def row(name: str, guess: FloatArray) -> None:
        pairs = [(guess[:, i], test.truth[:, i]) for i in columns]
        cells = (f"{100 * smspe(*pair):.3g} / {r2(*pair):.3f}" for pair in pairs)
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)

    row("memory, linear", test.outlook)
    row("that knew the modes to come", test.informed)
    known: tuple[str, ...] = ("window", "around", "course", "outlook")
    for name, more in (
        ("perceptron upon it", ()),
        ("and what the neighbours' memories expect", ("expected",)),
        ("and what the neighbours will really do", ("neighbors",)),
    ):
        known = (*known, *more)
        torch.manual_seed(config.training.seed)
        row(name, _correct(train, test, known, config.training.max_steps))


def _gather(
    data: GraphSeriesData, nodes: NDArray[np.int64], times: list[int], training: bool
) -> Samples:
    """Samples at some nodes; at training times, what is known forgets their future."""
    parts = [_look(data, nodes, time, training) for time in times]
    return Samples(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def _look(
    data: GraphSeriesData, nodes: NDArray[np.int64], time: int, training: bool
) -> tuple[FloatArray, ...]:
    features, memory, around = data.features, data.memory, data.surroundings
    modes = features.modes
    assert memory is not None
    assert features.memory is not None
    if modes is None or features.loadings is None or not memory.neighbors:
        raise SystemExit("Expected a memory with collective modes and neighbours (got one without)")
    options, values = data.options, data.series.values
    past = History(values, time, options.window, options.noise, seed=time)
    known = time if training else None
    everyone = np.arange(len(values))
    ahead = time - 1 + memory.steps
    row = features.row(known)
    course = features.course(everyone, modes.read(past), known)
    window = past[everyone]
    means = around.neighbor_mean(past, everyone).astype(np.float32)
    coefficients = features.memory[row]
    outlook = _continue(memory, window, coefficients, course, means)
    future = np.asarray(values[:, ahead], np.float32)
    deviation = values[modes.probes][:, ahead] - modes.level[:, None]
    to_come = np.concatenate([modes.weight @ deviation, np.ones((1, len(ahead)))])
    informed = _continue(
        memory,
        window[nodes],
        coefficients[nodes],
        (features.loadings[row][nodes] @ to_come).astype(np.float32),
        means[nodes],
    )
    sums = [
        around.neighbor_mean(History(table, len(ahead), len(ahead)), nodes).astype(np.float32)
        for table in (outlook, future)
    ]
    return (
        window[nodes],
        means[nodes],
        course[nodes],
        outlook[nodes],
        informed,
        *sums,
        future[nodes],
    )


def _continue(memory: NodeMemory, *known: FloatArray) -> FloatArray:
    result: FloatArray = memory(*map(torch.from_numpy, known)).numpy()
    return result


def _correct(train: Samples, test: Samples, known: tuple[str, ...], steps: int) -> FloatArray:
    """Forecasts of the memory, corrected by a perceptron that is trained on their errors."""
    inputs = train.inputs(*known)
    center, scale = inputs.mean(0), inputs.std(0) + 1e-6

    def standardised(samples: Samples) -> Tensor:
        return torch.from_numpy((samples.inputs(*known) - center) / scale)

    lags, error = standardised(train), torch.from_numpy(train.truth - train.outlook)
    unit = error.std(0)
    network = nn.Sequential(
        nn.Linear(lags.shape[1], WIDTH),
        nn.GELU(),
        nn.Linear(WIDTH, WIDTH),
        nn.GELU(),
        nn.Linear(WIDTH, error.shape[1]),
    )
    nn.init.zeros_(network[-1].weight)  # type: ignore[arg-type]
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    for _ in range(steps):
        drawn = torch.randint(len(lags), (BATCH,))
        loss = (network(lags[drawn]) - error[drawn] / unit).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        correction = network(standardised(test)) * unit
    result: FloatArray = test.outlook + correction.numpy()
    return result


if __name__ == "__main__":
    main()
