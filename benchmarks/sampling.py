"""Cost of a training batch against the number of nodes of the whole graph, as a figure.

    python benchmarks/sampling.py --nodes 1e4 1e5 1e6 3.6e6 --output docs/images/sampling_cost.png

On random hyperbolic graphs of each size: the time of one batch (random walks, halo, windows read
from a memory-mapped file, positional features), best of ``--rounds`` means over ``--batches``; the
same per node that is read; and the private memory that one forked loader worker adds, which would
grow by hundreds of MiB if the graph or the series were copied. The 512 core nodes of a batch bring
a halo of neighbours, which overlap less in a larger graph: the number of nodes read doubles from
ten thousand nodes to a million, and then stays.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch.utils.data import DataLoader

from roma_pyg.config import GraphConfig
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph
from roma_pyg.data.sampling import SubgraphSampler
from roma_pyg.data.windows import WindowStream
from roma_pyg.dynamics.kuramoto import coupling_matrix

SAMPLES, WINDOW, POSITION = 360, 64, 65


def stream_on(drawn: int, folder: Path) -> WindowStream:
    """A stream of batches on a graph of about that many nodes; the series is a file of ones."""
    adjacency = hyperbolic_graph(GraphConfig(nodes=drawn), seed=0).adjacency
    graph = Graph.from_matrix(coupling_matrix(adjacency))
    count = graph.num_nodes
    file = folder / f"{drawn}.npy"
    values = np.lib.format.open_memmap(file, "w+", np.float32, (count, SAMPLES))
    for first in range(0, count, 65536):
        values[first : first + 65536] = 1
    # Pages that wait to be written would count as memory of whoever reads them.
    values.flush()
    del values
    return WindowStream(
        np.load(file, mmap_mode="r"),
        np.zeros((count, POSITION), np.float32),
        np.arange(count),
        SubgraphSampler(graph, 512, 4, 64),
        range(WINDOW, SAMPLES - WINDOW),
        window=WINDOW,
        horizon=WINDOW,
        noise=4e-4,
        steps_ahead=16,
    )


def batch_seconds(stream: WindowStream, batches: int, rounds: int) -> float:
    """Best mean time of a batch."""
    stream.batch(10**6)
    means = []
    for number in range(rounds):
        start = time.perf_counter()
        for index in range(batches):
            stream.batch(number * batches + index)
        means.append((time.perf_counter() - start) / batches)
    return min(means)


def nodes_read(stream: WindowStream, batches: int) -> float:
    """Mean number of nodes of a batch, core and halo."""
    rng = np.random.default_rng(0)
    return float(np.mean([len(stream.sampler.sample(rng).nodes) for _ in range(batches)]))


def private_mib(pid: int) -> float:
    """Memory that belongs to a process alone, in MiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    kib = [int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")]
    return sum(kib) / 1024


def worker_mib(stream: WindowStream, batches: int) -> float:
    """Private memory of a forked loader worker that has made some batches."""
    loader = DataLoader(stream, batch_size=None, num_workers=1, multiprocessing_context="fork")
    batches_of = iter(loader)
    for _ in range(batches):
        next(batches_of)
    return private_mib(batches_of._workers[0].pid)  # type: ignore[attr-defined]


def draw(rows: list[tuple[int, float, float, float]], output: Path) -> None:
    """The figure: time and memory against N."""
    nodes, seconds, read, memory = map(np.array, zip(*rows, strict=True))
    figure = Figure(figsize=(10, 3), layout="constrained")
    FigureCanvasAgg(figure)
    panels = (
        ("time of a batch [ms]", 1e3 * seconds, "#0072B2"),
        ("time per node read [µs]", 1e6 * seconds / read, "#009E73"),
        ("private memory of a worker [MiB]", memory, "#D55E00"),
    )
    for axes, (label, values, colour) in zip(figure.subplots(1, 3), panels, strict=True):
        axes.plot(nodes, values, "o-", color=colour)
        axes.set(ylabel=label, ylim=(0, 1.5 * values.max()))
        axes.set(xscale="log", xlabel="nodes N of the whole graph")
        axes.grid(alpha=0.3)
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=110)
    temporary.replace(output)


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", type=float, nargs="+", default=[1e4, 1e5, 1e6, 3.6e6])
    parser.add_argument("--batches", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("docs/images/sampling_cost.png"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    print(
        "| nodes N | ms per batch | nodes read | µs per node | private MiB of a worker |\n"
        "| ---: | ---: | ---: | ---: | ---: |"
    )
    with tempfile.TemporaryDirectory() as folder:
        for drawn in map(int, options.nodes):
            stream = stream_on(drawn, Path(folder))
            seconds = batch_seconds(stream, options.batches, options.rounds)
            read = nodes_read(stream, options.batches)
            memory = worker_mib(stream, options.batches)
            rows.append((len(stream.nodes), seconds, read, memory))
            print(
                f"| {len(stream.nodes):,} | {1e3 * seconds:.1f} | {read:,.0f} "
                f"| {1e6 * seconds / read:.2f} | {memory:.0f} |",
                flush=True,
            )
            (Path(folder) / f"{drawn}.npy").unlink()
    draw(rows, options.output)


if __name__ == "__main__":
    main()
