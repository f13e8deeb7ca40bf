from __future__ import annotations

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.special import gammaln, lambertw

from roma_pyg.dynamics.gelation import gel_fraction, gel_rate, growth_curve, shock_profile


def cluster_mass(size: np.ndarray, time: float) -> np.ndarray:
    # s n_s = s^(s-1) t^(s-1) e^(-s t) / s!, the explicit solution for single members at time 0.
    log = (size - 1) * np.log(size * time) - size * time - gammaln(size + 1)
    return np.exp(log)


class TestGelFraction:
    @pytest.mark.parametrize("time", [1.001, 1.1, 1.5, 2.0, 3.7, 8.0])
    def test_is_the_root_that_bisection_finds(self, time):
        root = brentq(lambda g: 1 - g - np.exp(-time * g), 1e-4, 1.0, xtol=1e-15)
        assert gel_fraction(time) == pytest.approx(root, abs=1e-13)

    def test_is_the_closed_form_by_lambert_w(self):
        time = np.linspace(1.05, 30, 400)
        closed = 1 + lambertw(-time * np.exp(-time)).real / time
        np.testing.assert_allclose(gel_fraction(time), closed, atol=1e-13)

    def test_solves_its_equation_at_all_magnitudes(self):
        time = 1 + np.logspace(-14, 8, 400)
        gel = gel_fraction(time)
        np.testing.assert_allclose(1 - gel, np.exp(-time * gel), atol=1e-15)

    @pytest.mark.parametrize("distance", [1e-12, 1e-9, 1e-7, 1e-4])
    def test_begins_as_the_series(self, distance):
        time = 1 + distance
        distance = time - 1  # as rounded
        expected = 2 * distance - 8 / 3 * distance**2
        assert gel_fraction(time) == pytest.approx(expected, rel=max(1e-6, 20 * distance**2))

    def test_is_zero_before_the_onset_and_one_at_the_end(self):
        assert (gel_fraction([-np.inf, -3.0, 0.0, 0.99, 1.0]) == 0).all()
        assert (gel_fraction([50.0, 1e300, np.inf]) == 1).all()

    def test_rises_monotonically(self):
        gel = gel_fraction(np.linspace(0.5, 60, 20_001))
        assert (np.diff(gel) >= -3e-16).all()
        assert gel.min() == 0
        assert gel.max() == 1

    @pytest.mark.parametrize("time", [1.2, 2.0])
    def test_is_the_mass_that_finite_clusters_lack(self, time):
        size = np.arange(1, 20_000, dtype=float)
        assert gel_fraction(time) == pytest.approx(1 - cluster_mass(size, time).sum(), abs=1e-9)

    @pytest.mark.parametrize("time", [0.8, 1.3, 2.5])
    def test_is_the_largest_cluster_of_members_that_meet_at_random(self, time):
        # N members, N t / 2 random contacts: the stochastic process behind the equation.
        count = 400_000
        pairs = np.random.default_rng(0).integers(count, size=(2, round(count * time / 2)))
        graph = coo_array((np.ones(pairs.shape[1]), tuple(pairs)), shape=(count, count))
        _, label = connected_components(graph, directed=False)
        largest = np.bincount(label).max() / count
        assert largest == pytest.approx(float(gel_fraction(time)), abs=5e-3)


class TestSmoluchowski:
    def test_the_second_moment_diverges_at_the_onset(self):
        # dM/dt = M^2 for M = sum s^2 n_s, from the equation of all clusters up to size 600.
        largest = 600
        size = np.arange(1, largest + 1, dtype=float)

        def change(_, mass):
            # In terms of m_s = s n_s the gain of n_s is half the convolution of m with itself.
            gain = np.concatenate([[0.0], np.convolve(mass, mass)[: largest - 1]])
            return size * (gain / 2 - mass)

        start = np.zeros(largest)
        start[0] = 1.0
        times = [0.3, 0.6, 0.8]
        found = solve_ivp(
            change, (0, 0.8), start, t_eval=times, rtol=1e-9, atol=1e-13, method="LSODA"
        )
        for time, mass in zip(times, found.y.T, strict=True):
            np.testing.assert_allclose(mass[:50], cluster_mass(size[:50], time), atol=1e-8)
            assert (size * mass).sum() == pytest.approx(1 / (1 - time), rel=1e-3)
            slope = -(shock_profile(0.0, time) - shock_profile(-1e-6, time)) / 1e-6
            assert slope == pytest.approx(1 / (1 - time), rel=1e-4)


class TestGelRate:
    def test_is_the_derivative(self):
        time = 1 + np.logspace(-3, 1.3, 50)
        step = 1e-6 * (time - 1)
        difference = (gel_fraction(time + step) - gel_fraction(time - step)) / (2 * step)
        np.testing.assert_allclose(gel_rate(time), difference, rtol=1e-4, atol=1e-9)

    def test_has_a_front_at_the_onset(self):
        np.testing.assert_allclose(gel_rate([-1.0, 1 - 1e-12, 1.0, 1 + 1e-12]), [0, 0, 2, 2])

    def test_series_and_formula_meet(self):
        np.testing.assert_allclose(np.diff(gel_rate([1 + 0.999e-5, 1 + 1.001e-5])), 0, atol=3e-7)

    def test_decays_exponentially(self):
        assert gel_rate(20.0) == pytest.approx(np.exp(-20.0), rel=1e-3)


class TestGrowthCurve:
    def test_onset_slope_and_saturation(self):
        time = np.array([4.0, 5.0, 5.001, 500.0])
        curve = growth_curve(time, onset=5.0, rate=0.7, saturation=3.0)
        assert curve[:2].tolist() == [0, 0]
        assert curve[2] / 1e-3 == pytest.approx(2 * 0.7 * 3.0, rel=2e-3)
        assert curve[3] == 3

    def test_rise_time(self):
        early = brentq(lambda t: growth_curve(t, 0.0, 1.0, 1.0) - 0.1, 0, 9)
        late = brentq(lambda t: growth_curve(t, 0.0, 1.0, 1.0) - 0.9, 0, 9)
        assert late - early == pytest.approx(1.505, abs=1e-3)

    def test_curves_of_several_nodes(self):
        curves = growth_curve(np.arange(30.0)[:, None], [3.0, 9.0], [1.0, 0.2], [1.0, 2.0])
        assert curves.shape == (30, 2)
        np.testing.assert_allclose(curves[:, 1], 2 * gel_fraction(1 + 0.2 * (np.arange(30) - 9)))

    def test_impossible_parameters(self):
        with pytest.raises(ValueError, match=r"Expected 'rate' to be positive \(got 0.0\)"):
            growth_curve(1.0, 0.0, [1.0, 0.0], 1.0)
        with pytest.raises(ValueError, match=r"Expected 'saturation' to be non-negative \(got -1"):
            growth_curve(1.0, 0.0, 1.0, -1.0)


class TestShockProfile:
    @pytest.mark.parametrize("time", [0.0, 0.5, 1.0, 1.6, 4.0])
    def test_is_the_generating_function_of_the_clusters(self, time):
        size = np.arange(1, 3_000, dtype=float)
        mass = cluster_mass(size, time) if time else (size == 1).astype(float)
        for x in (-2.0, -0.5, -0.05):
            expected = 1 - (mass * np.exp(size * x)).sum()
            assert shock_profile(x, time) == pytest.approx(expected, abs=1e-9)

    @pytest.mark.parametrize("time", [0.3, 0.9, 1.7, 3.0])
    def test_obeys_the_burgers_equation(self, time):
        x, step = np.linspace(-3, -0.05, 40), 1e-5
        value = shock_profile(x, time)
        in_time = (shock_profile(x, time + step) - shock_profile(x, time - step)) / (2 * step)
        in_space = (shock_profile(x + step, time) - shock_profile(x - step, time)) / (2 * step)
        np.testing.assert_allclose(in_time + value * in_space, 0, atol=1e-7)
        assert np.abs(value * in_space).max() > 0.01

    def test_the_shock_has_the_height_of_the_gel(self):
        for time in (0.4, 1.0, 1.3, 5.0):
            assert shock_profile(0.0, time) == pytest.approx(float(gel_fraction(time)), abs=1e-7)

    def test_impossible_arguments(self):
        with pytest.raises(ValueError, match=r"Expected 'x' to be non-positive \(got 0.5\)"):
            shock_profile([-1.0, 0.5], 1.0)
        with pytest.raises(ValueError, match=r"Expected 'time' to be non-negative \(got -1.0\)"):
            shock_profile(-1.0, -1.0)
