from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from roma_pyg.renormalization.laplacian import laplacian, symmetric_adjacency
from roma_pyg.renormalization.spectrum import (
    Spectrum,
    estimate_spectrum,
    exact_spectrum,
    lanczos_quadrature,
    laplacian_spectrum,
)


def test_spectrum_of_a_ring(graphs):
    expected = np.sort(2 - 2 * np.cos(2 * np.pi * np.arange(9) / 9))
    found = exact_spectrum(laplacian(graphs.ring(9)))
    np.testing.assert_allclose(found.values[0], expected, atol=1e-12)
    assert found.num_nodes == 9
    assert found.exact


def test_two_levels_by_hand():
    """Energies 0 and 2: Z = 1 + x, <lambda> = 2 x / Z with x = exp(-2 tau)."""
    spectrum = exact_spectrum(laplacian(np.array([[0.0, 1.0], [1.0, 0.0]])))
    tau = np.array([[0.3, 1.0], [2.0, 5.0]])
    x = np.exp(-2 * tau)
    mean = 2 * x / (1 + x)
    np.testing.assert_allclose(spectrum.log_partition(tau), np.log(1 + x))
    np.testing.assert_allclose(spectrum.entropy(tau), np.log(1 + x) + tau * mean)
    np.testing.assert_allclose(spectrum.specific_heat(tau), tau**2 * 4 * x / (1 + x) ** 2)


def test_specific_heat_is_the_slope_of_the_entropy(graphs):
    spectrum = exact_spectrum(laplacian(graphs.cliques(5, 6)))
    log_tau, step = np.linspace(-2, 4, 13), 1e-5
    entropy = [spectrum.entropy(np.exp(log_tau + shift)) for shift in (-step, step)]
    slope = (entropy[0] - entropy[1]) / (2 * step)
    np.testing.assert_allclose(spectrum.specific_heat(np.exp(log_tau)), slope, atol=1e-8)


def test_entropy_falls_from_all_nodes_to_one_state_per_component(graphs):
    rings = [symmetric_adjacency(graphs.ring(size)) for size in (6, 8)]
    spectrum = exact_spectrum(laplacian(sp.block_diag(rings, format="csr")))
    np.testing.assert_allclose(spectrum.entropy([1e-9, 1e6]), [np.log(14), np.log(2)], atol=1e-6)


@pytest.mark.parametrize(
    ("name", "size", "low", "high", "plateau"),
    [("ring", 1500, 30, 3e4, 0.5), ("torus", 40, 8, 40, 1.0)],
)
def test_plateau_is_half_the_spectral_dimension(graphs, name, size, low, high, plateau):
    heat = exact_spectrum(laplacian(getattr(graphs, name)(size))).specific_heat(
        np.geomspace(low, high, 20)
    )
    np.testing.assert_allclose(heat, plateau, rtol=0.06)


def test_plateau_of_random_trees_is_two_thirds(graphs):
    tau = np.geomspace(8, 300, 20)
    heat = [
        exact_spectrum(laplacian(graphs.random_tree(1200, s))).specific_heat(tau) for s in range(4)
    ]
    np.testing.assert_allclose(np.mean(heat, axis=0), 2 / 3, rtol=0.06)


@pytest.mark.parametrize("kind", ["combinatorial", "normalized"])
@pytest.mark.parametrize("name", ["tree", "cliques", "expander"])
def test_estimate_agrees_with_the_exact_one_within_its_error(graphs, name, kind, monkeypatch):
    expander = nx.to_scipy_sparse_array(nx.random_regular_graph(4, 900, seed=1), dtype=float)
    graph = {
        "tree": graphs.random_tree(900, 5),
        "cliques": graphs.cliques(90, 10),
        "expander": expander,
    }[name]
    if name == "expander":
        # As for a graph too large for a factor.
        monkeypatch.setattr("roma_pyg.renormalization.spectrum.fill_limit", lambda entries: 0)
    operator = laplacian(graph, kind)
    exact, estimate = exact_spectrum(operator), estimate_spectrum(operator, probes=24, seed=3)
    assert not estimate.exact
    assert estimate.num_nodes == 900
    tau = np.geomspace(0.1, 1e3, 25)
    for quantity in (Spectrum.entropy, Spectrum.specific_heat, Spectrum.log_partition):
        error = estimate.standard_error(lambda s, q=quantity: q(s, tau))
        difference = quantity(estimate, tau) - quantity(exact, tau)
        assert error.max() < 0.1
        assert (np.abs(difference) < 5 * error + 2e-3).all()


def test_low_eigenvalues_are_exact(graphs):
    operator = laplacian(graphs.random_tree(2000, 7))
    exact, estimate = exact_spectrum(operator), estimate_spectrum(operator, probes=1)
    np.testing.assert_allclose(estimate.values[0, :30], exact.values[0, :30], atol=1e-9)
    np.testing.assert_array_equal(estimate.weights[0, :30], 1.0)
    limit = exact.values[0, 20] * (1 + 1e-9)
    assert exact.count_below(limit) == 21
    assert estimate.count_below(limit) == pytest.approx(21)


def test_large_graphs_are_estimated(graphs):
    assert laplacian_spectrum(laplacian(graphs.ring(100))).exact
    large = laplacian_spectrum(laplacian(graphs.ring(20_000)))
    assert not large.exact
    heat = large.specific_heat(np.geomspace(30, 1e4, 9))
    np.testing.assert_allclose(heat, 0.5, rtol=0.06)


def test_the_same_seed_gives_the_same_estimate(graphs):
    operator = laplacian(graphs.cliques(40, 10))
    first, again = (estimate_spectrum(operator, probes=2, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.values, again.values)
    other = estimate_spectrum(operator, probes=2, seed=5)
    assert (first.weights != other.weights).any()


def test_quadrature_integrates_polynomials():
    """n nodes integrate polynomials up to the degree 2 n - 1 exactly."""
    rng = np.random.default_rng(0)
    matrix = rng.standard_normal((30, 30))
    matrix = matrix + matrix.T
    start = rng.standard_normal(30)
    nodes, weights = lanczos_quadrature(lambda x: matrix @ x, start, 4)
    start /= np.linalg.norm(start)
    for power in range(8):
        expected = start @ np.linalg.matrix_power(matrix, power) @ start
        assert weights @ nodes**power == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("tau", [0.0, -1.0, np.nan, np.inf])
def test_rejects_impossible_scales(graphs, tau):
    with pytest.raises(ValueError, match="Expected positive, finite scales 'tau'"):
        exact_spectrum(laplacian(graphs.ring(5))).entropy([1.0, tau])


@pytest.mark.parametrize("name", ["probes", "steps", "lowest"])
def test_rejects_impossible_numbers(graphs, name):
    with pytest.raises(ValueError, match=rf"Expected '{name}' to be at least \d \(got -1\)"):
        estimate_spectrum(laplacian(graphs.ring(5)), **{name: -1})
