from __future__ import annotations

import numpy as np
import pytest
import torch

from roma_pyg.data.sampling import SubgraphSampler, collate
from roma_pyg.models.forecast import RomaForecaster
from roma_pyg.models.hierarchy import Hierarchy, global_hierarchy, local_hierarchy
from roma_pyg.nn.pool import assign

GEOMETRIES = ["hyperbolic", "euclidean"]


def batches(tiny, graph, cores, count=2, seed=0):
    """Subgraphs with the given cores, some per batch."""
    sampler, rng = SubgraphSampler(graph, len(cores[0])), np.random.default_rng(seed)
    window = tiny.values(graph.num_nodes, 5)
    for start in range(0, len(cores), count):
        subgraphs = [sampler.expand(core, rng) for core in cores[start : start + count]]
        windows = [window[sub.nodes] for sub in subgraphs]
        position = tiny.position(graph.num_nodes)
        yield (
            collate(
                subgraphs, windows, [position[sub.nodes] for sub in subgraphs], np.arange(1, 5)
            ),
            subgraphs,
        )


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("sizes", [(4, 3), (6, 4, 3), (3, 1), (1,)])
def test_one_subgraph_equals_the_levels_of_the_model(tiny, geometry, sizes):
    model, graph = tiny.model(geometry=geometry, sizes=sizes), tiny.graph(12)
    (batch, (sub,)), *_ = batches(tiny, graph, [np.arange(12)])
    hierarchy = global_hierarchy(model, graph, [(batch, [sub])])
    with torch.no_grad():
        levels, _ = model.hierarchy(model.encode(batch))
    assert len(hierarchy.assignments) == len(hierarchy.couplings) == len(sizes)
    for number, level in enumerate(levels[1:]):
        assignment = level.assignment[0].numpy()
        if number == 0:
            fine = assignment
            assignment = np.empty_like(fine)
            assignment[sub.nodes] = fine
        np.testing.assert_allclose(hierarchy.assignments[number], assignment, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(
            hierarchy.couplings[number], level.adjacency[0].numpy(), rtol=1e-4, atol=1e-6
        )


def test_one_subgraph_of_a_batch(tiny):
    model, batch = tiny.model(), tiny.batch(2)
    graph, hierarchy = local_hierarchy(model, batch, 1)
    with torch.no_grad():
        levels, _ = model.hierarchy(model.encode(batch))
    for number, level in enumerate(levels[1:]):
        np.testing.assert_array_equal(hierarchy.assignments[number], level.assignment[1].numpy())
        np.testing.assert_array_equal(hierarchy.couplings[number], level.adjacency[1].numpy())
    sender, receiver = levels[0].edge_index
    linked = {(int(i) - 12, int(j) - 12) for i, j in zip(receiver, sender, strict=True) if i >= 12}
    assert set(zip(*np.nonzero(graph.to_matrix().toarray()), strict=True)) == linked


def test_one_subgraph_must_exist(tiny):
    with pytest.raises(ValueError, match=r"'index' in \[0, 2\).*\(got 2\)"):
        local_hierarchy(tiny.model(), tiny.batch(2), 2)
    with pytest.raises(ValueError, match="model with coarse levels"):
        local_hierarchy(tiny.model(sizes=()), tiny.batch(2))


@pytest.mark.parametrize("sizes", [(4, 3), (20, 3)])
def test_many_subgraphs(tiny, sizes):
    """Columns sum to one, and couplings are the dense S^T A S."""
    model = tiny.model(sizes=sizes)
    made = RomaForecaster(model, tiny.graph(), tiny.position())
    hierarchy = made.hierarchy(tiny.values(30, 5))
    coupling = made.graph.to_matrix().toarray()
    for assignment, coarse in zip(hierarchy.assignments, hierarchy.couplings, strict=True):
        assert (assignment >= 0).all()
        np.testing.assert_allclose(assignment.sum(0), 1, rtol=1e-5)
        coupling = assignment.T @ coupling @ assignment
        np.testing.assert_allclose(coarse, coupling, rtol=1e-4)


def test_columns_compete_over_the_whole_graph(tiny):
    """The logits of all subgraphs, joined by hand; a node counts once, where it comes first."""
    model, graph = tiny.model(), tiny.graph(20)
    cores = [np.arange(12), np.arange(8, 20), np.arange(4, 16)]
    given = list(batches(tiny, graph, cores))
    logits = torch.full((20, 4), torch.nan)
    joint = torch.full((20, 8 + 10), torch.nan)
    stage = model.renormalizations[0]
    with torch.no_grad():
        for batch, subgraphs in given:
            fine = model.encode(batch)
            points, scores = stage.read(fine)
            tangent = stage.embed.space.to_tangent(points).view_as(fine.features)
            for g, sub in enumerate(subgraphs):
                for place, node in enumerate(sub.nodes[: sub.num_core]):
                    if logits[node].isnan().any():
                        logits[node] = scores[g, place]
                        joint[node] = torch.cat([tangent[g, place], fine.lags[g, place]])
        first = assign(logits[None])
        hierarchy = global_hierarchy(model, graph, given)
        np.testing.assert_allclose(hierarchy.assignments[0], first[0], rtol=1e-4, atol=1e-7)
        # The second level follows from features that are pooled over the whole graph.
        second = model.renormalizations[1]
        features = stage.norm(first[0].T @ joint[:, :8] * 20 / 4)
        points = second.select.space.from_tangent(features)
        coupling = first[0].T @ torch.from_numpy(graph.to_matrix().toarray()) @ first[0]
        edges = [(b, a) for a in range(4) for b in range(4) if b != a]
        others = coupling * (1 - torch.eye(4))
        weight = torch.stack([others[a, b] / others[a].sum() for b, a in edges])
        edge_index = torch.tensor(edges).T
        scores = second.select.scores(points, edge_index, 1, edge_weight=weight)
        np.testing.assert_allclose(hierarchy.assignments[1], assign(scores)[0], rtol=1e-4)
        np.testing.assert_allclose(hierarchy.couplings[0], coupling, rtol=1e-4)


def test_logits_of_zero_make_uniform_supernodes(tiny):
    model, graph = tiny.model(sizes=(1,)), tiny.graph(12)
    torch.nn.init.zeros_(model.renormalizations[0].select.logits.weight)
    torch.nn.init.zeros_(model.renormalizations[0].select.logits.bias)
    hierarchy = global_hierarchy(model, graph, batches(tiny, graph, [np.arange(12)]))
    np.testing.assert_allclose(hierarchy.assignments[0], 1 / 12, rtol=1e-6)
    expected = graph.to_matrix().toarray().mean()
    np.testing.assert_allclose(hierarchy.couplings[0], expected, rtol=1e-5)


def test_isolated_nodes(tiny):
    graph = tiny.graph(20, isolated=6)
    hierarchy = RomaForecaster(tiny.model(), graph, tiny.position(20)).hierarchy(tiny.values(20, 5))
    assert all(np.isfinite(a).all() for a in hierarchy.assignments + hierarchy.couplings)


def test_labels_by_hand():
    """Nodes 0, 1 form supernode 0, nodes 2, 3 supernode 1; both lie in one supersupernode."""
    first = np.array([[0.6, 0.0], [0.4, 0.1], [0.0, 0.5], [0.0, 0.4]], dtype=np.float32)
    second = np.array([[0.1, 0.9], [0.9, 0.1]], dtype=np.float32)
    hierarchy = Hierarchy([first, second], [np.eye(2, dtype=np.float32)] * 2)
    assert hierarchy.labels().tolist() == [0, 0, 1, 1]
    assert hierarchy.labels(level=2).tolist() == [1, 1, 0, 0]
    for level in (0, 3):
        with pytest.raises(ValueError, match=rf"'level' between 1 and 2 \(got {level}\)"):
            hierarchy.labels(level)


def test_rejects_a_cover_with_gaps(tiny):
    model, graph = tiny.model(), tiny.graph(20)
    for cores in ([np.arange(12)], [np.arange(12), np.delete(np.arange(7, 20), 5)]):
        given = batches(tiny, graph, cores)
        with pytest.raises(ValueError, match=r"cover every node \(got none with node 12\)"):
            global_hierarchy(model, graph, given)


def test_rejects_a_model_without_coarse_levels(tiny):
    with pytest.raises(ValueError, match="Expected a model with coarse levels"):
        global_hierarchy(tiny.model(sizes=()), tiny.graph(), [])


def test_assignment_on_disk_equals_that_in_memory(tiny, tmp_path):
    made = RomaForecaster(tiny.model(), tiny.graph(), tiny.position())
    window, output = tiny.values(30, 5), tmp_path / "s.npy"
    expected = made.hierarchy(window)
    hierarchy = made.hierarchy(window, output)
    assert isinstance(hierarchy.assignments[0], np.memmap)
    assert [path.name for path in tmp_path.iterdir()] == ["s.npy"]
    np.testing.assert_array_equal(np.load(output), expected.assignments[0])
    for name in ("assignments", "couplings"):
        pairs = zip(getattr(hierarchy, name), getattr(expected, name), strict=True)
        for one, two in pairs:
            np.testing.assert_array_equal(one, two)
    with pytest.raises(FileExistsError, match="not to exist"):
        made.hierarchy(window, output)
    with pytest.raises(ValueError, match=r"'output' to end in \.npy"):
        made.hierarchy(window, tmp_path / "s.parquet")


def test_a_cover_with_gaps_leaves_no_file(tiny, tmp_path):
    given = batches(tiny, tiny.graph(20), [np.arange(12)])
    with pytest.raises(ValueError, match="cover every node"):
        global_hierarchy(tiny.model(), tiny.graph(20), given, tmp_path / "s.npy")
    assert list(tmp_path.iterdir()) == []


def test_coarse_series_is_pooled_level_by_level(tiny):
    made = RomaForecaster(tiny.model(), tiny.graph(), tiny.position())
    hierarchy, values = made.hierarchy(tiny.values(30, 5)), tiny.values(30, 9)
    first, second = hierarchy.assignments
    level_1 = first.T @ values * 30 / 4
    np.testing.assert_allclose(hierarchy.coarse_series(values), level_1, rtol=1e-5)
    np.testing.assert_allclose(
        hierarchy.coarse_series(values, level=2), second.T @ level_1 * 4 / 3, rtol=1e-5
    )
    with pytest.raises(ValueError, match=r"'level' between 1 and 2 \(got 3\)"):
        hierarchy.coarse_series(values, level=3)
