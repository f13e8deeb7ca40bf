"""The factorised walk embedding beside node2vec: time, and link prediction.

    python benchmarks/walk_embedding.py --nodes 43000 --channels 32

A tenth of the edges of a random hyperbolic graph is taken out; embeddings of the rest tell these
edges from as many random pairs of nodes, by logistic regression on the products of the two rows,
channel by channel, fitted on edges that were left in. The area under the ROC curve is that of the
edges taken out, mean and standard deviation over ``--seeds``. What the embeddings do for the
forecast is seen by training with each: ``--data.positional.walk_method factorised | node2vec``.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize
from scipy.stats import rankdata

from roma_pyg.config import GraphConfig
from roma_pyg.data.eigenmaps import laplacian_eigenmaps
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph
from roma_pyg.data.node2vec import node2vec
from roma_pyg.data.walk_embedding import walk_embedding

Embed = Callable[[Graph, int, int], np.ndarray]


def auc(score: np.ndarray, label: np.ndarray) -> float:
    """Area under the ROC curve, by ranks."""
    positive = int(label.sum())
    negative = len(label) - positive
    rank = rankdata(score)[label == 1].sum()
    return float((rank - positive * (positive + 1) / 2) / (positive * negative))


def logistic(features: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Weights of a logistic regression with a small ridge, the constant last."""
    inputs = np.c_[features, np.ones(len(features))]
    sign = 2 * label - 1

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        margin = sign * (inputs @ weights)
        slope = -sign / (1 + np.exp(np.clip(margin, -50, 50)))
        value = np.logaddexp(0, -margin).mean() + 1e-4 * weights @ weights
        return float(value), inputs.T @ slope / len(label) + 2e-4 * weights

    return minimize(loss, np.zeros(inputs.shape[1]), jac=True, method="L-BFGS-B").x


def score(graph: Graph, embed: Embed, channels: int, seed: int) -> tuple[float, float]:
    """AUC on held-out edges, and seconds."""
    rng = np.random.default_rng(seed)
    upper = sp.coo_array(sp.triu(graph.to_matrix(weighted=False)))
    edges = rng.permutation(np.stack(upper.coords, axis=1))
    held = len(edges) // 10
    rest = Graph.from_edges(edges[held:, 0], edges[held:, 1], graph.num_nodes)
    start = time.perf_counter()
    vectors = embed(rest, channels, seed)
    seconds = time.perf_counter() - start
    pairs = rng.integers(graph.num_nodes, size=(2 * held, 2))

    def features(links: np.ndarray) -> np.ndarray:
        return vectors[links[:, 0]] * vectors[links[:, 1]]

    label = np.r_[np.ones(held), np.zeros(held)]
    scale = features(edges[held : 2 * held]).std() + 1e-12
    known = np.r_[features(edges[held : 2 * held]), features(pairs[:held])] / scale
    weights = logistic(known, label)
    unknown = np.r_[features(edges[:held]), features(pairs[held:])] / scale
    return auc(np.c_[unknown, np.ones(len(unknown))] @ weights, label), seconds


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--nodes", type=int, default=43_000)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--window", type=int, default=5)
    parser.add_argument("--epochs", type=int, nargs="+", default=[1, 5], help="of node2vec")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    options = parser.parse_args()
    graph = Graph.from_matrix(hyperbolic_graph(GraphConfig(nodes=options.nodes), 0).adjacency)
    window = options.window
    methods: dict[str, Embed] = {
        "factorised": lambda g, c, s: walk_embedding(g, c, window, s),
        "Laplacian eigenmaps": lambda g, c, s: laplacian_eigenmaps(g, c).vectors,
    }
    for epochs in options.epochs:
        methods[f"node2vec, {epochs} epochs"] = lambda g, c, s, e=epochs: node2vec(
            g, c, window, s, epochs=e
        )
    print(f"{graph.num_nodes:,} nodes, {options.channels} channels, window {window}")
    print("| embedding | AUC | spread | seconds |\n| --- | ---: | ---: | ---: |")
    for name, embed in methods.items():
        found = np.array([score(graph, embed, options.channels, seed) for seed in options.seeds])
        mean, spread = found.mean(axis=0), found.std(axis=0)
        print(f"| {name} | {mean[0]:.4f} | {spread[0]:.4f} | {mean[1]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
