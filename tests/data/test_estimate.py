from __future__ import annotations

import errno
from dataclasses import replace

import pytest

from roma_pyg.config import DataConfig, GraphConfig, KuramotoConfig
from roma_pyg.data import estimate as module
from roma_pyg.data.estimate import estimate
from roma_pyg.data.generate import generate
from roma_pyg.data.store import open_store

CONFIG = DataConfig(
    name="km", steps=300, graph=GraphConfig(nodes=4000), kuramoto=KuramotoConfig(burn_in=1.0)
)


def test_it_predicts_what_is_made(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PROBE_NODES", 1000)
    config = replace(CONFIG, root=str(tmp_path))
    need = estimate(config)
    path = generate(config, progress=False)
    series = open_store(path)
    size = sum(file.stat().st_size for file in path.iterdir())
    assert need.nodes == pytest.approx(series.num_nodes, rel=0.1)
    assert need.edges == pytest.approx(series.graph.num_edges, rel=0.3)
    assert need.disk == pytest.approx(size, rel=0.15)
    assert need.scratch > 1.8 * need.disk
    assert 0 < need.seconds < 600
    assert need.memory > 4 * series.num_nodes
    text = str(need)
    assert "300 samples" in text
    assert "GB of memory" in text


def test_it_grows_in_proportion(monkeypatch):
    monkeypatch.setattr(module, "PROBE_NODES", 1000)
    small = estimate(CONFIG)
    large = estimate(replace(CONFIG, graph=GraphConfig(nodes=40_000)))
    assert large.nodes == pytest.approx(10 * small.nodes, rel=0.01)
    assert large.disk == pytest.approx(10 * small.disk, rel=0.01)


def test_a_disk_without_room_is_named(tmp_path):
    need = replace(estimate(CONFIG), scratch=1 << 60)
    with pytest.raises(OSError, match=r"GB of free disk .* choose another data.root") as caught:
        need.check_room(tmp_path)
    assert caught.value.errno == errno.ENOSPC


def test_nothing_is_begun_without_room(tmp_path, monkeypatch):
    class Usage:
        free = 1000

    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(OSError, match="GB of free disk"):
        generate(replace(CONFIG, root=str(tmp_path)), progress=False)
    assert list(tmp_path.iterdir()) == []
