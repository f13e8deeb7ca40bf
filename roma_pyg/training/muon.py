"""Muon: momentum with orthogonalised updates for matrices, Adam for everything else."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.adamw import adamw

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
    more than the whole training step. Here the iteration is in bfloat16 where the device has
    units for it (`has_bfloat16_units`; three to six times faster on a CPU), and in the precision
    of the parameter elsewhere, on m x m matrices if that is less work (`orthogonalize`); matrices
    of one shape are taken together.

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
            update = self._matrix_step if group["orthogonal"] else self._adam_step
            update(parameters, [p.grad for p in parameters], group)
        return loss

    def _matrix_step(
        self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]
    ) -> None:
        momenta = [self._moment(p, "momentum") for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        # Matrices of one shape, wide or tall, go through the iteration together.
        batches: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
        for parameter, gradient, momentum in zip(parameters, gradients, momenta, strict=True):
            matrix = gradient.lerp(momentum, group["momentum"]).flatten(1)
            target = parameter.view_as(matrix)
            if matrix.shape[0] > matrix.shape[1]:
                matrix, target = matrix.mT, target.mT
            batches[matrix.shape[0], matrix.shape[1]].append((matrix, target))
        for (_, width), batch in batches.items():
            update = orthogonalize(torch.stack([matrix for matrix, _ in batch]))
            update *= -group["lr"] * 0.2 * math.sqrt(width)
            for (_, target), change in zip(batch, update, strict=True):
                target += change

    def _adam_step(
        self, parameters: list[Tensor], gradients: list[Tensor], group: dict[str, Any]
    ) -> None:
        # One fused kernel instead of ten small operations for each of many short vectors.
        adamw(
            parameters,
            gradients,
            [self._moment(p, "mean") for p in parameters],
            [self._moment(p, "square") for p in parameters],
            [],
            [self._count(p) for p in parameters],
            fused=True,
            amsgrad=False,
            beta1=group["betas"][0],
            beta2=group["betas"][1],
            lr=group["lr"],
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
        )

    def _moment(self, parameter: Tensor, name: str) -> Tensor:
        """Return a running mean of a parameter, zero at first."""
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        return state[name]

    def _count(self, parameter: Tensor) -> Tensor:
        """Return the number of updates of a parameter so far, a scalar on its device."""
        state = self.state[parameter]
        if "step" not in state:
            state["step"] = torch.zeros((), device=parameter.device)
        return state["step"]


def orthogonalize(matrix: Tensor) -> Tensor:
    """Return matrices with the singular vectors of ``matrix`` and singular values near one.

    Args:
        matrix: One matrix, or several of one shape: ``(..., m, n)``. A zero matrix stays zero.

    Returns:
        Same shape, singular values of full-rank input in about [0.6, 1.3].

    Example:
        >>> orthogonalize(torch.diag(torch.tensor([5.0, -3.0]))).diagonal().sign().tolist()
        [1.0, -1.0]
    """
    wide = matrix.shape[-2] <= matrix.shape[-1]
    x = matrix if wide else matrix.mT
    x = x / (torch.linalg.matrix_norm(x, keepdim=True) + 1e-12)
    rows, columns = x.shape[-2:]
    batch = x.reshape(-1, rows, columns)
    if x.dtype == torch.float32 and has_bfloat16_units(x.device.type):
        result = _iterate(batch.bfloat16()).to(x.dtype)
    elif 2 * columns < 3 * rows:
        result = _iterate(batch)
    else:
        result = _iterate_on_gram(batch)
    result = result.view(x.shape)
    return result if wide else result.mT


@cache
def has_bfloat16_units(device: str) -> bool:
    """Whether a kind of device multiplies matrices in bfloat16 faster than in float32.

    Args:
        device: ``cpu`` (with AMX or AVX512-BF16) or ``cuda``.
    """
    if device == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    probes = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return device == "cpu" and any(getattr(torch.cpu, name, bool)() for name in probes)


def _iterate(x: Tensor) -> Tensor:
    """The iteration as published; it corrects the rounding of its steps, and bears bfloat16."""
    a, b, c = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = torch.bmm(x, x.mT)
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def _iterate_on_gram(x: Tensor) -> Tensor:
    """The same result from m x m matrices, in full precision; less work if n is 3/2 m or more."""
    a, b, c = _COEFFICIENTS
    # Each iteration multiplies x from the left by a polynomial P of its Gram matrix, and the Gram
    # matrix, which commutes with P, by P^2: all of them are m x m, and x is touched twice only.
    gram = torch.bmm(x, x.mT)
    product = None
    for iteration in range(_ITERATIONS):
        polynomial = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal(dim1=-2, dim2=-1).add_(a)
        product = polynomial if product is None else torch.bmm(polynomial, product)
        if iteration < _ITERATIONS - 1:
            gram = torch.bmm(torch.bmm(polynomial, gram), polynomial)
    assert product is not None
    return torch.bmm(product, x)
