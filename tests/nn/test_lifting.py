from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.polynomial import chebyshev

from roma_pyg.nn.lifting import DEGREE, FunctionLifting


def lifting(window=3, num_functions=5, channels=4):
    torch.manual_seed(1)
    return FunctionLifting(window, num_functions, channels)


def test_one_value_by_hand():
    """f(u) = 2 + 3 (2 u - 1), seen through the weight 0.5 and the bias 1."""
    module = lifting(1, 1, 1)
    module.coefficients.zero_()
    module.coefficients[0], module.coefficients[1] = 2.0, 3.0
    with torch.no_grad():
        module.weight.fill_(0.5)
        module.bias.fill_(1.0)
    values = torch.tensor([[0.0], [0.5], [1.0]])
    torch.testing.assert_close(module.functions(values).flatten(), torch.tensor([-1.0, 2.0, 5.0]))
    torch.testing.assert_close(module(values).flatten(), torch.tensor([0.5, 2.0, 3.5]))


def test_functions_are_chebyshev_series():
    module = lifting()
    values = torch.linspace(0, 1, 17)
    expected = chebyshev.chebval(2 * values.numpy() - 1, module.coefficients.numpy()).T
    np.testing.assert_allclose(module.functions(values).numpy(), expected, atol=1e-5)


def test_equals_explicit_evaluation_and_linear_map():
    module = lifting()
    window = torch.rand(7, 2, 3)
    with torch.no_grad():
        module.bias.normal_()
    explicit = module.functions(window).flatten(-2)
    expected = torch.nn.functional.linear(explicit, module.weight.flatten(1), module.bias)
    torch.testing.assert_close(module(window), expected, rtol=1e-4, atol=1e-5)


def test_covariance_of_the_functions_is_the_rbf_kernel():
    """Sampling error of 40,000 draws is below .7 % of the variance; 5 deviations allowed."""
    grid = torch.tensor([0.0, 0.13, 0.5, 0.77, 1.0])
    draws = lifting(1, 40_000, 1).functions(grid).double()
    covariance = (draws @ draws.T / draws.shape[1]).numpy()
    lag = grid.numpy()[:, None] - grid.numpy()[None, :]
    np.testing.assert_allclose(covariance, np.exp(-0.5 * lag**2), atol=0.035)
    np.testing.assert_allclose(draws.mean(1).numpy(), 0, atol=0.025)


def test_draws_are_smooth_and_moderate_where_noise_may_carry_values():
    values = torch.linspace(-0.5, 1.5, 201)
    functions = lifting(1, 200, 1).functions(values)
    assert functions.abs().max() < 20
    assert (functions.diff(dim=0).abs() / 0.01).max() < 40


def test_functions_are_constant_far_outside():
    functions = lifting().functions(torch.tensor([-1e6, -0.5, 1.5, 1e6]))
    torch.testing.assert_close(functions[0], functions[1])
    torch.testing.assert_close(functions[3], functions[2])


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.2, 0.5), (0.99, 1.0)])
def test_standardize(low, high):
    module = lifting(num_functions=16)
    values = low + (high - low) * torch.rand(40, 50)
    module.standardize(values)
    functions = module.double().functions(values.double().flatten())
    std, mean = torch.std_mean(functions, dim=0, correction=0)
    torch.testing.assert_close(mean, torch.zeros_like(mean), rtol=0, atol=2e-4)
    torch.testing.assert_close(std, torch.ones_like(std), rtol=2e-3, atol=0)


def test_standardize_twice_changes_nothing():
    module, values = lifting(), torch.rand(100)
    module.standardize(values)
    once = module.coefficients.clone()
    module.standardize(values)
    torch.testing.assert_close(module.coefficients, once, rtol=1e-4, atol=1e-5)


def test_standardize_on_a_constant_only_shifts():
    module = lifting()
    slope = module.coefficients[1:].clone()
    module.standardize(torch.full((30,), 0.4))
    assert torch.equal(module.coefficients[1:], slope)
    torch.testing.assert_close(
        module.functions(torch.tensor([0.4])), torch.zeros(1, 5), rtol=0, atol=1e-6
    )


def test_gradients():
    module = lifting(2, 3, 2).double()
    window = torch.rand(3, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda w, weight, bias: torch.func.functional_call(
            module, {"weight": weight, "bias": bias}, (w,)
        ),
        (window, module.weight, module.bias),
    )


def test_autocast_keeps_full_precision():
    module, window = lifting(), torch.rand(6, 3)
    module.standardize(0.9 + 0.1 * window)
    with torch.autocast("cpu", torch.bfloat16):
        half = module(window)
    assert torch.equal(half, module(window))


def test_seed_draws_the_functions():
    assert torch.equal(lifting().coefficients, lifting().coefficients)
    torch.manual_seed(2)
    assert not torch.equal(FunctionLifting(3, 5, 4).coefficients, lifting().coefficients)
    assert lifting().coefficients.shape == (DEGREE + 1, 5)


@pytest.mark.parametrize("key", ["window", "num_functions", "channels"])
def test_rejects_sizes_below_one(key):
    sizes = {"window": 1, "num_functions": 1, "channels": 1, key: 0}
    with pytest.raises(ValueError, match=rf"Expected '{key}' to be at least 1 \(got 0\)"):
        FunctionLifting(**sizes)


def test_rejects_a_window_of_another_length():
    with pytest.raises(
        ValueError, match=r"Expected 'window' of shape \(\.\.\., 3\) \(got \(2, 4\)\)"
    ):
        lifting()(torch.rand(2, 4))


@pytest.mark.parametrize("values", [torch.empty(0), torch.tensor([0.5, torch.nan])])
def test_standardize_rejects_missing_values(values):
    with pytest.raises(ValueError, match="Expected finite training values"):
        lifting().standardize(values)
