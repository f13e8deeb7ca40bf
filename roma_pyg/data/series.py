"""A graph with one time series per node: the input of everything else."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.graph import Graph
from roma_pyg.reading import WrongTypeError, shorten

POSITION = "position"
"""Name, among the extras, of positional features (N, P) that come with the data."""


@dataclass(frozen=True, eq=False)
class GraphSeries:
    """Node series on a graph.

    Attributes:
        graph: The graph with N nodes.
        values: Observable of every node at every sample, shape ``(N, T)``, float32, node-major so
            that a window of one node is contiguous. May be a read-only memory map; other types
            are copied to float32.
        dt: Time between samples, in the time unit of the system, positive.
        name: Short name used in paths, tables and plots.
        extras: Further arrays of the system by name, such as ``omega`` or ``angle`` ``(N,)``.
        metadata: How the data came to be: parameters, seed, version, checksums.

    Example:
        >>> pair = Graph.from_edges(np.array([0]), np.array([1]), 2)
        >>> series = GraphSeries(pair, np.ones((2, 5), dtype=np.float32), dt=0.1)
        >>> series.num_nodes, series.num_steps
        (2, 5)
    """

    graph: Graph
    values: NDArray[np.float32]
    dt: float = 1.0
    name: str = "series"
    extras: dict[str, NDArray[Any]] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check that the series fit the graph.

        Raises:
            TypeError: If the values are not real numbers.
            ValueError: If the shapes disagree or ``dt`` is not positive and finite.
        """
        if not isinstance(self.values, np.ndarray):
            object.__setattr__(self, "values", np.asarray(self.values))
        if self.values.dtype != np.float32:
            if self.values.dtype.kind not in "fiu":
                raise WrongTypeError(
                    f"Expected 'values' of real numbers (got {self.values.dtype})."
                )
            # Frozen: nobody else assigns to it.
            object.__setattr__(self, "values", self.values.astype(np.float32))
        if self.values.ndim != 2 or self.values.shape[0] != self.graph.num_nodes:
            raise ValueError(
                f"Expected 'values' of shape (N, T) with N = {self.graph.num_nodes} nodes "
                f"(got {tuple(self.values.shape)})."
            )
        if not (isinstance(self.dt, Real) and 0 < float(self.dt) < float("inf")):
            raise ValueError(f"Expected 'dt' to be positive and finite (got {shorten(self.dt)}).")

    @classmethod
    def from_arrays(cls, *args: Any, **kwargs: Any) -> GraphSeries:  # noqa: ANN401
        """Make a series from edge index and values: `roma_pyg.data.convert.from_arrays`."""
        from roma_pyg.data.convert import from_arrays

        return from_arrays(*args, **kwargs)

    @classmethod
    def from_pyg(cls, *args: Any, **kwargs: Any) -> GraphSeries:  # noqa: ANN401
        """Make a series from a PyG ``Data``: `roma_pyg.data.convert.from_pyg`."""
        from roma_pyg.data.convert import from_pyg

        return from_pyg(*args, **kwargs)

    @classmethod
    def from_networkx(cls, *args: Any, **kwargs: Any) -> GraphSeries:  # noqa: ANN401
        """Make a series from a networkx graph: `roma_pyg.data.convert.from_networkx`."""
        from roma_pyg.data.convert import from_networkx

        return from_networkx(*args, **kwargs)

    @classmethod
    def from_scipy(cls, *args: Any, **kwargs: Any) -> GraphSeries:  # noqa: ANN401
        """Make a series from a scipy sparse matrix: `roma_pyg.data.convert.from_scipy`."""
        from roma_pyg.data.convert import from_scipy

        return from_scipy(*args, **kwargs)

    @property
    def num_nodes(self) -> int:
        """Number of nodes N."""
        return self.graph.num_nodes

    @property
    def num_steps(self) -> int:
        """Number of samples T."""
        return self.values.shape[1]
