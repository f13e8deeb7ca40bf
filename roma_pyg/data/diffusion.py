"""The normalised adjacency of a graph, and its eigenvectors that are known in closed form."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components

Vectors = NDArray[np.float64]


class Diffusion:
    """Normalised adjacency ``D^{-1/2} A D^{-1/2}`` and its trivial eigenvectors.

    Every connected component has the eigenvalue 1 once, with eigenvector ``D^{1/2} 1`` on that
    component.

    Args:
        adjacency: Symmetric 0/1 matrix without isolated nodes, shape ``(N, N)``.

    Attributes:
        normalized: The matrix, float64, O(E) memory.
        num_components: Number of connected components.
        component: Component of every node, shape ``(N,)``.
        trivial: The trivial eigenvectors, each of unit length on its component, in one vector of
            shape ``(N,)``.

    Example:
        >>> pair = Diffusion(sp.csr_array([[0.0, 1.0], [1.0, 0.0]]))
        >>> pair.project(np.array([1.0, 0.0])).round(6)
        array([ 0.5, -0.5])
    """

    def __init__(self, adjacency: sp.csr_array) -> None:
        """Scale the matrix and find the components; O(N + E)."""
        degree = np.diff(adjacency.indptr).astype(np.float64)
        scale = sp.diags_array(1 / np.sqrt(degree))
        self.normalized = sp.csr_array(scale @ adjacency @ scale)
        self.num_components, self.component = connected_components(adjacency, directed=False)
        volume = np.bincount(self.component, weights=degree)
        self.trivial = np.sqrt(degree / volume[self.component])

    def project(self, x: Vectors) -> Vectors:
        """Remove the trivial eigenvectors from a vector or block of vectors; O(N) per column."""
        if x.ndim == 2:
            return np.stack([self.project(column) for column in x.T], axis=1)
        if self.num_components == 1:
            return x - self.trivial * np.dot(self.trivial, x)
        share = np.bincount(self.component, weights=self.trivial * x)
        return np.asarray(x - self.trivial * share[self.component])

    def chebyshev_argument(self, x: Vectors, cutoff: float) -> Vectors:
        """Apply the normalised adjacency with ``[-1, cutoff]`` mapped to ``[-1, 1]``."""
        half = 0.5 * (1 + cutoff)
        return np.asarray((self.normalized @ x - (half - 1) * x) / half)
