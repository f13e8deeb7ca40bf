from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from roma_pyg.config import TrainingConfig
from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.data.history import History
from roma_pyg.data.sampling import collate
from roma_pyg.data.series import GraphSeries
from roma_pyg.models.roma import Roma
from roma_pyg.training.projector import NodeEmbedding, embed_nodes, write_embedding

NODES = 60


@pytest.fixture
def data(tiny, tmp_path) -> GraphSeriesData:
    extras = {"block_2": np.arange(NODES) // 5, "block_1": np.arange(NODES) // 20}
    series = GraphSeries(tiny.graph(NODES), tiny.values(NODES, 200), extras=extras)
    options = tiny.data(root=str(tmp_path))
    return GraphSeriesData(options, TrainingConfig(), series, progress=False)


@pytest.fixture
def model(tiny, data) -> Roma:
    torch.manual_seed(0)
    model = Roma(tiny.config(), data.options)
    model.fit_statistics(data.statistics(4))
    return model.eval()


def test_columns_tell_what_is_known_of_each_node(model, data):
    embedding = embed_nodes(model, data, limit=20)
    columns = embedding.columns
    names = ["node", "degree", "supernode_1", "supernode_2", "block_1", "block_2"]
    assert list(columns) == names
    node = columns["node"]
    assert len(np.unique(node)) == len(node) == 20
    assert embedding.features.shape == (20, 8)
    assert set(node) <= set(data.split.visible("val"))
    np.testing.assert_array_equal(columns["degree"], data.series.graph.degree[node])
    np.testing.assert_array_equal(columns["block_1"], node // 20)
    np.testing.assert_array_equal(columns["block_2"], node // 5)
    assert columns["supernode_1"].max() < 4
    assert columns["supernode_2"].max() < 3


def test_features_are_those_of_the_encoder(model, data):
    embedding = embed_nodes(model, data, limit=12)
    sampler, visible = data.samplers["val"], data.split.visible("val")
    sub = sampler.sample(np.random.default_rng(0))
    history = History(data.series.values, data.split.times["val"][-1], data.options.window)
    batch = collate(
        [sub],
        [history[visible[sub.nodes]]],
        [data.features.read(visible[sub.nodes])],
        np.array([1]),
        node_ids=visible,
    )
    with torch.no_grad():
        fine = model.encode(batch)
        levels, _ = model.hierarchy(fine)
    np.testing.assert_allclose(embedding.features, fine.features[0].numpy(), atol=1e-6)
    np.testing.assert_array_equal(embedding.columns["node"], visible[sub.core])
    label = levels[1].assignment[0].argmax(dim=1)
    np.testing.assert_array_equal(embedding.columns["supernode_1"], label.numpy())


def test_fixed_supernodes_are_no_columns(tiny, data):
    config = tiny.config()
    config.pool.select = "louvain"
    model = Roma(config, data.options)
    model.fit_statistics(data.statistics(4))
    names = list(embed_nodes(model.eval(), data, limit=12).columns)
    assert names == ["node", "degree", "block_1", "block_2"]


def test_files_of_the_projector(tmp_path):
    writer = SummaryWriter(str(tmp_path))
    columns = {"node": np.array([3, 5]), "degree": np.array([1, 2])}
    write_embedding(writer, NodeEmbedding(np.eye(2, 3, dtype=np.float32), columns), step=7)
    writer.close()
    folder = tmp_path / "00007" / "nodes"
    assert (folder / "metadata.tsv").read_text() == "node\tdegree\n3\t1\n5\t2\n"
    np.testing.assert_array_equal(np.loadtxt(folder / "tensors.tsv"), np.eye(2, 3))
    assert "nodes" in (tmp_path / "projector_config.pbtxt").read_text()
