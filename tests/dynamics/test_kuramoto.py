from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
from scipy.integrate import solve_ivp

from roma_pyg.config import KuramotoConfig
from roma_pyg.data.graph import Graph
from roma_pyg.data.series import GraphSeries
from roma_pyg.dynamics.kuramoto import (
    Kuramoto,
    coupling_matrix,
    initial_state,
    locked_fraction,
    observable,
    order_parameter,
    true_forecast,
)


def random_graph(nodes=12, seed=0):
    rng = np.random.default_rng(seed)
    dense = rng.random((nodes, nodes)) * (rng.random((nodes, nodes)) < 0.4)
    np.fill_diagonal(dense, 0)
    return Graph.from_matrix(sp.csr_array(dense)), rng


def all_to_all(nodes):
    return Graph.from_matrix(sp.csr_array(np.ones((nodes, nodes))))


def last(system, theta, samples):
    return next(itertools.islice(system.integrate(theta, samples), samples - 1, None))


@pytest.mark.parametrize(
    "backend", ["torch", "scipy", pytest.param("torch-sparse", marks=pytest.mark.kernels)]
)
def test_velocity_equals_the_dense_double_sum(backend):
    graph, rng = random_graph()
    theta, omega = rng.uniform(-9, 9, 12), rng.normal(size=12)
    config = KuramotoConfig(coupling=1.3, modulation=0.5, modulation_period=4.0)
    weight = graph.to_matrix().toarray().astype(np.float64)
    time = 0.7
    strength = 1.3 * (1 + 0.5 * np.sin(2 * np.pi * time / 4.0))
    pull = (weight * np.sin(theta[None, :] - theta[:, None])).sum(1)
    system = Kuramoto(omega, graph, config, backend)
    np.testing.assert_allclose(system.velocity(theta, time), omega + strength * pull, atol=1e-12)


def test_a_common_shift_of_all_phases_changes_nothing():
    graph, rng = random_graph()
    system = Kuramoto(rng.normal(size=12), graph, KuramotoConfig())
    theta = rng.uniform(-3, 3, 12)
    np.testing.assert_allclose(system.velocity(theta + 1.234), system.velocity(theta), atol=1e-12)


def test_two_locked_oscillators_follow_the_closed_form():
    # d' = -2 K sin(d) for equal frequencies: tan(d(t)/2) = tan(d(0)/2) exp(-2 K t).
    pair = Graph.from_edges(np.array([0]), np.array([1]), 2)
    config = KuramotoConfig(coupling=0.8, dt=0.1, substeps=4)
    system = Kuramoto(np.zeros(2), pair, config)
    for sample, theta in enumerate(system.integrate(np.array([0.0, 2.0]), 21)):
        expected = 2 * np.arctan(np.tan(1.0) * np.exp(-2 * 0.8 * 0.1 * sample))
        assert theta[1] - theta[0] == pytest.approx(expected, abs=1e-6)


def test_two_drifting_oscillators_slip_with_the_closed_period():
    # d' = W - 2 K sin(d) with W > 2 K: one slip takes 2 pi / sqrt(W^2 - 4 K^2).
    pair = Graph.from_edges(np.array([0]), np.array([1]), 2)
    period = 2 * np.pi / np.sqrt(3.0**2 - 2.0**2)
    config = KuramotoConfig(coupling=1.0, dt=period / 50, substeps=20)
    theta = last(Kuramoto(np.array([-1.5, 1.5]), pair, config), np.zeros(2), 51)
    assert theta[1] - theta[0] == pytest.approx(2 * np.pi, abs=1e-6)


def test_mean_velocity_is_conserved_by_symmetric_coupling():
    rng = np.random.default_rng(1)
    ring = np.arange(20)
    graph = Graph.from_edges(ring, (ring + 1) % 20, 20)  # all degrees equal: symmetric weights
    omega = rng.normal(size=20)
    system = Kuramoto(omega, graph, KuramotoConfig(coupling=2.0))
    theta = rng.uniform(-3, 3, 20)
    end = last(system, theta, 31)
    assert end.mean() - theta.mean() == pytest.approx(omega.mean() * 3.0, abs=1e-9)


def lorentzian(count, gamma):
    return gamma * np.tan(np.pi * ((np.arange(count) + 0.5) / count - 0.5))


def test_ott_antonsen_order_parameter_above_the_critical_coupling():
    # Lorentzian frequencies of half width g, all-to-all: K_c = 2 g and r = sqrt(1 - K_c / K).
    count, gamma = 400, 0.5
    rng = np.random.default_rng(0)
    config = KuramotoConfig(coupling=2.0, dt=0.5, substeps=25)
    omega = np.clip(lorentzian(count, gamma), -40, 40)
    system = Kuramoto(omega, all_to_all(count), config)
    values = [
        order_parameter(theta)
        for sample, theta in enumerate(system.integrate(rng.uniform(-3, 3, count), 60))
        if sample >= 30
    ]
    assert np.mean(values) == pytest.approx(np.sqrt(1 - 2 * gamma / 2.0), abs=0.03)


def test_no_order_below_the_critical_coupling():
    count, gamma = 400, 0.5
    config = KuramotoConfig(coupling=0.5, dt=0.5, substeps=25)
    omega = np.clip(lorentzian(count, gamma), -40, 40)
    theta = last(Kuramoto(omega, all_to_all(count), config), np.zeros(count), 40)
    assert order_parameter(theta) < 0.1


def test_agrees_with_dop853():
    graph, rng = random_graph(seed=3)
    omega, theta = rng.normal(size=12), rng.uniform(-3, 3, 12)
    config = KuramotoConfig(coupling=1.7, dt=0.1, substeps=10)
    weight = graph.to_matrix().toarray().astype(np.float64)

    def slope(_, y):
        return omega + 1.7 * (weight * np.sin(y[None, :] - y[:, None])).sum(1)

    reference = solve_ivp(slope, (0, 3.0), theta, method="DOP853", rtol=1e-11, atol=1e-11)
    ours = last(Kuramoto(omega, graph, config), theta, 31)
    np.testing.assert_allclose(ours, reference.y[:, -1], atol=1e-7)


def test_a_restart_repeats_the_run_bit_for_bit():
    graph, rng = random_graph()
    config = KuramotoConfig(modulation=0.3)
    system = Kuramoto(rng.normal(size=12), graph, config)
    whole = list(system.integrate(rng.uniform(-3, 3, 12), 12, first=-4))
    again = list(system.integrate(whole[5], 7, first=1))
    np.testing.assert_array_equal(np.stack(whole[5:]), np.stack(again))


def test_true_forecast_repeats_the_stored_series():
    graph, rng = random_graph()
    config = KuramotoConfig()
    omega, theta = initial_state(12, config, rng)
    phases = list(Kuramoto(omega, graph, config).integrate(theta, 30))
    values = np.stack([observable(p) for p in phases], axis=1)
    series = GraphSeries(
        graph,
        values,
        extras={"omega": omega, "phases": np.stack(phases[::10])},
        metadata={"parameters": {"kuramoto": vars(config)}, "checkpoint_interval": 10},
    )
    for time in (0, 9, 10, 25):
        np.testing.assert_array_equal(true_forecast(series, time, 5), values[:, time : time + 5])
    assert true_forecast(series, 28, 10).shape == (12, 10)
    with pytest.raises(ValueError, match="Expected 'time' at least 0"):
        true_forecast(series, -1, 3)
    with pytest.raises(ValueError, match="without phases and omega"):
        true_forecast(GraphSeries(graph, values, metadata=series.metadata), 3, 3)


def test_observable_lies_in_the_unit_interval_and_hides_the_sign():
    theta = np.linspace(-20, 20, 999)
    assert observable(theta).min() > 0.0238
    assert observable(theta).max() <= 0.9762
    np.testing.assert_array_equal(observable(theta), observable(-theta))


def test_order_parameter_of_two_opposite_clusters():
    assert order_parameter(np.array([0.0, 0.0, 0.0, np.pi])) == pytest.approx(0.5)


def test_locked_fraction_finds_a_cluster_that_rotates():
    velocity = np.array([0.30, 0.31, 0.29, 0.305, -1.0, 0.0, 2.0, 1.0])
    assert locked_fraction(velocity, 0.05) == 0.5


def test_initial_state_is_centred_and_clipped():
    config = KuramotoConfig(frequency_std=2.0, frequency_clip=1.0)
    omega, theta = initial_state(5000, config, np.random.default_rng(0))
    assert omega.mean() == pytest.approx(0, abs=1e-12)
    assert np.ptp(omega) == pytest.approx(4.0)
    assert np.abs(theta).max() <= np.pi


def test_hubs_pull_with_the_root_of_their_degree():
    # Star of 4 leaves plus the edge 1-2: node 1 hears the hub (degree 4) and node 2 (degree 2).
    edges = [(0, 1), (0, 2), (0, 3), (0, 4), (1, 2)]
    dense = np.zeros((5, 5))
    for a, b in edges:
        dense[a, b] = dense[b, a] = 1
    weight = coupling_matrix(sp.csr_array(dense)).toarray()
    total = 2.0 + np.sqrt(2)
    np.testing.assert_allclose(weight[1], [2 / total, 0, np.sqrt(2) / total, 0, 0])
    np.testing.assert_allclose(weight.sum(1), 1)


@pytest.mark.parametrize(
    ("omega", "message"),
    [
        (np.zeros(3), r"Expected 'omega' of shape \(12,\)"),
        (np.full(12, np.nan), "Expected 'omega' to be finite"),
    ],
)
def test_impossible_frequencies(omega, message):
    graph, _ = random_graph()
    with pytest.raises(ValueError, match=message):
        Kuramoto(omega, graph, KuramotoConfig())
