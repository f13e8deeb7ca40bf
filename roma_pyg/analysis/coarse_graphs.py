"""Coarse graphs of several partitions side by side: spectrum, specific heat, degrees."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from matplotlib.figure import Figure
from numpy.typing import NDArray

from roma_pyg.analysis.plots import BLACK, CYCLE, log_axis
from roma_pyg.data.graph import Graph, IntArray
from roma_pyg.renormalization.laplacian import laplacian, symmetric_adjacency
from roma_pyg.renormalization.spectrum import Spectrum, laplacian_spectrum
from roma_pyg.renormalization.supernodes import coarsen

TAU = np.geomspace(1e-2, 1e4, 121)
"""Times of diffusion that are shown, in units of the normalised Laplacian."""


@dataclass(frozen=True, eq=False)
class CoarseGraph:
    """What a graph looks like to diffusion and to a degree count.

    Attributes:
        nodes: Number of nodes.
        spectrum: Of the normalised Laplacian.
        specific_heat: C at :data:`TAU`.
        error: Standard error of C; zero where the spectrum is exact.
        degree: Sum of the couplings of each node in units of its mean, shape ``(nodes,)``.
        kept: Share of the coupling between different nodes that is left after coarse graining.
    """

    nodes: int
    spectrum: Spectrum
    specific_heat: NDArray[np.float64]
    error: NDArray[np.float64]
    degree: NDArray[np.float64]
    kept: float

    @property
    def spectral_gap(self) -> float:
        """Second smallest eigenvalue; of an estimated spectrum, the smallest one above zero."""
        values = self.spectrum.values[0]
        if self.spectrum.exact:
            return float(values[1]) if len(values) > 1 else 0.0
        return float(values[values > 1e-10].min(initial=np.inf))

    @classmethod
    def of(cls, graph: Graph | sp.sparray, total: float | None = None) -> CoarseGraph:
        """Measure a graph.

        Args:
            graph: A graph, or symmetric couplings.
            total: Sum of the couplings before coarse graining; of the graph itself if None.
        """
        adjacency = symmetric_adjacency(graph)
        spectrum = laplacian_spectrum(laplacian(adjacency, "normalized"))
        degree = np.asarray(adjacency.sum(axis=1)).ravel()
        return cls(
            adjacency.shape[0],
            spectrum,
            spectrum.specific_heat(TAU),
            spectrum.standard_error(lambda s: s.specific_heat(TAU)),
            degree / max(float(degree.mean()), 1e-30),
            float(degree.sum()) / (total or max(float(degree.sum()), 1e-30)),
        )


def coarse_graphs(
    graph: Graph, partitions: Mapping[str, IntArray], soft: Mapping[str, Any] | None = None
) -> dict[str, CoarseGraph]:
    """Measure a graph (``all nodes``) and its coarse graphs.

    Args:
        graph: The graph, N nodes; direction and couplings are ignored.
        partitions: Supernode of each node by name, shapes ``(N,)``.
        soft: Further coarse couplings by name, such as ``S^T A S``, shapes ``(M, M)``; they are
            made symmetric.

    Returns:
        By name, the graph itself first.
    """
    adjacency = symmetric_adjacency(graph)
    total = float(adjacency.sum())
    found = {"all nodes": CoarseGraph.of(adjacency)}
    for name, label in partitions.items():
        compact = np.unique(label, return_inverse=True)[1].astype(np.int64)
        found[name] = CoarseGraph.of(coarsen(adjacency, compact), total)
    for name, coupling in (soft or {}).items():
        dense = np.asarray(coupling, dtype=np.float64)
        dense = (dense + dense.T) / 2
        whole = float(dense.sum())
        np.fill_diagonal(dense, 0)
        found[name] = CoarseGraph.of(sp.csr_array(dense), whole)
    return found


def coarse_graphs_figure(graphs: Mapping[str, CoarseGraph]) -> Figure:
    """Specific heat of diffusion, spectrum, and degrees of a graph and its coarse graphs.

    Args:
        graphs: By name; at most seven.
    """
    figure = Figure(figsize=(12.6, 4.3), layout="constrained")
    heat, spectrum, degrees = figure.subplots(1, 3)
    styles = ("-", "--", "-.", ":", "-", "--", "-.")
    colors = (BLACK, *CYCLE)
    for (name, item), color, style in zip(graphs.items(), colors, styles, strict=False):
        line = {"color": color, "ls": style, "lw": 1.6}
        heat.plot(TAU, item.specific_heat, label=f"{name} ({item.nodes:,})", **line)
        if item.error.any():
            low, high = item.specific_heat - item.error, item.specific_heat + item.error
            heat.fill_between(TAU, low, high, color=color, alpha=0.2, lw=0)
        values, weights = item.spectrum.values.ravel(), item.spectrum.weights.ravel()
        order = np.argsort(values)
        share = np.cumsum(weights[order]) / weights.sum()
        spectrum.step(values[order], share, where="post", **line)
        ranked = np.sort(item.degree)[::-1]
        degrees.step(ranked, np.arange(1, len(ranked) + 1) / len(ranked), where="pre", **line)
    heat.set_xscale("log")
    heat.set_xlabel(r"Time of diffusion $\tau$")
    heat.set_ylabel(r"Specific heat $C(\tau)$")
    spectrum.set_xlabel("Eigenvalue of the normalised Laplacian")
    spectrum.set_ylabel("Share of eigenvalues below")
    # Estimated spectra have quadrature nodes of next to no weight beyond.
    spectrum.set_xlim(0, 2)
    degrees.set_xscale("log")
    degrees.set_yscale("log")
    log_axis(degrees.yaxis, (1.0,))
    log_axis(degrees.xaxis, (1.0,))
    degrees.set_xlabel("Degree (sum of couplings) [mean]")
    degrees.set_ylabel("Share of nodes with at least this degree")
    for axis in (heat, spectrum, degrees):
        axis.grid(visible=True, color="0.92", lw=0.6)
    figure.legend(
        *heat.get_legend_handles_labels(),
        loc="outside upper center",
        ncols=4,
        frameon=False,
        fontsize=9,
    )
    return figure
