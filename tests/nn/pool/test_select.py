from __future__ import annotations

import pytest
import torch

from roma_pyg.nn.pool import Select, SelectOutput, assign


def test_assign_by_hand():
    logits = torch.tensor([[[1.0, 2.0], [-2.0, 0.0], [2.0, 0.0]]])
    expected = torch.tensor([[[1 / 9, 1.0], [4 / 9, 0.0], [4 / 9, 0.0]]])
    torch.testing.assert_close(assign(logits), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("magnitude", [0.0, 1e-30, 1e-15, 1.0, 1e15, 1e30])
def test_columns_sum_to_one_with_finite_gradients(dtype, magnitude):
    logits = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)
    logits = (logits * magnitude).requires_grad_()
    assignment = assign(logits)
    torch.testing.assert_close(assignment.sum(1), torch.ones(3, 4, dtype=dtype))
    (gradient,) = torch.autograd.grad(assignment[:, 0].sum(), logits)
    assert torch.isfinite(gradient).all()


def test_zero_column_is_uniform():
    assert assign(torch.zeros(1, 4, 1)).flatten().tolist() == [0.25] * 4


def test_scale_of_a_column_does_not_matter():
    logits = torch.randn(1, 5, 3, dtype=torch.float64)
    scaled = logits * torch.tensor([2.0, -1e3, 1e-3], dtype=torch.float64)
    torch.testing.assert_close(assign(scaled), assign(logits))


def test_assign_gradcheck():
    logits = torch.randn(2, 4, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(assign, (logits,))


@pytest.mark.parametrize("geometry", ["hyperbolic", "euclidean"])
@pytest.mark.parametrize("supernodes", [1, 3])
def test_select_gives_distributions_and_trains_every_parameter(geometry, supernodes):
    torch.manual_seed(0)
    select = Select(4, supernodes, geometry=geometry, width=5)
    points = select.space.from_tangent(torch.randn(14, 4))
    # Two graphs of 6 nodes; nodes 12 and 13 only send.
    edge_index = torch.tensor([[1, 12, 0, 5, 7, 13], [0, 0, 1, 4, 6, 11]])
    output = select(points, edge_index, num_graphs=2, num_targets=12)
    assert (output.num_graphs, output.num_nodes, output.num_supernodes) == (2, 6, supernodes)
    torch.testing.assert_close(output.assignment.sum(1), torch.ones(2, supernodes))
    (output.assignment * torch.randn(2, 6, supernodes)).sum().backward()
    for name, parameter in select.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_graphs_of_a_batch_do_not_mix():
    torch.manual_seed(0)
    select = Select(4, 2)
    points = select.space.from_tangent(torch.randn(6, 4))
    both = torch.tensor([[1, 2, 4, 3], [0, 1, 3, 5]])
    alone = torch.tensor([[1, 2], [0, 1]])
    torch.testing.assert_close(
        select(points, both, 2).assignment[:1], select(points[:3], alone, 1).assignment
    )


def test_supernode_is_the_largest_share():
    output = SelectOutput(torch.tensor([[[0.9, 0.3], [0.1, 0.7]]]))
    assert output.supernode.tolist() == [[0, 1]]


def test_errors():
    with pytest.raises(ValueError, match=r"Expected 'logits' of shape \(G, n, m\) \(got \(3, 2\)"):
        assign(torch.zeros(3, 2))
    with pytest.raises(ValueError, match="Expected 'assignment' of shape"):
        SelectOutput(torch.zeros(3, 0, 2))
    with pytest.raises(ValueError, match="Expected 'num_supernodes' to be at least 1"):
        Select(3, 0)
    select = Select(3, 2)
    with pytest.raises(ValueError, match=r"Expected 'num_graphs' to divide the 5 .*\(got 2\)"):
        select(torch.zeros(5, 3), torch.zeros(2, 0, dtype=torch.long), 2)
