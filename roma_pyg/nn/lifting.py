"""Function-space lifting of a window by Gaussian random functions."""

from __future__ import annotations

import torch
from numpy.polynomial import chebyshev
from torch import Tensor, nn

DEGREE = 9
# Where the functions follow their series; constant outside.
DOMAIN = (-0.5, 1.5)


class FunctionLifting(nn.Module):
    r"""Expand each window value by random functions and embed the result linearly.

    A value :math:`u \in [0, 1]` becomes :math:`(f_1(u), \dots, f_F(u))`, where the :math:`f_j` are
    drawn once from a Gaussian random field with covariance
    :math:`k(u, v) = \exp(-(u - v)^2 / 2)` (arXiv:2502.15913); a linear map takes the K F numbers
    of a window to C channels. On [0, 1] such functions are polynomials to float32 precision, so
    they are stored as Chebyshev series of degree 9, and the random expansion is folded into the
    linear map: the memory is O(n K) instead of O(n K F), the result the same. Noise may carry
    values beyond [0, 1]; further out than a half, where the polynomials would grow without
    bound, the functions are constant.

    Under autocast the lifting stays in the precision of its parameters: the series of a function
    that was standardised over a narrow range of values cancels, which half precision cannot hold.

    Args:
        window: History length K, in samples.
        num_functions: Number of random functions F.
        channels: Output channels C.

    Raises:
        ValueError: If a size is not positive.

    Example:
        >>> lifting = FunctionLifting(window=4, num_functions=8, channels=3)
        >>> lifting(torch.rand(5, 4)).shape
        torch.Size([5, 3])
        >>> lifting.functions(torch.rand(5, 4)).shape
        torch.Size([5, 4, 8])
    """

    coefficients: Tensor

    def __init__(self, window: int, num_functions: int, channels: int) -> None:
        """Draw the functions from torch's current random state."""
        super().__init__()
        sizes = {"window": window, "num_functions": num_functions, "channels": channels}
        for key, value in sizes.items():
            if value < 1:
                raise ValueError(f"Expected '{key}' to be at least 1 (got {value}).")
        self.weight = nn.Parameter(torch.empty(channels, window, num_functions))
        self.bias = nn.Parameter(torch.zeros(channels))
        nn.init.normal_(self.weight, std=(window * num_functions) ** -0.5)
        self.register_buffer("coefficients", _draw_functions(num_functions))

    @torch.no_grad()
    def standardize(self, values: Tensor) -> None:
        """Shift and scale every function to mean 0 and variance 1 over training values.

        Mean and variance follow from the moments of the ten Chebyshev polynomials, so that the
        memory is O(n) whatever the number of functions. A function without variance, as of a
        constant series, is only shifted.

        Args:
            values: Training values in [0, 1], any shape, n in all.

        Raises:
            ValueError: If there are no values, or some are not finite.
        """
        if values.numel() == 0 or not bool(values.isfinite().all()):
            raise ValueError(
                "Expected finite training values to standardise the lifting "
                f"(got {values.numel()} values, {int((~values.isfinite()).sum())} not finite)."
            )
        terms = _chebyshev(values.flatten().double())
        center = terms.mean(dim=0)
        terms -= center
        old = self.coefficients.double()
        variance = (old * ((terms.mT @ terms / len(terms)) @ old)).sum(dim=0)
        std = variance.clamp_min(0).sqrt()
        # A function of a constant series has no scale of its own: leave it as it is.
        new = old / torch.where(std > 1e-6, std, torch.ones_like(std))
        new[0] -= center @ new
        self.coefficients.copy_(new)

    def functions(self, values: Tensor) -> Tensor:
        """Evaluate the random functions: shape ``(...)`` to ``(..., F)``."""
        return _chebyshev(values) @ self.coefficients

    def forward(self, window: Tensor) -> Tensor:
        """Embed windows.

        Args:
            window: Values in [0, 1], shape ``(..., K)``.

        Returns:
            Embedding, shape ``(..., C)``.

        Raises:
            ValueError: If the window has another length than K.
        """
        if window.shape[-1] != self.weight.shape[1]:
            raise ValueError(
                f"Expected 'window' of shape (..., {self.weight.shape[1]}) "
                f"(got {tuple(window.shape)})."
            )
        with torch.autocast(window.device.type, enabled=False):
            folded = torch.einsum("ckf,df->ckd", self.weight, self.coefficients)
            features = _chebyshev(window).flatten(-2)
            return nn.functional.linear(features, folded.flatten(1), self.bias)


def _chebyshev(values: Tensor) -> Tensor:
    """Chebyshev polynomials on [0, 1] up to ``DEGREE``: shape ``(...)`` to ``(..., D)``."""
    x = 2 * values.clamp(*DOMAIN) - 1
    terms = [torch.ones_like(x), x]
    for _ in range(DEGREE - 1):
        terms.append(2 * x * terms[-1] - terms[-2])
    return torch.stack(terms, dim=-1)


def _draw_functions(count: int) -> Tensor:
    """Chebyshev coefficients of draws from the random field, shape ``(D, F)``.

    The field is drawn at the Chebyshev nodes and interpolated there.
    """
    nodes = torch.from_numpy((chebyshev.chebpts1(DEGREE + 1) + 1) / 2)
    covariance = torch.exp(-0.5 * (nodes[:, None] - nodes[None, :]) ** 2)
    eigenvalue, eigenvector = torch.linalg.eigh(covariance)
    root = eigenvector * eigenvalue.clamp_min(0).sqrt()
    draws = root @ torch.randn(len(nodes), count, dtype=torch.float64)
    return torch.linalg.solve(_chebyshev(nodes), draws).float()
