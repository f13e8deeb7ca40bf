"""Recalled memories on disk: used for the same content of everything, and for nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from roma_pyg.config import DataConfig, MemoryConfig, PositionalConfig, SplitConfig, TrainingConfig
from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.data.graph import Graph
from roma_pyg.data.memory import NodeMemory
from roma_pyg.data.memory_cache import recall_once
from roma_pyg.data.store import StoreWriter, content_checksum, open_store

NODES, SAMPLES, WINDOW, HORIZON = 200, 400, 6, 12


def write(path, values, graph=None):
    if graph is None:
        ring = np.arange(len(values))
        graph = Graph.from_edges(ring, np.roll(ring, 1), len(values))
    with StoreWriter(path, graph, values.shape[1], 0.1) as writer:
        writer.append(values)
    return open_store(path)


def waves(nodes=NODES, seed=0):
    rng = np.random.default_rng(seed)
    rate, phase = 0.2 + 0.5 * rng.random((nodes, 1)), 6 * rng.random((nodes, 1))
    return (0.5 + 0.3 * np.sin(rate * np.arange(SAMPLES) + phase)).astype(np.float32)


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "waves", waves())


@pytest.fixture
def data(series, tmp_path):
    """Options whose cache is a new folder, and the data."""
    options = DataConfig(
        root=str(tmp_path),
        positional=PositionalConfig(eigenmaps=2, walk_embedding=2),
        split=SplitConfig(val_nodes=0.1),
        memory=MemoryConfig(size=6, collective=3, blocks=2),
        window=WINDOW,
        horizon=HORIZON,
        nodes_per_graph=32,
        noise=1e-4,
    )
    return GraphSeriesData(options, TrainingConfig(), series, progress=False)


@pytest.fixture
def cache(tmp_path):
    return tmp_path / ".cache"


@pytest.fixture
def recalls(monkeypatch):
    """Counts how often memories are really recalled."""
    calls = []
    recall = NodeMemory.recall

    def counting(*args, **kwargs):
        calls.append(kwargs)
        return recall(*args, **kwargs)

    monkeypatch.setattr(NodeMemory, "recall", counting)
    return calls


def files(cache):
    return sorted(cache.glob("memory-*"))


def asked(data, **changes):
    """Arguments of `recall_once` as the data module has them."""
    known = {
        "memory": data.memory,
        "series": data.series,
        "times": data.split.times["train"],
        "around": data.surroundings,
        "blocks": 2,
        "noise": 1e-4,
        "seed": 0,
        "progress": False,
    }
    return known | changes


def test_a_data_set_is_remembered_once(data, cache, recalls):
    first = data.features
    again = GraphSeriesData(data.options, data.training, data.series, progress=False)
    same = GraphSeriesData(data.options, data.training, data.series, data.memory, progress=False)
    for other in (again, same):
        np.testing.assert_array_equal(other.features.memory, first.memory)
        np.testing.assert_array_equal(other.features.loadings, first.loadings)
    assert len(recalls) == 1
    assert len(files(cache)) == 1
    bare = data.memory.recall(
        data.series.values,
        data.split.times["train"],
        around=data.surroundings,
        blocks=2,
        noise=1e-4,
        seed=data.options.seed,
    )
    np.testing.assert_array_equal(first.memory, bare[..., :6])
    np.testing.assert_array_equal(first.loadings, bare[..., 6:])


def test_rows_from_the_file_are_those_from_memory(data):
    features = data.features
    assert not features.memory.flags.writeable
    nodes = np.array([7, 3, 7, 150])
    for time in (None, WINDOW, data.split.times["train"][-1]):
        row = features.row(time)
        expected = np.array(features.memory[row])[nodes]
        np.testing.assert_array_equal(features.read(nodes, time)[:, -6:], expected)


def changed_memory(data):
    memory = NodeMemory.of(data.options)
    memory.load_state_dict(data.memory.state_dict())
    memory.modes[0, 0, 0] += 1e-3
    return memory


def changed_level(data):
    """The memory has a buffer of the name that an array of the modes has, too."""
    memory = changed_memory(data)
    memory.load_state_dict(data.memory.state_dict())
    memory.level += 0.1
    return memory


def changed_modes(data):
    modes = data.surroundings.modes
    return replace(data.surroundings, modes=replace(modes, loads=1.01 * modes.loads))


def changed_stage(data):
    return replace(data.surroundings, stage=np.zeros(NODES, np.int8))


def changed_couplings(data):
    graph = data.series.graph
    weight = graph.weight.copy()
    weight[0] *= 2
    return replace(data.surroundings, graph=Graph(graph.rowptr, graph.col, weight))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: {"noise": 2e-4},
        lambda data: {"seed": 1},
        lambda data: {"blocks": 0},
        lambda data: {"memory": changed_memory(data)},
        lambda data: {"memory": changed_level(data)},
        lambda data: {"around": changed_modes(data)},
        lambda data: {"around": changed_stage(data)},
        lambda data: {"around": changed_couplings(data)},
    ],
    ids=["noise", "seed", "blocks", "memory", "level", "modes", "stage", "couplings"],
)
def test_anything_else_is_remembered_anew(data, cache, recalls, change):
    before = recall_once(cache, **asked(data))
    after = recall_once(cache, **asked(data, **change(data)))
    assert len(recalls) == 2
    assert len(files(cache)) == 2
    assert before.shape != after.shape or (before != after).any()
    np.testing.assert_array_equal(recall_once(cache, **asked(data)), before)
    np.testing.assert_array_equal(recall_once(cache, **asked(data, **change(data))), after)
    assert len(recalls) == 2


def test_other_times_are_remembered_anew(series, cache, recalls):
    memory = NodeMemory(4, WINDOW, HORIZON)
    memory.fit(series.values, np.arange(50), range(WINDOW, 300))
    rest = {"around": None, "blocks": 1, "noise": 0.0, "seed": 0, "progress": False}
    for times in (range(WINDOW, 300), range(WINDOW, 301)):
        recall_once(cache, memory, series, times, **rest)
    assert len(recalls) == len(files(cache)) == 2


def test_another_data_set_is_remembered_anew(tmp_path, cache, recalls):
    memory = NodeMemory(4, WINDOW, HORIZON)
    rest = {"around": None, "blocks": 1, "noise": 0.0, "seed": 0, "progress": False}
    values = waves()
    memory.fit(values, np.arange(50), range(WINDOW, 300))
    results = []
    for name in ("one", "two"):
        series = write(tmp_path / name, values)
        results.append(recall_once(cache, memory, series, range(WINDOW, 300), **rest))
        values[150] = values[150, ::-1]
    assert len(recalls) == 2
    assert (results[0][:, 150] != results[1][:, 150]).any()
    np.testing.assert_array_equal(results[0][:, :150], results[1][:, :150])


def test_only_a_data_set_as_it_lies_on_disk_is_known(series, data, cache, recalls):
    assert content_checksum(series) == series.metadata["checksum"]
    values = series.values
    for other in (np.array(values), values[::-1], values[:, :-1], np.array(values)[:, ::-1]):
        fits = replace(series, graph=series.graph, values=other)
        assert content_checksum(fits) is None
    changed = replace(series, values=np.array(values))
    rest = asked(data, series=changed)
    recall_once(cache, **rest)
    recall_once(cache, **rest)
    recall_once(None, **asked(data))
    assert len(recalls) == 3
    assert files(cache) == []


@pytest.mark.parametrize("damage", ["flipped", "short", "empty", "text"])
def test_a_damaged_file_is_replaced(data, cache, recalls, damage):
    whole = np.array(recall_once(cache, **asked(data)))
    (file,) = files(cache)
    content = file.read_bytes()
    flipped = content[:-1] + bytes([content[-1] ^ 1])
    new = {"flipped": flipped, "short": content[:-9], "empty": b"", "text": b"no array"}[damage]
    file.write_bytes(new)
    with pytest.warns(UserWarning, match=r"Expected the cached memory of the nodes \(damaged"):
        again = recall_once(cache, **asked(data))
    np.testing.assert_array_equal(again, whole)
    assert len(recalls) == 2
    assert files(cache) == [file]
    assert file.read_bytes() == content


def test_a_large_file_is_checked_by_its_size(data, cache, recalls, monkeypatch):
    monkeypatch.setattr("roma_pyg.data.memory_cache.FULL_CHECK_BELOW", 0)
    recall_once(cache, **asked(data))
    monkeypatch.setattr("roma_pyg.data.memory_cache.file_digest", None)
    recall_once(cache, **asked(data))
    assert len(recalls) == 1
    (file,) = files(cache)
    monkeypatch.undo()
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="bytes are"):
        recall_once(cache, **asked(data))


def test_a_cache_that_cannot_be_written_is_done_without(data, tmp_path, recalls):
    place = tmp_path / "file"
    place.write_text("no folder")
    with pytest.warns(UserWarning, match="Expected room for the memory of the nodes, .* MB"):
        recalled = recall_once(place, **asked(data))
    assert recalled.shape == (3, NODES, 6 + 3 + 1)
    assert place.read_text() == "no folder"


def test_nothing_is_left_of_a_file_that_could_not_be_finished(data, cache, monkeypatch):
    def full(stream, array, **_):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("roma_pyg.data.memory_cache.np.save", full)
    with pytest.warns(UserWarning, match="No space left on device"):
        recall_once(cache, **asked(data))
    assert files(cache) == []
