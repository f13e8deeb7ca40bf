"""Laplacian eigenmaps against PyG's transform: time, memory, residual, and the way chosen.

    python benchmarks/eigenmaps.py --graphs hyperbolic:43000:32 er:30000:32 grid:40000:32

A graph is ``kind:nodes:k`` with the kind ``hyperbolic``, ``er`` (Erdos-Renyi), ``regular`` (each
node draws three neighbours) or ``grid``. ``--pyg SECONDS`` runs
``torch_geometric.transforms.AddLaplacianEigenvectorPE`` on the same graph, one thread, right after
ours, and gives up after so long. Every measurement is a process of its own: the peak is that of
the process, with libraries and the graph. PyG computes in single precision. On ``er``, its vectors
are other ones: they begin with the zero eigenvalues of the components.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

from roma_pyg.config import GraphConfig
from roma_pyg.data.eigenmaps import laplacian_eigenmaps, undirected_adjacency
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph

HEADER = (
    "| graph | nodes | edges | k | way | entries of the factor | seconds | peak GB | residual "
    "| PyG seconds | PyG residual | ratio |"
)


def make_graph(kind: str, nodes: int, seed: int) -> Graph:
    """Draw a graph of one of the kinds above; a grid has the next smaller square number."""
    rng = np.random.default_rng(seed)
    if kind == "hyperbolic":
        return Graph.from_matrix(hyperbolic_graph(GraphConfig(nodes=nodes), seed).adjacency)
    if kind == "er":
        return Graph.from_edges(*rng.integers(nodes, size=(2, 3 * nodes)), nodes)
    if kind == "regular":
        return Graph.from_edges(
            np.tile(np.arange(nodes), 3), rng.permuted(np.tile(np.arange(nodes), 3)), nodes
        )
    if kind == "grid":
        side = int(nodes**0.5)
        index = np.arange(side * side).reshape(side, side)
        senders = np.concatenate([index[:-1].ravel(), index[:, :-1].ravel()])
        receivers = np.concatenate([index[1:].ravel(), index[:, 1:].ravel()])
        return Graph.from_edges(senders, receivers, side * side)
    raise ValueError(f"Expected a kind of graph (got {kind!r}): see --help.")


def measure(method: str, path: Path, k: int) -> dict[str, float | str]:
    """Run one method on a stored graph, in this process."""
    with np.load(path, allow_pickle=False) as stored:
        graph = Graph(stored["rowptr"], stored["col"], stored["weight"])
    if method == "ours":
        start = time.perf_counter()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = laplacian_eigenmaps(graph, k)
        seconds = time.perf_counter() - start
        way = found.method + (" (not converged)" if caught else "")
        result: dict[str, float | str] = {"way": way, "fill": found.fill}
        result["residual"] = found.residual
    else:
        import torch
        from torch_geometric.data import Data
        from torch_geometric.transforms import AddLaplacianEigenvectorPE

        receivers = np.repeat(np.arange(graph.num_nodes), np.diff(graph.rowptr))
        edges = torch.from_numpy(np.stack([graph.col, receivers]))
        data = Data(edge_index=edges, num_nodes=graph.num_nodes)
        transform = AddLaplacianEigenvectorPE(k, attr_name="pe", is_undirected=True)
        start = time.perf_counter()
        vectors = transform(data).pe.numpy().astype(np.float64)
        seconds = time.perf_counter() - start
        result = {"residual": _residual(graph, vectors)}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    return result | {"seconds": seconds, "peak": peak}


def _residual(graph: Graph, vectors: np.ndarray) -> float:
    """Largest ``|L v - (v'Lv / v'v) v| / |v|``; single precision alone gives about 1e-7."""
    adjacency = undirected_adjacency(graph)
    scale = 1 / np.sqrt(np.maximum(np.diff(adjacency.indptr), 1))
    worst = 0.0
    for vector in (vectors / np.linalg.norm(vectors, axis=0)).T:
        image = vector - scale * (adjacency @ (scale * vector))
        worst = max(worst, float(np.linalg.norm(image - vector * (vector @ image))))
    return worst


def in_child(method: str, path: Path, k: int, limit: float) -> dict[str, float | str] | None:
    """Measure in a process of its own, on one thread; None if it took longer than the limit."""
    words = [sys.executable, __file__, "--child", method, str(path), str(k)]
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    environment = os.environ | dict.fromkeys(names, "1")
    try:
        done = subprocess.run(
            words, env=environment, check=True, timeout=limit or None, capture_output=True
        )
    except subprocess.TimeoutExpired:
        return None
    except subprocess.CalledProcessError as error:
        sys.stderr.write(error.stderr.decode())
        raise
    return json.loads(done.stdout.splitlines()[-1])


def row(name: str, seed: int, pyg: float, folder: Path) -> str:
    """Measure one graph; returns its line of the table."""
    kind, nodes, k = name.split(":")
    graph = make_graph(kind, int(nodes), seed)
    path = folder / "graph.npz"
    np.savez(path, rowptr=graph.rowptr, col=graph.col, weight=graph.weight)
    ours = in_child("ours", path, int(k), 0.0)
    assert ours is not None
    cells = [kind, graph.num_nodes, graph.num_edges // 2, k, ours["way"]]
    cells += [f"{ours['fill']:.3g}", f"{ours['seconds']:.1f}", f"{ours['peak']:.2f}"]
    cells += [f"{ours['residual']:.1e}"]
    if pyg == 0:
        cells += ["", "", ""]
    elif (theirs := in_child("pyg", path, int(k), pyg)) is None:
        cells += [f"> {pyg:g}", "", f"> {pyg / float(ours['seconds']):.1f}"]
    else:
        ratio = float(theirs["seconds"]) / float(ours["seconds"])
        cells += [f"{theirs['seconds']:.1f}", f"{theirs['residual']:.1e}", f"{ratio:.1f}"]
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Print the table, line by line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--graphs", nargs="+", default=["hyperbolic:43000:32", "er:30000:32", "grid:40000:32"]
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--pyg", type=float, default=0, metavar="SECONDS", help="time limit of PyG; 0 to skip it"
    )
    parser.add_argument("--child", nargs=3, metavar=("METHOD", "GRAPH", "K"), help="internal")
    options = parser.parse_args()
    if options.child:
        method, path, k = options.child
        print(json.dumps(measure(method, Path(path), int(k))))
        return
    print(HEADER + "\n|" + " --- |" * (HEADER.count("|") - 1), flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for name in options.graphs:
            print(row(name, options.seed, options.pyg, Path(folder)), flush=True)


if __name__ == "__main__":
    main()
