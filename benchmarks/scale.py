"""The whole life of data sets of up to millions of nodes: seconds and peak memory of each phase.

    make bench-scale                                    # all, to its end
    python benchmarks/scale.py --cases km38k km314k     # some

Every phase is the command a user would type, in a process of its own; its peak is the resident
memory the system reports for that process, mapped files included. Data sets are reduced in time
(``--steps``, ``--window``), not in nodes. What is finished is not run again: rows are kept in
``OUTPUT/rows.json``, the table in ``OUTPUT/table.md``.

Ratios, all above one where ours is better: of training, the time of a step at 38 thousand nodes to
that here; of the forecast of all nodes, the time per node there to that here. The last two phases
are comparisons: one right-hand side with a sine per edge to ours (``kuramoto_rhs.py``), and PyG's
``AddLaplacianEigenvectorPE``, which may take ``--pyg`` seconds, to our eigenmaps of the same graph
(``eigenmaps.py``).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
CASES = {"km38k": "KM-38k", "km314k": "KM-314k", "bd2m": "BD-2M", "km3m": "KM-3M"}
PHASES = (
    "generate",
    "check",
    "features",
    "train",
    "evaluate",
    "predict",
    "right-hand side",
    "eigenmaps",
)


@dataclass
class Row:
    """One line of the table; ``measure`` is what ratios are made of, seconds of something."""

    case: str
    phase: str
    seconds: float
    peak_gb: float
    measure: float | None = None
    note: str = ""


def run(words: list[str], log: Path) -> tuple[float, float, str]:
    """Run a command; returns seconds, peak resident GB, and its output."""
    start = time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen(words, cwd=ROOT, stdout=stream, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    text = log.read_text(encoding="utf-8", errors="replace")
    if status != 0:
        raise RuntimeError(f"{' '.join(words)} failed:\n{text[-2000:]}")
    # ru_maxrss counts kilobytes, on macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit / 1e9, text


def _number(text: str) -> float | None:
    """A number, perhaps after a sign such as >."""
    found = re.search(r"[\d.]+", text)
    return float(found[0]) if found else None


class Bench:
    """Runs the phases of the cases that are not finished yet."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Read what is finished."""
        self.options = options
        self.output: Path = options.output
        self.output.mkdir(parents=True, exist_ok=True)
        self.file = self.output / "rows.json"
        self.rows: dict[str, Row] = {}
        if self.file.exists():
            self.rows = {key: Row(**row) for key, row in json.loads(self.file.read_text()).items()}

    def phase(self, case: str, phase: str) -> None:
        """Run one phase, unless it is finished."""
        key = f"{case}/{phase}"
        if key in self.rows:
            return
        sys.stderr.write(f"{key} ...\n")
        if phase == "train":
            # A run of that name that is there already would be kept, and read in its place.
            shutil.rmtree(self.output / "runs" / case, ignore_errors=True)
        words = [sys.executable, *self._command(case, phase)]
        seconds, peak, text = run(words, self.output / f"{case}-{phase}.log")
        row = Row(case, phase, seconds, peak)
        self._measure(row, text)
        self.rows[key] = row
        partial = self.file.with_suffix(".tmp")
        partial.write_text(json.dumps({k: asdict(r) for k, r in self.rows.items()}, indent=1))
        partial.replace(self.file)
        sys.stderr.write(f"{key}: {seconds:.1f} s, {peak:.2f} GB\n")

    def _command(self, case: str, phase: str) -> list[str]:
        options = self.options
        root = self.output / "data"
        data = ["--config", str(ROOT / "configs" / f"{case}.yaml"), "--data.root", str(root)]
        data += ["--data.steps", str(options.steps)]
        data += ["--data.window", str(options.window), "--data.horizon", str(options.window)]
        folder = self.output / "runs" / case
        ahead = [str(step) for step in sorted({1, max(1, options.window // 4), options.window})]
        drawn = yaml.safe_load((ROOT / "configs" / f"{case}.yaml").read_text())["data"]["graph"][
            "nodes"
        ]
        scripts = ROOT / "benchmarks"
        commands = {
            "right-hand side": [str(scripts / "kuramoto_rhs.py"), "--nodes", str(drawn)],
            "eigenmaps": [
                *(str(scripts / "eigenmaps.py"), "--pyg", str(options.pyg)),
                *("--graphs", f"hyperbolic:{drawn}:32"),
            ],
            "generate": ["-m", "roma_pyg.cli.data", "generate", *data],
            "check": ["-m", "roma_pyg.cli.data", "check", str(root / case)],
            "features": ["-m", "roma_pyg.cli.data", "features", *data],
            "train": [
                *("-m", "roma_pyg.cli.train", *data, "--max_steps", str(options.train_steps)),
                *("--training.output", str(folder.parent), "--training.name", case),
                *("--evaluate", "none", "--training.figures", "false"),
            ],
            "evaluate": [
                *("-m", "roma_pyg.cli.evaluate", str(folder), "--horizons", *ahead),
                *("--times", "2", "--nodes", "1000"),
            ],
            "predict": [
                *("-m", "roma_pyg.cli.predict", str(folder), "--evaluate", "--overwrite"),
                *("--time", str(options.steps - options.window)),
                *("--output", str(self.output / f"{case}.npy")),
            ],
        }
        return commands[phase]

    def _measure(self, row: Row, text: str) -> None:
        """What the ratio of a phase is made of."""
        case, folder = row.case, self.output / "runs" / row.case
        if row.phase == "train":
            summary = json.loads((folder / "summary.json").read_text())
            row.measure = 1 / summary["steps_per_second"]
            row.note = f"{summary['steps_per_second']:.2f} steps/s"
        elif row.phase == "predict":
            nodes = int(re.search(r"([\d,]+) nodes x", text)[1].replace(",", ""))  # type: ignore[index]
            row.measure = row.seconds / nodes
            row.note = f"{nodes:,} nodes"
        elif row.phase == "features":
            row.note = text.strip().splitlines()[-1].split("; ")[-1].rstrip(".")
        elif row.phase in ("right-hand side", "eigenmaps"):
            cells = [cell.strip() for cell in text.strip().splitlines()[-1].strip("|").split("|")]
            if row.phase == "eigenmaps":
                row.measure, row.note = _number(cells[-1]), f"PyG {cells[-3] or 'not run'} s"
            else:
                row.measure, row.note = float(cells[7]), f"{cells[5]} x the sparse product"
        elif row.phase == "generate":
            row.note = f"{self.options.steps} samples"
            size = sum(f.stat().st_size for f in (self.output / "data" / case).iterdir())
            row.note += f", {size / 1e9:.1f} GB"

    def ratio(self, row: Row) -> str:
        """The time of the alternative over ours."""
        if row.phase in ("train", "predict") and row.measure:
            first = self.rows.get(f"km38k/{row.phase}")
            return f"{first.measure / row.measure:.2f}" if first and first.measure else ""
        return f"{row.measure:.2f}" if row.measure else ""

    def table(self) -> str:
        """The table in Markdown."""
        lines = [
            f"{os.cpu_count()} cores, {platform.machine()}, {self.options.steps} samples, window "
            f"and horizon {self.options.window}, {self.options.train_steps} training steps",
            "",
            "| data set | phase | seconds | peak GB | ratio | |",
            "| --- | --- | ---: | ---: | ---: | --- |",
        ]
        for case, name in CASES.items():
            for phase in PHASES:
                if row := self.rows.get(f"{case}/{phase}"):
                    lines.append(
                        f"| {name} | {phase} | {row.seconds:.1f} | {row.peak_gb:.2f} "
                        f"| {self.ratio(row)} | {row.note} |"
                    )
        return "\n".join(lines) + "\n"


def main() -> None:
    """Run, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--phases", nargs="+", choices=PHASES, default=list(PHASES))
    parser.add_argument("--steps", type=int, default=360, help="samples of each data set")
    parser.add_argument("--window", type=int, default=16, help="window and horizon, in samples")
    parser.add_argument("--pyg", type=int, default=600, help="seconds that PyG may take")
    parser.add_argument("--train-steps", type=int, default=200)
    parser.add_argument("--output", type=Path, default=ROOT / "runs" / "scale")
    bench = Bench(parser.parse_args())
    for case in bench.options.cases:
        for phase in bench.options.phases:
            bench.phase(case, phase)
    (bench.output / "table.md").write_text(bench.table())
    print(bench.table())


if __name__ == "__main__":
    main()
