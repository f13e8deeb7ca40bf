"""Reduce: node values to supernodes, and back."""

from __future__ import annotations

from torch import Tensor


def pool(assignment: Tensor, x: Tensor) -> Tensor:
    """Coarse-grain node values, ``S^T x n / m`` (arXiv 2502.15913).

    A supernode's value is the mean of its nodes times the ``n / m`` nodes it stands for.

    Args:
        assignment: S, shape ``(G, n, m)``, columns summing to one.
        x: Values, shape ``(G, n, C)``.

    Returns:
        Shape ``(G, m, C)``.

    Raises:
        ValueError: If the shapes do not fit.

    Example:
        >>> import torch
        >>> S = torch.tensor([[[0.5], [0.5]]])
        >>> pool(S, torch.tensor([[[1.0], [3.0]]])).tolist()
        [[[4.0]]]
    """
    _check(assignment, x, assignment.shape[1:2], "n")
    _, n, m = assignment.shape
    return (assignment.mT @ x) * (n / m)


def lift(assignment: Tensor, x: Tensor) -> Tensor:
    """Bring supernode values back to the nodes: a mean weighted by the shares of each node.

    ``x_i = (m / n) sum_a S_ia x_a / sum_a S_ia``. Constants survive ``lift(S, pool(S, x))``; a
    node that belongs to no supernode gets zero.

    Args:
        assignment: S, shape ``(G, n, m)``.
        x: Values of the supernodes, shape ``(G, m, C)``.

    Returns:
        Shape ``(G, n, C)``.

    Raises:
        ValueError: If the shapes do not fit.
    """
    _check(assignment, x, assignment.shape[2:3], "m")
    _, n, m = assignment.shape
    share = assignment.sum(-1, keepdim=True)
    tiny = 1e-30 if share.dtype.itemsize > 2 else 1e-4
    return (assignment @ x) / share.clamp_min(tiny) * (m / n)


def _check(assignment: Tensor, x: Tensor, rows: tuple[int, ...], name: str) -> None:
    """Check that ``x`` has one row per node (or supernode) of every graph."""
    if assignment.ndim != 3:
        raise ValueError(
            f"Expected 'assignment' of shape (G, n, m) (got {tuple(assignment.shape)})."
        )
    if x.ndim != 3 or x.shape[:2] != (assignment.shape[0], *rows):
        raise ValueError(
            f"Expected 'x' of shape (G, {name}, C) = ({assignment.shape[0]}, {rows[0]}, C) "
            f"(got {tuple(x.shape)})."
        )
