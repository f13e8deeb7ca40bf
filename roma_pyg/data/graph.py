"""Compressed sparse graph: the one representation of a graph in memory and on disk."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from roma_pyg.reading import WrongTypeError

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Graph:
    """A directed graph in CSR form, one row per *receiver*.

    Row ``i`` lists the senders ``j`` whose state node ``i`` feels, with the coupling ``w_ij``.
    An undirected graph stores both directions. Memory is O(N + E); the arrays may be
    memory-mapped and are never modified. Arrays of another integer or floating type are
    converted.

    Attributes:
        rowptr: Row offsets, shape ``(N + 1,)``, int64.
        col: Senders, shape ``(E,)``, int64, ascending and distinct inside each row.
        weight: Non-negative coupling of each edge, shape ``(E,)``, float32, no unit. Graphs made
            by `from_edges`, `from_matrix` and `induced` have couplings normalised per receiver,
            so that each non-empty row sums to one.

    Example:
        >>> path = Graph.from_edges(np.array([0, 1]), np.array([1, 2]), 3)
        >>> path.rowptr, path.col, path.weight
        (array([0, 1, 3, 4]), array([1, 0, 2, 1]), array([1. , 0.5, 0.5, 1. ], dtype=float32))
    """

    rowptr: IntArray
    col: IntArray
    weight: FloatArray

    def __post_init__(self) -> None:
        """Convert the types where needed and check the layout, O(N + E).

        Raises:
            TypeError: If the offsets or the senders are not integers.
            ValueError: If the offsets, the senders and the weights do not fit together.
        """
        # Frozen: nobody else assigns to them. Arrays of the right type are not copied.
        object.__setattr__(self, "rowptr", as_indices("rowptr", self.rowptr))
        object.__setattr__(self, "col", as_indices("col", self.col))
        object.__setattr__(self, "weight", as_weights(self.weight).astype(np.float32, copy=False))
        if self.rowptr.ndim != 1 or len(self.rowptr) == 0 or self.rowptr[0] != 0:
            raise ValueError(
                "Expected 'rowptr' of shape (N + 1,) starting at 0 (got shape "
                f"{self.rowptr.shape}, starting with {self.rowptr.ravel()[:3].tolist()})."
            )
        if (np.diff(self.rowptr) < 0).any():
            raise ValueError("Expected 'rowptr' to be non-decreasing (got a falling offset).")
        if self.col.ndim != 1 or self.rowptr[-1] != len(self.col):
            raise ValueError(
                f"Expected 'col' of shape ({self.rowptr[-1]},), the last entry of 'rowptr' "
                f"(got {self.col.shape})."
            )
        if self.weight.shape != self.col.shape:
            raise ValueError(
                f"Expected 'weight' of shape {self.col.shape} (got {self.weight.shape})."
            )
        self._check_senders()
        if not (np.isfinite(self.weight) & (self.weight >= 0)).all():
            raise ValueError("Expected finite, non-negative 'weight' (got another value).")

    def _check_senders(self) -> None:
        # Compiled sparse products read outside the arrays where a sender is out of range.
        check_range("col", self.col, self.num_nodes)
        rising = self.col[1:] > self.col[:-1]
        starts = self.rowptr[1:-1]
        # A pair of neighbouring entries of which the second starts a row may fall.
        rising[starts[(starts > 0) & (starts < len(self.col))] - 1] = True
        if not rising.all():
            edge = int(np.argmin(rising)) + 1
            raise ValueError(
                "Expected 'col' to be ascending and distinct inside each row "
                f"(got {self.col[edge]} after {self.col[edge - 1]} at edge {edge}): build the "
                "graph by Graph.from_edges, which sorts."
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
    def has_dead_end(self) -> bool:
        """Whether a walk that moves from receiver to sender can meet a node without senders.

        In an undirected graph it cannot: only a walk that starts at an isolated node stays there.
        """
        return bool(not self.has_no_isolated_node and (self.degree[self.col] == 0).any())

    @cached_property
    def checksum(self) -> str:
        """BLAKE2b digest of structure and weights; equal graphs have equal digests."""
        digest = hashlib.blake2b(digest_size=16)
        for array in (self.rowptr, self.col, self.weight):
            digest.update(np.ascontiguousarray(array).data)
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
        """Build a graph from an edge list in any order.

        Self-loops and edges of weight zero are dropped, repeated edges are merged.

        Args:
            senders: Node indices in ``[0, num_nodes)``, shape ``(E,)``.
            receivers: Node indices in ``[0, num_nodes)``, shape ``(E,)``.
            num_nodes: Number of nodes N.
            weight: Non-negative couplings, shape ``(E,)``; ones if omitted. Repeated edges add up
                where weights are given, and count once where not.
            undirected: Also add every edge in the other direction. An edge given in both
                directions is then stored once per direction with its larger weight.

        Returns:
            The graph, with couplings normalised to sum to one per receiver.

        Raises:
            TypeError: If an index is not an integer.
            ValueError: If a shape is wrong, an index is out of range, or a weight is negative or
                not finite.

        Example:
            >>> Graph.from_edges(
            ...     np.array([0, 2, 0]), np.array([1, 1, 1]), 3, np.array([1.0, 2.0, 5.0])
            ... ).to_matrix().toarray()
            array([[0.  , 1.  , 0.  ],
                   [0.75, 0.  , 0.25],
                   [0.  , 1.  , 0.  ]], dtype=float32)
        """
        if num_nodes < 0:
            raise ValueError(f"Expected 'num_nodes' to be non-negative (got {num_nodes}).")
        senders, receivers = as_indices("senders", senders), as_indices("receivers", receivers)
        if senders.ndim != 1 or senders.shape != receivers.shape:
            raise ValueError(
                "Expected 'senders' and 'receivers' of the same shape (E,) "
                f"(got {senders.shape} and {receivers.shape})."
            )
        check_range("senders", senders, num_nodes)
        check_range("receivers", receivers, num_nodes)
        data = np.ones(len(senders)) if weight is None else as_weights(weight).astype(np.float64)
        if data.shape != senders.shape:
            raise ValueError(f"Expected 'weight' of shape {senders.shape} (got {data.shape}).")
        valid = np.isfinite(data) & (data >= 0)
        if not valid.all():
            bad = int(np.argmin(valid))
            raise ValueError(
                f"Expected finite, non-negative weights (got {data[bad]} at edge {bad})."
            )
        keep = (senders != receivers) & (data > 0)
        shape = (num_nodes, num_nodes)
        # The conversion from COO to CSR adds repeated entries up.
        matrix = sp.coo_array((data[keep], (receivers[keep], senders[keep])), shape=shape).tocsr()
        if weight is None:
            matrix.data[:] = 1.0
        if undirected:
            matrix = matrix.maximum(matrix.T.tocsr())
        return cls.from_matrix(matrix)

    @classmethod
    def from_matrix(cls, matrix: sp.sparray | sp.spmatrix) -> Graph:
        """Build a graph from a sparse matrix ``W`` with ``W[i, j]`` the pull of j on i.

        The diagonal is dropped and repeated entries are added up. Stored zeros stay edges: a row
        of nothing but zeros, such as couplings that vanish in float32, becomes uniform.

        Args:
            matrix: Square matrix of non-negative entries, shape ``(N, N)``; not modified.

        Returns:
            The graph, with couplings normalised to sum to one per receiver.

        Raises:
            ValueError: If the matrix is not square, or an entry is negative or not finite.
        """
        source: Any = matrix  # the stubs know conversions of concrete formats only
        check_compressed(source, "matrix")
        coo = source.tocoo()
        if coo.ndim != 2 or coo.shape[0] != coo.shape[1]:
            raise ValueError(f"Expected a square matrix (got shape {coo.shape}).")
        as_weights(coo.data)
        off = coo.row != coo.col
        # Always a new matrix, as sorting works in place.
        csr = sp.csr_array((coo.data[off], (coo.row[off], coo.col[off])), shape=coo.shape)
        csr.sum_duplicates()
        rowptr = csr.indptr.astype(np.int64)
        weight = normalize_rows(rowptr, csr.data)
        return cls(rowptr, csr.indices.astype(np.int64), weight)

    def to_matrix(self, *, weighted: bool = True) -> sp.csr_array:
        """Return the coupling matrix, or the 0/1 adjacency if ``weighted`` is false.

        The weighted matrix shares its entries with the graph: do not change it in place.
        """
        data = self.weight if weighted else np.ones(self.num_edges, dtype=np.float32)
        return sp.csr_array((data, self.col, self.rowptr), shape=(self.num_nodes,) * 2)

    def induced(self, nodes: NDArray[np.integer]) -> Graph:
        """Return the subgraph on ``nodes`` (renumbered 0, 1, ...), couplings renormalised.

        Args:
            nodes: Distinct node indices, shape ``(n,)``; their order is kept.

        Raises:
            TypeError: If ``nodes`` are not integers.
            ValueError: If a node is out of range or given twice.

        Example:
            >>> path = Graph.from_edges(np.array([0, 1]), np.array([1, 2]), 3)
            >>> path.induced(np.array([2, 1])).to_matrix().toarray()
            array([[0., 1.],
                   [1., 0.]], dtype=float32)
        """
        nodes = as_indices("nodes", nodes)
        check_range("nodes", nodes, self.num_nodes)
        count = np.bincount(nodes, minlength=1)
        if count.max() > 1:
            raise ValueError(f"Expected distinct 'nodes' (got {int(np.argmax(count))} twice).")
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
    """Scale the weights of each CSR row to sum to one; rows that sum to zero become uniform.

    Args:
        rowptr: Row offsets, shape ``(N + 1,)``.
        weight: Non-negative weights, shape ``(E,)``, summed in float64.

    Raises:
        ValueError: If a weight is negative, or a row does not have a finite sum.

    Example:
        >>> normalize_rows(np.array([0, 2, 4]), np.array([1.0, 3.0, 0.0, 0.0]))
        array([0.25, 0.75, 0.5 , 0.5 ], dtype=float32)
    """
    degree = np.diff(rowptr)
    rows = np.repeat(np.arange(len(degree)), degree)
    total = np.bincount(rows, weights=weight, minlength=len(degree))
    finite = np.isfinite(total)
    if not finite.all() or (weight < 0).any():
        row = int(rows[np.argmin(weight)] if finite.all() else np.argmin(finite))
        raise ValueError(
            "Expected non-negative weights with a finite sum per receiver "
            f"(got another at receiver {row})."
        )
    uniform = total[rows] == 0
    scale = np.where(uniform, degree[rows], total[rows])
    return (np.where(uniform, 1.0, weight) / scale).astype(np.float32)


def check_compressed(matrix: Any, source: str) -> None:  # noqa: ANN401 - a class per format
    """Check offsets and indices of a CSR, CSC or BSR matrix: conversions of scipy trust them.

    Args:
        matrix: Any sparse matrix; those without row offsets pass.
        source: Its name, for the message.

    Raises:
        ValueError: If an offset or an index leads outside the arrays.
    """
    if not hasattr(matrix, "indptr"):
        return
    offsets, indices = np.asarray(matrix.indptr), np.asarray(matrix.indices)
    rows, columns = (
        size // block
        for size, block in zip(matrix.shape, getattr(matrix, "blocksize", (1, 1)), strict=True)
    )
    if matrix.format == "csc":
        rows, columns = columns, rows
    if (
        offsets.shape != (rows + 1,)
        or offsets[0] != 0
        or offsets[-1] > len(indices)
        or len(indices) > len(matrix.data)
        or (offsets[1:] < offsets[:-1]).any()
    ):
        raise ValueError(
            f"{source}: Expected {rows + 1} rising offsets 'indptr' from 0 to at most "
            f"{len(indices)}, the number of indices (got {offsets[:4].tolist()} ...)."
        )
    if len(indices) and (indices.min() < 0 or indices.max() >= columns):
        raise ValueError(
            f"{source}: Expected 'indices' in [0, {columns}) (got {indices.min()} to "
            f"{indices.max()})."
        )


def as_indices(name: str, array: ArrayLike) -> IntArray:
    """Return integers of any width as int64, without a copy where they are.

    Raises:
        TypeError: If the entries are not integers; an empty list is.
    """
    indices = np.asarray(array)
    if not np.issubdtype(indices.dtype, np.integer) and indices.size:
        raise WrongTypeError(f"Expected '{name}' of an integer type (got {indices.dtype}).")
    return indices.astype(np.int64, copy=False)


def as_weights(array: ArrayLike) -> NDArray[Any]:
    """Return couplings as an array, without a copy where they are one.

    Raises:
        WrongTypeError: If they are not real numbers.
    """
    weight = np.asarray(array)
    if weight.dtype.kind not in "biuf":
        raise WrongTypeError(f"Expected 'weight' of real numbers (got {weight.dtype}).")
    return weight


def check_range(name: str, indices: IntArray, num_nodes: int) -> None:
    """Check that indices name nodes.

    Raises:
        ValueError: If an index is not in ``[0, num_nodes)``; the message names the first one.
    """
    if indices.size and (indices.min() < 0 or indices.max() >= num_nodes):
        bad = int(np.flatnonzero((indices < 0) | (indices >= num_nodes))[0])
        raise ValueError(
            f"Expected '{name}' in [0, {num_nodes}) (got {indices[bad]} at position {bad})."
        )
