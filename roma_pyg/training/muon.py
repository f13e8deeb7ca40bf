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
    more than the whole training step. Here the precision is that of the parameter on a CPU, and
    bfloat16 on an accelerator.

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
            update = self._matrix_step if group["orthogonal"] else self._adam_step
            for parameter in group["params"]:
                if parameter.grad is not None:
                    parameter.mul_(1 - group["lr"] * group["weight_decay"])
                    update(parameter, parameter.grad, self.state[parameter], group)
        return loss

    @staticmethod
    def _matrix_step(
        parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum = state["momentum"]
        momentum.lerp_(gradient, 1 - group["momentum"])
        matrix = gradient.lerp(momentum, group["momentum"]).flatten(1)
        scale = 0.2 * math.sqrt(max(matrix.shape))
        parameter.add_(orthogonalize(matrix).view_as(parameter), alpha=-group["lr"] * scale)

    @staticmethod
    def _adam_step(
        parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], group: dict[str, Any]
    ) -> None:
        if not state:
            state["step"] = torch.zeros(())
            state["mean"] = torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        state["step"] += 1
        count = float(state["step"])
        first, second = group["betas"]
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].lerp_(gradient.square(), 1 - second)
        root = (state["square"] / (1 - second**count)).sqrt_().add_(group["eps"])
        parameter.addcdiv_(state["mean"], root, value=-group["lr"] / (1 - first**count))


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
    x = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT
    if x.is_cuda:
        x = x.bfloat16()
    x = x / (torch.linalg.matrix_norm(x) + 1e-12)
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    x = x.to(matrix.dtype)
    return x if matrix.shape[0] <= matrix.shape[1] else x.mT
