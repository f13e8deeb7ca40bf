from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from roma_pyg.analysis.coarse_graphs import TAU, CoarseGraph, coarse_graphs, coarse_graphs_figure
from roma_pyg.data.graph import Graph


def ring(nodes: int) -> Graph:
    sender = np.arange(nodes)
    both = (
        np.concatenate([sender, np.roll(sender, 1)]),
        np.concatenate([np.roll(sender, 1), sender]),
    )
    return Graph.from_edges(*both, nodes)


def test_blocks_of_a_ring_are_a_ring():
    """The renormalization group's fixed point: pairs of neighbours make a ring of half the size."""
    label = np.arange(40) // 2
    found = coarse_graphs(ring(40), {"pairs": label})
    assert list(found) == ["all nodes", "pairs"]
    again = CoarseGraph.of(ring(20))
    np.testing.assert_allclose(found["pairs"].specific_heat, again.specific_heat, atol=1e-9)
    np.testing.assert_allclose(found["pairs"].degree, 1)
    assert found["pairs"].nodes == 20
    # Every other edge runs inside a pair.
    assert found["pairs"].kept == pytest.approx(0.5)
    assert found["all nodes"].kept == 1
    assert found["pairs"].spectral_gap == pytest.approx(1 - np.cos(2 * np.pi / 20))


def test_a_hard_assignment_gives_the_same_as_its_labels():
    label = np.arange(12) // 3
    member = np.eye(4)[label]
    couplings = member.T @ ring(12).to_matrix(weighted=False).toarray() @ member
    found = coarse_graphs(ring(12), {"hard": label}, {"soft": couplings})
    np.testing.assert_allclose(found["hard"].specific_heat, found["soft"].specific_heat, atol=1e-12)
    assert found["hard"].kept == pytest.approx(found["soft"].kept)


def test_labels_may_have_gaps():
    label = np.array([0, 0, 7, 7, 3, 3])
    assert coarse_graphs(ring(6), {"gaps": label})["gaps"].nodes == 3


def test_estimated_spectra_carry_an_error():
    exact = CoarseGraph.of(ring(300))
    assert not exact.error.any()
    large = CoarseGraph.of(ring(4000))
    assert (large.error >= 0).all()
    middle = (TAU > 10) & (TAU < 100)
    np.testing.assert_allclose(large.specific_heat[middle], 0.5, atol=0.05)
    assert large.spectral_gap > 0


def test_figure_names_every_graph_with_its_size():
    graphs = {"all nodes": CoarseGraph.of(ring(30)), "learned": CoarseGraph.of(ring(6))}
    figure = coarse_graphs_figure(graphs)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["all nodes (30)", "learned (6)"]
    assert [axis.get_ylabel() for axis in figure.axes] == [
        r"Specific heat $C(\tau)$",
        "Share of eigenvalues below",
        "Share of nodes with at least this degree",
    ]
    assert all(len(axis.lines) == 2 for axis in figure.axes)


def test_two_components_have_no_gap():
    pairs = sp.csr_array(np.kron(np.eye(2), [[0.0, 1.0], [1.0, 0.0]]))
    assert CoarseGraph.of(pairs).spectral_gap == pytest.approx(0, abs=1e-12)
