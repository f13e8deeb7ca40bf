"""Structural features of each node: eigenmaps, walk embedding and degree, cached on disk."""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roma_pyg.config import PositionalConfig
from roma_pyg.data.array_files import read_npz
from roma_pyg.data.eigenmaps import laplacian_eigenmaps
from roma_pyg.data.graph import Graph
from roma_pyg.data.node2vec import node2vec
from roma_pyg.data.series import POSITION, GraphSeries
from roma_pyg.data.walk_embedding import walk_embedding
from roma_pyg.writing import replacing

FORMAT = 2
"""Raised whenever the features of a graph change, so that older caches are not used."""


@dataclass(frozen=True, eq=False)
class PositionalFeatures:
    """Features and how good they are.

    Attributes:
        values: Shape ``(N, P)``, float32, in [0, 1].
        eigenvalues: Eigenvalue of each Laplacian eigenvector, shape ``(eigenmaps,)``.
        residual: Largest ``|L v - lambda v|`` of the eigenvectors.
    """

    values: NDArray[np.float32]
    eigenvalues: NDArray[np.float64]
    residual: float


def node_positions(
    series: GraphSeries, config: PositionalConfig, cache: Path | None
) -> NDArray[np.float32]:
    """Return all positional features of a series: those computed, then those stored with it.

    Args:
        series: A series with N nodes; ``extras["position"]`` are the features stored with it.
        config: Which features.
        cache: Folder of cached features; None computes them every time.

    Returns:
        Shape ``(N, P)``, float32. Where all are stored they are returned as they lie there,
        perhaps a memory map.

    Raises:
        ValueError: If the configuration asks for stored features, and the series has none, or
            has another number of them.
    """
    if config.stored:
        stored = series.extras.get(POSITION)
        channels = 0 if stored is None else stored.shape[1]
        if stored is None or channels != config.stored:
            raise ValueError(
                f"Expected 'positional.stored' to be the number of features that '{series.name}' "
                f"brings with it, {channels} (got {config.stored}). Features are brought by "
                "pe_dimP_NAME.parquet, or by roma-data import --positional FILE."
            )
        if config.num_computed == 0:
            return stored
        computed = positional_features(series.graph, config, cache)
        return np.concatenate([computed, stored], axis=1)
    return positional_features(series.graph, config, cache)


def positional_features(
    graph: Graph, config: PositionalConfig, cache: Path | None
) -> NDArray[np.float32]:
    """Return the features of :func:`compute_positional`, shape ``(N, P)``, float32, in [0, 1].

    Example:
        >>> path = Graph.from_edges(np.array([0, 1]), np.array([1, 2]), 3)
        >>> positional_features(path, PositionalConfig(eigenmaps=1, walk_embedding=0), None)
        array([[1. , 0. ],
               [0.5, 1. ],
               [0. , 0. ]], dtype=float32)
    """
    return compute_positional(graph, config, cache).values


def compute_positional(
    graph: Graph, config: PositionalConfig, cache: Path | None
) -> PositionalFeatures:
    """Compute, or read from the cache, the positional features of a graph.

    The columns are ``eigenmaps`` Laplacian eigenvectors (ascending eigenvalue), then
    ``walk_embedding`` channels, then ``log(1 + degree)``; each is scaled to [0, 1] over the
    nodes, and 0.5 where it is constant.

    Args:
        graph: The graph with N nodes.
        config: Which features.
        cache: Folder of cached features, made if missing; None computes them every time. The
            file name depends on ``graph.checksum`` and on the configuration.

    Returns:
        The features and the residual of the eigenvectors. Memory O(E + N P).

    Warns:
        UserWarning: If a cached file is damaged; it is then replaced.
    """
    if cache is None:
        return _compute(graph, config)
    computed = {key: value for key, value in asdict(config).items() if key != "stored"}
    identity = {"format": FORMAT, "graph": graph.checksum, "config": computed}
    text = json.dumps(identity, sort_keys=True)
    name = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
    path = Path(cache) / f"positional-{name}.npz"
    if path.is_file():
        try:
            return _load(path, text, graph, config)
        except (OSError, ValueError, KeyError, TypeError) as error:
            warnings.warn(
                f"{path}: Expected cached positional features (damaged: {error}). They are "
                "computed again.",
                stacklevel=2,
            )
    features = _compute(graph, config)
    _save(path, text, features)
    return features


def scale_to_unit(features: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Scale each column to [0, 1]; constant columns, also but for rounding, become 0.5.

    Example:
        >>> scale_to_unit(np.array([[2.0, 7.0], [4.0, 7.0], [3.0, 7.0]]))
        array([[0. , 0.5],
               [1. , 0.5],
               [0.5, 0.5]], dtype=float32)
    """
    low, high = features.min(axis=0), features.max(axis=0)
    span = high - low
    constant = span <= 1e-9 * np.maximum(np.abs(low), np.abs(high)) + 1e-14
    unit = (features - low) / np.where(constant, 1.0, span)
    return np.where(constant, 0.5, unit).clip(0, 1).astype(np.float32)


def _compute(graph: Graph, config: PositionalConfig) -> PositionalFeatures:
    if graph.num_nodes == 0:
        raise ValueError("Expected a graph with nodes, to compute their features (got none).")
    eigenmaps = laplacian_eigenmaps(graph, config.eigenmaps)
    parts = [eigenmaps.vectors]
    if config.walk_embedding:
        embed = node2vec if config.walk_method == "node2vec" else walk_embedding
        parts.append(embed(graph, config.walk_embedding, config.walk_window))
    if config.degree:
        parts.append(np.log1p(graph.degree)[:, None])
    # One part at a time: float64 copies of all of them would double the memory.
    values = np.concatenate([scale_to_unit(part) for part in parts], axis=1)
    return PositionalFeatures(values, eigenmaps.values, eigenmaps.residual)


def _load(path: Path, identity: str, graph: Graph, config: PositionalConfig) -> PositionalFeatures:
    archive = read_npz(path, {"identity", "values", "eigenvalues", "residual"})
    if str(archive["identity"]) != identity:
        raise ValueError("it belongs to another graph or configuration")
    values, eigenvalues = archive["values"], archive["eigenvalues"]
    residual = float(archive["residual"])
    if values.shape != (graph.num_nodes, config.num_computed) or values.dtype != np.float32:
        raise ValueError(f"shape {values.shape} and type {values.dtype} are wrong")
    return PositionalFeatures(values, eigenvalues, residual)


def _save(path: Path, identity: str, features: PositionalFeatures) -> None:
    with replacing(path) as stream:
        np.savez(
            stream,
            values=features.values,
            eigenvalues=features.eigenvalues,
            residual=np.float64(features.residual),
            identity=np.array(identity),
        )
