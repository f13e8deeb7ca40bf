from __future__ import annotations

import pytest
import torch

from roma_pyg.config import EncoderConfig, PoolConfig
from roma_pyg.models.level import Level, Renormalization, core_edges, pool_observable

GEOMETRIES = ["hyperbolic", "euclidean"]


def stage(supernodes=3, geometry="hyperbolic", width=6):
    torch.manual_seed(0)
    encoder = EncoderConfig(geometry=geometry, width=width)
    return Renormalization(supernodes, encoder, PoolConfig(width=8)).double()


def level(module, graphs=2, n=6, edges=20, seed=0):
    """Random graphs of n nodes; the last node of each is isolated."""
    generator = torch.Generator().manual_seed(seed)
    pairs = []
    for g in range(graphs):
        pair = torch.randint(0, max(n - 1, 1), (2, edges), generator=generator)
        pair = pair[:, pair[0] != pair[1]].unique(dim=1)
        pairs.append(pair[:, pair[1].argsort()] + g * n)
    edge_index = torch.cat(pairs, dim=1)
    tangent = torch.randn(graphs * n, 6, generator=generator, dtype=torch.float64)
    points = module.embed.space.from_tangent(tangent)
    return Level(
        points=points,
        features=module.embed.space.to_tangent(points).view(graphs, n, -1),
        lags=torch.rand(graphs, n, 8, generator=generator, dtype=torch.float64),
        edge_index=edge_index,
        edge_weight=torch.rand(edge_index.shape[1], generator=generator, dtype=torch.float64),
    )


def dense(fine):
    """The couplings as matrices, row = receiver."""
    n = fine.num_nodes
    matrix = torch.zeros(fine.num_graphs, n, n, dtype=torch.float64)
    for (sender, receiver), weight in zip(
        fine.edge_index.T.tolist(), fine.edge_weight, strict=True
    ):
        matrix[receiver // n, receiver % n, sender % n] += weight
    return matrix


def test_pooled_observable_by_hand_on_four_nodes():
    """Two supernodes of two nodes each: means times 4 / 2."""
    shares = torch.tensor([[[0.5, 0.0], [0.5, 0.0], [0.0, 0.25], [0.0, 0.75]]])
    target = torch.tensor([[[1.0, 0.2], [3.0, 0.4], [4.0, 0.0], [8.0, 1.0]]])
    expected = torch.tensor([[[4.0, 0.6], [14.0, 1.5]]])
    torch.testing.assert_close(pool_observable(shares, target), expected)


def test_coarsen_by_hand_on_four_nodes():
    """Edges 1 -> 0 (1), 3 -> 0 (2), 2 -> 3 (4); nodes {0, 1} and {2, 3} merge evenly."""
    module = stage(2)
    fine = level(module, graphs=1, n=4)
    fine.edge_index = torch.tensor([[1, 3, 2], [0, 0, 3]])
    fine.edge_weight = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    shares = 0.5 * torch.eye(2, dtype=torch.float64).repeat_interleave(2, 0)[None]
    coarse = module.coarsen(fine, fine.points, shares)
    assert coarse.adjacency.tolist() == [[[0.25, 0.5], [0.0, 1.0]]]
    assert coarse.edge_index.tolist() == [[1, 0], [0, 1]]
    assert coarse.mass == 2.0
    expected = fine.lags[0, :2].sum(0), fine.lags[0, 2:].sum(0)
    torch.testing.assert_close(coarse.lags[0], torch.stack(expected))


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("supernodes", [1, 3, 9])
def test_laws_of_one_level(geometry, supernodes):
    """Also one supernode, and more supernodes than nodes."""
    module = stage(supernodes, geometry)
    fine = level(module)
    coarse, embedded = module(fine)
    shares = coarse.assignment
    assert shares.shape == (2, 6, supernodes)
    assert (shares >= 0).all()
    torch.testing.assert_close(shares.sum(1), torch.ones(2, supernodes, dtype=torch.float64))
    torch.testing.assert_close(coarse.adjacency, shares.mT @ dense(fine) @ shares)
    torch.testing.assert_close(coarse.lags, shares.mT @ fine.lags * 6 / supernodes)
    tangent = module.embed.space.to_tangent(embedded).view(2, 6, -1)
    expected = module.norm(shares.mT @ tangent * 6 / supernodes)
    torch.testing.assert_close(coarse.features, expected)
    back = module.embed.space.to_tangent(coarse.points).view(2, supernodes, -1)
    if geometry == "euclidean":
        torch.testing.assert_close(back, expected)
    else:  # the map to the ball bounds the length, but keeps the direction
        cosine = torch.nn.functional.cosine_similarity(back, expected, dim=-1)
        torch.testing.assert_close(cosine, torch.ones_like(cosine))


def test_mass_is_what_ones_become():
    first, second = stage(3), stage(2)
    fine = level(first)
    fine.lags = torch.ones_like(fine.lags)
    coarse, _ = first(fine)
    coarser, _ = second(coarse)
    for made, mass in ((coarse, 2.0), (coarser, 3.0)):
        assert made.mass == pytest.approx(mass)
        torch.testing.assert_close(made.lags, torch.full_like(made.lags, mass))


def test_second_level_couples_by_the_dense_first():
    first, second = stage(4), stage(3)
    fine = level(first)
    coarse, _ = first(fine)
    coarser, _ = second(coarse)
    both = coarse.assignment @ coarser.assignment
    torch.testing.assert_close(coarser.adjacency, both.mT @ dense(fine) @ both)
    torch.testing.assert_close(both.sum(1), torch.ones(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_graphs_do_not_see_each_other(geometry):
    module = stage(3, geometry)
    fine = level(module)
    coarse, embedded = module(fine)
    for g in range(2):
        edges = fine.edge_index[1] // 6 == g
        alone = Level(
            points=fine.points[6 * g : 6 * g + 6],
            features=fine.features[g : g + 1],
            lags=fine.lags[g : g + 1],
            edge_index=fine.edge_index[:, edges] - 6 * g,
            edge_weight=fine.edge_weight[edges],
        )
        one, points = module(alone)
        torch.testing.assert_close(points, embedded[6 * g : 6 * g + 6])
        for name in ("assignment", "adjacency", "features", "lags"):
            torch.testing.assert_close(getattr(one, name)[0], getattr(coarse, name)[g])


def test_relabelled_nodes_make_the_same_supernodes():
    module = stage()
    fine = level(module, graphs=1)
    order = torch.randperm(6)
    place = torch.argsort(order)
    receiver = place[fine.edge_index[1]]
    edges = receiver.argsort()
    other = Level(
        points=fine.points[order],
        features=fine.features[:, order],
        lags=fine.lags[:, order],
        edge_index=torch.stack([place[fine.edge_index[0]], receiver])[:, edges],
        edge_weight=fine.edge_weight[edges],
    )
    coarse, relabelled = module(fine)[0], module(other)[0]
    torch.testing.assert_close(relabelled.assignment, coarse.assignment[:, order])
    for name in ("adjacency", "features", "lags"):
        torch.testing.assert_close(getattr(relabelled, name), getattr(coarse, name))


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("edges", [0, 20])
def test_penalties_are_finite_and_reach_every_parameter(geometry, edges):
    module = stage(3, geometry)
    fine = level(module, edges=edges)
    coarse, embedded = module(fine)
    penalties = module.penalties(fine, embedded, coarse, seed=1)
    assert list(penalties) == ["entropy", "edge_entropy", "link", "modularity"]
    assert all(value.isfinite() and value >= 0 for value in penalties.values())
    assert 0 < penalties["entropy"] <= 1
    if edges == 0:  # no link and no coupling: nothing to learn from them
        assert penalties["link"] == 0
        assert penalties["edge_entropy"] == 0
        return
    (sum(penalties.values()) + coarse.features.square().sum() + coarse.points.sum()).backward()
    missing = [n for n, p in module.named_parameters() if p.grad is None or not p.grad.any()]
    assert missing == []
    assert all(p.grad.isfinite().all() for p in module.parameters())


def test_penalties_depend_on_their_seed_alone():
    module = stage()
    fine = level(module, n=6, edges=8)
    coarse, embedded = module(fine)
    links = [module.penalties(fine, embedded, coarse, seed)["link"].item() for seed in (1, 1, 2)]
    assert links[0] == links[1] != links[2]


def test_link_penalty_falls_for_links_that_lie_close():
    module = stage()
    fine = level(module, graphs=1, n=4)
    fine.edge_index = torch.tensor([[1, 0, 3, 2], [0, 1, 2, 3]])
    fine.edge_weight = torch.ones(4, dtype=torch.float64)
    coarse, _ = module(fine)
    pairs = torch.tensor([[3.0] + [0.0] * 5, [-3.0] + [0.0] * 5], dtype=torch.float64)
    links = []
    for order in ([0, 0, 1, 1], [0, 1, 0, 1]):
        points = module.embed.space.from_tangent(pairs[order])
        links.append(module.penalties(fine, points, coarse, seed=0)["link"].item())
    assert links[0] < 0.5 < links[1]


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("supernodes", [1, 3])
def test_autocast_keeps_shares_and_observable_in_full_precision(geometry, supernodes):
    module = stage(supernodes, geometry)
    fine = level(module)
    module.float()
    fine = Level(
        points=fine.points.float(),
        features=fine.features.float(),
        lags=torch.ones_like(fine.lags).float(),
        edge_index=fine.edge_index,
        edge_weight=fine.edge_weight.float(),
    )
    with torch.autocast("cpu", torch.bfloat16):
        coarse, embedded = module(fine)
        penalties = module.penalties(fine, embedded, coarse, seed=0)
    assert coarse.assignment.dtype == coarse.lags.dtype == torch.float32
    torch.testing.assert_close(coarse.lags, torch.full_like(coarse.lags, 6 / supernodes))
    assert all(value.isfinite() for value in penalties.values())
    sum(penalties.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in module.parameters())


def test_core_edges_drop_the_halo():
    edges = torch.tensor([[2, 1, 0, 3], [0, 0, 1, 1]])
    index, weight = core_edges(edges, torch.tensor([0.4, 0.6, 0.7, 0.3]), 2)
    assert index.tolist() == [[1, 0], [0, 1]]
    torch.testing.assert_close(weight, torch.tensor([0.6, 0.7]))


def test_rejects_no_supernodes():
    with pytest.raises(ValueError, match=r"'num_supernodes' to be at least 1 \(got 0\)"):
        stage(0)
