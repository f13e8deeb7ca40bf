"""Function-space lifting of a window by Gaussian random functions."""

from __future__ import annotations

import torch
from numpy.polynomial import chebyshev
from torch import Tensor, nn

DEGREE = 9


class FunctionLifting(nn.Module):
    r"""Expand each window value by random functions and embed the result linearly.

    A value :math:`u \in [0, 1]` becomes :math:`(f_1(u), \dots, f_F(u))`, where the :math:`f_j` are
    drawn once from a Gaussian random field with covariance
    :math:`k(u, v) = \exp(-(u - v)^2 / 2)`; a linear map takes the K F numbers of a window to C
    channels. On [0, 1] such functions are polynomials to float32 precision, so they are stored as
    Chebyshev series of degree 9, and the random expansion is folded into the linear map: the
    memory is O(n K) instead of O(n K F), the result the same.

    Args:
        window: History length K, in samples.
        num_functions: Number of random functions F.
        channels: Output channels C.
    """

    coefficients: Tensor

    def __init__(self, window: int, num_functions: int, channels: int) -> None:
        """Draw the functions from torch's current random state."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, window, num_functions))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.normal_(self.weight, std=(window * num_functions) ** -0.5)
        self.register_buffer("coefficients", _draw_functions(num_functions))

    def standardize(self, values: Tensor) -> None:
        """Shift and scale every function to mean 0 and variance 1 over training values.

        Args:
            values: Training values in [0, 1], any shape.
        """
        lifted = self.functions(values.flatten())
        std, mean = torch.std_mean(lifted, dim=0, correction=0)
        # A function of a constant series has no scale of its own: leave it as it is.
        scaled = self.coefficients / torch.where(std > 1e-6, std, torch.ones_like(std))
        scaled[0] -= mean / torch.where(std > 1e-6, std, torch.ones_like(std))
        self.coefficients.copy_(scaled)

    def functions(self, values: Tensor) -> Tensor:
        """Evaluate the random functions: shape ``(...)`` to ``(..., F)``."""
        return _chebyshev(values) @ self.coefficients

    def forward(self, window: Tensor) -> Tensor:
        """Embed windows.

        Args:
            window: Values in [0, 1], shape ``(..., K)``.

        Returns:
            Embedding, shape ``(..., C)``.
        """
        folded = torch.einsum("ckf,df->ckd", self.weight, self.coefficients)
        features = _chebyshev(window).flatten(-2)
        return nn.functional.linear(features, folded.flatten(1), self.bias)


def _chebyshev(values: Tensor) -> Tensor:
    """Chebyshev polynomials on [0, 1] up to ``DEGREE``: shape ``(...)`` to ``(..., D)``."""
    x = 2 * values - 1
    terms = [torch.ones_like(x), x]
    for _ in range(DEGREE - 1):
        terms.append(2 * x * terms[-1] - terms[-2])
    return torch.stack(terms, dim=-1)


def _draw_functions(count: int) -> Tensor:
    """Chebyshev coefficients of draws from the random field, shape ``(D, F)``."""
    nodes = torch.from_numpy((chebyshev.chebpts1(DEGREE + 1) + 1) / 2)
    covariance = torch.exp(-0.5 * (nodes[:, None] - nodes[None, :]) ** 2)
    eigenvalue, eigenvector = torch.linalg.eigh(covariance)
    root = eigenvector * eigenvalue.clamp_min(0).sqrt()
    draws = root @ torch.randn(len(nodes), count, dtype=torch.float64)
    return torch.linalg.solve(_chebyshev(nodes), draws).float()
