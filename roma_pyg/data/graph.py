"""Compressed sparse graph: the one representation of a graph in memory and on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Graph:
    """A directed graph in CSR form, one row per *receiver*.

    Row ``i`` lists the senders ``j`` whose state node ``i`` feels, with the coupling ``w_ij``.
    An undirected graph stores both directions. Memory is O(N + E); the arrays may be
    memory-mapped and are never modified.

    Attributes:
        rowptr: Row offsets, shape ``(N + 1,)``, int64.
        col: Senders, shape ``(E,)``, int64, ascending inside each row.
        weight: Coupling of each edge, shape ``(E,)``, float32, no unit. The package normalises
            couplings per receiver, so that each non-empty row sums to one.
    """

    rowptr: IntArray
    col: IntArray
    weight: FloatArray

    def __post_init__(self) -> None:
        """Check the layout.

        Raises:
            ValueError: If the offsets, the senders and the weights do not fit together.
        """
        if self.rowptr.ndim != 1 or len(self.rowptr) == 0 or self.rowptr[0] != 0:
            raise ValueError("Expected 'rowptr' of shape (N + 1,) starting at 0.")
        if self.rowptr[-1] != len(self.col):
            raise ValueError(
                f"Expected rowptr[-1] to equal the number of edges {len(self.col)} "
                f"(got {self.rowptr[-1]})."
            )
        if self.weight.shape != self.col.shape:
            raise ValueError(
                f"Expected 'weight' of shape {self.col.shape} (got {self.weight.shape})."
            )

    @property
    def num_nodes(self) -> int:
        """Number of nodes N."""
        return len(self.rowptr) - 1

    @property
    def num_edges(self) -> int:
        """Number of directed edges E."""
        return len(self.col)

    @cached_property
    def degree(self) -> IntArray:
        """Number of senders of every node, shape ``(N,)``."""
        return np.diff(self.rowptr)

    @cached_property
    def has_no_isolated_node(self) -> bool:
        """Whether every node has at least one sender."""
        return bool((self.degree > 0).all())

    @cached_property
    def checksum(self) -> str:
        """BLAKE2b digest of structure and weights; equal graphs have equal digests."""
        digest = hashlib.blake2b(digest_size=16)
        for array in (self.rowptr, self.col, self.weight):
            digest.update(np.ascontiguousarray(array).view(np.uint8))
        return digest.hexdigest()

    @classmethod
    def from_edges(
        cls,
        senders: NDArray[np.integer],
        receivers: NDArray[np.integer],
        num_nodes: int,
        weight: NDArray[np.floating] | None = None,
        *,
        undirected: bool = True,
    ) -> Graph:
        """Build a graph from an edge list; self-loops are dropped, repeated edges are merged.

        Args:
            senders: Node indices in ``[0, num_nodes)``, shape ``(E,)``.
            receivers: Node indices in ``[0, num_nodes)``, shape ``(E,)``.
            num_nodes: Number of nodes N.
            weight: Non-negative couplings, shape ``(E,)``; ones if omitted. Repeated edges add up.
            undirected: Also add every edge in the other direction. An edge given in both
                directions is then stored once per direction with its larger weight.

        Returns:
            The graph, with couplings normalised to sum to one per receiver.

        Raises:
            ValueError: If an index is out of range, or a weight is negative or not finite.
        """
        senders = np.asarray(senders, dtype=np.int64)
        receivers = np.asarray(receivers, dtype=np.int64)
        for name, array in (("senders", senders), ("receivers", receivers)):
            if array.size and (array.min() < 0 or array.max() >= num_nodes):
                bad = int(np.flatnonzero((array < 0) | (array >= num_nodes))[0])
                raise ValueError(
                    f"Expected '{name}' in [0, {num_nodes}) (got {array[bad]} at edge {bad})."
                )
        data = np.ones(len(senders)) if weight is None else np.asarray(weight, dtype=np.float64)
        if data.shape != senders.shape:
            raise ValueError(f"Expected 'weight' of shape {senders.shape} (got {data.shape}).")
        if not np.isfinite(data).all() or (data < 0).any():
            bad = int(np.flatnonzero(~np.isfinite(data) | (data < 0))[0])
            raise ValueError(
                f"Expected finite, non-negative weights (got {data[bad]} at edge {bad})."
            )
        keep = senders != receivers
        shape = (num_nodes, num_nodes)
        matrix = sp.coo_array((data[keep], (receivers[keep], senders[keep])), shape=shape).tocsr()
        matrix.sum_duplicates()
        if weight is None:
            matrix.data[:] = 1.0
        if undirected:
            matrix = matrix.maximum(matrix.T.tocsr())
        return cls.from_matrix(matrix)

    @classmethod
    def from_matrix(cls, matrix: sp.sparray | sp.spmatrix) -> Graph:
        """Build a graph from a sparse matrix ``W`` with ``W[i, j]`` the pull of j on i."""
        csr = sp.csr_array(matrix)
        csr.sort_indices()
        rowptr = csr.indptr.astype(np.int64)
        weight = normalize_rows(rowptr, csr.data)
        return cls(rowptr, csr.indices.astype(np.int64), weight)

    def to_matrix(self, *, weighted: bool = True) -> sp.csr_array:
        """Return the coupling matrix, or the 0/1 adjacency if ``weighted`` is false."""
        data = self.weight if weighted else np.ones(self.num_edges, dtype=np.float32)
        return sp.csr_array((data, self.col, self.rowptr), shape=(self.num_nodes,) * 2)

    def induced(self, nodes: NDArray[np.integer]) -> Graph:
        """Return the subgraph on ``nodes`` (renumbered 0, 1, ...), couplings renormalised.

        Args:
            nodes: Distinct node indices, shape ``(n,)``; their order is kept.
        """
        return Graph.from_matrix(self.to_matrix()[nodes][:, nodes])

    def neighbor_mean(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        """Coupling-weighted mean over the senders of every node: ``W @ values``, O(E) per column.

        Args:
            values: Shape ``(N,)`` or ``(N, C)``.

        Returns:
            The means in the same shape; zero where a node has no sender.
        """
        return self.to_matrix() @ values


def normalize_rows(rowptr: IntArray, weight: NDArray[np.floating]) -> FloatArray:
    """Scale the weights of each CSR row to sum to one; rows that sum to zero become uniform."""
    degree = np.diff(rowptr)
    rows = np.repeat(np.arange(len(degree)), degree)
    total = np.bincount(rows, weights=weight, minlength=len(degree))
    uniform = total[rows] == 0
    scale = np.where(uniform, degree[rows], total[rows])
    return (np.where(uniform, 1.0, weight) / scale).astype(np.float32)
