from __future__ import annotations

from dataclasses import fields, replace

import networkit as nk
import numpy as np
import pytest
import torch

from roma_pyg.data.graph import Graph
from roma_pyg.data.sampling import Subgraph, SubgraphBatch, SubgraphSampler, collate


@pytest.fixture(scope="module")
def hyperbolic():
    """Connected graph with hubs."""
    nk.setSeed(1, False)
    network = nk.generators.HyperbolicGenerator(1200, 6, 2.5, 0).generate()
    network = nk.components.ConnectedComponents.extractLargestConnectedComponent(network, True)
    edges = np.array([[u, v] for u, v in network.iterEdges()]).T
    weight = np.random.default_rng(0).random(edges.shape[1]) + 0.05
    return Graph.from_edges(*edges, network.numberOfNodes(), weight)


def ring(nodes):
    return Graph.from_edges(np.arange(nodes), (np.arange(nodes) + 1) % nodes, nodes)


def star(leaves, weight=None):
    return Graph.from_edges(
        np.zeros(leaves, dtype=int), np.arange(1, leaves + 1), leaves + 1, weight
    )


def estimate(sub, values):
    """Weighted neighbour mean of the core nodes inside the subgraph."""
    total = np.zeros(sub.num_core)
    np.add.at(total, sub.receiver, sub.weight * values[sub.nodes[sub.sender]])
    return total


@pytest.mark.parametrize("limit", [1, 3, 8, 1000])
def test_layout_of_a_subgraph(hyperbolic, limit):
    sub = SubgraphSampler(hyperbolic, 100, 8, limit).sample(np.random.default_rng(0))
    degree = hyperbolic.degree[sub.core]
    assert sub.num_core == len(np.unique(sub.core)) == 100
    assert len(np.unique(sub.nodes)) == len(sub.nodes)
    assert (np.diff(degree) <= 0).all()
    assert (np.diff(sub.receiver) >= 0).all()
    np.testing.assert_array_equal(
        np.bincount(sub.receiver, minlength=100), np.minimum(degree, limit)
    )
    np.testing.assert_allclose(
        np.bincount(sub.receiver, sub.weight, minlength=100), degree > 0, atol=1e-6
    )
    # Every halo node sends, and every edge is one of the graph, once.
    assert set(range(100, len(sub.nodes))) <= set(sub.sender)
    pairs = np.stack([sub.sender, sub.receiver])
    assert np.unique(pairs, axis=1).shape == pairs.shape
    edges = hyperbolic.to_matrix(weighted=False)
    assert (edges[sub.nodes[sub.receiver], sub.nodes[sub.sender]] == 1).all()


def test_complete_nodes_have_all_their_neighbours_in_the_core():
    sampler = SubgraphSampler(ring(8), 5, 2)
    core = np.array([0, 1, 2, 5, 6])
    sub = sampler.expand(core, np.random.default_rng(0))
    assert sub.complete.tolist() == [False, True, False, False, False]
    # A graph that node 1 lost a neighbour in when it was cut out of another one.
    degree = np.full(8, 2)
    degree[1] = 3
    cut = SubgraphSampler(ring(8), 5, 2, degree=degree).expand(core, np.random.default_rng(0))
    assert not cut.complete.any()
    whole = SubgraphSampler(Graph.from_edges([0], [1], 3), 3).sample(np.random.default_rng(0))
    assert whole.complete.all()


@pytest.mark.parametrize("limit", [3, 1000])
def test_complete_nodes_of_a_sample(hyperbolic, limit):
    sub = SubgraphSampler(hyperbolic, 200, 8, limit).sample(np.random.default_rng(0))
    edges = hyperbolic.to_matrix(weighted=False)[sub.core]
    inside = edges[:, sub.core].sum(axis=1) == edges.sum(axis=1)
    # More neighbours than are drawn are never all there.
    np.testing.assert_array_equal(sub.complete, inside & (hyperbolic.degree[sub.core] <= limit))
    assert 0 < sub.complete.sum() < 200


def test_the_neighbour_mean_is_exact_up_to_the_limit(hyperbolic):
    values = np.random.default_rng(0).random(hyperbolic.num_nodes)
    sampler = SubgraphSampler(hyperbolic, 300, 16, 12)
    sub = sampler.sample(np.random.default_rng(1))
    full = hyperbolic.neighbor_mean(values)[sub.core]
    few = hyperbolic.degree[sub.core] <= 12
    assert 10 < few.sum() < 300
    np.testing.assert_allclose(estimate(sub, values)[few], full[few], rtol=1e-5)
    assert np.abs(estimate(sub, values) - full)[~few].min() > 1e-6


@pytest.mark.parametrize("limit", [1, 2, 5])
def test_the_neighbour_mean_is_unbiased_above_the_limit(limit):
    # Couplings that vary strongly and go with the values: a mean of uniformly drawn neighbours,
    # normalised afterwards, is far off here.
    rng = np.random.default_rng(0)
    values = np.concatenate([[0.0], rng.random(23)])
    graph = star(23, values[1:] ** 3)
    sampler = SubgraphSampler(graph, 1, 1, limit)
    draws = [estimate(sampler.expand(np.array([0]), rng), values)[0] for _ in range(4000)]
    error = np.std(draws) / len(draws) ** 0.5
    assert abs(np.mean(draws) - graph.neighbor_mean(values)[0]) < 4 * error
    assert abs(np.mean(draws) - values[1:].mean()) > 20 * error


def test_every_neighbour_of_a_hub_has_its_turn():
    sampler = SubgraphSampler(star(10), 1, 1, 4)
    rng = np.random.default_rng(0)
    counts = np.zeros(11)
    for _ in range(2000):
        sub = sampler.expand(np.array([0]), rng)
        np.testing.assert_allclose(sub.weight, [0.2, 0.3, 0.2, 0.3], rtol=1e-5)
        counts[sub.nodes[sub.sender]] += 1
    # Strata {1, 2}, {3, 4, 5}, {6, 7}, {8, 9, 10}.
    expected = 2000 / np.array([2, 2, 3, 3, 3, 2, 2, 3, 3, 3])
    assert (np.abs(counts[1:] - expected) < 4 * expected**0.5).all()


def test_hubs_whose_couplings_vanish():
    weight = np.zeros(6, dtype=np.float32)
    weight[0] = 1
    graph = Graph(np.array([0, 6, 6, 6, 6, 6, 6, 6]), np.arange(1, 7), weight)
    for seed in range(5):
        sub = SubgraphSampler(graph, 1, 1, 3).expand(np.array([0]), np.random.default_rng(seed))
        assert len(sub.sender) == 3
        np.testing.assert_array_equal(sub.weight, [1, 0, 0])
        assert sub.nodes[sub.sender[0]] == 1


def test_several_hubs_keep_their_own_neighbours():
    # Two stars and a pair, the hubs not next to each other in the graph.
    senders = np.concatenate([np.full(9, 3), np.full(7, 20), [21]])
    receivers = np.concatenate([np.setdiff1d(np.arange(10), 3), np.arange(11, 18), [22]])
    graph = Graph.from_edges(senders, receivers, 24)
    sampler = SubgraphSampler(graph, 4, 1, 2)
    for seed in range(20):
        sub = sampler.expand(np.array([20, 21, 3, 0]), np.random.default_rng(seed))
        assert sub.core.tolist() == [3, 20, 0, 21]
        assert sub.receiver.tolist() == [0, 0, 1, 1, 2, 3]
        senders = sub.nodes[sub.sender]
        assert (senders[:2] < 10).all()
        assert ((senders[2:4] > 10) & (senders[2:4] < 18)).all()
        assert senders[4:].tolist() == [3, 22]


def test_a_small_graph_is_taken_whole():
    graph = ring(7)
    sub = SubgraphSampler(graph, 512, 16, 64).sample(np.random.default_rng(0))
    assert sub.nodes.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert sub.num_core == 7
    values = np.arange(7.0)
    np.testing.assert_allclose(estimate(sub, values), graph.neighbor_mean(values))


def test_isolated_nodes_and_no_edges():
    graph = Graph.from_edges([0, 1], [1, 2], 40)
    sampler = SubgraphSampler(graph, 30, 4)
    sub = sampler.sample(np.random.default_rng(0))
    assert len(np.unique(sub.core)) == 30
    assert set(sub.core[sub.receiver]) <= {0, 1, 2}
    alone = SubgraphSampler(Graph.from_edges([], [], 5), 3).sample(np.random.default_rng(0))
    assert len(alone.nodes) == 3
    assert (alone.sender.shape, alone.sender.dtype) == ((0,), np.int64)


def test_all_but_one_node():
    sampler = SubgraphSampler(ring(200), 199, 16)
    rng = np.random.default_rng(0)
    missing = [np.setdiff1d(np.arange(200), sampler.sample(rng).core)[0] for _ in range(60)]
    assert len(np.unique(missing)) > 30


def test_sampling_depends_on_the_generator_alone(hyperbolic):
    one, other = (SubgraphSampler(hyperbolic, 80, 8, 4) for _ in range(2))
    other.sample(np.random.default_rng(9))
    other.importance(np.arange(3))
    first, second = (s.sample(np.random.default_rng(3)) for s in (one, other))
    for field in fields(Subgraph):
        np.testing.assert_array_equal(getattr(first, field.name), getattr(second, field.name))
    assert (one.sample(np.random.default_rng(4)).core != first.core).any()


def test_subgraphs_are_local(hyperbolic):
    # Walks keep neighbours together: more edges inside than between nodes drawn at random.
    rng = np.random.default_rng(0)
    sampler = SubgraphSampler(hyperbolic, 100, 16, 1000)
    walked = sampler.sample(rng)
    scattered = sampler.expand(rng.choice(hyperbolic.num_nodes, 100, replace=False), rng)
    inside = [(sub.sender < 100).mean() for sub in (walked, scattered)]
    assert inside[0] > 2 * inside[1]


def test_importance_makes_means_over_samples_means_over_the_graph(hyperbolic):
    sampler = SubgraphSampler(hyperbolic, 100, 16)
    rng = np.random.default_rng(0)
    degree = hyperbolic.degree
    properties = np.stack(
        [
            1 / degree,
            np.log(degree),
            degree == 1,
            hyperbolic.neighbor_mean(np.log(degree)),
            rng.random(hyperbolic.num_nodes),
        ]
    ).astype(np.float64)
    plain, weighted, weights = [], [], []
    for _ in range(400):
        core = sampler.sample(rng).core
        weight = sampler.importance(core, draws=1000)
        plain.append(properties[:, core].mean(1))
        weighted.append((properties[:, core] * weight).mean(1))
        weights.append(weight.mean())
    truth = properties.mean(1)
    error = np.std(weighted, axis=0) / 400**0.5
    off = np.abs(np.mean(weighted, axis=0) - truth)
    # Four standard errors, and one percent as chances depend on more than the degree.
    assert (off < 4 * error + 0.01 * truth).all()
    assert abs(np.mean(weights) - 1) < 0.02
    # Without weights, hubs count too much.
    far = np.abs(np.mean(plain, axis=0) - truth)
    assert (far[:3] > 3 * off[:3]).all()
    assert (far[:3] > 0.05 * truth[:3]).all()


def test_importance_of_nodes_with_equal_chances_is_one():
    whole = SubgraphSampler(star(5), 100)
    np.testing.assert_allclose(whole.importance(np.arange(6)), 1)
    even = SubgraphSampler(ring(50), 20, 4)
    np.testing.assert_allclose(even.importance(np.arange(50)), 1, rtol=1e-6)
    assert even.importance(np.array([], dtype=int)).dtype == np.float32


def test_importance_of_classes_never_met_is_finite():
    graph = star(4000)
    weight = SubgraphSampler(graph, 2, 1).importance(np.arange(4001), draws=1)
    assert np.isfinite(weight).all()
    assert (weight > 0).all()


@pytest.mark.parametrize("name", ["size", "walk_length", "max_neighbors"])
def test_impossible_sampler(name):
    with pytest.raises(ValueError, match=rf"Expected '{name}' to be at least 1 \(got 0\)"):
        SubgraphSampler(ring(5), **{name: 0})
    with pytest.raises(ValueError, match=r"Expected 'degree' of shape \(5,\) \(got \(4,\)\)"):
        SubgraphSampler(ring(5), degree=np.ones(4, dtype=np.int64))
    with pytest.raises(ValueError, match="Expected a graph with at least one node"):
        SubgraphSampler(Graph.from_edges([], [], 0))


def draw(graph, count, *, limit=6):
    """Subgraphs with windows that name their node, and targets."""
    sampler = SubgraphSampler(graph, 30, 6, limit)
    rng = np.random.default_rng(0)
    subs = [sampler.sample(rng) for _ in range(count)]
    windows = [(sub.nodes[:, None] + [0, 0.25, 0.5]).astype(np.float32) for sub in subs]
    targets = [(sub.core[:, None] + [0.75, 1]).astype(np.float32) for sub in subs]
    return subs, windows, targets


def test_collate_of_several_is_each_of_them(hyperbolic):
    position = np.random.default_rng(1).random((hyperbolic.num_nodes, 4), dtype=np.float32)
    subs, windows, targets = draw(hyperbolic, 3)
    steps = np.array([1, 5])
    joint = collate(subs, windows, [position[sub.nodes] for sub in subs], steps, targets)
    assert (joint.num_graphs, joint.num_core) == (3, 90)
    assert (joint.edge_index[1].diff() >= 0).all()
    halo = 90
    for g, sub in enumerate(subs):
        alone = collate([sub], [windows[g]], [position[sub.nodes]], steps, [targets[g]])
        core, outside = slice(30 * g, 30 * g + 30), slice(halo, halo + len(sub.nodes) - 30)
        halo = outside.stop
        rows = torch.cat([torch.arange(joint.window.shape[0])[part] for part in (core, outside)])
        assert torch.equal(joint.window[rows], alone.window)
        assert torch.equal(joint.features[rows], alone.features)
        assert torch.equal(joint.target[core], alone.target)
        assert torch.equal(joint.node_id[core], alone.node_id)
        assert torch.equal(joint.complete[core], alone.complete)
        edges = (joint.edge_index[1] >= core.start) & (joint.edge_index[1] < core.stop)
        assert torch.equal(joint.edge_weight[edges], alone.edge_weight)
        assert torch.equal(joint.edge_index[0, edges], rows[alone.edge_index[0]])
        assert torch.equal(joint.edge_index[1, edges], rows[alone.edge_index[1]])
    assert halo == len(joint.window)


def test_rows_of_a_batch_belong_to_their_nodes(hyperbolic):
    count = hyperbolic.num_nodes
    ids = np.random.default_rng(2).permutation(2 * count)[:count]
    position = np.arange(2 * count, dtype=np.float32)[:, None].repeat(2, 1)
    subs, windows, targets = draw(hyperbolic, 2)
    batch = collate(
        subs,
        windows,
        [position[ids[sub.nodes]] for sub in subs],
        np.array([2]),
        targets,
        ids,
        seed=11,
    )
    cores = np.concatenate([sub.core for sub in subs])
    np.testing.assert_array_equal(batch.node_id, ids[cores])
    np.testing.assert_array_equal(batch.window[:60, 0], cores)
    np.testing.assert_array_equal(batch.features[:, 1], ids[batch.window[:, 0].int()])
    np.testing.assert_array_equal(batch.target[:, 1], cores + 1)
    assert batch.seed == 11
    sender, receiver = batch.window[:, 0][batch.edge_index].int().numpy()
    assert (hyperbolic.to_matrix(weighted=False)[receiver, sender] == 1).all()


def test_types_of_a_batch(hyperbolic):
    position = np.asfortranarray(np.ones((hyperbolic.num_nodes, 3), dtype=np.float32))
    position.flags.writeable = False
    subs, windows, _ = draw(hyperbolic, 2)
    batch = collate(
        subs, windows, [position[sub.nodes] for sub in subs], np.array([1], dtype=np.int32)
    )
    assert batch.target is None
    assert batch.importance is None
    assert batch.features.is_contiguous()
    for tensor in (batch.edge_index, batch.steps, batch.node_id):
        assert tensor.dtype == torch.int64
    for tensor in (batch.window, batch.features, batch.edge_weight):
        assert tensor.dtype == torch.float32


def test_moving_a_batch_moves_every_tensor(hyperbolic):
    position = np.ones((hyperbolic.num_nodes, 3), dtype=np.float32)
    subs, windows, targets = draw(hyperbolic, 2)
    batch = collate(
        subs, windows, [position[sub.nodes] for sub in subs], np.array([1, 2]), targets, seed=3
    )
    moved = batch.to("meta")
    for field in fields(SubgraphBatch):
        value = getattr(moved, field.name)
        if isinstance(value, torch.Tensor):
            assert value.is_meta
        else:
            assert value == getattr(batch, field.name)
    assert not batch.window.is_meta


def test_collate_errors(hyperbolic):
    subs, windows, _ = draw(hyperbolic, 2)
    steps = np.array([1])
    with pytest.raises(ValueError, match=r"Expected at least one subgraph \(got none\)"):
        collate([], [], [], steps)
    uneven = [subs[0], replace(subs[1], num_core=29)]
    with pytest.raises(ValueError, match=r"equally many core nodes \(got \[29, 30\]\)"):
        collate(uneven, windows, windows, steps)
    with pytest.raises(ValueError, match="Expected windows of the core and halo nodes"):
        collate(subs, [windows[0], windows[1][:30]], windows, steps)
    with pytest.raises(ValueError, match="Expected windows of the core and halo nodes"):
        collate(subs, windows[:1], windows, steps)
    with pytest.raises(
        ValueError, match=r"Expected courses of the core and halo nodes, \[\d+, \d+\]"
    ):
        collate(subs, windows, windows, steps, courses=[window[None] for window in windows[:1]])
