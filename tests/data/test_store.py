from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from roma_pyg.data.graph import Graph
from roma_pyg.data.store import StoreError, StoreWriter, check_store, only_writer, open_store

VALUES = np.random.default_rng(0).random((5, 7)).astype(np.float32)


def ring(nodes=5):
    ids = np.arange(nodes)
    return Graph.from_edges(ids, (ids + 1) % nodes, nodes)


def write(path, values=VALUES, rows=3):
    with StoreWriter(path, ring(), values.shape[1], 0.5) as writer:
        for first in range(0, len(values), rows):
            writer.append(values[first : first + rows])
        writer.add("omega", np.arange(5.0))
        writer.metadata = {"parameters": {"seed": 3}}
    return path


@pytest.fixture
def store(tmp_path):
    return write(tmp_path / "ring")


@pytest.mark.parametrize("rows", [1, 3, 5, 100])
def test_what_is_written_is_read(tmp_path, rows):
    series = open_store(write(tmp_path / "ring", rows=rows))
    np.testing.assert_array_equal(series.values, VALUES)
    np.testing.assert_array_equal(series.extras["omega"], np.arange(5.0))
    assert series.graph.checksum == ring().checksum
    assert (series.dt, series.name) == (0.5, "ring")
    assert series.metadata["parameters"] == {"seed": 3}


def test_values_are_a_read_only_memory_map(store):
    values = open_store(store).values
    assert isinstance(values.base, np.memmap) or isinstance(values, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 1


def test_a_whole_store_has_no_problems_and_leaves_nothing_beside_it(store):
    assert check_store(store) == []
    assert [p.name for p in store.parent.iterdir()] == ["ring"]


def flip_last_byte(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "name", "message"),
    [
        (flip_last_byte, "values.npy", "values.npy.*expected checksum"),
        (flip_last_byte, "col.npy", "col.npy.*expected checksum"),
        (lambda f: f.write_bytes(f.read_bytes()[:-8]), "values.npy", "values.npy.*bytes"),
        (lambda f: f.unlink(), "omega.npy", "omega.npy.*got none"),
        (lambda f: f.unlink(), "metadata.json", "got no 'metadata.json'"),
        (lambda f: f.write_text("{"), "metadata.json", "to be readable"),
        (lambda f: f.write_text("[1]"), "metadata.json", "list instead of entries"),
        (
            lambda f: f.write_text(f.read_text().replace('"dt": 0.5', '"dt": 0.25')),
            "metadata.json",
            "differs from its checksum",
        ),
    ],
)
def test_damage_is_found_and_named(store, damage, name, message):
    damage(store / name)
    with pytest.raises(StoreError, match=message) as caught:
        open_store(store)
    assert "roma-data generate" in str(caught.value)
    assert len(check_store(store)) == 1


def test_a_missing_store_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="Expected a data set at"):
        open_store(tmp_path / "none")


def test_an_array_of_objects_is_refused(store):
    np.save(store / "omega.npy", np.array([{}], dtype=object), allow_pickle=True)
    metadata = json.loads((store / "metadata.json").read_text())
    del metadata["checksum"]
    size = (store / "omega.npy").stat().st_size
    metadata["files"]["omega.npy"]["bytes"] = size
    (store / "metadata.json").write_text(json.dumps(metadata))
    with pytest.raises(StoreError, match=r"omega.npy.*plain .npy array"):
        open_store(store, verify="size")


def interrupted(path):
    with StoreWriter(path, ring(), 7, 0.5) as writer:
        writer.append(VALUES[:1])
        raise KeyboardInterrupt


def test_a_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path / "ring")
    assert list(tmp_path.iterdir()) == []


def write_rows(path, *shapes):
    with StoreWriter(path, ring(), 7, 0.5) as writer:
        for shape in shapes:
            writer.append(np.ones(shape, dtype=np.float32))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(3, 7)], r"Expected 5 rows \(got 3\)"),
        ([(3, 7), (3, 7)], "Expected 5 rows of 7 samples .* after 3 rows"),
        ([(5, 6)], "Expected 5 rows of 7 samples"),
    ],
)
def test_the_rows_must_be_as_announced(tmp_path, shapes, message):
    with pytest.raises(ValueError, match=message):
        write_rows(tmp_path / "ring", *shapes)
    assert list(tmp_path.iterdir()) == []


def test_no_samples_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'num_steps' of at least 1"):
        StoreWriter(tmp_path / "ring", ring(), 0, 0.5)


def test_values_that_are_not_finite_are_named(tmp_path):
    values = VALUES.copy()
    values[4, 2] = np.inf
    with pytest.raises(ValueError, match="inf at node 4, sample 2"):
        write(tmp_path / "ring", values)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_replaced(store):
    with pytest.raises(FileExistsError, match="not to exist"):
        StoreWriter(store, ring(), 7, 0.5)


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_what_a_killed_process_left_is_removed_by_the_next_writer(tmp_path):
    program = textwrap.dedent(
        f"""
        import os, signal
        from pathlib import Path
        import numpy as np
        from roma_pyg.data.graph import Graph
        from roma_pyg.data.store import StoreWriter, only_writer
        ids = np.arange(5)
        path = Path({str(tmp_path)!r}) / "ring"
        with only_writer(path), StoreWriter(path, Graph.from_edges(ids, (ids + 1) % 5, 5), 7, 0.5):
            os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], env=os.environ, check=False)
    assert done.returncode == -signal.SIGKILL
    assert any(p.name.endswith(".partial") for p in tmp_path.iterdir())
    assert not (tmp_path / "ring").exists()
    with only_writer(tmp_path / "ring"):
        write(tmp_path / "ring")
    assert [p.name for p in tmp_path.iterdir()] == ["ring"]
    assert check_store(tmp_path / "ring") == []
