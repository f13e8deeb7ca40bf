from __future__ import annotations

import importlib
import importlib.metadata

import pytest

from roma_pyg import kernels
from roma_pyg.kernels import KERNELS, SWITCH, kernel_versions, use_kernel


@pytest.fixture(autouse=True)
def _fresh(monkeypatch):
    """Forget what was imported, before and after."""
    monkeypatch.delenv(SWITCH, raising=False)
    kernels._load.cache_clear()
    yield
    kernels._load.cache_clear()


@pytest.fixture
def installed(monkeypatch):
    """Pretend that both kernels are installed; return what is imported."""
    imported = []
    monkeypatch.setattr(importlib, "import_module", imported.append)
    monkeypatch.setattr(importlib.metadata, "version", lambda name: f"{len(name)}.0")
    return imported


def test_installed_kernels_are_used(installed):
    assert kernel_versions() == {"torch-scatter": "13.0", "torch-sparse": "12.0"}
    assert installed == ["torch_scatter", "torch_sparse"]
    assert all(use_kernel(name) for name in KERNELS)
    # Imported once.
    assert len(installed) == 2


@pytest.mark.parametrize(
    "error",
    [
        ImportError("no such module"),
        OSError("undefined symbol"),
        RuntimeError("compiled with different CUDA versions"),
        importlib.metadata.PackageNotFoundError("torch-scatter"),
    ],
)
def test_kernels_that_are_missing_or_do_not_load(monkeypatch, error):
    def fail(name):
        raise error

    monkeypatch.setattr(importlib, "import_module", fail)
    assert kernel_versions() == dict.fromkeys(KERNELS)
    assert not any(use_kernel(name) for name in KERNELS)


@pytest.mark.parametrize(
    ("value", "active"), [("1", False), ("yes", False), ("0", True), ("", True)]
)
def test_switch(monkeypatch, installed, value, active):
    monkeypatch.setenv(SWITCH, value)
    assert [use_kernel(name) for name in KERNELS] == [active, active]
    assert None not in kernel_versions().values()


def test_unknown_kernel():
    with pytest.raises(ValueError, match=r"Expected 'name' to be one of .* \(got 'torch-spline'\)"):
        use_kernel("torch-spline")


@pytest.mark.kernels
def test_the_kernels_that_are_here_load():
    for name in KERNELS:
        assert kernel_versions()[name] == importlib.metadata.version(name)
        assert use_kernel(name)
