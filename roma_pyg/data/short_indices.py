"""Sparse matrices for the graph algorithms of older scipy."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import scipy.sparse as sp


def short_indices(matrix: sp.csr_array[Any]) -> sp.csr_array[Any]:
    """Give a matrix indices of 32 bits, where its size allows.

    Some functions of ``scipy.sparse.csgraph`` take no others in the versions of scipy that Python
    3.10 has, up to 1.15.

    Args:
        matrix: Any CSR matrix; not modified. Memory of the result is 4 bytes per entry, as the
            entries themselves are shared.

    Example:
        >>> ring = sp.csr_array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
        >>> short_indices(ring).indices.dtype
        dtype('int32')
    """
    if matrix.nnz > np.iinfo(np.int32).max:
        return matrix
    short = copy.copy(matrix)
    short.indices = matrix.indices.astype(np.int32)
    short.indptr = matrix.indptr.astype(np.int32)
    return short
