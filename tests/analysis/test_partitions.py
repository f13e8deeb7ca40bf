from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.analysis.agreement import agreement
from roma_pyg.analysis.partitions import classes, known_partitions, rival_partitions
from roma_pyg.data.graph import Graph
from roma_pyg.data.split import communities


def cliques(count: int, size: int) -> tuple[Graph, np.ndarray]:
    """Cliques in a ring, neighbours joined by one edge."""
    label = np.repeat(np.arange(count), size)
    inside = np.array(
        [(i, j) for i in range(len(label)) for j in range(i) if label[i] == label[j]]
    ).T
    first = np.arange(count) * size
    ring = np.stack([first + 1, np.roll(first, -1)])
    sender, receiver = np.concatenate([inside, ring], axis=1)
    both = np.concatenate([sender, receiver]), np.concatenate([receiver, sender])
    return Graph.from_edges(*both, len(label)), label


def test_leiden_finds_cliques():
    graph, label = cliques(6, 5)
    found = communities(graph, 3, "leiden")
    assert agreement(found, label).ari == 1
    assert np.array_equal(found, communities(graph, 3, "leiden"))


def test_known_partitions_use_what_the_data_knows():
    graph, label = cliques(4, 5)
    extras = {"block_1": label, "block_2": label // 2, "angle": np.arange(20.0), "omega": label}
    known, other = known_partitions(graph, extras, [4, 2])
    assert set(known) == {
        "planted blocks, level 1",
        "planted blocks, level 2",
        "Louvain",
        "Leiden",
        "angle in the disk",
        "natural frequency",
        "degree",
    }
    assert agreement(known["natural frequency"], label).ari == 1
    assert other["angle in the disk"].max() == 1
    assert other["Louvain"] is known["Louvain"]
    assert known["planted blocks, level 2"].max() == 1
    assert set(known_partitions(graph, {}, [4])[0]) == {"Louvain", "Leiden", "degree"}


def test_nodes_of_one_degree_are_one_class():
    graph, _ = cliques(4, 5)
    degree = known_partitions(graph, {}, [4])[0]["degree"]
    for value in np.unique(graph.degree):
        assert len(np.unique(degree[graph.degree == value])) == 1


def test_classes_have_equal_sizes():
    assert np.bincount(classes(np.arange(12.0)[::-1], 4)).tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize("angle", [True, False])
def test_rivals_have_the_wanted_number_of_parts(angle):
    graph, label = cliques(6, 5)
    extras = {"angle": 2 * np.pi * np.arange(30) / 30} if angle else {}
    rivals = rival_partitions(graph, extras, 6)
    assert set(rivals) == {"LRG", "GRG", "Louvain", "random"}
    for name in ("LRG", "GRG", "Louvain", "random"):
        assert len(np.unique(rivals[name])) == 6, name
    # Diffusion and modularity find the cliques, and so do sectors where the angle follows them.
    assert agreement(rivals["LRG"], label).ari == 1
    assert agreement(rivals["Louvain"], label).ari == 1
    if angle:
        assert agreement(rivals["GRG"], label).ari == 1
    assert agreement(rivals["random"], label).ari < 0.5
