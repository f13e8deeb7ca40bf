"""Seconds and memory of one training step, at the published size and at other sizes.

    make bench-step
    python benchmarks/step.py --sizes published quickstart b l h

``published`` is the model of ``published_size.py``: one time ahead, the residual of an emergent
law and its gradient among the loss terms, AdamW, float32; ``published, muon`` the same with the
other optimiser. ``quickstart``, ``b``, ``l`` and ``h`` are the configurations of that name at 512
core nodes of the same graph, 16 times ahead, without a law. Forward pass, all loss terms, backward
pass, clipping, optimiser; every row in a process of its own, best of ``--repeats`` after a first
step; its memory is the peak resident memory of that process. Sizes that would not fit into the
memory that is free (16 bytes per parameter and 2 GB) are left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import psutil
import torch
from published_size import Step, make_batch, make_model, peak_gb

from roma_pyg.models.roma import Roma
from roma_pyg.options.parser import parse_arguments

ROOT = Path(__file__).parents[1]
SIZES = ("published", "published, muon", "quickstart", "b", "l", "h")


def make(size: str) -> tuple[Roma, int, str]:
    """Model, number of times ahead, and optimiser of a size."""
    if size.startswith("published"):
        return make_model("deeponet", 1), 1, "muon" if "muon" in size else "adamw"
    words = ["--config", str(ROOT / "configs" / "quickstart.yaml")]
    if size != "quickstart":
        words += ["--config", str(ROOT / "configs" / "sizes" / f"{size}.yaml")]
    words += ["--data.positional.eigenmaps", "32", "--data.positional.walk_embedding", "32"]
    words += ["--data.positional.degree", "false", "--data.nodes_per_graph", "512"]
    config = parse_arguments(words, "roma-train", "").config
    need = 16 * count(config) + 2e9
    if need > psutil.virtual_memory().available:
        raise MemoryError(f"needs about {need / 1e9:.0f} GB")
    torch.manual_seed(0)
    return Roma(config.model, config.data), 16, config.training.optimizer


def count(config) -> int:  # noqa: ANN001
    """Parameters of a configuration, without making them."""
    with torch.device("meta"):
        return Roma(config.model, config.data).num_parameters


def measure(size: str, repeats: int) -> dict:
    """Run one size in this process."""
    model, times, optimizer = make(size)
    batch = make_batch(times)
    step = Step(model, optimizer)
    _, seconds = step.repeat(batch, repeats)
    return {
        "parameters": model.num_parameters,
        "optimizer": optimizer,
        "first": seconds[0],
        "seconds": min(seconds[1:]),
        "peak_gb": peak_gb(),
    }


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--one", choices=SIZES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        try:
            print(json.dumps(measure(options.one, options.repeats)))
        except MemoryError as error:
            print(json.dumps({"error": str(error)}))
        return
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}, 512 core nodes")
    print("| size | parameters | optimiser | first step s | step s | peak GB |")
    print("| --- | ---: | --- | ---: | ---: | ---: |")
    for size in options.sizes:
        words = [sys.executable, __file__, "--one", size, "--repeats", str(options.repeats)]
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        if "error" in row:
            print(f"| {size} | not run: {row['error']} | | | | |", flush=True)
            continue
        print(
            f"| {size} | {row['parameters']:,} | {row['optimizer']} | {row['first']:.2f} "
            f"| {row['seconds']:.3f} | {row['peak_gb']:.2f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
