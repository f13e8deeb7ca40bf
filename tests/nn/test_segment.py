from __future__ import annotations

import pytest
import torch

from roma_pyg.kernels import use_kernel
from roma_pyg.nn import segment
from roma_pyg.nn.segment import AGGREGATIONS, row_offsets, segment_aggregate, weighted_mean

SCATTER = pytest.param(
    "scatter",
    marks=[
        pytest.mark.kernels,
        pytest.mark.skipif(not use_kernel("torch-scatter"), reason="torch-scatter is not active"),
    ],
)
BACKENDS = ["torch", SCATTER]


def edges(seed, e=60, n=12, channels=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    # Receiver 0 and the last one have no edges.
    index = torch.randint(1, n - 1, (e,), generator=generator).sort().values
    return torch.randn(e, channels, generator=generator, dtype=dtype), index, n


def dense(messages, index, n, aggregations=AGGREGATIONS):
    """The definition, one receiver at a time."""
    rows = []
    for node in range(n):
        own = messages[index == node]
        if len(own) == 0:
            rows.append(messages.new_zeros(messages.shape[1] * len(aggregations)))
            continue
        value = {
            "sum": own.sum(0),
            "mean": own.mean(0),
            "var": own.var(0, correction=0),
            "max": own.max(0).values,
        }
        rows.append(torch.cat([value[name] for name in aggregations]))
    return torch.stack(rows)


@pytest.mark.parametrize("backend", BACKENDS)
def test_values_by_hand(backend):
    messages = torch.tensor([[1.0], [3.0], [-2.0], [-4.0], [-6.0]])
    result = segment_aggregate(
        messages, torch.tensor([0, 0, 2, 2, 2]), None, 4, AGGREGATIONS, backend
    )
    expected = [[4.0, 2.0, 1.0, 3.0], [0.0] * 4, [-12.0, -4.0, 8 / 3, -2.0], [0.0] * 4]
    torch.testing.assert_close(result, torch.tensor(expected))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("aggregations", [AGGREGATIONS, ("max", "mean"), ("var",), ("sum",)])
def test_values_and_gradients_equal_the_definition(backend, seed, aggregations):
    messages, index, n = edges(seed)
    messages.requires_grad_()
    result = segment_aggregate(messages, index, None, n, aggregations, backend)
    expected = dense(messages, index, n, aggregations)
    torch.testing.assert_close(result, expected)
    probe = torch.randn(result.shape, dtype=result.dtype)
    (gradient,) = torch.autograd.grad((result * probe).sum(), messages)
    (reference,) = torch.autograd.grad((expected * probe).sum(), messages)
    torch.testing.assert_close(gradient, reference)


@pytest.mark.parametrize("backend", BACKENDS)
def test_gradcheck_to_second_order(backend):
    messages, index, n = edges(0, e=8, n=5, channels=2)
    messages.requires_grad_()

    def reduce(m):
        return segment_aggregate(m, index, None, n, AGGREGATIONS, backend)

    assert torch.autograd.gradcheck(reduce, (messages,))
    assert torch.autograd.gradgradcheck(reduce, (messages,))


@pytest.mark.parametrize("backend", BACKENDS)
def test_equal_maxima_share_the_gradient(backend):
    messages = torch.tensor([[2.0], [2.0], [1.0]], requires_grad=True)
    segment_aggregate(
        messages, torch.tensor([0, 0, 0]), None, 1, ("max",), backend
    ).sum().backward()
    assert messages.grad is not None
    assert messages.grad.flatten().tolist() == [0.5, 0.5, 0.0]


def test_variance_of_large_constants_does_not_cancel():
    messages = torch.full((1000, 1), 12345.678, requires_grad=True)
    index = torch.zeros(1000, dtype=torch.long)
    variance = segment_aggregate(messages, index, None, 1, ("var",))
    variance.sum().backward()
    # mean(m^2) - mean(m)^2 would be wrong by about 1e-5 of the square.
    assert 0 <= variance.item() < 1e-9 * 12345.678**2
    assert torch.isfinite(messages.grad).all()


def test_order_of_edges_within_a_receiver_does_not_matter():
    messages, index, n = edges(3)
    order = torch.randperm(len(index))
    order = order[index[order].argsort(stable=True)]
    torch.testing.assert_close(
        segment_aggregate(messages, index, None, n),
        segment_aggregate(messages[order], index[order], None, n),
    )


def test_no_edges_at_all():
    messages = torch.zeros(0, 3, requires_grad=True)
    result = segment_aggregate(messages, torch.zeros(0, dtype=torch.long), None, 4)
    assert torch.equal(result, torch.zeros(4, 12))
    result.sum().backward()


def test_half_precision_is_summed_in_float32():
    messages = torch.ones(3000, 1, dtype=torch.bfloat16)
    index = torch.zeros(3000, dtype=torch.long)
    assert segment_aggregate(messages, index, None, 1, ("sum",)).item() == 3000.0


def test_weighted_mean_equals_the_dense_product():
    generator = torch.Generator().manual_seed(0)
    _, receivers, n = edges(0)
    senders = torch.randint(0, 20, receivers.shape, generator=generator)
    weight = torch.rand(len(receivers), generator=generator, dtype=torch.float64)
    values = torch.randn(20, 3, generator=generator, dtype=torch.float64)
    matrix = torch.zeros(n, 20, dtype=torch.float64)
    matrix.index_put_((receivers, senders), weight, accumulate=True)
    edge_index = torch.stack([senders, receivers])
    torch.testing.assert_close(weighted_mean(values, edge_index, weight, n), matrix @ values)
    values.requires_grad_()
    weight.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v, w: weighted_mean(v, edge_index, w, n), (values, weight)
    )


def test_weighted_mean_without_edges():
    empty = torch.zeros(2, 0, dtype=torch.long)
    assert torch.equal(weighted_mean(torch.ones(3, 2), empty, torch.zeros(0), 2), torch.zeros(2, 2))


def test_row_offsets_errors():
    with pytest.raises(ValueError, match="ascending order"):
        row_offsets(torch.tensor([1, 0]), 2)
    with pytest.raises(ValueError, match=r"in \[0, 2\) \(got 0 to 2\)"):
        row_offsets(torch.tensor([0, 2]), 2)


def test_errors(monkeypatch):
    messages, index = torch.zeros(3, 2), torch.tensor([0, 1, 1])
    with pytest.raises(ValueError, match=r"Expected 'aggregations' from .*median"):
        segment_aggregate(messages, index, None, 2, ("median",))
    with pytest.raises(ValueError, match=r"Expected 'aggregations' from .*\(got \(\)\)"):
        segment_aggregate(messages, index, None, 2, ())
    with pytest.raises(ValueError, match=r"Expected 'messages' of shape \(e, C\).*\(4, 2\)"):
        segment_aggregate(torch.zeros(4, 2), index, None, 2)
    with pytest.raises(ValueError, match=r"Expected 'rowptr' of shape \(3,\) \(got \(2,\)\)"):
        segment_aggregate(messages, index, torch.tensor([0, 3]), 2)
    with pytest.raises(ValueError, match="Expected 'backend'"):
        segment_aggregate(messages, index, None, 2, backend="numpy")
    monkeypatch.setenv("ROMA_DISABLE_KERNELS", "1")
    with pytest.raises(ValueError, match="Expected torch-scatter to be installed and active"):
        segment_aggregate(messages, index, None, 2, backend="scatter")


@pytest.fixture(params=["sparse", "scatter_reduce"])
def reduction(request, monkeypatch):
    """Builds of torch with and without reductions by CSR matrices."""
    if request.param == "scatter_reduce":
        monkeypatch.setattr(segment, "_has_sparse_reduce", lambda: False)
    return request.param


def test_this_torch_reduces_by_sparse_matrices():
    assert segment._has_sparse_reduce()


@pytest.mark.parametrize("piece", [1, 7, 64, 10**6])
@pytest.mark.parametrize("hub", [False, True])
def test_pieces_change_nothing(reduction, monkeypatch, piece, hub):
    messages, index, n = edges(5, e=200, n=40, channels=3)
    if hub:
        index[60:150] = index[60]
        index = index.sort().values
    monkeypatch.setattr(segment, "PIECE", piece)
    messages.requires_grad_()
    result = segment_aggregate(messages, index, None, n)
    expected = dense(messages, index, n)
    torch.testing.assert_close(result, expected)
    probe = torch.randn(result.shape, dtype=result.dtype)
    (gradient,) = torch.autograd.grad((result * probe).sum(), messages)
    (reference,) = torch.autograd.grad((expected * probe).sum(), messages)
    torch.testing.assert_close(gradient, reference)


def test_pieces_cover_every_edge_and_receiver_once(monkeypatch):
    monkeypatch.setattr(segment, "PIECE", 20)
    _, index, n = edges(1, e=100, n=30)
    rowptr = row_offsets(index, n)
    pieces = list(segment._pieces(index, rowptr, 2))
    assert len(pieces) > 5
    assert torch.cat([torch.arange(100)[p.edges] for p in pieces]).tolist() == list(range(100))
    assert torch.cat([torch.arange(n)[p.targets] for p in pieces]).tolist() == list(range(n))
    for part in pieces:
        assert torch.equal(part.receivers + part.targets.start, index[part.edges])


def test_messages_that_are_not_contiguous():
    messages, index, n = edges(2, channels=6)
    torch.testing.assert_close(
        segment_aggregate(messages[:, ::2], index, None, n), dense(messages[:, ::2], index, n)
    )
