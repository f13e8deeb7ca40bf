"""Memory of nodes: modes from some nodes, coefficients of any node from its past."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from roma_pyg.data.collective import CollectiveModes
from roma_pyg.data.crossfit import block_of, kept_times
from roma_pyg.data.features import NodeFeatures
from roma_pyg.data.graph import Graph
from roma_pyg.data.memory import NodeMemory, least_times, outlook_steps
from roma_pyg.data.series import GraphSeries
from roma_pyg.data.surroundings import Surroundings

K, H, T = 6, 12, 420
TIMES = range(K, 300)


def waves(nodes=60, steps=T, seed=0) -> np.ndarray:
    """Each node its own rate; a linear forecast from two lags is exact, and differs by node."""
    rng = np.random.default_rng(seed)
    rate, phase = 0.2 + 0.5 * rng.random((nodes, 1)), 6 * rng.random((nodes, 1))
    return (0.5 + 0.3 * np.sin(rate * np.arange(steps) + phase)).astype(np.float32)


def fitted(size=8, values=None, **options) -> NodeMemory:
    memory = NodeMemory(size, K, H)
    memory.fit(waves() if values is None else values, np.arange(40), TIMES, **options)
    return memory


def error(memory: NodeMemory, values: np.ndarray, coefficients: np.ndarray, time: int) -> float:
    outlook = memory(
        torch.from_numpy(values[:, time - K : time]), torch.from_numpy(coefficients)
    ).numpy()
    return float(np.abs(outlook - values[:, time - 1 + memory.steps]).mean())


def test_nodes_that_were_not_fitted_are_forecast_by_their_own_past():
    values = waves()
    memory = fitted(16)
    own = memory.recall(values, TIMES)[-1]
    common = error(memory, values[40:], 0 * own[40:], 400)
    assert common > 0.02
    assert error(memory, values[40:], own[40:], 400) < 0.1 * common


def test_more_modes_explain_more():
    values = waves()
    errors = []
    for size in (1, 4, 16):
        memory = fitted(size)
        errors.append(error(memory, values, memory.recall(values, TIMES)[-1], 400))
    assert errors == sorted(errors, reverse=True)
    assert errors[2] < 0.2 * errors[0]


def test_a_block_of_everything_leaves_the_forecast_of_all():
    memory = fitted()
    past = memory.recall(waves(), TIMES, blocks=1)
    assert (past[0] == 0).all()
    np.testing.assert_array_equal(past[1], memory.recall(waves(), TIMES)[-1])


def test_coefficients_have_the_scale_of_their_prior():
    coefficients = fitted().recall(waves(), TIMES)[-1]
    assert np.abs(coefficients[:40].mean()) < 0.5
    assert 0.3 < coefficients[:40, :3].std() < 3


def test_forward_is_the_formula():
    memory = NodeMemory(3, K, H)
    generator = torch.Generator().manual_seed(0)
    for buffer in memory.buffers():
        buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    window, coefficients = torch.rand(5, K, generator=generator), torch.randn(5, 3)
    joint = torch.cat([(window - memory.level) / memory.spread, torch.ones(5, 1)], 1).double()
    bank = memory.shared.double() + torch.einsum(
        "nm,mkq->nkq", coefficients.double(), memory.modes.double()
    )
    expected = memory.level + memory.spread * torch.einsum("nk,nkq->nq", joint, bank)
    torch.testing.assert_close(
        memory(window, coefficients).double(), expected.double(), rtol=1e-5, atol=1e-5
    )


def test_without_a_past_a_node_has_the_forecast_of_all():
    values = waves()
    memory = fitted()
    assert not memory.recall(values, range(K, K)).any()
    short = memory.recall(values, range(K, K + 1))[-1]
    assert np.abs(short).mean() < np.abs(memory.recall(values, TIMES)[-1]).mean()


def test_a_block_forgets_what_happens_in_it():
    values, memory = waves(), fitted()
    before = memory.recall(values, TIMES, blocks=3)
    edges = [TIMES.start + -(-len(TIMES) * b // 3) for b in range(4)]
    changed = values.copy()
    changed[:, edges[1] : edges[2]] = 0.9
    after = memory.recall(changed, TIMES, blocks=3)
    np.testing.assert_allclose(after[1], before[1], atol=2e-3)
    for row in (0, 2, 3):
        assert np.abs(after[row] - before[row]).max() > 0.1
    assert [block_of(time, TIMES, 3) for time in edges[:3]] == [0, 1, 2]
    assert [block_of(time - 1, TIMES, 3) for time in edges[1:]] == [0, 1, 2]
    assert block_of(350, TIMES, 3) == 3


def test_some_nodes_are_remembered_as_among_all():
    values, memory = waves(), fitted(noise=1e-3)
    everyone = memory.recall(values, TIMES, blocks=2, noise=1e-3, seed=5)
    some = np.array([33, 2, 57])
    part = memory.recall(values, TIMES, some, blocks=2, noise=1e-3, seed=5)
    np.testing.assert_allclose(part, everyone[:, some], rtol=1e-3, atol=1e-4)
    other = memory.recall(values, TIMES, some, noise=1e-3, seed=6)[-1]
    assert not np.allclose(part[-1], other, atol=1e-4)


def test_signs_and_results_are_reproducible():
    for name, buffer in fitted(seed=3).state_dict().items():
        assert torch.equal(buffer, fitted(seed=3).state_dict()[name])


@pytest.mark.parametrize("case", ["constant", "zero", "gap", "few", "huge"])
def test_odd_series(case):
    values = waves(12)
    values = {
        "constant": np.full_like(values, 0.3),
        "zero": np.zeros_like(values),
        "gap": np.where(np.arange(T) % 97 == 5, np.nan, values),
        "few": values[:2],
        "huge": 1e6 * values,
    }[case].astype(np.float32)
    memory = NodeMemory(8, K, H)
    memory.fit(values, np.arange(len(values)), TIMES)
    coefficients = memory.recall(values, TIMES, blocks=2)
    assert np.isfinite(coefficients).all()
    assert all(buffer.isfinite().all() for buffer in memory.buffers())
    window = torch.from_numpy(np.nan_to_num(values[:, 200 - K : 200], nan=0.5))
    outlook = memory(window, torch.from_numpy(coefficients[-1]))
    assert outlook.isfinite().all()
    if case in ("constant", "zero"):
        torch.testing.assert_close(outlook, torch.full_like(outlook, float(values[0, 0])))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: NodeMemory(0, K, H), r"'size' to be at least 1 \(got 0\)"),
        (lambda: NodeMemory(4, K, 0), r"'horizon' to be at least 1 \(got 0\)"),
        (
            lambda: NodeMemory(4, K, H).fit(waves(), np.arange(0), TIMES),
            r"nodes and times to fit the memory on \(got 0 and 294\)",
        ),
    ],
)
def test_memory_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_outlook_ends_at_the_horizon():
    for horizon in (1, 2, 5, 16, 63, 64, 100):
        steps = outlook_steps(horizon)
        assert steps[0] == 1
        assert steps[-1] == horizon
        assert (np.diff(steps) > 0).all()
        assert len(steps) <= 17


def test_features_read_the_block_of_a_time():
    ring = np.arange(60)
    graph = Graph.from_edges(ring, np.roll(ring, 1), 60)
    series = GraphSeries(graph, waves(), 1.0, "waves")
    position = np.random.default_rng(0).random((60, 3), dtype=np.float32)
    memory = fitted()
    features = NodeFeatures.remember(series, position, memory, TIMES, blocks=2)
    assert features.shape == (60, 3 + memory.size)
    nodes = np.array([7, 3])
    rows = memory.recall(series.values, TIMES, blocks=2)
    for time, row in ((K, 0), (TIMES[-1], 1), (350, 2), (None, 2)):
        expected = np.concatenate([position[nodes], rows[row][nodes]], axis=1)
        np.testing.assert_array_equal(features.read(nodes, time), expected)
    plain = NodeFeatures.remember(series, position, None, TIMES)
    assert plain.shape == (60, 3)
    np.testing.assert_array_equal(plain.read(nodes, 20), position[nodes])


def copies(nodes=40, steps=T, seed=0) -> tuple[Graph, np.ndarray]:
    """Pairs of nodes: one moves at random, but smoothly, the other follows four samples later."""
    rng = np.random.default_rng(seed)
    walk = np.cumsum(rng.normal(size=(nodes, steps + 20)), axis=1)
    smooth = np.stack([walk[:, i : i + steps + 4] for i in range(16)]).mean(0)
    lead = np.sin(0.3 * smooth)
    values = np.concatenate([lead[:, 4:], lead[:, :-4]]).astype(np.float32) + 2
    pair = np.arange(nodes)
    return Graph.from_edges(pair, nodes + pair, 2 * nodes), values


def test_a_memory_sees_the_neighbours_of_a_node():
    graph, values = copies()
    around, followers = Surroundings(graph), np.arange(40, 80)
    errors = []
    for neighbors in (False, True):
        memory = NodeMemory(8, K, H, neighbors=neighbors)
        memory.fit(values, np.arange(80), TIMES, around=around)
        coefficients = torch.from_numpy(memory.recall(values, TIMES, around=around)[-1][followers])
        past = torch.from_numpy(values[:, 400 - K : 400])
        mean = past[followers - 40] if neighbors else None
        outlook = memory(past[followers], coefficients, None, mean).numpy()
        errors.append(np.abs(outlook - values[followers, 399 + memory.steps[:, None]].T)[:, 1])
    assert memory.steps[1] == 2
    assert errors[1].mean() < 0.5 * errors[0].mean()
    # Without the neighbours at hand they are filled in, which is no worse than not to know them.
    blind = memory(past[followers], coefficients).numpy()
    truth = values[followers, 399 + memory.steps[1]]
    assert np.abs(blind[:, 1] - truth).mean() < 1.5 * errors[0].mean()


def test_a_course_is_looked_at_and_filled_where_unknown():
    memory = NodeMemory(2, K, H, collective=True)
    generator = torch.Generator().manual_seed(0)
    for buffer in memory.buffers():
        buffer.copy_(torch.rand(buffer.shape, generator=generator))
    window, coefficients = torch.rand(4, K), torch.rand(4, 2)
    course = torch.rand(4, len(memory.steps))
    scaled = (window - memory.level) / memory.spread
    filled = scaled @ memory.fill_course[:-1] + memory.fill_course[-1]
    unknown = memory(window, coefficients)
    torch.testing.assert_close(
        memory(window, coefficients, memory.level + memory.spread * filled), unknown
    )
    gaps = torch.where(torch.arange(4)[:, None] < 2, course, torch.nan)
    mixed = memory(window, coefficients, gaps)
    torch.testing.assert_close(mixed[:2], memory(window, coefficients, course)[:2])
    torch.testing.assert_close(mixed[2:], unknown[2:])
    assert (mixed[:2] - unknown[:2]).abs().min() > 1e-3


def test_a_memory_that_looks_around_needs_surroundings():
    for options in ({"neighbors": True}, {"collective": True}):
        with pytest.raises(ValueError, match="Expected 'around'"):
            NodeMemory(2, K, H, **options).fit(waves(), np.arange(40), TIMES)


def test_modes_must_be_those_of_the_times_and_blocks():
    values = waves()
    memory = NodeMemory(2, K, H, collective=True)
    ring = Graph.from_edges(np.arange(60), np.roll(np.arange(60), 1), 60)
    modes = CollectiveModes.find(
        values, np.arange(40), TIMES, window=K, steps=memory.steps, count=3, blocks=4
    )
    around = Surroundings(ring, modes)
    memory.fit(values, np.arange(40), TIMES, around=around)
    for blocks in (0, 4):
        assert memory.recall(values, TIMES, around=around, blocks=blocks).shape[2] == 2 + 4
    with pytest.raises(ValueError, match=r"'blocks' of 0 or 4, .* \(got 3\)"):
        memory.recall(values, TIMES, around=around, blocks=3)
    with pytest.raises(ValueError, match=r"from samples 0 to 211, .* \(got 0 to 311\)"):
        memory.recall(values, range(K, 200), around=around)


def test_a_block_leaves_the_times_that_the_recall_keeps():
    times, horizon = range(17, 217), 12
    memory = NodeMemory(2, K, horizon)
    memory.fit(waves(), np.arange(40), times)
    for blocks in (2, 3, 5):
        for block in range(blocks):
            inside = [time for time in times if block_of(time, times, blocks) == block]
            apart = [
                time
                for time in times
                if time + horizon <= inside[0] or time >= inside[-1] + horizon
            ]
            assert kept_times(block, times, blocks, horizon).tolist() == apart
    assert kept_times(5, times, 5, horizon).tolist() == list(times)


def alike(nodes=80, steps=T, seed=0) -> np.ndarray:
    """Nodes that differ in nothing: smooth noise of one spectrum, so that windows are alike."""
    noise = np.random.default_rng(seed).normal(size=(nodes, steps + 30))
    smooth = np.stack([noise[:, i : i + steps] for i in range(30)]).mean(0)
    return (2 + smooth).astype(np.float32)


def test_overlapping_windows_do_not_count_as_many():
    """Where nodes do not differ, their own past tells nothing, and the memory says so."""
    values, times = alike(), range(K, 90)
    memory = NodeMemory(8, K, H)
    memory.fit(values, np.arange(40), times)
    own = memory.recall(values, times)[-1]
    late = range(150, 400, 10)
    kept = np.mean([error(memory, values, own, time) for time in late])
    shared = np.mean([error(memory, values, 0 * own, time) for time in late])
    # With an inflation of one it errs by a tenth more.
    memory.scale /= inflation(memory, values, times) ** 0.5
    naive = memory.recall(values, times)[-1]
    trusting = np.mean([error(memory, values, naive, time) for time in late])
    assert kept < 1.02 * shared
    assert trusting > 1.05 * shared


def inflation(memory, values, times) -> float:
    """Inflation that was chosen: scale over the error that is left."""
    other = NodeMemory(memory.size, K, H)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NodeMemory, "_inflation", lambda *_: 1)
        other.fit(values, np.arange(40), times)
    return float((memory.scale / other.scale).square().mean())


def test_long_pasts_of_different_nodes_are_trusted():
    assert inflation(fitted(), waves(), TIMES) == pytest.approx(1)
    memory = NodeMemory(8, K, H)
    memory.fit(alike(), np.arange(40), range(K, 90))
    assert inflation(memory, alike(), range(K, 90)) > 10


def test_too_few_times_leave_one_forecast_for_all(caplog):
    values, least = waves(), least_times(H)
    for count, remembers in ((least - 1, False), (least, True)):
        times = range(K, K + count)
        memory = NodeMemory(4, K, H)
        memory.fit(values, np.arange(40), times)
        assert bool((memory.recall(values, times, blocks=4) != 0).any()) == remembers
        assert bool((memory.recall(values, range(K, 400)) != 0).any()) == remembers
    assert len(caplog.messages) == 1
    assert f"at least {least} training times" in caplog.text


def test_modes_of_few_times_are_not_looked_at():
    graph, values = copies()
    nodes = np.arange(len(values))
    for stop, trusted in ((64, False), (400, True)):
        times = range(K, stop)
        modes = CollectiveModes.find(
            values, nodes, times, window=K, steps=outlook_steps(H), count=4, blocks=4
        )
        kept = min(len(kept_times(block, times, 4, H)) for block in range(4))
        assert (kept >= modes.least_times) == trusted
        memory = NodeMemory(4, K, H, collective=True)
        memory.fit(values, nodes, times, around=Surroundings(graph, modes))
        course = slice(K, K + len(memory.steps))
        for weight in (memory.shared[course], memory.modes[:, course]):
            assert bool((weight != 0).any()) == trusted


def test_modes_that_forget_nothing_serve_as_well():
    graph, values = copies()
    nodes, times = np.arange(len(values)), range(K, 400)
    modes = CollectiveModes.find(
        values, nodes, times, window=K, steps=outlook_steps(H), count=4, blocks=0
    )
    memory = NodeMemory(4, K, H, collective=True)
    memory.fit(values, nodes, times, around=Surroundings(graph, modes))
    assert bool((memory.shared[K : K + len(memory.steps)] != 0).any())
