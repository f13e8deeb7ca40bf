from __future__ import annotations

import pytest
import torch
from torch_geometric.nn import MessagePassing

from roma_pyg.nn.hyperbolic import EuclideanConv, HyperbolicConv

GEOMETRIES = ["hyperbolic", "euclidean"]


def graph(seed=0, n=10, e=30, channels=4, geometry="hyperbolic"):
    """Points and sorted edges; the last node is isolated."""
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(0, n - 1, (2, e), generator=generator)
    edge_index = edge_index[:, edge_index[1].argsort()]
    torch.manual_seed(seed)
    conv = HyperbolicConv(channels, 6, geometry=geometry)
    return conv, conv.space.from_tangent(torch.randn(n, channels, generator=generator)), edge_index


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("edge_layers", [1, 2])
@pytest.mark.parametrize("weighted", [True, False])
def test_equals_a_loop_over_nodes(geometry, edge_layers, weighted):
    """The edge network is applied to [h_i, h_j - h_i] as written in the docstring."""
    torch.manual_seed(0)
    conv = HyperbolicConv(4, 6, geometry=geometry, edge_layers=edge_layers)
    _, _, edge_index = graph()
    x = conv.space.from_tangent(torch.randn(10, 4))
    hidden = conv.norm(conv.space.to_tangent(conv.space.linear(x, conv.weight, conv.bias)))
    second = conv.sender.weight
    first = conv.receiver.weight + second
    weight = torch.rand(edge_index.shape[1]) if weighted else None
    rows = []
    for node in range(10):
        own = hidden[node]
        pairs = [torch.cat([own, hidden[j] - own]) for j, i in edge_index.T.tolist() if i == node]
        update = torch.zeros(5, 6)
        if pairs:
            into = edge_index[1] == node
            share = weight[into] if weighted else torch.full((len(pairs),), 1 / len(pairs))
            linear = torch.stack(pairs) @ torch.cat([first, second], 1).T + conv.receiver.bias
            m = conv.edge(torch.nn.functional.silu(linear))
            update = torch.stack(
                [
                    m.sum(0).sign() * m.sum(0).abs().log1p(),
                    m.mean(0),
                    m.var(0, correction=0),
                    m.max(0).values,
                    share @ hidden[edge_index[0, into]],
                ]
            )
        rows.append(conv.mix(torch.cat([own, update.flatten()])))
    update = torch.nn.functional.silu(torch.stack(rows))
    expected = conv.space.from_tangent(conv.residual(conv.space.to_tangent(x)) + update)
    result = conv(x, edge_index, edge_weight=weight)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-5)


def test_aggregation_by_hand_on_four_nodes():
    conv = EuclideanConv(1, 1)
    messages = torch.tensor([[1.0], [3.0], [2.0]])
    offsets = torch.tensor([0, 2, 3, 3, 3])
    result = conv.aggregate(messages, torch.tensor([0, 0, 1]), offsets, 4)
    expected = torch.tensor(
        [[1.6094379, 2.0, 1.0, 3.0], [1.0986123, 2.0, 0.0, 2.0], [0.0] * 4, [0.0] * 4]
    )
    torch.testing.assert_close(result, expected)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_permuting_nodes_permutes_the_result(geometry):
    conv, x, edge_index = graph(geometry=geometry)
    order = torch.randperm(10)
    rank = order.argsort()
    moved = rank[edge_index]
    moved = moved[:, moved[1].argsort(stable=True)]
    torch.testing.assert_close(conv(x[order], moved), conv(x, edge_index)[order])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_bipartite_equals_full_on_the_same_edges(geometry):
    conv, x, edge_index = graph(geometry=geometry)
    kept = edge_index[:, edge_index[1] < 4]
    assert (kept[0] >= 4).any()
    torch.testing.assert_close(conv(x, kept, num_targets=4), conv(x, edge_index)[:4])


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_senders_reach_only_their_receivers(geometry):
    conv, x, _ = graph(geometry=geometry)
    edge_index = torch.tensor([[3, 4], [0, 1]])
    before = conv(x, edge_index)
    changed = x.clone()
    changed[3] = changed[3] * -0.5
    differs = (conv(changed, edge_index) != before).any(1)
    assert differs.nonzero().flatten().tolist() == [0, 3]


def test_result_lies_in_the_ball():
    conv, x, edge_index = graph()
    for scale in (0.0, 1e-15, 1.0, 1e6):
        point = conv(conv.space.from_tangent(x * scale), edge_index)
        assert torch.isfinite(point).all()
        assert (0.125**0.5 * point.norm(dim=-1) < 1).all()


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("edge_layers", [1, 2])
def test_every_parameter_gets_a_gradient(geometry, edge_layers):
    conv = HyperbolicConv(4, 6, geometry=geometry, edge_layers=edge_layers)
    _, x, edge_index = graph(geometry=geometry)
    conv(x, edge_index).square().sum().backward()
    for name, parameter in conv.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("magnitude", [0.0, 1e-15, 1e-6, 1.0, 1e4])
def test_finite_gradients_at_extremes(magnitude):
    conv, _, edge_index = graph()
    tangent = (torch.randn(10, 4) * magnitude).requires_grad_()
    conv(conv.space.from_tangent(tangent), edge_index).sum().backward()
    assert torch.isfinite(tangent.grad).all()
    assert all(torch.isfinite(p.grad).all() for p in conv.parameters())


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_gradcheck(geometry):
    torch.manual_seed(0)
    conv = HyperbolicConv(2, 3, geometry=geometry).double()
    x = (0.3 * torch.randn(4, 2, dtype=torch.float64)).requires_grad_()
    edge_index = torch.tensor([[1, 2, 3, 0], [0, 0, 0, 1]])
    assert torch.autograd.gradcheck(lambda v: conv(v, edge_index, 3), (x,), atol=1e-4)


def test_large_hub_stays_finite():
    conv = HyperbolicConv(4, 4)
    x = conv.space.from_tangent(torch.randn(2, 4))
    edge_index = torch.stack([torch.ones(100_000), torch.zeros(100_000)]).long()
    tangent = conv.space.to_tangent(conv(x, edge_index))
    assert tangent.abs().max() < 10


def test_no_edges():
    conv, x, _ = graph()
    assert conv(x, torch.zeros(2, 0, dtype=torch.long)).shape == (10, 6)


def test_is_a_message_passing_layer_and_saves_its_state():
    conv, x, edge_index = graph()
    assert isinstance(conv, MessagePassing)
    again = HyperbolicConv(4, 6)
    again.load_state_dict(conv.state_dict())
    assert torch.equal(again(x, edge_index), conv(x, edge_index))
    assert repr(conv) == "HyperbolicConv(4, 6, geometry='hyperbolic')"


def test_autocast_returns_points_of_the_ball():
    conv, x, edge_index = graph()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        point = conv(x, edge_index)
    assert point.dtype == torch.float32
    torch.testing.assert_close(point, conv(x, edge_index), rtol=0.1, atol=0.1)


def test_errors():
    with pytest.raises(ValueError, match=r"Expected 'out_channels' to be at least 1 \(got 0\)"):
        HyperbolicConv(3, 0)
    with pytest.raises(ValueError, match="Expected 'edge_layers' to be 1 or 2"):
        HyperbolicConv(3, 3, edge_layers=3)
    with pytest.raises(ValueError, match="Expected 'aggregations' from"):
        HyperbolicConv(3, 3, aggregations=("median",))
    conv, x, edge_index = graph()
    with pytest.raises(ValueError, match=r"Expected 'x' of shape \(n_all, 4\) \(got \(10, 3\)\)"):
        conv(x[:, :3], edge_index)
    with pytest.raises(ValueError, match=r"Expected 'num_targets' in \[0, 10\] \(got 11\)"):
        conv(x, edge_index, 11)
    with pytest.raises(ValueError, match=r"Expected 'edge_index' of shape \(2, e\)"):
        conv(x, edge_index[0])
    with pytest.raises(ValueError, match="ascending order"):
        conv(x, edge_index.flip(1))
