from __future__ import annotations

import sys
from dataclasses import fields
from itertools import islice
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from roma_pyg.data.features import NodeFeatures
from roma_pyg.data.graph import Graph
from roma_pyg.data.sampling import SubgraphBatch, SubgraphSampler
from roma_pyg.data.windows import WindowStream, seed_worker

NODES, SAMPLES, WINDOW, HORIZON = 60, 200, 6, 12
# Nodes of the data set that the sampled graph consists of, and the times of its part.
PART = np.setdiff1d(np.arange(NODES), [3, 17, 40])
TIMES = range(50, 120)

forked = pytest.mark.skipif(sys.platform == "win32", reason="workers are forked")


def graph():
    rng = np.random.default_rng(0)
    senders = np.concatenate([np.arange(NODES - 1), rng.integers(NODES, size=60)])
    receivers = np.concatenate([np.arange(1, NODES), rng.integers(NODES, size=60)])
    return Graph.from_edges(senders, receivers, NODES)


def make_stream(values=None, **options):
    if values is None:
        # Tells node and sample: exact in float32.
        values = (np.arange(NODES)[:, None] * 1000 + np.arange(SAMPLES)).astype(np.float32)
    position = np.arange(NODES, dtype=np.float32)[:, None].repeat(3, axis=1)
    sampler = SubgraphSampler(graph().induced(PART), 20, 4, 5)
    given = {"window": WINDOW, "horizon": HORIZON, "noise": 0.0, "seed": 3} | options
    return WindowStream(
        values,
        NodeFeatures(position),
        given.pop("nodes", PART),
        sampler,
        given.pop("times", TIMES),
        **given,
    )


def assert_equal(one, other):
    for field in fields(SubgraphBatch):
        left, right = getattr(one, field.name), getattr(other, field.name)
        if isinstance(left, torch.Tensor):
            assert torch.equal(left, right), field.name
        else:
            assert left == right


@pytest.mark.parametrize("index", [0, 1, 17])
def test_windows_and_targets_are_those_of_the_nodes(index):
    batch = make_stream(graphs=2, steps_ahead=[1, 4, 12]).batch(index)
    assert batch.num_graphs == 2
    assert batch.num_core == 40
    node = batch.features[:, 0].int()
    assert torch.equal(batch.node_id.int(), node[:40])
    assert set(node.tolist()) <= set(PART.tolist())
    times = batch.window[:, -1] + 1 - 1000 * node
    for g in range(2):
        core = slice(20 * g, 20 * g + 20)
        (time,) = set(times[core].int().tolist())
        assert time in TIMES
        expected = 1000 * node[core, None] + time + torch.arange(-WINDOW, 0)
        assert torch.equal(batch.window[core], expected.float())
        ahead = 1000 * node[core, None] + time + torch.tensor([0, 3, 11])
        assert torch.equal(batch.target[core], ahead.float())
    # Halo nodes send to cores whose window ends at the same time.
    assert (times[batch.edge_index[0]] == times[batch.edge_index[1]]).all()


def test_edges_are_those_of_the_data_set():
    batch = make_stream(graphs=2).batch(5)
    adjacency = graph().to_matrix(weighted=False)
    sender, receiver = batch.features[:, 0][batch.edge_index].int().numpy()
    assert (adjacency[receiver, sender] == 1).all()


@pytest.mark.parametrize("noise", [0.0, 0.1])
@pytest.mark.parametrize("index", range(4))
def test_parts_make_up_the_joint_batch(noise, index):
    options = {"noise": noise, "steps_ahead": 4, "rollout": 3}
    joint = make_stream(graphs=4, **options).batch(index)
    parts = [make_stream(graphs=2, part=p, parts=2, **options).batch(index) for p in range(2)]
    for part in parts:
        assert torch.equal(part.steps, joint.steps)
        assert (part.seed, part.num_graphs) == (joint.seed, 2)
    for name in ("node_id", "target", "importance"):
        assert torch.equal(torch.cat([getattr(p, name) for p in parts]), getattr(joint, name))
    for name in ("window", "features"):
        core = [getattr(part, name)[:40] for part in parts]
        halo = [getattr(part, name)[40:] for part in parts]
        assert torch.equal(torch.cat(core + halo), getattr(joint, name))
    if joint.later is not None:
        assert torch.equal(torch.cat([part.later for part in parts], 1), joint.later)


def test_a_batch_depends_on_seed_and_number_alone():
    options = {"noise": 1e-2, "graphs": 2, "steps_ahead": 3}
    stream, other = make_stream(**options), make_stream(**options)
    for index in (9, 2, 9, 0):
        torch.manual_seed(index)
        np.random.seed(index)  # noqa: NPY002 - must have no influence
        assert_equal(stream.batch(index), other.batch(index))
    third = make_stream(**{**options, "seed": 4})
    seeds = {stream.batch(9).seed, stream.batch(8).seed, third.batch(9).seed}
    assert len(seeds) == 3
    assert not torch.equal(stream.batch(9).node_id, third.batch(9).node_id)
    assert not torch.equal(stream.batch(9).node_id, stream.batch(8).node_id)


def test_a_start_continues_the_stream():
    whole = list(islice(make_stream(noise=1e-2), 7))
    later = list(make_stream(noise=1e-2, start=4, stop=7))
    assert len(later) == 3
    for one, other in zip(whole[4:], later, strict=True):
        assert_equal(one, other)


def test_stop():
    assert len(list(make_stream(stop=3))) == 3
    assert list(make_stream(start=3, stop=3)) == []


@forked
@pytest.mark.parametrize("workers", [1, 2])
def test_workers_give_the_same_stream_as_one(workers):
    options = {"noise": 1e-2, "start": 2, "stop": 9}
    loader = DataLoader(
        make_stream(**options),
        batch_size=None,
        num_workers=workers,
        multiprocessing_context="fork",
        worker_init_fn=seed_worker,
    )
    expected = list(make_stream(**options))
    batches = list(loader)
    assert len(batches) == 7
    for one, other in zip(batches, expected, strict=True):
        assert_equal(one, other)


def threads_of_worker(queue):
    torch.set_num_threads(2)
    seed_worker(0)
    queue.put(torch.get_num_threads())


def test_seed_worker_takes_one_thread():
    # In a process of its own, as it also changes how a process takes signals.
    context = torch.multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=threads_of_worker, args=(queue,))
    process.start()
    assert queue.get() == 1
    process.join(60)
    assert process.exitcode == 0


@pytest.mark.parametrize("count", [1, 4, 5, 11])
def test_steps_ahead_are_stratified(count):
    stream = make_stream(steps_ahead=count)
    drawn = np.array([stream.batch(index).steps.numpy() for index in range(300)])
    assert drawn.shape == (300, count)
    assert (np.diff(drawn, axis=1) > 0).all()
    longest = -(-HORIZON // count)
    assert (np.diff(drawn, axis=1) < 2 * longest).all()
    if count in (1, 4):
        assert ((drawn - 1) // longest == np.arange(count)).all()
    # Every step ahead has its turn, equally often.
    counts = np.bincount(drawn.ravel(), minlength=HORIZON + 1)[1:]
    expected = 300 * count / HORIZON
    assert (np.abs(counts - expected) < 5 * expected**0.5).all()


def test_all_steps_and_given_steps():
    for steps in (None, 12, 40):
        assert make_stream(steps_ahead=steps).batch(0).steps.tolist() == list(range(1, 13))
    assert make_stream(steps_ahead=[2, 7]).batch(0).steps.tolist() == [2, 7]


def test_noise_on_history_and_targets():
    values = np.full((NODES, SAMPLES), 0.5, dtype=np.float32)
    stream = make_stream(values, noise=1e-2)
    batches = [stream.batch(index) for index in range(20)]
    for name in ("window", "target"):
        eta = torch.cat([(getattr(b, name) / 0.5).log().ravel() for b in batches]).double()
        assert abs(eta.mean()) < 4 * (1e-2 / len(eta)) ** 0.5
        assert abs(eta.var() - 1e-2) < 4 * 1e-2 * (2 / len(eta)) ** 0.5
    # History and target of a node are noisy independently, and so are nodes.
    eta = torch.cat([b.window[:20, :].log() for b in batches])
    ahead = torch.cat([b.target[:, :WINDOW].log() for b in batches])
    assert abs(torch.corrcoef(torch.stack([eta.ravel(), ahead.ravel()]))[0, 1]) < 4 / 2400**0.5


def test_nothing_else_is_read():
    values = np.full((NODES, SAMPLES), np.nan, dtype=np.float32)
    values[PART, TIMES[0] - WINDOW : TIMES[-1] + HORIZON] = 0.5
    stream = make_stream(values, graphs=2, noise=4e-4)
    for index in range(100):
        batch = stream.batch(index)
        assert torch.isfinite(batch.window).all()
        assert torch.isfinite(batch.target).all()


def test_read_only_memory_maps(tmp_path):
    stream = make_stream(noise=1e-2)
    np.save(tmp_path / "x.npy", stream.values)
    mapped = make_stream(np.load(tmp_path / "x.npy", mmap_mode="r"), noise=1e-2)
    assert_equal(mapped.batch(1), stream.batch(1))


def test_every_time_and_node_has_its_turn():
    stream = make_stream(times=range(50, 54))
    batches = [stream.batch(index) for index in range(60)]
    times = {int(b.window[0, -1] + 1 - 1000 * b.features[0, 0]) for b in batches}
    assert times == {50, 51, 52, 53}
    assert set(torch.cat([b.node_id for b in batches]).tolist()) == set(PART.tolist())


def test_importance_comes_with_the_batch():
    stream = make_stream(graphs=2)
    batch = stream.batch(0)
    cores = np.searchsorted(PART, batch.node_id.numpy())
    np.testing.assert_array_equal(batch.importance, stream.sampler.importance(cores))
    assert len(batch.importance.unique()) > 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"nodes": PART[1:]},
            r"Expected 'nodes' of the sampled graph, shape \(57,\) \(got \(56,\)",
        ),
        ({"nodes": PART + 1}, r"Expected 'nodes' in \[0, 60\) \(got 60 at position 56\)"),
        ({"times": range(0)}, "Expected at least one forecast time in 'times'"),
        ({"times": range(5, 20)}, r"Expected 'times' in \[6, 188\] .* \(got 5 to 19\)"),
        ({"times": range(180, 190)}, r"Expected 'times' in \[6, 188\] .* \(got 180 to 189\)"),
        ({"steps_ahead": 0}, r"Expected 'steps_ahead' to be at least 1 \(got 0\)"),
        ({"steps_ahead": [0, 1]}, r"Expected distinct 'steps_ahead' in \[1, 12\] \(got \[0, 1\]\)"),
        ({"steps_ahead": [1, 13]}, r"Expected distinct 'steps_ahead' in \[1, 12\]"),
        ({"steps_ahead": [2, 2]}, r"Expected distinct 'steps_ahead' in \[1, 12\]"),
        ({"steps_ahead": []}, r"Expected distinct 'steps_ahead' in \[1, 12\]"),
        ({"graphs": 0}, "Expected 'graphs' to be at least 1"),
        ({"seed": -3}, r"Expected 'seed' to be at least 0 \(got -3\)"),
        ({"start": -1}, "Expected 'start' to be at least 0"),
        ({"values": np.ones((59, 200), dtype=np.float32)}, "Expected 'features' of all 59 nodes"),
    ],
)
def test_impossible_streams(options, message):
    with pytest.raises(ValueError, match=message):
        make_stream(**options)


def test_rollouts_start_later_and_bring_the_halo_along():
    stream = make_stream(rollout=3, steps_ahead=[1, 5, 12])
    rounds = set()
    for index in range(60):
        batch = stream.batch(index)
        count = 0 if batch.later is None else len(batch.later)
        rounds.add(count)
        node = batch.features[:, 0]
        time = int(batch.window[0, -1] + 1 - 1000 * node[0])
        assert TIMES[0] <= time
        assert time + count * HORIZON <= TIMES[-1]
        last = time + count * HORIZON
        expected = 1000 * node[: batch.num_core, None] + last + batch.steps - 1
        assert torch.equal(batch.target, expected)
        for number in range(count):
            end = time + (number + 1) * HORIZON
            window = 1000 * node[batch.num_core :, None] + torch.arange(end - WINDOW, end)
            assert torch.equal(batch.later[number], window)
    assert rounds == {0, 1, 2}


def test_no_more_rounds_than_there_is_time():
    stream = make_stream(rollout=9, times=range(50, 63))
    assert stream.rollout == 2
    assert {stream.batch(i).later is None for i in range(20)} == {True, False}
    assert make_stream(rollout=9, times=range(50, 62)).rollout == 1


def test_a_stream_without_rollouts_is_what_it_was():
    plain, rolled = make_stream(), make_stream(rollout=1)
    assert_equal(plain.batch(4), rolled.batch(4))
    assert plain.batch(4).later is None


def test_courses_of_all_rounds_forget_the_last_one():
    stream = make_stream(rollout=3, graphs=2)
    calls = []
    modes = SimpleNamespace(
        knows=lambda time: time < 90,
        before=lambda time: ("seen", time),
        read=lambda past: ("read", past.time),
    )

    class Told(NodeFeatures):
        def course(self, nodes, modes, time=None):
            calls.append((modes, time))
            return np.full((len(nodes), 5), len(calls), np.float32)

    stream.features = Told(stream.features.position, modes=modes)
    for index in range(20):
        calls.clear()
        batch = stream.batch(index)
        rounds = 1 if batch.later is None else 1 + len(batch.later)
        assert batch.course.shape == (rounds, len(batch.window), 5)
        assert len(calls) == 2 * rounds
        for number in range(2):
            own = calls[number * rounds : (number + 1) * rounds]
            for step, ((kind, start), forgotten) in enumerate(own):
                assert start == own[0][0][1] + step * HORIZON
                assert forgotten == own[-1][0][1]
                assert kind == ("seen" if start < 90 else "read")
        half = batch.num_core // 2
        assert batch.course[:, 0, 0].tolist() == list(range(1, rounds + 1))
        assert batch.course[:, half, 0].tolist() == list(range(rounds + 1, 2 * rounds + 1))


def test_rollout_of_two_subgraphs():
    stream = make_stream(rollout=2, graphs=2)
    batch = next(b for b in (stream.batch(i) for i in range(20)) if b.later is not None)
    assert batch.later.shape == (1, len(batch.window) - batch.num_core, WINDOW)
    node = batch.features[batch.num_core :, 0]
    start = batch.window[batch.num_core :, 0] - 1000 * node
    assert torch.equal(batch.later[0, :, 0] - 1000 * node, start + HORIZON)


def test_rollout_must_be_positive():
    with pytest.raises(ValueError, match="'rollout' to be at least 1"):
        make_stream(rollout=0)
