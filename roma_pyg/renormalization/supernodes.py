"""Supernodes of the Laplacian and the geometric renormalization group, and their graph."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.sparse.csgraph import connected_components

from roma_pyg.data.graph import Graph, IntArray
from roma_pyg.renormalization.heat_kernel import heat_kernel, sketch_heat_kernel
from roma_pyg.renormalization.laplacian import Kind, laplacian, symmetric_adjacency
from roma_pyg.renormalization.spectrum import EXACT_NODES, Spectrum

Matrix = Graph | sp.sparray | NDArray[np.floating]


def laplacian_supernodes(
    graph: Matrix,
    tau: float,
    kind: Kind = "combinatorial",
    columns: int = 256,
    seed: int = 0,
) -> IntArray:
    r"""Kadanoff supernodes of the Laplacian renormalization group at a scale.

    Nodes belong together that diffusion has made alike within the time tau: i and j are linked if
    :math:`\rho_{ij} \ge \min(\rho_{ii}, \rho_{jj})` with :math:`\rho = e^{-\tau L} / Z`, and a
    supernode is a connected component of these links (Villegas et al. 2023,
    doi:10.1038/s41567-022-01866-8). Up to 3,000 nodes all pairs are compared, exactly. Above,
    pairs that share an edge are, and the kernel is sketched (`sketch_heat_kernel`), so that pairs
    near the threshold are decided at random: supernodes agree with the exact ones the better, the
    more columns.

    Args:
        graph: A graph (direction and couplings ignored) or a symmetric matrix of weights.
        tau: Scale, in units of one over the Laplacian; positive.
        kind: Laplacian that is used.
        columns: Random vectors of the sketch.
        seed: Seed of the sketch.

    Returns:
        Supernode of each node, numbered by falling size, shape ``(N,)``.

    Raises:
        ValueError: If the graph is not as expected or the scale is not positive.

    Example:
        >>> triangles = np.array([[0, 1, 2, 3, 4, 5, 2], [1, 2, 0, 4, 5, 3, 3]])
        >>> pair = Graph.from_edges(*triangles, 6)
        >>> [laplacian_supernodes(pair, tau).tolist() for tau in (0.1, 1.0)]
        [[0, 1, 2, 3, 4, 5], [0, 0, 0, 1, 1, 1]]
    """
    operator = laplacian(graph, kind)
    nodes = operator.shape[0]
    if nodes <= EXACT_NODES:
        kernel = heat_kernel(operator, tau)
        diagonal = kernel.diagonal()
        alike = kernel >= np.minimum(diagonal, diagonal[:, None])
        links = sp.csr_array(alike.astype(np.float64))
    else:
        upper = sp.coo_array(sp.triu(operator, 1))
        pairs = np.stack([upper.row, upper.col]).astype(np.int64)
        entries, diagonal = sketch_heat_kernel(operator, tau, pairs, columns, seed)
        alike = entries >= diagonal[pairs].min(axis=0)
        first, second = pairs[:, alike]
        links = sp.csr_array((np.ones(len(first)), (first, second)), shape=(nodes, nodes))
    _, label = connected_components(links, directed=False)
    return by_size(label.astype(np.int64))


def peak_scale(spectrum: Spectrum, tau: ArrayLike) -> float:
    """Smallest scale at which the specific heat has a maximum: that of the finest structure.

    Args:
        spectrum: Of the Laplacian.
        tau: Scales to look at, ascending.

    Returns:
        The first of them that is not below its neighbours and not the end of the list; the
        largest specific heat if there is none.
    """
    tau = np.asarray(tau, dtype=np.float64)
    heat = spectrum.specific_heat(tau)
    inner = (heat[1:-1] >= heat[:-2]) & (heat[1:-1] > heat[2:])
    first = int(np.argmax(inner)) + 1 if inner.any() else int(np.argmax(heat))
    return float(tau[first])


def geometric_supernodes(angle: ArrayLike, size: int = 2) -> IntArray:
    """Blocks of nodes that follow each other on the circle of similarity.

    The coarse graining of the geometric renormalization group (Garcia-Perez, Boguna & Serrano
    2018, doi:10.1038/s41567-018-0072-5): no matter whether they are linked, ``size`` nodes that
    are neighbours in angle make one supernode.

    Args:
        angle: Angle of each node in the hyperbolic disk, in radians, shape ``(N,)``.
        size: Nodes of a supernode; the last one may have fewer.

    Returns:
        Supernode of each node, numbered in the order of the angle, shape ``(N,)``.

    Raises:
        ValueError: If an angle is not finite or the size is below 1.

    Example:
        >>> geometric_supernodes([0.1, 3.0, 0.2, 2.9, 5.0]).tolist()
        [0, 1, 0, 1, 2]
    """
    angle = np.asarray(angle, dtype=np.float64)
    if angle.ndim != 1 or not np.isfinite(angle).all():
        raise ValueError(f"Expected finite angles of shape (N,) (got shape {angle.shape}).")
    if size < 1:
        raise ValueError(f"Expected 'size' to be at least 1 (got {size}).")
    label = np.empty(len(angle), dtype=np.int64)
    label[np.argsort(np.mod(angle, 2 * np.pi), kind="stable")] = np.arange(len(angle)) // size
    return label


def coarsen(graph: Matrix, supernode: IntArray) -> sp.csr_array:
    """Couplings between supernodes, ``P^T A P`` without its diagonal.

    Args:
        graph: A graph (direction and couplings ignored) or a symmetric matrix of weights.
        supernode: Supernode of each node, in [0, M), shape ``(N,)``.

    Returns:
        Symmetric, shape ``(M, M)``, float64: of a graph, the number of edges between two.

    Raises:
        ValueError: If there is not one supernode per node.

    Example:
        >>> path = Graph.from_edges(np.array([0, 1, 2]), np.array([1, 2, 3]), 4)
        >>> coarsen(path, np.array([0, 0, 1, 1])).toarray()
        array([[0., 1.],
               [1., 0.]])
    """
    adjacency = symmetric_adjacency(graph)
    nodes = adjacency.shape[0]
    supernode = np.asarray(supernode, dtype=np.int64)
    if supernode.shape != (nodes,) or (nodes and supernode.min() < 0):
        raise ValueError(
            f"Expected a supernode for each of {nodes} nodes (got shape {supernode.shape})."
        )
    member = sp.csr_array((np.ones(nodes), (np.arange(nodes), supernode)))
    coarse = sp.csr_array(member.T @ adjacency @ member)
    coarse.setdiag(0.0)
    coarse.eliminate_zeros()
    return coarse


def by_size(label: IntArray) -> IntArray:
    """Number labels by falling size, ties by their first node, from 0 without gaps.

    Example:
        >>> by_size(np.array([7, 3, 3, 5])).tolist()
        [1, 0, 0, 2]
    """
    _, first, inverse, count = np.unique(
        label, return_index=True, return_inverse=True, return_counts=True
    )
    rank = np.empty(len(count), dtype=np.int64)
    rank[np.lexsort((first, -count))] = np.arange(len(count))
    return rank[inverse]
