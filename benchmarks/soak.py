"""A long training, watched: memory, open files, threads and processes, which have to stay flat.

    python benchmarks/soak.py --minutes 60 --output runs/soak
    python benchmarks/soak.py --config configs/quickstart.yaml --minutes 10

Makes the data set, starts ``roma-train`` in a process of its own, and looks at it and its children
every ``--every`` seconds: own memory (what they have allocated, shared pages counted once; mapped
files are not, which the system drops when it needs the room), the part of it in children, resident
memory (mapped files included), open files, threads, processes. Time counts from the start of
the training itself, when data and features are there. The first ``--warm-up`` minutes, when workers
start and the first validations are made, are not judged; the ``--minutes`` after them are. Then the
run is asked to stop as a scheduler would, and has to leave with its checkpoint.

Writes ``soak.csv`` (all samples), ``soak.png`` and ``soak.md`` to ``--output``. Fails if the
training ends by itself or badly, leaves no checkpoint, or if own memory, by the means of
the first and the last sixth, grew by more than ``--allowed`` percent, or files, threads or
processes by one.
"""

from __future__ import annotations

import argparse
import csv
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from roma_pyg.training.restore import LAST
from roma_pyg.training.run import CONFIG

COLUMNS = {
    "seconds": "seconds",
    "own_mib": "own memory, MiB",
    "children_mib": "own memory of children, MiB",
    "resident_mib": "resident memory, MiB",
    "files": "open files",
    "threads": "threads",
    "processes": "processes",
}
STOPPED = 128 + signal.SIGTERM
RUN = "run"


def own_memory(process: psutil.Process) -> float:
    """Allocated bytes; a page that several processes share counts as a part for each of them.

    Without Linux's account of them: what this process alone has, mapped files included.
    """
    try:
        lines = Path(f"/proc/{process.pid}/smaps_rollup").read_text().splitlines()
    except FileNotFoundError:
        return process.memory_full_info().uss
    sizes = {words[0]: int(words[1]) for line in lines[1:] if len(words := line.split()) > 1}
    return 1024.0 * (sizes["Pss_Anon:"] + sizes["Pss_Shmem:"])


def look(process: psutil.Process) -> list[float]:
    """Sums over a process and its children: own (all, children) and resident MiB, files, ...

    A child that ends meanwhile is left out.
    """
    totals = np.zeros(6)
    for one in [process, *process.children(recursive=True)]:
        try:
            own, resident = own_memory(one), one.memory_info().rss
            files, threads = one.num_fds(), one.num_threads()
        except (psutil.NoSuchProcess, ProcessLookupError):
            continue
        child = 0.0 if one is process else own
        totals += [own / 2**20, child / 2**20, resident / 2**20, files, threads, 1]
    return totals.tolist()


def watch(words: list[str], seconds: float, every: float, output: Path) -> tuple[int, list]:
    """Run a command, sample it, and ask it to stop after ``seconds`` of training.

    Returns:
        Its exit status, and samples ``(seconds, ...)`` in the order of `COLUMNS`.
    """
    samples: list[list[float]] = []
    with (output / "train.log").open("w") as log, (output / "soak.csv").open("w") as table:
        writer = csv.writer(table)
        writer.writerow(COLUMNS)
        training = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT)
        process = psutil.Process(training.pid)
        while training.poll() is None and not (output / RUN / CONFIG).exists():
            time.sleep(every)
        start = time.monotonic()
        while training.poll() is None and time.monotonic() - start < seconds:
            try:
                row = [time.monotonic() - start, *look(process)]
            except psutil.NoSuchProcess:
                break
            samples.append(row)
            writer.writerow([round(value, 3) for value in row])
            table.flush()
            time.sleep(every)
        if training.poll() is None:
            training.send_signal(signal.SIGTERM)
        return training.wait(timeout=300), samples


def draw(samples: NDArray[np.float64], warm_up: float, file: Path) -> None:
    """One panel for memory, one for what is counted."""
    figure = Figure(figsize=(7, 5), layout="constrained")
    FigureCanvasAgg(figure)
    above, below = figure.subplots(2, sharex=True)
    minutes = samples[:, 0] / 60
    for column, (key, name) in enumerate(COLUMNS.items()):
        if key != "seconds":
            panel = above if key.endswith("mib") else below
            panel.plot(minutes, samples[:, column], label=name.split(",")[0])
    for panel in (above, below):
        panel.axvspan(0, warm_up / 60, color="0.92", lw=0)
        panel.legend(frameon=False)
        panel.set_ylim(bottom=0)
        panel.spines[["top", "right"]].set_visible(False)
    above.set_ylabel("MiB")
    below.set_ylabel("number")
    below.set_xlabel("minutes of training")
    figure.savefig(file, dpi=150)


def judge(
    samples: NDArray[np.float64], warm_up: float, allowed: float, output: Path
) -> tuple[str, list[str]]:
    """Write table and figure; returns the table, and the names of what has grown."""
    draw(samples, warm_up, output / "soak.png")
    judged = samples[samples[:, 0] >= warm_up]
    sixth = max(1, len(judged) // 6)
    minutes = (judged[-1, 0] - warm_up) / 60
    lines = [
        f"{len(judged)} samples in {minutes:.0f} minutes, after the first {warm_up / 60:.0f}.",
        "",
        "| | first sixth | last sixth | smallest | largest |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    grown = []
    limits = {"own_mib": allowed, "files": 1, "threads": 1, "processes": 1}
    for column, (key, name) in enumerate(COLUMNS.items()):
        if key == "seconds":
            continue
        values = judged[:, column]
        first, last = values[:sixth].mean(), values[-sixth:].mean()
        growth = last - first if key != "own_mib" else 100 * (last / first - 1)
        if growth >= limits.get(key, np.inf):
            grown.append(name)
        numbers = (first, last, values.min(), values.max())
        lines.append(f"| {name} | {' | '.join(f'{number:,.1f}' for number in numbers)} |")
    text = "\n".join(lines) + "\n"
    (output / "soak.md").write_text(text)
    return text, grown


def main() -> None:
    """Train, watch, judge."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", default="configs/km314k.yaml")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--warm-up", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=5.0)
    parser.add_argument("--allowed", type=float, default=1.0, help="percent of own memory")
    parser.add_argument("--output", type=Path, default=Path("runs/soak"))
    parser.add_argument("options", nargs="*", help="further options of roma-train, after --")
    options = parser.parse_args()
    output: Path = options.output
    output.mkdir(parents=True, exist_ok=True)
    own = ["--config", options.config, *options.options]
    subprocess.run([sys.executable, "-m", "roma_pyg.cli.data", "generate", *own], check=True)
    words = [sys.executable, "-m", "roma_pyg.cli.train", *own, "--evaluate", "none"]
    words += ["--training.output", str(output), "--training.name", RUN]
    warm_up = 60 * options.warm_up
    status, rows = watch(words, warm_up + 60 * options.minutes, options.every, output)
    if status != STOPPED:
        raise RuntimeError(
            f"Expected a training that goes on until it is stopped, and then exits with {STOPPED} "
            f"(got {status}); see {output / 'train.log'}."
        )
    if not (output / RUN / LAST).exists():
        raise RuntimeError(f"Expected a checkpoint in {output / RUN} (got none).")
    text, grown = judge(np.array(rows), warm_up, options.allowed, output)
    print(text)
    if grown:
        raise RuntimeError(f"Expected flat lines (these grew: {', '.join(grown)}).")


if __name__ == "__main__":
    main()
