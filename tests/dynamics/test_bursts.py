from __future__ import annotations

import numpy as np
import pytest
from scipy.special import lambertw

from roma_pyg.config import BurgersConfig
from roma_pyg.dynamics import bursts as module
from roma_pyg.dynamics.bursts import Bursts, BurstSources, draw_sources


def one_source(interval=100.0, phase=0.05, rate=1.0, size=1.0, key=0):
    value = np.ones((1, 1), dtype=np.float32)
    return BurstSources(
        interval * value, phase * value, rate * value, size * value, np.full((1, 1), key, np.uint64)
    )


def drawn(count=50, seed=0, **options):
    config = BurgersConfig(**options)
    return draw_sources(count, config, np.random.default_rng(seed)), config


def gel(time):
    return 0.0 if time <= 1 else float(1 + lambertw(-time * np.exp(-time)).real / time)


class TestActivity:
    def test_is_the_growth_of_the_curve(self):
        bursts = Bursts(one_source(rate=0.5, size=3.0), jitter=0.0, dt=1.0)  # onset at 95
        for sample in (90, 95, 96, 97, 105):
            expected = 3 * (gel(1 + 0.5 * (sample - 95)) - gel(1 + 0.5 * (sample - 96)))
            assert bursts.activity(sample)[0] == pytest.approx(expected, abs=1e-5)

    def test_counts_each_member_once(self):
        for dt in (0.25, 1.0, 7.0):
            bursts = Bursts(one_source(size=3.0), jitter=0.3, dt=dt)
            # Onsets from -5 to -5 + 30: between 30 and 90 units later every gel is complete.
            total = sum(bursts.activity(s)[0] * dt for s in range(round(-7 / dt), round(84 / dt)))
            assert total == pytest.approx(3.0, rel=1e-5)

    def test_sources_of_a_node_add_up(self):
        sources, config = drawn(count=3, sources=2)
        total = Bursts(sources, config.jitter, 1.0).activity(40)
        parts = [
            Bursts(
                BurstSources(**{k: v[[row]] for k, v in vars(sources).items()}), config.jitter, 1.0
            ).activity(40)
            for row in range(2)
        ]
        np.testing.assert_allclose(total, parts[0] + parts[1], rtol=1e-12)

    def test_does_not_depend_on_what_came_before(self):
        sources, config = drawn(count=200)
        in_order = Bursts(sources, config.jitter, config.dt)
        rows = {sample: in_order.activity(sample) for sample in range(-30, 30)}
        for sample in (-30, 29, 3, -7):
            alone = Bursts(sources, config.jitter, config.dt).activity(sample)
            np.testing.assert_array_equal(alone, rows[sample])
            np.testing.assert_array_equal(in_order.activity(sample), rows[sample])

    def test_pieces_of_nodes_make_no_difference(self, monkeypatch):
        sources, config = drawn(count=100)
        whole = Bursts(sources, config.jitter, config.dt).activity(17)
        monkeypatch.setattr(module, "CHUNK", 7)
        np.testing.assert_array_equal(Bursts(sources, config.jitter, config.dt).activity(17), whole)

    def test_is_bounded_by_the_front_of_the_curve(self):
        sources, config = drawn(count=2000)
        bursts = Bursts(sources, config.jitter, 0.01)
        bound = 2 * (sources.rate.astype(float) * sources.size).sum(0)
        for sample in range(500, 520):
            activity = bursts.activity(sample)
            assert (activity >= 0).all()
            assert (activity <= bound * (1 + 1e-6)).all()


class TestOnsets:
    def test_periodic_without_jitter(self):
        bursts = Bursts(one_source(interval=10.0, rate=5.0), jitter=0.0, dt=1.0)
        activity = [bursts.activity(sample)[0] for sample in range(10, 50)]
        np.testing.assert_allclose(activity[:10], activity[10:20], atol=1e-6)
        assert np.flatnonzero(np.array(activity) > 0.5).tolist() == [0, 10, 20, 30]

    def test_jitter_moves_every_onset_within_its_part_of_the_cycle(self):
        interval, jitter = 20.0, 0.5
        sources = one_source(interval=interval, phase=0.0, rate=1.0, key=99)
        bursts = Bursts(sources, jitter, dt=1.0)
        waits = []
        for cycle in range(300):
            end = (cycle + jitter) * interval
            index, members = bursts.members(end)
            assert index[0, 0] == cycle
            time = 1 - np.log1p(-members[0, 0]) / members[0, 0] - 1  # inverse of the gel curve
            waits.append((end - (time - 1) - cycle * interval) / interval / jitter)
        assert 0 <= min(waits) < 0.03
        assert 0.97 < max(waits) <= 1 + 1e-6
        # Uniform: mean 1/2, variance 1/12, no correlation between neighbours.
        assert np.mean(waits) == pytest.approx(0.5, abs=0.06)
        assert np.var(waits) == pytest.approx(1 / 12, abs=0.02)
        assert abs(np.corrcoef(waits[:-1], waits[1:])[0, 1]) < 0.2

    def test_negative_times_have_bursts_too(self):
        index, members = Bursts(one_source(), 0.0, 1.0).members(-101.0)
        assert index[0, 0] == -1
        assert members[0, 0] == pytest.approx(gel(5.0), abs=1e-5)

    def test_the_generator_gives_the_published_numbers(self):
        # First outputs of SplitMix64 with the seed 1234567.
        seed = np.array([1234567], dtype=np.uint64)
        found = [module._uniform(seed, np.array([n]))[0] for n in (1, 2)]
        expected = [6457827717110365317, 3203168211198807973]
        assert found == [(number >> 11) * 2.0**-53 for number in expected]


class TestDraw:
    def test_medians_and_spreads(self):
        sources, config = drawn(count=40_000, sources=2)
        assert sources.num_nodes == 40_000
        for name, median, spread in (
            ("interval", config.interval, config.interval_spread),
            ("rate", config.growth_rate, config.growth_spread),
            ("size", 1.0, config.size_spread),
        ):
            values = np.log(getattr(sources, name).astype(float))
            assert np.median(values) == pytest.approx(np.log(median), abs=0.02)
            assert values.std() == pytest.approx(spread, rel=0.02)
        assert len(np.unique(sources.key)) == 80_000

    def test_seeds_differ_and_repeat(self):
        first, again, other = drawn(seed=0)[0], drawn(seed=0)[0], drawn(seed=1)[0]
        for name in vars(first):
            np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
            assert (getattr(first, name) != getattr(other, name)).any()

    def test_errors(self):
        sources, _ = drawn()
        with pytest.raises(ValueError, match=r"Expected arrays of one shape \(B, N\)"):
            BurstSources(**{**vars(sources), "key": sources.key[:, :3]})
        with pytest.raises(ValueError, match=r"Expected 'rate' to be positive \(got 0.0\)"):
            BurstSources(**{**vars(sources), "rate": 0 * sources.rate})
