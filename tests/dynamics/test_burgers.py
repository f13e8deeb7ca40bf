from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from roma_pyg.config import BurgersConfig
from roma_pyg.data.graph import Graph
from roma_pyg.dynamics.burgers import Burgers, BurgersState, observable
from roma_pyg.dynamics.bursts import Bursts, BurstSources, draw_sources
from roma_pyg.dynamics.gelation import gel_fraction
from roma_pyg.dynamics.kuramoto import coupling_matrix


def make(nodes=40, seed=0, **options):
    config = BurgersConfig(**options)
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((nodes, nodes)) < 0.15, 1)
    adjacency = sp.csr_array((upper | upper.T).astype(np.float64))
    graph = Graph.from_matrix(coupling_matrix(adjacency))
    sources = draw_sources(nodes, config, rng)
    return Burgers(sources, graph, config), graph, sources, config


def totals(system, samples, first=0):
    return np.stack([state.total for state in system.integrate(system.rest(), samples, first)])


class TestLaws:
    def test_two_samples_by_hand(self):
        config = BurgersConfig(
            coupling=0.3, rounds=2, response=0.8, memory=4.0, dt=0.5, background=0.1, jitter=0.2
        )
        ones = np.ones((1, 2), dtype=np.float32)
        sources = BurstSources(
            5 * ones,
            np.array([[0.0, 0.9]], np.float32),
            ones,
            2 * ones,
            np.zeros((1, 2), np.uint64),
        )
        pair = Graph.from_edges(np.array([0]), np.array([1]), 2)
        states = list(
            Burgers(sources, pair, config).integrate(
                BurgersState(np.array([0.04, 0.09]), np.array([1.0, 2.0])), 3, first=4
            )
        )
        bursts, share = Bursts(sources, 0.2, 0.5), 1 - np.exp(-0.5 / (2 * 0.8))
        first, second, x = 0.04, 0.09, np.array([1.0, 2.0])
        for sample, state in zip((5, 6), states[1:], strict=True):
            a = (bursts.activity(sample) + 0.1) ** 2
            for _ in range(2):
                first, second = (
                    first + share * (0.7 * a[0] + 0.3 * second - first),
                    second + share * (0.7 * a[1] + 0.3 * first - second),
                )
            x = np.exp(-0.5 / 4) * x + 4 * (1 - np.exp(-0.5 / 4)) * np.sqrt([first, second])
            np.testing.assert_allclose(state.squares, [first, second], rtol=1e-12)
            np.testing.assert_allclose(state.total, x, rtol=1e-12)

    def test_alone_and_without_forgetting_it_accumulates_the_gel_curve(self):
        # An instant response and no neighbours: x grows as the height of the Burgers shock.
        config = BurgersConfig(
            coupling=0.0, response=1e-3, memory=0.0, background=1e-9, jitter=0.0, dt=0.5
        )
        one = np.ones((1, 1), dtype=np.float32)
        sources = BurstSources(
            1000 * one, 0 * one, 0.25 * one, 3 * one, np.zeros((1, 1), np.uint64)
        )
        alone = Graph(np.array([0, 0]), np.empty(0, np.int64), np.empty(0, np.float32))
        x = totals(Burgers(sources, alone, config), 100, first=-20)[:, 0]
        time = 0.5 * np.arange(-20, 80)
        np.testing.assert_allclose(x, 3 * gel_fraction(1 + 0.25 * time), atol=1e-6)

    def test_fronts_are_sudden_where_the_onset_is(self):
        config = BurgersConfig(
            coupling=0.0, response=1e-3, background=1e-6, jitter=0.0, memory=50.0
        )
        one = np.ones((1, 1), dtype=np.float32)
        sources = BurstSources(400 * one, 0 * one, 0.2 * one, one, np.zeros((1, 1), np.uint64))
        alone = Graph(np.array([0, 0]), np.empty(0, np.int64), np.empty(0, np.float32))
        x = totals(Burgers(sources, alone, config), 60, first=-20)[:, 0]
        change = np.diff(x)
        # Up to sample 0 next to nothing, then the slope 2 rate size, smaller from there on.
        assert np.abs(change[:20]).max() < 1e-6
        assert change.argmax() == 20
        assert 0.25 < change[20] < 2 * 0.2

    def test_no_node_remembers_more_than_the_largest_activity(self):
        system, graph, sources, config = make()
        bursts = Bursts(sources, config.jitter, config.dt)
        largest = max(bursts.activity(s).max() for s in range(200)) + config.background
        x = totals(system, 200)
        assert x.max() <= config.memory * largest
        linked = np.diff(graph.rowptr) > 0
        assert x[:, linked].min() >= config.memory * config.background * (1 - 1e-6)

    def test_without_bursts_it_rests(self):
        config = BurgersConfig(background=0.3)
        one = np.ones((1, 2), dtype=np.float32)
        sources = BurstSources(one, one * 0, one, one * 1e-30, np.zeros((1, 2), np.uint64))
        pair = Graph.from_edges(np.array([0]), np.array([1]), 2)
        np.testing.assert_allclose(totals(Burgers(sources, pair, config), 20), 3.0, rtol=1e-12)

    def test_a_burst_arrives_at_the_neighbours_later_and_weaker(self):
        # A chain whose first node alone has a burst, at sample 0.
        config = BurgersConfig(coupling=0.5, background=1e-6, jitter=0.0, memory=5.0)
        size = np.array([[1.0, 1e-30, 1e-30, 1e-30]], dtype=np.float32)
        like = np.ones_like(size)
        sources = BurstSources(1e4 * like, 0 * like, like, size, np.zeros(size.shape, np.uint64))
        chain = sp.csr_array(np.eye(4, k=1) + np.eye(4, k=-1))
        system = Burgers(sources, Graph.from_matrix(coupling_matrix(chain)), config)
        x = totals(system, 60, first=-5)
        peaks, times = x.max(0), x.argmax(0)
        assert (np.diff(peaks) < 0).all()
        assert (np.diff(times) > 0).all()

    def test_permuted_nodes_give_permuted_series(self):
        system, graph, sources, config = make()
        order = np.random.default_rng(1).permutation(40)
        matrix = sp.csr_array(graph.to_matrix())
        permuted = Graph.from_matrix(sp.csr_array(matrix[order][:, order]))
        moved = BurstSources(**{name: array[:, order] for name, array in vars(sources).items()})
        there = totals(Burgers(moved, permuted, config), 100)
        np.testing.assert_allclose(totals(system, 100)[:, order], there, rtol=1e-11)


class TestRestart:
    @pytest.mark.parametrize("at", [-7, 0, 1, 33])
    def test_from_any_state_repeats_every_bit(self, at):
        system, graph, sources, config = make()
        states = list(system.integrate(system.rest(), 80, first=-20))
        stored = BurgersState.from_array(states[at + 20].to_array())
        fresh = Burgers(sources, graph, config)
        again = list(fresh.integrate(stored, 60 - at, first=at))
        for one, other in zip(states[at + 20 :], again, strict=True):
            np.testing.assert_array_equal(one.squares, other.squares)
            np.testing.assert_array_equal(one.total, other.total)

    def test_threads_make_no_difference(self, monkeypatch):
        monkeypatch.setattr("roma_pyg.dynamics.kuramoto.ONE_THREAD_BELOW", 0)
        before = torch.get_num_threads()
        runs = []
        try:
            for threads in (1, 2):
                torch.set_num_threads(threads)
                runs.append(totals(make(nodes=300)[0], 30))
        finally:
            torch.set_num_threads(before)
        np.testing.assert_array_equal(*runs)

    def test_states_are_new_and_the_given_one_stays(self):
        system, *_ = make()
        start = system.rest()
        copy = BurgersState.from_array(start.to_array())
        states = list(itertools.islice(system.integrate(start, 5), 5))
        np.testing.assert_array_equal(start.squares, copy.squares)
        np.testing.assert_array_equal(start.total, copy.total)
        assert not np.shares_memory(states[0].squares, states[1].squares)
        assert (states[0].squares != states[4].squares).any()

    def test_seeds_differ(self):
        assert (totals(make(seed=0)[0], 30)[-1] != totals(make(seed=1)[0], 30)[-1]).all()


class TestObservable:
    def test_scales_to_one(self):
        values = observable(np.array([1e-3, 0.7, 4.2]), 4.2)
        assert values.dtype == np.float32
        assert values[-1] == 1
        np.testing.assert_allclose(values, np.array([1e-3, 0.7, 4.2]) / 4.2, rtol=1e-6)


class TestErrors:
    def test_sizes(self):
        system, graph, _, config = make()
        with pytest.raises(ValueError, match=r"Expected sources of 40 nodes.*\(got 3\)"):
            Burgers(draw_sources(3, config, np.random.default_rng(0)), graph, config)
        with pytest.raises(
            ValueError, match=r"Expected 'squares' of shape \(40,\).*\(got \(3,\)\)"
        ):
            system.integrate(BurgersState(np.ones(3), np.ones(40)), 2)

    def test_states(self):
        system, *_ = make()
        for bad in (-1.0, np.nan, np.inf):
            with pytest.raises(ValueError, match="Expected 'total' to be finite and non-negative"):
                system.integrate(BurgersState(np.ones(40), np.full(40, bad)), 2)
        with pytest.raises(ValueError, match=r"Expected 'samples' to be non-negative \(got -1\)"):
            system.integrate(system.rest(), -1)
