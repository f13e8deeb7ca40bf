"""Collective modes: what they find, how they go on, and that blocks are forgotten."""

from __future__ import annotations

import numpy as np
import pytest

from roma_pyg.data.collective import CollectiveModes
from roma_pyg.data.crossfit import block_edges, block_of
from roma_pyg.data.history import History

K, T = 16, 600
STEPS = np.array([1, 4, 8])
TIMES = range(K, 500)


def orchestra(nodes=50, steps=T, seed=0, noise=0.0) -> np.ndarray:
    """Every node follows two waves of the whole, each to its own degree, about its own mean."""
    rng = np.random.default_rng(seed)
    rate, phase = np.array([[0.21], [0.083]]), np.array([[0.3], [1.0]])
    waves = np.sin(rate * np.arange(steps) + phase)
    own = 2 + rng.random((nodes, 1)) + rng.normal(size=(nodes, 2)) @ waves
    return (own + noise * rng.normal(size=own.shape)).astype(np.float32)


def found(values=None, count=4, **options) -> CollectiveModes:
    values = orchestra() if values is None else values
    options = {"window": K, "steps": STEPS, "blocks": 3} | options
    return CollectiveModes.find(values, np.arange(40), TIMES, count=count, **options)


def courses(modes: CollectiveModes, values: np.ndarray, time: int, row=3) -> np.ndarray:
    loadings = modes.loadings(values[:, modes.span])[row]
    known = modes.read(values[:, time - K : time])
    return loadings @ modes.forecast(known, row)


def test_nodes_follow_the_modes_of_the_whole():
    values = orchestra()
    for time in (100, 560):
        truth = values[:, time - 1 + STEPS]
        error = np.abs(courses(found(), values, time) - truth).mean()
        # The last ten nodes are no probes.
        assert error < 0.05 * np.abs(truth - values.mean(1, keepdims=True)).mean()


def test_modes_have_variance_one_and_are_uncorrelated():
    modes = found(orchestra(noise=0.1))
    np.testing.assert_allclose(np.cov(modes.path, bias=True), np.eye(4), atol=1e-6)


def test_an_orthogonal_change_of_the_modes_changes_no_course():
    values = orchestra(noise=0.05)
    modes = found(values, count=2)
    flipped = CollectiveModes.find(
        values[::-1], 49 - np.arange(40), TIMES, window=K, steps=STEPS, count=2, blocks=3
    )
    np.testing.assert_allclose(
        courses(modes, values, 550), courses(flipped, values[::-1], 550)[::-1], rtol=1e-4
    )


def test_more_modes_than_the_series_has():
    values = orchestra()
    many, few = found(values, count=60), found(values, count=2)
    assert many.weight.shape == (60, 40)
    assert not many.weight[40:].any()
    np.testing.assert_allclose(
        courses(many, values, 550), courses(few, values, 550), rtol=0.02, atol=0.02
    )


def test_a_window_is_read_as_it_was_seen():
    values = orchestra()
    modes = found(values, noise=1e-3, seed=4)
    stop = TIMES[-1] + int(STEPS[-1])
    seen = History(values, stop, stop, 1e-3, 4)
    for time in (K, 77, 400):
        window = np.zeros((50, K), np.float32)
        window[:] = seen[np.arange(50)][:, time - K : time]
        assert modes.knows(time)
        np.testing.assert_allclose(modes.before(time), modes.read(window), atol=1e-6)
    assert not modes.knows(stop + 1)
    assert modes.before(K).shape == (len(modes.lags) * modes.size,)


def test_a_block_is_forgotten():
    values = orchestra(noise=0.3)
    first, last = block_edges(1, TIMES, 3)
    changed = values.copy()
    # Apart from the modes, which are those of all times.
    modes = found(values)
    path = modes.path.copy()
    path[:, first - modes.first : last - modes.first] = 9.0
    changed[:, first:last] = 5.0
    before, after = (modes.loadings(series[:, modes.span]) for series in (values, changed))
    np.testing.assert_array_equal(before[1], after[1])
    for row in (0, 2, 3):
        assert np.abs(before[row] - after[row]).max() > 0.01
    assert modes.blocks == 3
    # Forecasts of a row come from windows whose targets lie outside of its block.
    other = found(np.where(np.isin(np.arange(T), np.arange(first, last)), 0 * values, values))
    assert not np.allclose(other.forecasts[3], modes.forecasts[3])


def test_blocks_cover_the_times():
    for times, blocks in ((range(10, 21), 2), (range(5, 8), 5), (range(0, 100), 7)):
        edges = [block_edges(block, times, blocks) for block in range(blocks)]
        assert [first for first, _ in edges] == [times.start, *(last for _, last in edges[:-1])]
        assert edges[-1][1] == times.stop
        for block, (first, last) in enumerate(edges):
            assert all(block_of(time, times, blocks) == block for time in range(first, last))


@pytest.mark.parametrize("case", ["constant", "zero", "gaps", "one node", "one time", "huge"])
def test_odd_series(case):
    values, times, nodes = orchestra(), TIMES, np.arange(40)
    if case == "constant":
        values = np.full_like(values, 0.3)
    if case == "zero":
        values = np.zeros_like(values)
    if case == "gaps":
        values[:, 100:120] = np.nan
        values[7] = np.nan
        values[3, 540:550] = np.nan
    if case == "huge":
        values = 1e6 * values
    nodes = nodes[:1] if case == "one node" else nodes
    times = range(K, K + 1) if case == "one time" else times
    modes = CollectiveModes.find(
        values, nodes, times, window=K, steps=STEPS, count=3, blocks=3, noise=1e-3
    )
    loadings = modes.loadings(values[:, modes.span])
    assert loadings.shape == (4, 50, 4)
    for row in range(4):
        course = loadings[row] @ modes.forecast(modes.read(values[:, 540 - K : 540]), row)
        assert np.isfinite(course).all()
        if case in ("constant", "zero") or (case == "one time" and row == 3):
            assert np.abs(course - values[:, 538, None]).max() < 10


def test_errors():
    with pytest.raises(ValueError, match=r"nodes and times to find modes from \(got 0 and 484\)"):
        CollectiveModes.find(
            orchestra(), np.arange(0), TIMES, window=K, steps=STEPS, count=2, blocks=2
        )
