from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from roma_pyg.config import DataConfig, GraphConfig
from roma_pyg.data.blocks import block_graph
from roma_pyg.data.generate import generate
from roma_pyg.data.store import open_store

CONFIG = GraphConfig(kind="blocks", nodes=4000, average_degree=10.0, blocks=[5, 4], mixing=0.2)


def test_shares_of_the_edges_that_stay_on_each_level():
    graph = block_graph(CONFIG, seed=0)
    small, large = graph.blocks
    sender, receiver = graph.adjacency.nonzero()
    inside_small = (small[sender] == small[receiver]).mean()
    inside_large = (large[sender] == large[receiver]).mean()
    # .8 in the smallest (1/20 of the nodes); .16 more in the large ones, of which a quarter falls
    # into a smallest one by chance; .04 anywhere.
    assert inside_small == pytest.approx(0.8 + 0.16 / 4 + 0.04 / 20, abs=0.01)
    assert inside_large == pytest.approx(0.96 + 0.04 / 5, abs=0.005)
    degree = np.diff(graph.adjacency.indptr)
    assert degree.mean() == pytest.approx(10.0, rel=0.05)
    assert degree.var() == pytest.approx(10.0, rel=0.2)


def test_blocks_are_nested_and_of_equal_size():
    graph = block_graph(replace(CONFIG, blocks=[3, 2, 2], nodes=1001), seed=1)
    assert [len(np.unique(block)) for block in graph.blocks] == [12, 6, 3]
    for finer, coarser in zip(graph.blocks, graph.blocks[1:], strict=False):
        pairs = {(f, c) for f, c in zip(finer.tolist(), coarser.tolist(), strict=True)}
        assert len(pairs) == len(set(finer.tolist()))
    sizes = np.bincount(graph.blocks[0])
    assert sizes.max() - sizes.min() <= 3


def test_connected_symmetric_and_without_loops():
    adjacency = block_graph(replace(CONFIG, average_degree=3.0), seed=2).adjacency
    assert connected_components(adjacency)[0] == 1
    assert abs(adjacency - adjacency.T).max() == 0
    assert adjacency.diagonal().max() == 0
    assert set(adjacency.data) == {1.0}


def test_the_same_seed_gives_the_same_graph():
    first, again, other = (block_graph(CONFIG, seed) for seed in (3, 3, 4))
    assert abs(first.adjacency - again.adjacency).max() == 0
    assert (
        first.adjacency.shape != other.adjacency.shape or (first.adjacency != other.adjacency).nnz
    )


def test_no_mixing_leaves_one_smallest_block():
    graph = block_graph(replace(CONFIG, mixing=0.0), seed=0)
    assert len(set(graph.blocks[0])) == 1
    assert graph.adjacency.shape[0] <= 200


@pytest.mark.parametrize("system", ["kuramoto", "burgers"])
def test_data_set_knows_its_blocks(tmp_path, system):
    config = DataConfig(
        name="nested", root=str(tmp_path), system=system, steps=60, graph=replace(CONFIG, nodes=200)
    )
    folder = generate(config, progress=False)
    series = open_store(folder)
    assert len(np.unique(series.extras["block_2"])) == 5
    assert series.extras["block_1"].shape == (series.num_nodes,)
    # Hyperbolic options do not matter here, and the other way round.
    same = replace(config, graph=replace(config.graph, exponent=3.0))
    assert generate(same, progress=False) == folder
    with pytest.raises(ValueError, match=r"got others: graph.mixing = 0.3 \(there 0.2\)"):
        generate(replace(config, graph=replace(config.graph, mixing=0.3)), progress=False)


def test_rejects_impossible_blocks():
    with pytest.raises(ValueError, match=r"'graph.blocks' to be positive numbers whose product"):
        GraphConfig(kind="blocks", nodes=50, blocks=[10, 10])
    with pytest.raises(ValueError, match=r"'graph.mixing' to be in \[0, 1\] \(got 1.5\)"):
        GraphConfig(mixing=1.5)
    with pytest.raises(ValueError, match=r"'graph.kind' to be one of 'hyperbolic', 'blocks'"):
        GraphConfig(kind="lattice")
