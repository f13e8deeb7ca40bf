"""Random hyperbolic graphs: power-law degrees and clustering from hidden coordinates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from roma_pyg.config import GraphConfig
from roma_pyg.data.components import largest_component

# Separates the random numbers of the graph from those of the dynamics.
STREAM = 0x6EA


@dataclass(frozen=True, eq=False)
class HyperbolicGraph:
    """A connected random hyperbolic graph with the places of its nodes.

    Attributes:
        adjacency: Symmetric 0/1 matrix without diagonal, shape ``(N, N)``, float32.
        angle: Angle of each node in the disk, in ``[0, 2 pi)``, shape ``(N,)``.
        radius: Hyperbolic distance of each node from the centre, in ``[0, disk)``, shape ``(N,)``.
        disk: Radius R of the disk, in units of the radius of curvature.
    """

    adjacency: sp.csr_array[np.float32]
    angle: NDArray[np.float64]
    radius: NDArray[np.float64]
    disk: float


def hyperbolic_graph(config: GraphConfig, seed: int) -> HyperbolicGraph:
    """Draw a random hyperbolic graph and keep its largest connected component.

    Nodes lie in a disk of radius R of the hyperbolic plane of curvature -1 with density
    ``alpha sinh(alpha r) / (cosh(alpha R) - 1)``, ``alpha = (exponent - 1) / 2``, uniform in angle;
    two are linked with the probability ``1 / (1 + exp((d - R) / 2T))``, at T = 0 if their distance
    d is below R (Krioukov et al. 2010, doi:10.1103/PhysRevE.82.036106). Networkit finds the edges
    (von Looz et al. 2015): at T = 0 on all threads and in about O(N log N + E), above it on one
    thread, as it draws from one stream per thread. Memory is O(N + E), about 100 bytes per edge.

    Args:
        config: Size, mean degree, exponent and temperature.
        seed: Non-negative seed of places and edges; the result does not depend on the number of
            threads. Above T = 0 it also seeds networkit's global random numbers.

    Returns:
        The largest component, the first one of several; its nodes keep their order. N is below
        ``config.nodes``, as small components go.

    Raises:
        ValueError: If the graph has no edges.

    Example:
        >>> from scipy.sparse.csgraph import connected_components
        >>> graph = hyperbolic_graph(GraphConfig(nodes=60), seed=0)
        >>> connected_components(graph.adjacency)[0]
        1
    """
    rng = np.random.default_rng([seed, STREAM])
    disk = disk_radius(config)
    alpha = (config.exponent - 1) / 2
    # In order of angle, neighbours get near numbers: products and subgraphs stay in the cache.
    angle = np.sort(rng.uniform(0, 2 * np.pi, config.nodes))
    quantile = rng.random(config.nodes)
    radius = np.arccosh(1 + (np.cosh(alpha * disk) - 1) * quantile) / alpha
    # Rounding may put a node on the rim, where networkit's bands end.
    radius = np.minimum(radius, np.nextafter(disk, 0))
    edges = _edges(config, angle, radius, disk, seed)
    if len(edges) == 0:
        raise ValueError(
            "Expected a graph with edges (got none): raise data.graph.nodes or "
            "data.graph.average_degree."
        )
    shape = (config.nodes, config.nodes)
    ones = np.ones(len(edges), dtype=np.float32)
    half = sp.coo_array((ones, (edges[:, 0], edges[:, 1])), shape=shape).tocsr()
    adjacency = sp.csr_array(half + half.T)
    keep = largest_component(adjacency)
    component = sp.csr_array(adjacency[keep][:, keep])
    component.sort_indices()
    return HyperbolicGraph(component, angle[keep], radius[keep], disk)


def disk_radius(config: GraphConfig) -> float:
    r"""Radius R of the disk that gives n nodes the mean degree k, in the limit of large n.

    .. math:: k = \frac{2}{\pi} \xi^2 n e^{-R / 2} c(T), \qquad \xi = \frac{\alpha}{\alpha - 1/2}

    with ``c(T) = pi T / sin(pi T)`` (Krioukov et al. 2010, eqs. 22 and 54). At finite n the
    expected degree is smaller: for k = 6 and exponent 2.5 by 16 % at 300 nodes, 4 % at 6,000 and
    below 1 % at 350,000. A single graph scatters as much, since few hubs hold many edges.

    Args:
        config: Size, mean degree, exponent and temperature.

    Returns:
        R in units of the radius of curvature, positive: degrees near n are not reached.

    Example:
        >>> round(disk_radius(GraphConfig(nodes=6000, average_degree=6.0, exponent=2.5)), 3)
        17.307
    """
    alpha = (config.exponent - 1) / 2
    xi = alpha / (alpha - 0.5)
    spread = 1.0
    if config.temperature > 0:
        spread = np.pi * config.temperature / np.sin(np.pi * config.temperature)
    ratio = 2 * xi**2 * spread * config.nodes / (np.pi * config.average_degree)
    return float(2 * np.log(max(ratio, 1.1)))


def _edges(
    config: GraphConfig,
    angle: NDArray[np.float64],
    radius: NDArray[np.float64],
    disk: float,
    seed: int,
) -> NDArray[np.int64]:
    """Edges, each once, shape ``(E / 2, 2)``, in no defined order."""
    # Slow to import, and not needed where a stored graph is opened.
    import networkit as nk

    # Places and disk are our own, so the size and degree given here are not used; the search for
    # a disk that networkit starts with them does not end for some, such as 10 nodes of degree 6.
    generator = nk.generators.HyperbolicGenerator(1000, 6.0, config.exponent, config.temperature)
    with _threads(1 if config.temperature > 0 else None):
        if config.temperature > 0:
            nk.setSeed(seed, False)
        network = generator.generate_advanced(angle, radius, disk, config.temperature)
    pair = np.dtype((np.int64, 2))
    pairs = np.fromiter(network.iterEdges(), dtype=pair, count=network.numberOfEdges())
    return np.asarray(pairs, dtype=np.int64)


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    """Run networkit on some threads, then on as many as before."""
    import networkit as nk

    before = nk.getMaxNumberOfThreads()
    try:
        if count is not None:
            nk.setNumberOfThreads(count)
        yield
    finally:
        nk.setNumberOfThreads(before)
