"""Seconds and memory of one training step, at the published size and at other sizes.

    make bench-step
    python benchmarks/step.py --sizes published quickstart b l h
    python benchmarks/step.py --device cuda --precision bf16

``published`` is the model of ``published_size.py``: one time ahead, the residual of an emergent
law and its gradient among the loss terms, AdamW, float32; ``published, muon`` the same with the
other optimiser. ``quickstart``, ``b``, ``l`` and ``h`` are the configurations of that name at 512
core nodes of the same graph, 16 times ahead, without a law. Forward pass, all loss terms, backward
pass, clipping, optimiser; every row in a process of its own, best of ``--repeats`` after a first
step; its memory is the peak resident memory of that process, on a GPU what was allocated there.
``share`` is the number of multiplications and additions of its matrix products, over its time, as
a share of what one large matrix product in the same precision reaches. Sizes that would not fit
into the memory that is free (16 bytes per parameter and 2 GB) are left out.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import psutil
import torch
from published_size import Step, machine, make_batch, make_model, peak_gb
from torch.utils.flop_counter import FlopCounterMode

from roma_pyg.models.roma import Roma
from roma_pyg.options.parser import parse_arguments

ROOT = Path(__file__).parents[1]
SIZES = ("published", "published, muon", "quickstart", "b", "l", "h")


def make(size: str, device: str) -> tuple[Roma, int, str]:
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
    on_gpu = device == "cuda"
    free = torch.cuda.mem_get_info()[0] if on_gpu else psutil.virtual_memory().available
    if need > free:
        raise MemoryError(f"needs about {need / 1e9:.0f} GB")
    torch.manual_seed(0)
    return Roma(config.model, config.data), 16, config.training.optimizer


def count(config) -> int:  # noqa: ANN001
    """Parameters of a configuration, without making them."""
    with torch.device("meta"):
        return Roma(config.model, config.data).num_parameters


def matrix_rate(device: str, half: bool) -> float:
    """Operations per second of a large product of square matrices, best of five."""
    size = 8192 if device == "cuda" else 2048
    kind = torch.bfloat16 if half else torch.float32
    one, two = torch.randn(2, size, size, device=device).to(kind)
    seconds = []
    for _ in range(6):
        start = time.perf_counter()
        (one @ two)[0, 0].item()
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds[1:])


def measure(size: str, repeats: int, device: str, half: bool, compiled: bool) -> dict:
    """Run one size in this process."""
    model, times, optimizer = make(size, device)
    if compiled:
        model.compile_operator()
    batch = make_batch(times, model.data.num_features)
    step = Step(model, optimizer, device, half)
    _, seconds = step.repeat(batch, repeats)
    peak = peak_gb(device)
    if compiled:  # the counter does not see into compiled functions
        model._compiled_operator = None
    with FlopCounterMode(display=False) as counter:
        step(batch.to(device))
    best = min(seconds[1:])
    return {
        "parameters": model.num_parameters,
        "optimizer": optimizer,
        "first": seconds[0],
        "seconds": best,
        "peak_gb": peak,
        "tera": counter.get_total_flops() / 1e12,
        "share": counter.get_total_flops() / best / matrix_rate(device, half),
    }


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("float32", "bf16"), default="float32")
    parser.add_argument("--compile", action="store_true", help="compile the operator network")
    parser.add_argument("--one", choices=SIZES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    half = options.precision == "bf16"
    if options.one:
        try:
            row = measure(options.one, options.repeats, options.device, half, options.compile)
            print(json.dumps(row))
        except MemoryError as error:
            print(json.dumps({"error": str(error)}))
        return
    where = f"{machine(options.device)}, torch {torch.__version__}, {options.precision}"
    print(f"{where}{', compiled' if options.compile else ''}, 512 core nodes")
    print("| size | parameters | optimiser | first step s | step s | peak GB | TFLOP | share % |")
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: |")
    for size in options.sizes:
        words = [sys.executable, __file__, "--one", size, "--repeats", str(options.repeats)]
        words += ["--device", options.device, "--precision", options.precision]
        words += ["--compile"] if options.compile else []
        done = subprocess.run(words, check=True, capture_output=True, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        if "error" in row:
            print(f"| {size} | not run: {row['error']} | | | | | | |", flush=True)
            continue
        print(
            f"| {size} | {row['parameters']:,} | {row['optimizer']} | {row['first']:.2f} "
            f"| {row['seconds']:.4f} | {row['peak_gb']:.2f} | {row['tera']:.3f} "
            f"| {100 * row['share']:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
