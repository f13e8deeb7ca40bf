from __future__ import annotations

import pytest
import torch
from torch import nn

from roma_pyg.nn.attention import AttentionBlock, Couplings
from roma_pyg.nn.gated import GatedMLP


def block(width=8, heads=2, dropout=0.0, neighbors=False):
    torch.manual_seed(0)
    module = AttentionBlock(width, heads, dropout, neighbors=neighbors)
    for name, parameter in module.named_parameters():
        if "norm" in name or name.endswith("bias"):
            nn.init.normal_(parameter, mean=1.0 if name.endswith("weight") else 0.0, std=0.3)
    return module.eval()


def test_equals_torch_multihead_attention():
    module, tokens = block(), torch.randn(3, 5, 8)
    reference = nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        reference.in_proj_weight.copy_(module.query_key_value.weight)
        reference.in_proj_bias.copy_(module.query_key_value.bias)
        reference.out_proj.weight.copy_(module.output.weight)
        reference.out_proj.bias.copy_(module.output.bias)
    normed = module.norm_attention(tokens)
    attended, weights = reference(normed, normed, normed, average_attn_weights=False)
    middle = tokens + attended
    expected = middle + module.mlp(module.norm_mlp(middle))
    torch.testing.assert_close(module(tokens), expected)
    torch.testing.assert_close(module.attention_map(tokens), weights)


def test_map_by_hand():
    """One channel per head; equal tokens attend evenly, whatever the weights."""
    weights = block(2, 2).attention_map(torch.tensor([[[1.0, -1.0]] * 4]))
    torch.testing.assert_close(weights, torch.full((1, 2, 4, 4), 0.25))


def test_map_rows_sum_to_one_and_reproduce_the_output():
    module, tokens = block().double(), torch.randn(2, 6, 8, dtype=torch.float64)
    weights = module.attention_map(tokens)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 2, 6, dtype=torch.float64))
    mixed = weights @ module.heads_of(tokens)[2]
    middle = tokens + module.output(mixed.transpose(1, 2).flatten(2))
    expected = middle + module.mlp(module.norm_mlp(middle))
    torch.testing.assert_close(module(tokens), expected)


def test_permutation_equivariance():
    module, tokens = block().double(), torch.randn(2, 6, 8, dtype=torch.float64)
    order = torch.randperm(6)
    torch.testing.assert_close(module(tokens[:, order]), module(tokens)[:, order])


def test_graphs_do_not_see_each_other():
    module, tokens = block(), torch.randn(3, 4, 8)
    alone = torch.cat([module(tokens[g : g + 1]) for g in range(3)])
    torch.testing.assert_close(module(tokens), alone)


def test_gradients():
    module = block(4, 2).double()
    tokens = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, tokens)
    module(tokens).sum().backward()
    assert all(parameter.grad is not None for parameter in module.parameters())


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e6])
def test_finite_at_extremes(scale):
    tokens = (scale * torch.randn(1, 4, 8)).requires_grad_()
    output = block()(tokens)
    output.sum().backward()
    assert output.isfinite().all()
    assert tokens.grad is not None
    assert tokens.grad.isfinite().all()


def test_dropout_acts_in_training_only():
    module, tokens = block(dropout=0.5), torch.randn(1, 6, 8)
    assert torch.equal(module(tokens), module(tokens))
    module.train()
    assert not torch.equal(module(tokens), module(tokens))


@pytest.mark.parametrize("heads", [0, 3, 16])
def test_rejects_heads_that_do_not_divide(heads):
    with pytest.raises(ValueError, match=rf"divisor of 'width' = 8 \(got {heads}\)"):
        AttentionBlock(8, heads)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_rejects_impossible_dropout(dropout):
    with pytest.raises(ValueError, match=rf"Expected 'dropout' to be in \[0, 1\) \(got {dropout}"):
        AttentionBlock(8, 2, dropout)


def couplings(graphs=2):
    """Two levels of 4 and 2 tokens: a directed ring with weights, and a pair."""
    generator = torch.Generator().manual_seed(1)
    levels = []
    for size in (4, 2):
        count = graphs * size
        receiver = torch.arange(count)
        sender = receiver // size * size + (receiver + 1) % size
        weight = torch.rand(count, generator=generator, dtype=torch.float64)
        levels.append((torch.stack([sender, receiver]), weight))
    return levels, Couplings.join(levels, [4, 2], graphs)


def dense(levels, graphs=2):
    """The couplings of the tokens of each graph as matrices, row = receiver."""
    matrix = torch.zeros(graphs, 6, 6, dtype=torch.float64)
    for (edges, weight), size, start in zip(levels, (4, 2), (0, 4), strict=True):
        for (sender, receiver), value in zip(edges.T.tolist(), weight, strict=True):
            graph = receiver // size
            matrix[graph, start + receiver % size, start + sender % size] += value
    return matrix


def test_mean_over_the_neighbors_on_each_level():
    levels, joint = couplings()
    tokens = torch.randn(2, 6, 8, dtype=torch.float64)
    torch.testing.assert_close(joint.mean(tokens), dense(levels) @ tokens)


def test_block_with_neighbors_sees_their_normed_tokens():
    levels, joint = couplings()
    module, tokens = block(neighbors=True).double(), torch.randn(2, 6, 8, dtype=torch.float64)
    normed = module.norm_attention(tokens)
    weights = module.attention_map(tokens)
    value = module.query_key_value(normed)[..., 16:].unflatten(-1, (2, 4)).transpose(1, 2)
    middle = tokens + module.output((weights @ value).transpose(1, 2).flatten(2))
    hidden = module.norm_mlp(middle)
    expected = middle + module.mlp(torch.cat([hidden, dense(levels) @ hidden], dim=-1))
    torch.testing.assert_close(module(tokens, joint), expected)


def test_gradients_reach_tokens_and_couplings():
    module = block(4, 2, neighbors=True).double()
    levels, _ = couplings(1)
    tokens = torch.randn(1, 6, 4, dtype=torch.float64, requires_grad=True)
    weights = [weight.requires_grad_() for _, weight in levels]

    def run(tokens, *weights):
        edges = [(edges, weight) for (edges, _), weight in zip(levels, weights, strict=True)]
        return module(tokens, Couplings.join(edges, [4, 2], 1))

    assert torch.autograd.gradcheck(run, (tokens, *weights))


def test_block_with_neighbors_needs_couplings():
    with pytest.raises(ValueError, match=r"Expected 'couplings'.*\(got none\)"):
        block(neighbors=True)(torch.randn(1, 6, 8))


def test_gated_network_by_hand():
    """silu(2) * 3 * 4 + 1."""
    module = GatedMLP(1, 1, 1)
    with torch.no_grad():
        for layer, (weight, bias) in zip(
            (module.gate, module.value, module.output), ((2, 0), (3, 0), (4, 1)), strict=True
        ):
            layer.weight.fill_(weight)
            layer.bias.fill_(bias)
    expected = 4 * (2 / (1 + torch.exp(torch.tensor(-2.0)))) * 3 + 1
    torch.testing.assert_close(module(torch.ones(1, 1)), expected.view(1, 1))
