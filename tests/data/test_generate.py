from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from roma_pyg.config import DataConfig, GraphConfig, KuramotoConfig
from roma_pyg.data.generate import generate
from roma_pyg.data.journal import Journal
from roma_pyg.data.load import load_series
from roma_pyg.data.store import check_store, open_store
from roma_pyg.dynamics.kuramoto import coupling_matrix, order_parameter, true_forecast


def small(root, **changes):
    options = {
        "name": "km",
        "graph": GraphConfig(nodes=120),
        "steps": 120,
        "kuramoto": KuramotoConfig(burn_in=1.0),
    }
    return DataConfig(root=str(root), **{**options, **changes})


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return generate(small(tmp_path_factory.mktemp("data")), progress=False)


def test_the_store_is_whole_and_says_how_it_was_made(path):
    series = open_store(path, verify="full")
    assert series.num_steps == 120
    assert series.metadata["parameters"]["kuramoto"]["coupling"] == 1.7
    assert {"omega", "angle", "radius", "order_parameter", "phases"} == set(series.extras)
    assert series.extras["phases"].shape == (3, series.num_nodes)
    assert series.extras["phases"].dtype == np.float64
    assert 0 < series.values.min() < series.values.max() <= 1
    regime = series.metadata["regime"]
    assert regime["order_parameter_mean"] == pytest.approx(series.extras["order_parameter"].mean())
    assert 0 < regime["locked_fraction"] <= 1


def test_the_stored_couplings_prefer_hubs(path):
    graph = open_store(path).graph
    expected = coupling_matrix(graph.to_matrix(weighted=False))
    np.testing.assert_allclose(graph.to_matrix().toarray(), expected.toarray(), atol=1e-6)


def test_checkpoints_are_the_phases_of_their_samples(path):
    series = open_store(path)
    for row, phases in enumerate(series.extras["phases"]):
        seen = (1.05 + np.cos(phases)) / 2.1
        np.testing.assert_allclose(series.values[:, 50 * row], seen, atol=1e-6)
        order = series.extras["order_parameter"][50 * row]
        assert order_parameter(phases) == pytest.approx(order)
    np.testing.assert_array_equal(true_forecast(series, 73, 9), series.values[:, 73:82])


def test_equal_parameters_give_equal_bytes_and_other_seeds_do_not(path, tmp_path):
    again = generate(small(tmp_path), progress=False)
    for file in path.iterdir():
        assert file.read_bytes() == (again / file.name).read_bytes(), file.name
    other = generate(small(tmp_path, name="other", seed=1), progress=False)
    assert (other / "values.npy").read_bytes() != (path / "values.npy").read_bytes()


def test_a_second_call_reuses_the_store(path):
    before = (path / "values.npy").stat().st_mtime_ns
    assert generate(small(path.parent), progress=False) == path
    assert (path / "values.npy").stat().st_mtime_ns == before


def test_other_parameters_are_refused_by_name(path):
    config = small(path.parent, kuramoto=KuramotoConfig(burn_in=1.0, coupling=3.0))
    with pytest.raises(ValueError, match=r"kuramoto.coupling = 3.0 \(there 1.7\)"):
        generate(config, progress=False)


def test_two_processes_at_once_end_well(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=generate, args=(small(tmp_path), False)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert check_store(tmp_path / "km") == []
    assert [p.name for p in tmp_path.iterdir()] == ["km"]


def test_load_series_generates_or_reads_files(path, tmp_path):
    assert load_series(small(path.parent), progress=False).num_steps == 120
    (tmp_path / "edges.csv").write_text("source,target\n0,1\n1,2\n")
    np.save(tmp_path / "series.npy", np.random.default_rng(0).random((3, 40), dtype=np.float32))
    config = DataConfig(
        system="files",
        name="own",
        edges=str(tmp_path / "edges.csv"),
        series=str(tmp_path / "series.npy"),
        window=8,
        horizon=4,
        dt=2.0,
    )
    series = load_series(config, progress=False)
    assert (series.num_nodes, series.num_steps, series.dt) == (3, 40, 2.0)


KILLED = textwrap.dedent(
    """
    import os, signal, sys
    from roma_pyg.config import DataConfig, GraphConfig, KuramotoConfig
    from roma_pyg.data import generate, journal, store

    owner, name, calls = sys.argv[2], sys.argv[3], int(sys.argv[4])
    kind = getattr({"journal": journal, "store": store}[owner.split(".")[0]], owner.split(".")[1])
    original = getattr(kind, name)

    def counted(*args):
        global calls
        calls -= 1
        if calls == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args)

    setattr(kind, name, counted)
    config = DataConfig(
        name="km",
        root=sys.argv[1],
        steps=120,
        graph=GraphConfig(nodes=120),
        kuramoto=KuramotoConfig(burn_in=1.0),
    )
    generate.generate(config, progress=False)
    """
)


def killed(root, *words):
    command = [sys.executable, "-c", KILLED, str(root), *map(str, words)]
    return subprocess.run(command, env=os.environ, check=False).returncode


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals")
def test_killed_anywhere_it_goes_on_to_the_same_bytes(path, tmp_path):
    deaths = [
        ("journal.Journal", "append", 1),
        ("journal.Journal", "append", 38),
        ("journal.Journal", "commit", 1),
        ("journal.Journal", "append_state", 2),
        ("journal.Journal", "append", 42),
        ("journal.Journal", "_accept", 4),
        ("store.StoreWriter", "append", 1),
        ("store.StoreWriter", "_finish", 1),
    ]
    for death in deaths:
        assert killed(tmp_path, *death) == -signal.SIGKILL, death
        assert not (tmp_path / "km").exists()
        assert (tmp_path / ".km.unfinished").is_dir()
    generate(small(tmp_path), progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["km"]
    for file in path.iterdir():
        assert file.read_bytes() == (tmp_path / "km" / file.name).read_bytes(), file.name


def test_only_what_is_missing_is_simulated(tmp_path, monkeypatch, caplog):
    original, seen = Journal.append, []

    def append(self, values, scalars):
        if len(seen) == 70:
            raise KeyboardInterrupt
        seen.append(self.samples)
        original(self, values, scalars)

    monkeypatch.setattr(Journal, "append", append)
    with pytest.raises(KeyboardInterrupt):
        generate(small(tmp_path), progress=False)
    with pytest.raises(ValueError, match=r"unfinished data set .* seed = 5 \(there 0\)"):
        generate(small(tmp_path, seed=5), progress=False)
    seen.clear()
    monkeypatch.setattr(Journal, "append", lambda *args: (seen.append(1), original(*args)))
    generate(small(tmp_path), progress=False)
    assert "Going on after sample 51 of 120" in caplog.text
    assert len(seen) == 120 - 51


def test_it_says_what_it_takes(tmp_path, capsys):
    generate(small(tmp_path), progress=True)
    text = capsys.readouterr().err
    assert "GB of memory" in text
    assert "directed edges, 120 samples" in text
