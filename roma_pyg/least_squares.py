"""Normal equations of many small least-squares problems at once."""

from __future__ import annotations

import torch
from torch import Tensor


def solve_normal(gram: Tensor, cross: Tensor) -> Tensor:
    """Solve ``G x = c`` for positive definite G, a batch at a time.

    By Cholesky factors. Where rounding has left G without one, directions in which it is not above
    the rounding of its largest eigenvalue count as zero.

    Not by `torch.linalg.solve`: with torch 2.13 on CPU and more than one thread, once anything in
    the process has called `torch.set_num_threads`, its batches of matrices of about 150 rows and
    more raise an error or, of one right-hand side, are wrong.

    Args:
        gram: Symmetric matrices in double precision, shape ``(..., M, M)``.
        cross: Right-hand sides, shape ``(..., M, Q)``; the leading dimensions broadcast.

    Returns:
        Shape ``(..., M, Q)``.

    Example:
        >>> gram = torch.tensor([[4.0, 0.0], [0.0, 1.0]]).double()
        >>> solve_normal(gram, torch.tensor([[2.0], [3.0]]).double()).flatten().tolist()
        [0.5, 3.0]
    """
    factor, info = torch.linalg.cholesky_ex(gram)
    solution = torch.cholesky_solve(cross, factor)
    failed = info > 0
    if failed.any():
        values, axes = torch.linalg.eigh(gram)
        floor = torch.finfo(gram.dtype).eps * gram.shape[-1] * values[..., -1:]
        inverse = torch.where(values > floor, values.reciprocal(), 0.0).unsqueeze(-1)
        pseudo = axes @ (inverse * (axes.mT @ cross))
        solution = torch.where(failed[..., None, None], pseudo, solution)
    return solution
