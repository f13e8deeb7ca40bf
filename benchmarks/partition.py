"""What it takes to spread one graph over several machines: cuts, halos, and bytes on the wire.

    python benchmarks/partition.py                                # the graph of KM-3M
    torchrun --standalone --nproc-per-node 4 benchmarks/partition.py --verify --nodes 20000

The first draws the random hyperbolic graph of ``configs/km3m.yaml`` and divides its nodes into R
parts: at random; by their order, which is that of their angles; by communities (networkit's
parallel Louvain), given to the part with most of their neighbours that has room; and by METIS where
pymetis is installed. Of each it prints the cut, the balance, the nodes outside of a part that send
into it (its halo), and the bytes that a rank receives:

- *reads*, per training step of its own two subgraphs, whose walks begin in the part and go
  anywhere: windows, features, targets and edges of nodes that other ranks keep;
- *encoder*, per pass of all graph layers over the whole graph: windows and features of the halo;
- *supernodes*, per such pass: sums over the nodes of the first level and its couplings.

The second divides a smaller graph by communities, and runs the encoder and the first coarse
graining of an untrained model on all ranks, each with its own nodes and halo: once whole, once in
parts. It prints how far the results are apart, and bytes counted and predicted.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import networkit as nk
import numpy as np
import scipy.sparse as sp
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from roma_pyg import exchange, ranks
from roma_pyg.config import GraphConfig, ModelConfig, RunConfig
from roma_pyg.data.graph import Graph, IntArray
from roma_pyg.data.hyperbolic import hyperbolic_graph
from roma_pyg.data.memory import outlook_steps
from roma_pyg.data.sampling import Subgraph, SubgraphSampler, collate
from roma_pyg.data.walks import random_walks
from roma_pyg.models.make import make_model
from roma_pyg.models.roma import Roma
from roma_pyg.nn.segment import row_offsets, weighted_mean
from roma_pyg.options.parser import load_config

ROOM = 1.03
"""Largest part, in units of the mean, that communities are packed into."""

Partition = Callable[[Graph, int], IntArray]


def at_random(graph: Graph, parts: int) -> IntArray:
    """Any node to any part."""
    return np.random.default_rng(0).permutation(graph.num_nodes) % parts


def by_order(graph: Graph, parts: int) -> IntArray:
    """Blocks of consecutive nodes."""
    return np.arange(graph.num_nodes) * parts // graph.num_nodes


def by_communities(graph: Graph, parts: int) -> IntArray:
    """Communities, from large to small, to the part with most of their edges that has room.

    The edges are weighted by the room that is left (linear deterministic greedy, Stanton & Kliot
    2012, doi:10.1145/2339530.2339722). A community that fits nowhere is cut by the order of its
    nodes.
    """
    if graph not in _communities:
        _communities[graph] = _louvain(graph)
    label = _communities[graph]
    sizes = np.bincount(label)
    member = sp.csr_array((np.ones(len(label)), (np.arange(len(label)), label)))
    between = sp.csr_array(member.T @ graph.to_matrix(weighted=False) @ member)
    room = np.full(parts, ROOM * graph.num_nodes / parts)
    full = room[0]
    result = np.full(graph.num_nodes, -1, dtype=np.int64)
    place = np.full(len(sizes), -1, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    members = np.split(np.argsort(label, kind="stable"), np.cumsum(sizes)[:-1])
    for community in order:
        row = slice(between.indptr[community], between.indptr[community + 1])
        near = place[between.indices[row]]
        known = near >= 0
        links = np.bincount(near[known], between.data[row][known], minlength=parts)
        fits = room >= sizes[community]
        score = np.where(fits, (links + 1e-9) * room / full, -1.0)
        nodes = members[community]
        if fits.any():
            place[community] = int(np.argmax(score))
            result[nodes] = place[community]
            room[place[community]] -= len(nodes)
            continue
        for part in np.argsort(-room):
            taken, nodes = np.split(nodes, [int(max(room[part], 0))])
            result[taken] = part
            room[part] -= len(taken)
    return result


_communities: dict[Graph, IntArray] = {}


def _louvain(graph: Graph) -> IntArray:
    """Communities by networkit."""
    matrix = sp.triu(graph.to_matrix(weighted=False)).tocoo()
    network = nk.GraphFromCoo((np.ones(matrix.nnz), (matrix.row, matrix.col)), graph.num_nodes)
    nk.setSeed(0, False)
    found = nk.community.PLM(network, refine=True)
    found.run()
    return np.unique(found.getPartition().getVector(), return_inverse=True)[1]


def by_metis(graph: Graph, parts: int) -> IntArray:
    """METIS, by the library pymetis."""
    import pymetis

    _, label = pymetis.part_graph(parts, pymetis.CSRAdjacency(graph.rowptr, graph.col))
    return np.asarray(label, dtype=np.int64)


class Plan(NamedTuple):
    """What a partition costs; nodes and edges of the whole graph, halos of each part."""

    cut: float
    balance: float
    edge_balance: float
    halo: IntArray


def measure(graph: Graph, label: IntArray, parts: int) -> Plan:
    """Cut, balance and halo of a partition."""
    receiver = np.repeat(label, graph.degree)
    across = receiver != label[graph.col]
    pairs = np.unique(receiver[across] * graph.num_nodes + graph.col[across])
    nodes = np.bincount(label, minlength=parts)
    edges = np.bincount(receiver, minlength=parts)
    return Plan(
        float(across.mean()),
        float(nodes.max() / nodes.mean()),
        float(edges.max() / edges.mean()),
        np.bincount(pairs // graph.num_nodes, minlength=parts),
    )


class Reads(NamedTuple):
    """What the subgraphs of a part read of other parts, as means per subgraph."""

    core: float
    halo: float
    edges: float
    leaving: float


def measure_reads(sampler: SubgraphSampler, label: IntArray, part: int, draws: int = 20) -> Reads:
    """Draw subgraphs whose walks begin in one part.

    Returns:
        Core nodes, halo nodes, and edges of core nodes in other parts, and the share of the steps
        of walks that leave a part.
    """
    rng = np.random.default_rng(part)
    own = np.flatnonzero(label == part)
    chunk = sampler.size // (sampler.walk_length + 1)
    seen = np.zeros((draws, 4))
    for draw in seen:
        core = np.empty(0, dtype=np.int64)
        while len(core) < sampler.size:
            walks = random_walks(sampler.graph, rng.choice(own, chunk), sampler.walk_length, rng)
            draw[3] = (label[walks[:, 1:]] != label[walks[:, :-1]]).mean()
            core = np.concatenate([core, walks.ravel()])
            core = core[np.sort(np.unique(core, return_index=True)[1])]
        sub = sampler.expand(core[: sampler.size], rng)
        away = label[sub.nodes] != part
        draw[:3] = (
            away[: sub.num_core].sum(),
            away[sub.num_core :].sum(),
            away[sub.receiver].sum(),
        )
    return Reads(*seen.mean(axis=0))


class Bytes(NamedTuple):
    """Bytes that a rank receives."""

    reads: float
    encoder: float
    supernodes: float


def count_bytes(config: RunConfig, plan: Plan, reads: Reads, parts: int) -> Bytes:
    """Bytes of a training step, of an encoding of the whole graph, and of its coarse graining."""
    data = config.data
    row = 4 * (data.window + data.num_features)
    step = data.graphs_per_batch * (
        row * (reads.core + reads.halo)
        + 4 * config.training.steps_ahead * reads.core
        + 12 * reads.edges
    )
    halo = int(plan.halo.max())
    inputs = num_inputs(config)
    return Bytes(step, encoder_bytes(halo, config.model, inputs), 4 * pooled(config, parts))


def encoder_bytes(halo: int, model: ModelConfig, inputs: int) -> float:
    """Bytes of the halo in one pass: inputs, points after every layer, assignments.

    Positional features and memory do not change, and are kept with the halo.
    """
    return 4.0 * halo * (inputs + model.encoder.layers * model.encoder.width + model.pool.sizes[0])


def num_inputs(config: RunConfig) -> int:
    """Samples of a window, and of its continuation by the memory."""
    data = config.data
    return data.window + (len(outlook_steps(data.horizon)) if data.memory.size else 0)


def pooled(config: RunConfig, parts: int) -> float:
    """Numbers that a rank receives in the sums of the first coarse level, as a ring passes them."""
    count = config.model.pool.sizes[0]
    width = config.model.encoder.width + 2 * num_inputs(config)
    return 2 * (parts - 1) / parts * count * (2 + width + count)


def compare(options: argparse.Namespace) -> None:
    """Print the table of partitions."""
    config = load_config(options.config)
    if options.nodes:
        config.data.graph.nodes = options.nodes
    graph = make_graph(config.data.graph)
    model = make_model(config.model, config.data)
    size = 4 * model.num_parameters
    sampler = SubgraphSampler(
        graph, config.data.nodes_per_graph, config.data.walk_length, config.data.max_neighbors
    )
    print(
        f"{graph.num_nodes:,} nodes, {graph.num_edges // 2:,} edges; {model.num_parameters:,} "
        f"parameters, of whose gradients a rank receives {size / 1e6:.1f} (R = 2) to "
        f"{2 * 15 / 16 * size / 1e6:.1f} MB (R = 16) per step\n\n"
        "| R | parts by | edges cut | largest part, nodes | edges | largest halo / part "
        "| all halos / N | steps that leave | reads | encoder | supernodes | found in |\n"
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    for parts in options.parts:
        for name, divide in methods():
            start = time.perf_counter()
            label = divide(graph, parts)
            seconds = time.perf_counter() - start
            plan = measure(graph, label, parts)
            some = range(0, parts, max(1, parts // 4))
            drawn = [measure_reads(sampler, label, part) for part in some]
            reads = Reads(*np.mean(drawn, axis=0))
            cost = count_bytes(config, plan, reads, parts)
            mean = graph.num_nodes / parts
            print(
                f"| {parts} | {name} | {plan.cut:.1%} | {plan.balance:.2f} "
                f"| {plan.edge_balance:.2f} | {plan.halo.max() / mean:.1%} "
                f"| {plan.halo.sum() / graph.num_nodes:.1%} | {reads.leaving:.1%} "
                f"| {cost.reads / 1e3:.0f} kB | {cost.encoder / 1e6:.0f} MB "
                f"| {cost.supernodes / 1e3:.0f} kB | {seconds:.0f} s |",
                flush=True,
            )


def methods() -> Iterator[tuple[str, Partition]]:
    """Ways to divide a graph that can be used here."""
    yield "chance", at_random
    yield "order", by_order
    yield "communities", by_communities
    try:
        import pymetis  # noqa: F401
    except ImportError:
        sys.stderr.write("No METIS: pip install pymetis.\n")
    else:
        yield "METIS", by_metis


def make_graph(config: GraphConfig) -> Graph:
    """The random hyperbolic graph of a configuration."""
    return Graph.from_matrix(hyperbolic_graph(config, seed=0).adjacency)


class Halo:
    """Fills the rows of halo nodes with those of the ranks that own them.

    Args:
        sub: Own nodes (core) and halo.
        label: Part of every node.
    """

    def __init__(self, sub: Subgraph, label: NDArray[np.int64]) -> None:
        """Ask the owners once; afterwards rows are sent without being asked for."""
        outside = sub.nodes[sub.num_core :]
        owner = label[outside]
        self.order = np.argsort(owner, kind="stable")
        wanted = [outside[owner == part] for part in range(ranks.size())]
        place = np.full(len(label), -1)
        place[sub.core] = np.arange(sub.num_core)
        asked = exchange.gather(wanted)
        self.send = [torch.from_numpy(place[lists[ranks.rank()]]) for lists in asked]
        self.receive = [len(nodes) for nodes in wanted]
        self.bytes = 0

    def __call__(self, own: Tensor) -> Tensor:
        """Own rows, shape ``(n, C)``, and those of the halo behind them."""
        width = own.shape[1]
        parts = [own[rows].contiguous() for rows in self.send]
        everything = own.new_empty(sum(self.receive), width)
        dist.all_to_all_single(
            everything, torch.cat(parts), self.receive, [len(rows) for rows in self.send]
        )
        # Counted as the four bytes a number has in training.
        self.bytes += 4 * everything.numel()
        halo = torch.empty_like(everything)
        halo[torch.from_numpy(self.order)] = everything
        return torch.cat([own, halo])


def whole(model: Roma, sampler: SubgraphSampler, window: Tensor, features: Tensor) -> list[Tensor]:
    """Points, assignment, pooled features and couplings by one process, rows in order of nodes."""
    graph = sampler.graph
    sub = sampler.expand(np.arange(graph.num_nodes), np.random.default_rng(0))
    fine = model.encode(batch_of(sub, window, features))
    stage = model.renormalizations[0]
    coarse, _ = stage(fine)
    back = torch.from_numpy(np.argsort(sub.nodes))
    return [fine.points[back], coarse.assignment[0][back], coarse.features[0], coarse.adjacency[0]]


def in_parts(
    model: Roma,
    sampler: SubgraphSampler,
    window: Tensor,
    features: Tensor,
    label: IntArray,
) -> tuple[list[Tensor], Halo, IntArray]:
    """The same of the own nodes, with the halos and sums of the other ranks."""
    own = np.flatnonzero(label == ranks.rank())
    sub = sampler.expand(own, np.random.default_rng(0))
    halo = Halo(sub, label)
    batch = batch_of(sub, window, features)
    count, total = sub.num_core, sampler.graph.num_nodes
    # Only the own windows are known here.
    batch.window = halo(batch.window[:count])
    batch = model._continued(batch)
    # The continuation of a node looks at its neighbours, so that only its own rank has it.
    tail = halo(batch.window[:count, model.data.window :])
    batch.window = torch.cat([batch.window[:, : model.data.window], tail], dim=1)
    encoder, stage = model.encoder, model.renormalizations[0]
    edges, weight = batch.edge_index, batch.edge_weight
    rowptr = row_offsets(edges[1], count)
    space = encoder.first.space
    inputs = space.from_tangent(encoder.embed(model._inputs(batch)))
    points = encoder.first(inputs, edges, count, rowptr, weight)
    for layer in encoder.others:
        points = layer(halo(points), edges, count, rowptr, weight)
    everyone = halo(points)
    embedded = stage.embed(everyone, edges, count, rowptr, weight)
    logits = stage.select.scores(everyone, edges, 1, count, rowptr, weight)[0]
    share = logits.square()
    share = share / exchange.total(share.sum(0))
    tangent = stage.embed.space.to_tangent(embedded)
    sums = exchange.total(share.T @ tangent) * (total / share.shape[1])
    pulled = weighted_mean(halo(share), edges, weight, count, rowptr)
    return [points, share, stage.norm(sums), exchange.total(share.T @ pulled)], halo, sub.core


def batch_of(sub: Subgraph, window: Tensor, features: Tensor):  # noqa: ANN201
    """One subgraph as a batch in double precision."""
    batch = collate(
        [sub], [window.numpy()[sub.nodes]], [features.numpy()[sub.nodes]], np.array([1])
    )
    batch.edge_weight = batch.edge_weight.to(window.dtype)
    return batch


@torch.no_grad()
def verify(options: argparse.Namespace) -> None:
    """Compare the parts with the whole."""
    config = load_config(options.config)
    config.data.graph.nodes = options.nodes or 20_000
    graph = make_graph(config.data.graph)
    torch.manual_seed(0)
    config.data.nodes_per_graph = 256
    model = make_model(config.model, config.data).double().eval()
    assert isinstance(model, Roma)
    sampler = SubgraphSampler(graph, 256, max_neighbors=int(graph.degree.max()))
    rng = np.random.default_rng(0)
    window = torch.from_numpy(rng.random((graph.num_nodes, config.data.window)))
    features = torch.from_numpy(rng.random((graph.num_nodes, config.data.num_features)))
    if model.memory is not None:
        model.memory.modes.normal_()
    with exchange.connected(600), exchange.joint():
        label = exchange.gather(by_communities(graph, ranks.size()))[0]
        found, halo, nodes = in_parts(model, sampler, window, features, label)
        expected = whole(model, sampler, window, features)
        expected[:2] = [values[nodes] for values in expected[:2]]
        names = ("embeddings", "assignment", "supernode features", "couplings")
        errors = [
            float((a - b).abs().max() / b.abs().max()) for a, b in zip(found, expected, strict=True)
        ]
        predicted = encoder_bytes(sum(halo.receive), config.model, num_inputs(config))
        rows = exchange.gather((errors, halo.bytes, predicted, len(nodes), sum(halo.receive)))
    if ranks.rank() == 0:
        print(
            "| rank | nodes | halo | bytes received | predicted | "
            + " | ".join(names)
            + " |\n| ---: | ---: | ---: | ---: | ---: | "
            + " | ".join(["---:"] * len(names))
            + " |"
        )
        for rank, (errors, counted, predicted, count, outside) in enumerate(rows):
            print(
                f"| {rank} | {count:,} | {outside:,} | {counted:,} | {predicted:,.0f} | "
                + " | ".join(f"{error:.0e}" for error in errors)
                + " |"
            )


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--config", type=Path, default=Path("configs/km3m.yaml"))
    parser.add_argument("--nodes", type=int, help="nodes of the graph instead of the configured")
    parser.add_argument("--parts", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--verify", action="store_true", help="compare ranks with one process")
    options = parser.parse_args()
    torch.set_num_threads(1)
    (verify if options.verify else compare)(options)


if __name__ == "__main__":
    main()
