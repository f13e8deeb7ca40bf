"""Muon: momentum with orthogonalised updates for matrices, Adam for everything else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer

# Quintic Newton-Schulz iteration of Jordan et al.: singular values go to about [0.7, 1.2].
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5


class Muon(Optimizer):
    r"""Muon for matrices and AdamW for the rest, in one optimiser.

    A matrix W with gradient G moves by

    .. math:: B \leftarrow \mu B + (1 - \mu) G, \quad
              W \leftarrow (1 - \eta \lambda) W
              - \eta\, 0.2 \sqrt{\max(m, n)}\, \mathrm{orth}(\mu B + (1 - \mu) G)

    where orth sets all singular values to about one (Jordan et al. 2024, "Muon"; the factor, which
    gives the update the size of one of AdamW, and with it a common learning rate, is that of Liu
    et al. 2025, arXiv:2502.16982). Parameters of groups without ``orthogonal`` follow AdamW.

    ``torch.optim.Muon`` takes matrices only and orthogonalises in bfloat16, which a CPU without
    bfloat16 units emulates: 12 matrices of 192 x 768 and less took it .31 s a step on one thread,
    more than the whole training step. Here the precision is that of the parameter, and the
    iteration runs on m x m matrices (`orthogonalize`).

    Args:
        groups: Parameter groups; ``orthogonal: True`` marks those of matrices. A parameter of
            more than two axes counts as the matrix of its first axis against the others.
        learning_rate: Learning rate of all groups.
        momentum: Momentum of the matrices, in [0, 1).
        betas: Decay rates of Adam's moments.
        eps: Added to Adam's denominator.

    Raises:
        ValueError: If an argument is out of range, or an ``orthogonal`` parameter is a vector.
    """

    def __init__(
        self,
        groups: Iterable[dict[str, Any]],
        learning_rate: float,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        eps: float = 1e-8,
    ) -> None:
        """Bind the parameters."""
        if not learning_rate > 0:
            raise ValueError(f"Expected 'learning_rate' to be positive (got {learning_rate}).")
        if not 0 <= momentum < 1:
            raise ValueError(f"Expected 'momentum' in [0, 1) (got {momentum}).")
        defaults = {
            "lr": learning_rate,
            "momentum": momentum,
            "betas": betas,
            "eps": eps,
            "weight_decay": 0.0,
            "orthogonal": False,
        }
        super().__init__(groups, defaults)
        for group in self.param_groups:
            for parameter in group["params"]:
                if group["orthogonal"] and parameter.ndim < 2:
                    raise ValueError(
                        "Expected parameters with at least two axes in an 'orthogonal' group "
                        f"(got shape {tuple(parameter.shape)})."
                    )

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if not parameters:
                continue
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            update = self._matrix_step if group["orthogonal"] else self._adam_step
            update(parameters, [p.grad for p in parameters], group)
        return loss

    def _matrix_step(
        self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]
    ) -> None:
        momenta = [self._moment(p, "momentum") for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        for parameter, gradient, momentum in zip(parameters, gradients, momenta, strict=True):
            matrix = gradient.lerp(momentum, group["momentum"]).flatten(1)
            scale = 0.2 * math.sqrt(max(matrix.shape))
            parameter.add_(orthogonalize(matrix).view_as(parameter), alpha=-group["lr"] * scale)

    def _adam_step(
        self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]
    ) -> None:
        first, second = group["betas"]
        means = [self._moment(p, "mean") for p in parameters]
        squares = [self._moment(p, "square") for p in parameters]
        torch._foreach_lerp_(means, gradients, 1 - first)
        torch._foreach_mul_(squares, second)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - second)
        # Parameters may have joined at different times, so each has a count of its own.
        counts = [self._count(p) for p in parameters]
        roots = torch._foreach_div(squares, [1 - second**count for count in counts])
        torch._foreach_sqrt_(roots)
        torch._foreach_add_(roots, group["eps"])
        sizes = [-group["lr"] / (1 - first**count) for count in counts]
        torch._foreach_addcdiv_(parameters, means, roots, sizes)

    def _moment(self, parameter: Tensor, name: str) -> Tensor:
        """Return a running mean of a parameter, zero at first."""
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        return state[name]

    def _count(self, parameter: Tensor) -> float:
        """Return the number of updates of a parameter, this one included."""
        state = self.state[parameter]
        state["step"] = state.get("step", torch.zeros(())) + 1
        return float(state["step"])


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return a matrix with the singular vectors of ``matrix`` and singular values near one.

    Args:
        matrix: Shape ``(m, n)``. A zero matrix stays zero.

    Returns:
        Shape ``(m, n)``, singular values of full-rank input in about [0.6, 1.3].

    Example:
        >>> orthogonalize(torch.diag(torch.tensor([5.0, -3.0]))).diagonal().sign().tolist()
        [1.0, -1.0]
    """
    a, b, c = _COEFFICIENTS
    wide = matrix.shape[0] <= matrix.shape[1]
    x = matrix if wide else matrix.mT
    x = x / (torch.linalg.matrix_norm(x) + 1e-12)
    # Each iteration multiplies x from the left by a polynomial P of its Gram matrix, and the Gram
    # matrix, which commutes with P, by P^2: all of them are m x m, and x is touched twice only.
    gram = x @ x.mT
    product = None
    for iteration in range(_ITERATIONS):
        polynomial = torch.addmm(b * gram, gram, gram, alpha=c)
        polynomial.diagonal().add_(a)
        product = polynomial if product is None else polynomial @ product
        if iteration < _ITERATIONS - 1:
            gram = polynomial @ gram @ polynomial
    assert product is not None
    return product @ x if wide else (product @ x).mT
