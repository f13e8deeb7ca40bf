from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from roma_pyg.data import pages
from roma_pyg.data.pages import find_map, read_window, release_pages

VALUES = np.random.default_rng(0).random((300, 2000)).astype(np.float32)


@pytest.fixture
def mapped(tmp_path):
    np.save(tmp_path / "values.npy", VALUES)
    return np.load(tmp_path / "values.npy", mmap_mode="r")


@pytest.mark.parametrize("limit", [1, 100_000, 1 << 30])
@pytest.mark.parametrize("nodes", [slice(None), slice(10, 20), np.array([7, 3, 3, 299])])
def test_windows_are_copies_of_what_lies_there(mapped, monkeypatch, limit, nodes):
    monkeypatch.setattr(pages, "RESIDENT_BYTES", limit)
    for values in (mapped, np.asarray(mapped), VALUES):
        window = read_window(values, nodes, 5, 1999)
        np.testing.assert_array_equal(window, VALUES[nodes, 5:1999])
        window[:] = 0
    np.testing.assert_array_equal(mapped, VALUES)


def test_only_read_only_maps_are_found(mapped, tmp_path):
    assert find_map(mapped) is not None
    assert find_map(np.asarray(mapped)[10:, 3:]) is find_map(mapped)
    assert find_map(VALUES) is None
    assert find_map(np.load(tmp_path / "values.npy", mmap_mode="r+")) is None
    assert find_map(np.load(tmp_path / "values.npy", mmap_mode="c")) is None


def mapped_kib(name: str) -> int:
    """Resident part of the maps of a file, in KiB."""
    total, inside = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(maxsplit=1)[0]:
            inside = line.endswith(name)
        elif inside and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_pages_are_given_back(mapped, tmp_path, monkeypatch):
    monkeypatch.setattr(pages, "RESIDENT_BYTES", 300_000)
    name = str(tmp_path / "values.npy")
    assert float(np.sum(mapped)) > 0
    assert mapped_kib(name) > 2000
    release_pages(mapped)
    assert mapped_kib(name) == 0
    for _ in range(5):
        read_window(mapped, slice(None), 0, 2000)
        assert mapped_kib(name) < 700
    np.testing.assert_array_equal(mapped[5], VALUES[5])
