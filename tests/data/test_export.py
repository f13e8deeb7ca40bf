from __future__ import annotations

import importlib.util
import json
import shutil
import tracemalloc
from collections import namedtuple

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from roma_pyg.data.export import Header, RowWriter, row_blocks

VALUES = np.random.default_rng(0).random((50, 3)).astype(np.float32)
COLUMNS = Header(["1", "2", "3"])
FORMATS = [".npy", ".parquet", ".zarr"]


@pytest.fixture(params=FORMATS)
def suffix(request):
    if request.param == ".zarr":
        pytest.importorskip("zarr")
    return request.param


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr("roma_pyg.data.export.row_blocks", lambda shape: row_blocks(shape, 24))


def read(path):
    if path.suffix == ".npy":
        return np.load(path)
    if path.suffix == ".parquet":
        return pd.read_parquet(path).to_numpy()
    import zarr

    return zarr.open_array(str(path), mode="r")[:]


def save(path, action, **options):
    """Run an action inside the block of a writer."""
    with RowWriter(path, 50, COLUMNS, **options) as writer:
        action(writer)


def fill(writer, values=VALUES, size=7):
    order = np.random.default_rng(1).permutation(len(values))
    for start in range(0, len(values), size):
        nodes = order[start : start + size]
        writer.write(nodes, values[nodes])


def test_comes_back_as_it_was(tmp_path, suffix):
    path = tmp_path / "deep" / f"f{suffix}"
    with RowWriter(path, 50, COLUMNS) as writer:
        fill(writer)
        assert not path.exists()
    np.testing.assert_array_equal(read(path), VALUES)
    # No hidden file is left.
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_columns_in_turns_and_read_back_meanwhile(tmp_path, suffix):
    path = tmp_path / f"f{suffix}"
    with RowWriter(path, 50, COLUMNS) as writer:
        for start, stop in ((0, 2), (2, 3)):
            for nodes in (np.arange(20), np.arange(20, 50)):
                writer.write(nodes, VALUES[nodes, start:stop], start)
            np.testing.assert_array_equal(writer.rows[:, :stop], VALUES[:, :stop])
    np.testing.assert_array_equal(read(path), VALUES)


def test_unit_is_changed_at_the_end(tmp_path, suffix):
    path = tmp_path / f"f{suffix}"
    with RowWriter(path, 50, COLUMNS, convert=lambda block: 2.0 * block - 1) as writer:
        fill(writer)
        np.testing.assert_array_equal(writer.rows, VALUES)
    np.testing.assert_allclose(read(path), 2 * VALUES - 1, rtol=1e-6)


@pytest.mark.parametrize("labels", [np.arange(50) * 3, np.array([f"n{i}" for i in range(50)])])
def test_parquet_keeps_names_and_metadata(tmp_path, labels):
    path = tmp_path / "f.parquet"
    with RowWriter(path, 50, Header(["1", "2", "3"], labels, {"time": 7})) as writer:
        fill(writer)
    frame = pd.read_parquet(path)
    assert frame.columns.tolist() == ["node", "1", "2", "3"]
    assert frame["node"].tolist() == labels.tolist()
    assert json.loads(pq.read_schema(path).metadata[b"roma_pyg"]) == {"time": 7}
    assert pq.ParquetFile(path).num_row_groups == 7


def test_zarr_keeps_names_and_metadata(tmp_path):
    zarr = pytest.importorskip("zarr")
    path = tmp_path / "f.zarr"
    with RowWriter(path, 50, Header(["1", "2", "3"], np.arange(50), {"time": 7})) as writer:
        fill(writer)
    array = zarr.open_array(str(path), mode="r")
    assert array.chunks == (8, 3)
    assert dict(array.attrs) == {
        "columns": ["1", "2", "3"], "nodes": list(range(50)), "time": 7,
    }  # fmt: skip


def test_an_interrupted_block_leaves_nothing(tmp_path, suffix):
    path = tmp_path / f"f{suffix}"

    def interrupt(writer):
        writer.write(np.arange(10), VALUES[:10])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(path, interrupt)
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_encoding_leaves_nothing(tmp_path, suffix):
    def fail(block):
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="disk is full"):
        save(tmp_path / f"f{suffix}", fill, convert=fail)
    assert list(tmp_path.iterdir()) == []


def test_existing_output(tmp_path, suffix):
    path = tmp_path / f"f{suffix}"
    for value in (1, 2):
        with RowWriter(path, 50, COLUMNS, overwrite=True) as writer:
            fill(writer, value * VALUES)
    np.testing.assert_array_equal(read(path), 2 * VALUES)
    with pytest.raises(FileExistsError, match=r"not to exist .* overwrite it"):
        RowWriter(path, 50, COLUMNS)
    np.testing.assert_array_equal(read(path), 2 * VALUES)


def test_output_made_by_another_process_meanwhile_is_kept(tmp_path):
    path = tmp_path / "f.npy"

    def race(writer):
        fill(writer)
        path.write_bytes(b"theirs")

    with pytest.raises(FileExistsError):
        save(path, race)
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("nodes", "columns", "start", "message"),
    [
        ([3, 9], 3, 0, "every entry once and in order .* of row 3, of which 3 are there"),
        ([9], 1, 2, "of row 9, of which 0 are there"),
        ([9, 9], 3, 0, "distinct rows"),
        ([9], 4, 0, r"1 rows that end at column 3 .* shape \(1, 4\)"),
    ],
)
def test_every_entry_exactly_once(tmp_path, nodes, columns, start, message):
    def write(writer):
        writer.write(np.arange(5), VALUES[:5])
        writer.write(np.array(nodes), np.zeros((len(nodes), columns)), start)

    with pytest.raises(ValueError, match=message):
        save(tmp_path / "f.npy", write)


def test_rows_that_are_missing_are_named(tmp_path):
    with pytest.raises(ValueError, match="48 of 50 incomplete, the first is row 1"):
        save(tmp_path / "f.npy", lambda writer: writer.write(np.array([0, 2]), VALUES[:2]))
    assert list(tmp_path.iterdir()) == []


def test_bad_outputs(tmp_path):
    with pytest.raises(ValueError, match=r"ending in \.npy, \.parquet, \.zarr \(got '\.csv'"):
        RowWriter(tmp_path / "f.csv", 50, COLUMNS)
    with pytest.raises(ValueError, match=r"at least one row and one column \(got 0 and 3\)"):
        RowWriter(tmp_path / "f.npy", 0, COLUMNS)
    with pytest.raises(RuntimeError, match="'with' block"):
        _ = RowWriter(tmp_path / "f.npy", 50, COLUMNS).rows


def test_zarr_that_is_not_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'roma-pyg\[zarr\]'"):
        RowWriter(tmp_path / "f.zarr", 50, COLUMNS)


def test_no_room(tmp_path, monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(599))
    with pytest.raises(OSError, match=r"room for 6e-07 GB \(got 5.99e-07 GB free\)"):
        RowWriter(tmp_path / "f.npy", 50, COLUMNS).__enter__()
    assert list(tmp_path.iterdir()) == []


def test_memory_does_not_hold_the_matrix(tmp_path, suffix, monkeypatch):
    monkeypatch.setattr("roma_pyg.data.export.row_blocks", lambda shape: row_blocks(shape, 64_000))
    nodes, columns = 40_000, 64
    block = np.ones((500, columns), dtype=np.float32)
    tracemalloc.start()
    try:
        header = Header([str(i) for i in range(columns)])
        with RowWriter(tmp_path / f"f{suffix}", nodes, header) as writer:
            for start in range(0, nodes, 500):
                writer.write(np.arange(start, start + 500), block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The matrix takes 10 MB.
    assert peak < 0.4 * 4 * nodes * columns
