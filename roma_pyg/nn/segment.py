"""Reductions of edge values to their receivers, for edges sorted by receiver.

On the CPU, sums and maxima are products with a sparse CSR matrix of ones, whose reductions
(``torch.sparse.mm``) are faster than ``scatter_reduce``, ``torch.segment_reduce`` and torch-scatter
from a few thousand edges to tens of millions; long lists are cut at receivers into pieces that
stay in the cache. ``benchmarks/aggregation.py`` compares them. torch-scatter is used on CUDA
devices, unless asked for; the backward pass is our own and shared, so all give the same gradients.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from roma_pyg.kernels import use_kernel

Aggregation = Literal["sum", "mean", "var", "max"]
Backend = Literal["auto", "torch", "scatter"]
AGGREGATIONS: tuple[Aggregation, ...] = ("sum", "mean", "var", "max")

PIECE = 1 << 17
"""Values (edges times channels) that are reduced at a time on the CPU."""


def row_offsets(index: Tensor, num_targets: int) -> Tensor:
    """Row offsets (CSR) of sorted receivers.

    Args:
        index: Receivers in ascending order, shape ``(e,)``, int64.
        num_targets: Number of receivers.

    Returns:
        Offsets, shape ``(num_targets + 1,)``, int64: edges of receiver i are
        ``offsets[i]:offsets[i + 1]``.

    Raises:
        ValueError: If the receivers are not sorted or out of range.

    Example:
        >>> row_offsets(torch.tensor([0, 0, 2]), 3).tolist()
        [0, 2, 2, 3]
    """
    if index.numel() > 0:
        if not bool((index[1:] >= index[:-1]).all()):
            raise ValueError(
                "Expected receivers 'index' in ascending order (got an unsorted list); sort the "
                "edges by receiver first."
            )
        first, last = int(index[0]), int(index[-1])
        if first < 0 or last >= num_targets:
            raise ValueError(
                f"Expected receivers 'index' in [0, {num_targets}) (got {first} to {last})."
            )
    counts = torch.bincount(index, minlength=num_targets)
    return F.pad(counts.cumsum(0), (1, 0))


def segment_aggregate(
    messages: Tensor,
    index: Tensor,
    rowptr: Tensor | None,
    num_targets: int,
    aggregations: tuple[Aggregation, ...] = AGGREGATIONS,
    backend: Backend = "auto",
) -> Tensor:
    """Reduce the messages of every receiver by several aggregations at once.

    The variance is ``mean((m - mean(m))^2)`` in two passes: never negative, and without the
    cancellation of ``mean(m^2) - mean(m)^2``. Receivers without messages get zeros.
    Equal maxima share their gradient.

    Args:
        messages: One row per edge, shape ``(e, C)``. Half precision is reduced in float32.
        index: Receivers in ascending order, shape ``(e,)``, int64.
        rowptr: Row offsets from `row_offsets`, shape ``(num_targets + 1,)``; computed, with
            checks of ``index``, if None.
        num_targets: Number of receivers n.
        aggregations: Any of ``sum``, ``mean``, ``var``, ``max``, in the order of the output.
        backend: ``torch`` or ``scatter`` (torch-scatter) forces one; ``auto`` takes torch-scatter
            on CUDA devices if it is installed and not turned off.

    Returns:
        Shape ``(n, C * len(aggregations))``. Memory is O(e C), without a copy per aggregation.

    Raises:
        ValueError: If an aggregation is unknown or shapes do not fit.

    Example:
        >>> messages = torch.tensor([[1.0], [3.0], [5.0]])
        >>> segment_aggregate(messages, torch.tensor([0, 0, 2]), None, 3, ("mean", "max")).tolist()
        [[2.0, 3.0], [0.0, 0.0], [5.0, 5.0]]
    """
    unknown = [name for name in aggregations if name not in AGGREGATIONS]
    if unknown or not aggregations:
        raise ValueError(f"Expected 'aggregations' from {AGGREGATIONS} (got {aggregations}).")
    if messages.ndim != 2 or index.shape != messages.shape[:1]:
        raise ValueError(
            f"Expected 'messages' of shape (e, C) and 'index' of shape (e,) "
            f"(got {tuple(messages.shape)} and {tuple(index.shape)})."
        )
    if rowptr is None:
        rowptr = row_offsets(index, num_targets)
    elif rowptr.shape != (num_targets + 1,):
        raise ValueError(
            f"Expected 'rowptr' of shape ({num_targets + 1},) (got {tuple(rowptr.shape)})."
        )
    if messages.dtype.itemsize <= 2:
        messages = messages.float()
    scatter = _takes_scatter(backend, messages)
    total, variance, maximum = _SegmentReduce.apply(
        messages, index, rowptr, "var" in aggregations, "max" in aggregations, scatter
    )
    parts = {"sum": total, "var": variance, "max": maximum}
    if "mean" in aggregations:
        parts["mean"] = total / _counts(rowptr, total.dtype)
    return torch.cat([parts[name] for name in aggregations], dim=-1)


def weighted_mean(
    values: Tensor,
    edge_index: Tensor,
    edge_weight: Tensor,
    num_targets: int,
    rowptr: Tensor | None = None,
) -> Tensor:
    """Sum of the senders' values times the edge weights: ``W @ values``.

    It is a mean where the weights of a receiver sum to one. Evaluated by ``embedding_bag`` without
    an ``(e, K)`` temporary: .03 ms for 8,000 edges and 64 columns on one thread, against .06 ms of
    a sparse CSR product and .7 ms of gather and ``index_add``.

    Args:
        values: Values of all nodes, shape ``(n_all, K)``.
        edge_index: Senders and ascending receivers, shape ``(2, e)``, int64.
        edge_weight: Weights, shape ``(e,)``.
        num_targets: Number of receivers.
        rowptr: Row offsets from `row_offsets`; computed, with checks, if None.

    Returns:
        Shape ``(num_targets, K)``; zero for receivers without edges.

    Example:
        >>> edges = torch.tensor([[1, 2, 0], [0, 0, 1]])
        >>> values = torch.tensor([[1.0], [2.0], [4.0]])
        >>> weighted_mean(values, edges, torch.tensor([0.5, 0.5, 1.0]), 2).tolist()
        [[3.0], [1.0]]
    """
    if rowptr is None:
        rowptr = row_offsets(edge_index[1], num_targets)
    return _bag(values, edge_index[0], rowptr, edge_weight.to(values.dtype))


def _bag(values: Tensor, rows: Tensor, rowptr: Tensor, weight: Tensor | None = None) -> Tensor:
    """Sum ``weight * values[rows]`` over each segment of ``rows``."""
    if rows.numel() == 0:
        # embedding_bag on an empty list would not be differentiable everywhere.
        return values.new_zeros(rowptr.numel() - 1, values.shape[1])
    return F.embedding_bag(
        rows, values, rowptr, mode="sum", per_sample_weights=weight, include_last_offset=True
    )


def _takes_scatter(backend: Backend, messages: Tensor) -> bool:
    """Whether torch-scatter reduces these messages."""
    if backend == "auto":
        return messages.is_cuda and use_kernel("torch-scatter")
    if backend not in ("torch", "scatter"):
        raise ValueError(f"Expected 'backend' to be auto, torch or scatter (got {backend!r}).")
    if backend == "scatter" and not use_kernel("torch-scatter"):
        raise ValueError(
            "Expected torch-scatter to be installed and active for backend 'scatter'; run "
            "`pip install roma-pyg[kernels]` or use 'auto'."
        )
    return backend == "scatter"


def _counts(rowptr: Tensor, dtype: torch.dtype) -> Tensor:
    """Messages per receiver, at least 1, shape ``(n, 1)``."""
    return rowptr.diff().clamp_min(1).to(dtype).unsqueeze(-1)


@cache
def _has_sparse_reduce() -> bool:
    """Whether this build of torch reduces by CSR matrices on the CPU."""
    with warnings.catch_warnings():
        # Said once per process on the first CSR tensor; what is used of CSR here is tested.
        warnings.simplefilter("ignore", UserWarning)
        try:
            ones = _ones_matrix(torch.tensor([0, 0, 2]), torch.ones(2, 1))
            maximum = torch.sparse.mm(ones, torch.tensor([[1.0], [3.0]]), "amax")
        except (RuntimeError, TypeError):
            return False
    return maximum.tolist() == [[0.0], [3.0]]


def _ones_matrix(rowptr: Tensor, messages: Tensor) -> Tensor:
    """The matrix that sums the messages of each segment."""
    count = len(messages)
    return torch.sparse_csr_tensor(
        rowptr,
        torch.arange(count, device=rowptr.device),
        messages.new_ones(count),
        (rowptr.numel() - 1, count),
        check_invariants=False,
    )


def _segment_reduce(
    messages: Tensor, index: Tensor, rowptr: Tensor, kind: Literal["sum", "max"], scatter: bool
) -> Tensor:
    """Sum or maximum of each segment, zero if it is empty; not differentiable."""
    if scatter:
        from torch_scatter import segment_csr

        return segment_csr(messages, rowptr, reduce=kind)
    if messages.numel() == 0:
        return messages.new_zeros(rowptr.numel() - 1, messages.shape[1])
    if messages.device.type == "cpu" and _has_sparse_reduce():
        with torch.no_grad():
            name = "amax" if kind == "max" else kind
            return torch.sparse.mm(_ones_matrix(rowptr, messages), messages.contiguous(), name)
    if kind == "sum":
        return _bag(messages, torch.arange(len(messages), device=messages.device), rowptr)
    zeros = messages.new_zeros(rowptr.numel() - 1, messages.shape[1])
    rows = index.unsqueeze(-1).expand_as(messages)
    return zeros.scatter_reduce(0, rows, messages, "amax", include_self=False)


class _Piece(NamedTuple):
    """Some receivers in a row, and their edges."""

    targets: slice
    edges: slice
    receivers: Tensor
    rowptr: Tensor


def _pieces(index: Tensor, rowptr: Tensor, channels: int) -> Iterator[_Piece]:
    """Cut edges at receivers into pieces of about `PIECE` values; one piece off the CPU."""
    edges, targets = len(index), rowptr.numel() - 1
    step = max(1, PIECE // max(channels, 1))
    if index.device.type != "cpu" or edges <= 2 * step:
        yield _Piece(slice(0, targets), slice(0, edges), index, rowptr)
        return
    # A receiver with more edges than a piece holds stays whole.
    inner = torch.searchsorted(rowptr, torch.arange(step, edges, step)).unique()
    cuts = [0, *inner[(inner > 0) & (inner < targets)].tolist(), targets]
    ends = rowptr[torch.tensor(cuts)].tolist()
    for first, last, low, high in zip(cuts, cuts[1:], ends, ends[1:], strict=False):
        yield _Piece(
            slice(first, last),
            slice(low, high),
            index[low:high] - first,
            rowptr[first : last + 1] - low,
        )


class _SegmentReduce(torch.autograd.Function):
    """Sum, variance and maximum of segments with one shared backward pass.

    No intermediate is saved: the backward pass recomputes from inputs and outputs, which makes
    second derivatives right too.
    """

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 (torch's context has no public type)
        messages: Tensor,
        index: Tensor,
        rowptr: Tensor,
        with_variance: bool,
        with_maximum: bool,
        scatter: bool,
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """Reduce; variance and maximum only where asked for."""
        ctx.set_materialize_grads(False)
        ctx.scatter = scatter
        shape = (rowptr.numel() - 1, messages.shape[1])
        total = messages.new_empty(shape)
        variance = messages.new_empty(shape) if with_variance else None
        maximum = messages.new_empty(shape) if with_maximum else None
        for piece in _pieces(index, rowptr, shape[1]):
            own, where = messages[piece.edges], (piece.receivers, piece.rowptr)
            sums = _segment_reduce(own, *where, "sum", scatter)
            total[piece.targets] = sums
            if variance is not None:
                counts = _counts(piece.rowptr, own.dtype)
                deviation = own - (sums / counts).index_select(0, piece.receivers)
                squares = _segment_reduce(deviation.square_(), *where, "sum", scatter)
                variance[piece.targets] = squares.div_(counts)
            if maximum is not None:
                maximum[piece.targets] = _segment_reduce(own, *where, "max", scatter)
        ctx.save_for_backward(messages, index, rowptr, total, maximum)
        return total, variance, maximum

    @staticmethod
    def backward(
        ctx: Any,  # noqa: ANN401
        *gradients: Tensor | None,
    ) -> tuple[Tensor | None, None, None, None, None, None]:
        """Gather the gradients of the receivers to the edges, piece by piece."""
        messages, index, rowptr, total, maximum = ctx.saved_tensors
        if all(gradient is None for gradient in gradients):
            return (None,) * 6
        tensors = (total, maximum, *gradients)
        if torch.is_grad_enabled():
            # The result itself is differentiated: nothing is written in place.
            whole = _Piece(slice(None), slice(None), index, rowptr)
            return _gradient(messages, whole, tensors, ctx.scatter), *((None,) * 5)
        result = torch.empty_like(messages)
        for piece in _pieces(index, rowptr, messages.shape[1]):
            result[piece.edges] = _gradient(messages[piece.edges], piece, tensors, ctx.scatter)
        return result, *((None,) * 5)


def _gradient(
    messages: Tensor, piece: _Piece, tensors: tuple[Tensor | None, ...], scatter: bool
) -> Tensor:
    """Gradient of the messages of some receivers: ``a_i + b_i m_e + hit_e m_i``.

    Args:
        messages: Their messages.
        piece: Where they are.
        tensors: Total and maximum, and the gradients of total, variance and maximum, of all.
        scatter: Whether torch-scatter reduces.
    """
    total, maximum, of_total, of_variance, of_maximum = (
        None if tensor is None else tensor[piece.targets] for tensor in tensors
    )
    assert total is not None
    index = piece.receivers
    gradient: Tensor | None = None
    if of_variance is not None:
        counts = _counts(piece.rowptr, messages.dtype)
        slope = 2.0 * of_variance / counts
        offset = -slope * (total / counts)
        of_total = offset if of_total is None else of_total + offset
        gradient = messages * slope.index_select(0, index)
    if of_total is not None:
        gathered = of_total.index_select(0, index)
        gradient = gathered if gradient is None else _add(gradient, gathered)
    if of_maximum is not None:
        assert maximum is not None
        hit = (messages == maximum.index_select(0, index)).to(messages.dtype)
        ties = _segment_reduce(hit, index, piece.rowptr, "sum", scatter).clamp_min(1.0)
        share = (of_maximum / ties).index_select(0, index)
        gradient = share * hit if gradient is None else _addcmul(gradient, share, hit)
    assert gradient is not None
    return gradient


def _add(left: Tensor, right: Tensor) -> Tensor:
    """Sum, in the memory of ``left`` unless the sum itself is differentiated."""
    return left + right if torch.is_grad_enabled() else left.add_(right)


def _addcmul(left: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """``left + a b``, in the memory of ``left`` unless the result itself is differentiated."""
    return left.addcmul(a, b) if torch.is_grad_enabled() else left.addcmul_(a, b)
