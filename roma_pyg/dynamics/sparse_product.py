"""A constant sparse matrix times a few dense columns, in double precision."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Literal, get_args

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from roma_pyg.kernels import use_kernel

Backend = Literal["auto", "torch", "torch-sparse", "scipy"]


class SparseProduct:
    """The product ``W X`` of a square CSR matrix with a dense matrix.

    Torch's CSR product uses all of its threads but needs a torch that was built with MKL.
    Elsewhere torch-sparse serves, whose product has threads too and takes 64-bit indices, or, if
    it is not installed, scipy, whose product runs on one thread (`benchmarks/kernels.py` compares
    the three). Each row is summed by one thread, so the result does not depend on the number of
    threads. Libraries may differ in the last bit. Memory: 12 bytes per edge, 16 with torch-sparse
    or above 2^31 edges.

    Args:
        rowptr: Row offsets, shape ``(N + 1,)``.
        col: Columns in ``[0, N)``, shape ``(E,)``; not checked, `roma_pyg.data.graph.Graph` does.
        weight: Entries, shape ``(E,)``.
        backend: ``auto`` takes torch where its CSR product works, else torch-sparse where it is
            installed and not turned off, else scipy.

    Raises:
        ValueError: If the backend is unknown or not there.

    Example:
        >>> swap = SparseProduct(np.array([0, 1, 2]), np.array([1, 0]), np.array([1.0, 0.5]))
        >>> out = torch.empty(2, 1, dtype=torch.float64)
        >>> swap.apply(torch.tensor([[2.0], [4.0]], dtype=torch.float64), out).tolist()
        [[4.0], [1.0]]
    """

    def __init__(
        self,
        rowptr: NDArray[np.integer],
        col: NDArray[np.integer],
        weight: NDArray[np.floating],
        backend: Backend = "auto",
    ) -> None:
        """Copy the matrix into the form that the backend needs."""
        self.backend = _choose(backend)
        size = len(rowptr) - 1
        # Narrow indices save a third of the memory traffic that the product waits for.
        narrow = max(size, len(col)) < 2**31 and self.backend != "torch-sparse"
        index: type[np.integer] = np.int32 if narrow else np.int64
        rows, columns, data = rowptr.astype(index), col.astype(index), weight.astype(np.float64)
        if self.backend == "torch":
            self._torch = _torch_csr(rows, columns, data)
        elif self.backend == "torch-sparse":
            self._parts = tuple(torch.from_numpy(array) for array in (rows, columns, data))
        else:
            self._scipy = sp.csr_array((data, columns, rows), shape=(size, size))

    def apply(self, columns: Tensor, out: Tensor) -> Tensor:
        """Write ``W X`` to ``out``.

        Args:
            columns: X, float64, contiguous, shape ``(N, C)``.
            out: Float64, contiguous, shape ``(N, C)``; must not share memory with ``columns``.

        Returns:
            ``out``.
        """
        if self.backend == "torch":
            return torch.mm(self._torch, columns, out=out)
        if self.backend == "torch-sparse":
            rowptr, col, data = self._parts
            product = torch.ops.torch_sparse.spmm_sum
            return out.copy_(product(None, rowptr, col, data, None, None, columns))
        return out.copy_(torch.from_numpy(self._scipy @ columns.numpy()))


def _choose(backend: Backend) -> Backend:
    """The library that multiplies."""
    names = get_args(Backend)
    if backend not in names:
        raise ValueError(f"Expected 'backend' to be one of {names} (got {backend!r}).")
    if backend == "torch-sparse" and not use_kernel("torch-sparse"):
        raise ValueError(
            "Expected torch-sparse to be installed and active for backend 'torch-sparse'; run "
            "`pip install roma-pyg[kernels]` or use 'auto'."
        )
    if backend != "auto":
        return backend
    if torch_csr_works():
        return "torch"
    return "torch-sparse" if use_kernel("torch-sparse") else "scipy"


@cache
def torch_csr_works() -> bool:
    """Whether this build of torch multiplies CSR matrices with int32 indices on the CPU."""
    one = np.ones(1)
    try:
        matrix = _torch_csr(np.array([0, 1], np.int32), np.zeros(1, np.int32), one)
        return bool(torch.mm(matrix, torch.ones(1, 2, dtype=torch.float64)).eq(1).all())
    except RuntimeError:
        return False


def _torch_csr(
    rowptr: NDArray[np.integer], col: NDArray[np.integer], data: NDArray[np.float64]
) -> Tensor:
    with warnings.catch_warnings():
        # Said once per process on the first CSR tensor; what is used of CSR here is tested.
        warnings.filterwarnings(
            "ignore", message="Sparse CSR tensor support is in beta state", category=UserWarning
        )
        return torch.sparse_csr_tensor(
            torch.from_numpy(rowptr),
            torch.from_numpy(col),
            torch.from_numpy(data),
            size=(len(rowptr) - 1,) * 2,
            check_invariants=False,
        )
