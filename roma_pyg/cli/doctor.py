"""``roma-doctor``: what is installed, on which device it runs, and whether it works."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
from collections.abc import Sequence

import psutil
import torch

from roma_pyg.__about__ import __version__
from roma_pyg.cli.console import guarded, write
from roma_pyg.kernels import SWITCH, kernel_versions, use_kernel

PACKAGES = ("torch", "torch-geometric", "lightning", "networkit", "scipy", "numpy", "pandas")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``roma-doctor``; return 0 if everything works and 1 otherwise."""
    return guarded("roma-doctor", lambda: _run(argv))


def _run(argv: Sequence[str] | None) -> int:
    parser = argparse.ArgumentParser(
        prog="roma-doctor", description="Print versions, devices and kernels; check that they work."
    )
    parser.parse_args(argv)
    rows = [("roma_pyg", __version__), ("python", platform.python_version())]
    rows += [(name, _version(name)) for name in PACKAGES]
    rows += [("platform", platform.platform()), *_devices(), *_kernels()]
    good, verdict = check_reduction()
    rows.append(("self-check", verdict))
    for name, value in rows:
        write(f"{name:<16} {value}")
    if None in kernel_versions().values():
        write(
            "\nOptional, faster: `make kernels`, or with torch already installed\n"
            "  pip install --no-build-isolation torch-scatter torch-sparse   "
            "(compiles; about 20 minutes on 2 cores)"
        )
    return 0 if good else 1


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _devices() -> list[tuple[str, str]]:
    memory = psutil.virtual_memory()
    rows = [
        ("cpu", f"{os.cpu_count()} cores, {torch.get_num_threads()} torch threads"),
        ("memory", f"{memory.total / 2**30:.1f} GiB, {memory.available / 2**30:.1f} GiB free"),
    ]
    for index in range(torch.cuda.device_count()):
        device = torch.cuda.get_device_properties(index)
        rows.append((f"cuda:{index}", f"{device.name}, {device.total_memory / 2**30:.1f} GiB"))
    if not torch.cuda.is_available():
        rows.append(("cuda", "none; training runs on the CPU"))
    return rows


def _kernels() -> list[tuple[str, str]]:
    off = os.environ.get(SWITCH, "0") not in ("", "0")
    state = f"turned off by {SWITCH}" if off else "active"
    return [
        (name, f"{version} ({state})" if version else "not installed (plain torch is used)")
        for name, version in kernel_versions().items()
    ]


def check_reduction() -> tuple[bool, str]:
    """Reduce one small segmented array with plain torch and with torch-scatter, where it loads.

    Returns:
        Whether the results are right, and a sentence.
    """
    from roma_pyg.nn.segment import Backend, segment_aggregate

    messages = torch.arange(6.0).view(6, 1)
    index = torch.tensor([0, 0, 2, 2, 2, 3])
    expected = torch.tensor([[1.0, 1.0], [0.0, 0.0], [9.0, 4.0], [5.0, 5.0]])
    backends: list[Backend] = ["torch"]
    if use_kernel("torch-scatter"):
        backends.append("scatter")
    for backend in backends:
        result = segment_aggregate(messages, index, None, 4, ("sum", "max"), backend)
        if not torch.allclose(result, expected):
            return False, f"FAILED: the reduction by {backend} gives {result.tolist()}"
    return True, f"reductions are right by {' and '.join(backends)}"


if __name__ == "__main__":
    raise SystemExit(main())
