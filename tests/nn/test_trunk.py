from __future__ import annotations

import math

import pytest
import torch

from roma_pyg.nn.trunk import LATENT, DeepONet, FourierFeatures, Nomad, Onset, Trunk

KINDS = [DeepONet, Nomad]


def operator(kind, basis=4, branch=5, token=3, width=8, onset=0.0):
    torch.manual_seed(0)
    features = FourierFeatures(6, 0.5)
    return kind(branch, token, basis, width, 2, features, onset=onset).double()


def inputs(count=2, steps=3):
    generator = torch.Generator().manual_seed(1)
    branch = torch.randn(count, 5, generator=generator, dtype=torch.float64)
    token = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    coordinates = torch.rand(steps, 1 + LATENT, generator=generator, dtype=torch.float64)
    return coordinates, branch, token


def test_fourier_features_by_hand():
    features = FourierFeatures(2, 1.0)
    features.frequency.copy_(torch.tensor([[1.0], [0.0], [0.5], [0.0]]))
    coordinates = torch.tensor([[0.25, 7.0, 0.0, 0.0], [0.0, 0.0, 0.5, 0.0]])
    expected = [[0.25, 7, 0, 0, 0, 1], [0, 0, 0.5, 0, 0, 1]]
    torch.testing.assert_close(features(coordinates), torch.tensor(expected), rtol=0, atol=1e-6)


def test_fourier_frequencies_have_the_given_deviation():
    frequency = FourierFeatures(20_000, 0.3).frequency
    assert frequency.shape == (4, 10_000)
    assert frequency.std() == pytest.approx(0.3, rel=0.02)
    assert FourierFeatures(5, 1.0).out_features == 6 + 4  # rounded up to pairs


def test_fourier_features_ignore_autocast():
    features, coordinates = FourierFeatures(8, 1.0), torch.rand(5, 4)
    with torch.autocast("cpu", torch.bfloat16):
        half = features(coordinates)
    assert torch.equal(half, features(coordinates))


def test_trunk_starts_with_a_linear_map_of_the_concatenation():
    torch.manual_seed(0)
    trunk = Trunk(3, 2, 8, 1, FourierFeatures(4, 1.0))
    coordinates, token = torch.rand(5, 4), torch.randn(6, 3)
    joint = torch.cat(
        [
            trunk.features(coordinates).expand(6, 5, -1),
            token[:, None].expand(6, 5, 3),
        ],
        dim=-1,
    )
    weight = torch.cat([trunk.from_coordinates.weight, trunk.from_token.weight], dim=1)
    hidden = torch.nn.functional.linear(joint, weight, trunk.from_coordinates.bias)
    block = trunk.blocks[0]
    inner = torch.nn.functional.silu(block.inner(block.norm(hidden)))
    expected = trunk.output(trunk.norm(hidden + block.outer(inner)))
    torch.testing.assert_close(trunk(coordinates, token), expected)


def test_deeponet_by_hand_with_two_basis_functions():
    """b_1 = (1, 2, 3), b_2 = (10, 20, 30), T = (4, 0.5): u = (b_1 T_1 + b_2 T_2) / sqrt(2)."""
    module = operator(DeepONet, basis=2)
    with torch.no_grad():
        module.branch.weight.zero_()
        module.branch.bias.copy_(torch.tensor([1.0, 2, 3, 10, 20, 30]))
        module.trunk.output.weight.zero_()
        module.trunk.output.bias.copy_(torch.tensor([4.0, 0.5]))
    expected = torch.tensor([9.0, 18.0, 27.0], dtype=torch.float64).expand(2, 3, 3) / 2**0.5
    torch.testing.assert_close(module(*inputs()), expected)


def test_deeponet_sums_branch_times_trunk():
    module = operator(DeepONet)
    coordinates, branch, token = inputs()
    coefficients = module.branch(branch).view(2, 4, 3)
    basis = module.trunk(coordinates, token)
    expected = torch.zeros(2, 3, 3, dtype=torch.float64)
    for p in range(4):
        expected += basis[:, :, p, None] * coefficients[:, None, p] / 2  # sqrt(4)
    torch.testing.assert_close(module(coordinates, branch, token), expected)


def test_only_deeponet_is_linear_in_the_branch():
    for kind, linear in ((DeepONet, True), (Nomad, False)):
        module = operator(kind)
        coordinates, branch, token = inputs()
        with torch.no_grad():
            module.branch.bias.zero_()
            module.trunk.output.bias.zero_()
            double = module(coordinates, 2 * branch, token)
            assert torch.allclose(double, 2 * module(coordinates, branch, token)) == linear


def test_nomad_reads_the_branch_through_the_trunk():
    module = operator(Nomad)
    coordinates, branch, token = inputs()
    seen = torch.cat([token, module.branch(branch)], dim=-1)
    expected = module.trunk(coordinates, seen)
    assert expected.shape == (2, 3, LATENT)
    torch.testing.assert_close(module(coordinates, branch, token), expected)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("axis", range(1 + LATENT))
def test_derivatives_equal_finite_differences(kind, axis):
    """First and second derivatives along time and the latent axes."""
    module = operator(kind)
    coordinates, branch, token = inputs(count=1, steps=1)
    direction = torch.zeros(1 + LATENT, dtype=torch.float64)
    direction[axis] = 1

    def value(shift):
        return module(coordinates + shift * direction, branch, token)[0, 0]

    zero = torch.zeros((), dtype=torch.float64)
    first = torch.func.jacrev(value)(zero)
    second = torch.func.jacrev(torch.func.jacrev(value))(zero)
    h = 1e-5
    torch.testing.assert_close(
        first, (value(zero + h) - value(zero - h)) / (2 * h), rtol=1e-6, atol=1e-9
    )
    h = 1e-3
    difference = (value(zero + h) - 2 * value(zero) + value(zero - h)) / h**2
    torch.testing.assert_close(second, difference, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_and_every_parameter(kind):
    module = operator(kind)
    arguments = [x.requires_grad_() for x in inputs(count=1, steps=2)]
    assert torch.autograd.gradcheck(module, arguments)
    module(*arguments).square().sum().backward()
    assert all(p.grad is not None and (p.grad != 0).any() for p in module.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_tokens_and_times_are_independent(kind):
    module = operator(kind)
    coordinates, branch, token = inputs(count=4, steps=5)
    whole = module(coordinates, branch, token)
    part = module(coordinates[2:3], branch[1:2], token[1:2])
    torch.testing.assert_close(whole[1:2, 2:3], part)
    batched = module(coordinates, branch.view(2, 2, 5), token.view(2, 2, 3))
    torch.testing.assert_close(batched.flatten(0, 1), whole)


@pytest.mark.parametrize("kind", KINDS)
def test_finite_at_extremes(kind):
    module = operator(kind)
    coordinates, branch, token = inputs()
    for scale in (1e-15, 1e6):
        z = (scale * token).requires_grad_()
        output = module(coordinates, scale * branch, z)
        (gradient,) = torch.autograd.grad(output.sum(), z)
        assert output.isfinite().all()
        assert gradient.isfinite().all()


def test_rejects_impossible_features():
    with pytest.raises(ValueError, match=r"Expected 'num_features' to be at least 1 \(got 0\)"):
        FourierFeatures(0, 1.0)
    for std in (0.0, math.nan):
        with pytest.raises(ValueError, match=r"Expected 'std' to be positive"):
            FourierFeatures(4, std)


def test_the_onset_rises_from_zero_to_one():
    onset = Onset(0.1).requires_grad_(False)
    coordinates = torch.zeros(50, 1 + LATENT)
    coordinates[:, 0] = torch.linspace(0, 1, 50)
    share = onset(coordinates)
    assert share[0] == 0
    assert share[-1] == pytest.approx(1)
    assert (share[1:] > share[:-1]).all()
    coordinates[:, 0] = 0.1
    assert onset(coordinates)[0] == pytest.approx(0.55)  # half, and a half of d


@pytest.mark.parametrize("kind", KINDS)
def test_with_an_onset_the_branch_passes_from_one_token_to_the_other(kind):
    module, (coordinates, branch, token) = operator(kind, onset=0.2), inputs()
    plain = operator(kind)
    plain.load_state_dict(module.state_dict(), strict=False)
    start = torch.randn(2, 5, dtype=torch.float64)
    coordinates[0, 0], coordinates[1, 0] = 0, 1
    found = module(coordinates, branch, token, start=start)
    early, late = plain(coordinates, start, token), plain(coordinates, branch, token)
    torch.testing.assert_close(found[:, 0], early[:, 0])
    torch.testing.assert_close(found[:, 1], late[:, 1])
    # The branch is an affine map of its token, so this holds in the middle as well.
    share = module.onset(coordinates)[2]
    middle = plain(coordinates, start + share * (branch - start), token)
    torch.testing.assert_close(found[:, 2], middle[:, 2])
    assert (early[:, 2] - late[:, 2]).abs().min() > 1e-3


@pytest.mark.parametrize("kind", KINDS)
def test_an_onset_is_learned_and_needs_a_start(kind):
    module, given = operator(kind, onset=0.2), inputs()
    module(*given, start=torch.randn(2, 5, dtype=torch.float64)).square().sum().backward()
    assert module.onset.log_time.grad.abs() > 1e-6
    with pytest.raises(ValueError, match="Expected 'start'"):
        module(*given)
