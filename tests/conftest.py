"""Settings and fixtures of all tests."""

from __future__ import annotations

import os

# Before torch and matplotlib are imported: tests are small, and draw without a screen.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["MPLBACKEND"] = "Agg"

from pathlib import Path

import numpy as np
import pytest
import torch

from roma_pyg.kernels import kernel_versions


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if None not in kernel_versions().values():
        return
    missing = ", ".join(name for name, version in kernel_versions().items() if version is None)
    skip = pytest.mark.skip(reason=f"needs {missing}: make kernels")
    for item in items:
        if "kernels" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002 - third-party code still draws from the global state


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).parents[1]
