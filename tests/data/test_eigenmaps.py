from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg as sl

from roma_pyg.data import eigenmaps, fill
from roma_pyg.data.eigenmaps import fix_signs, laplacian_eigenmaps
from roma_pyg.data.graph import Graph


def graph_of(pairs, nodes):
    senders, receivers = np.array(pairs).T
    return Graph.from_edges(senders, receivers, nodes)


def path(n, first=0):
    return [(first + i, first + i + 1) for i in range(n - 1)]


def ring(n, first=0):
    return [(first + i, first + (i + 1) % n) for i in range(n)]


def random_graph(n, mean_degree, seed=0):
    rng = np.random.default_rng(seed)
    extra = rng.integers(n, size=(n * (mean_degree - 2) // 2, 2)).tolist()
    return graph_of(path(n) + [tuple(e) for e in extra], n)


def dense_laplacian(graph):
    adjacency = (graph.to_matrix().toarray() > 0).astype(float)
    adjacency = np.maximum(adjacency, adjacency.T)
    degree = adjacency.sum(axis=1)
    scale = np.divide(1, np.sqrt(degree), out=np.zeros_like(degree), where=degree > 0)
    return np.diag((degree > 0).astype(float)) - scale[:, None] * adjacency * scale


# Small sizes take the dense way, large ones the factorisation.
CLOSED_FORMS = {
    "path": (lambda n: path(n), lambda n: 1 - np.cos(np.pi * np.arange(1, n) / (n - 1))),
    "ring": (lambda n: ring(n), lambda n: np.sort(1 - np.cos(2 * np.pi * np.arange(1, n) / n))),
    "star": (
        lambda n: [(0, i) for i in range(1, n)],
        lambda n: np.array([1.0] * (n - 2) + [2.0]),
    ),
    "complete": (
        lambda n: [(i, j) for i in range(n) for j in range(i)],
        lambda n: np.full(n - 1, n / (n - 1)),
    ),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("nodes", [7, 300])
def test_eigenvalues_by_closed_form(name, nodes):
    pairs, spectrum = CLOSED_FORMS[name]
    graph = graph_of(pairs(nodes), nodes)
    result = laplacian_eigenmaps(graph, 6)
    np.testing.assert_allclose(result.values, spectrum(nodes)[:6], atol=1e-9)
    laplacian = dense_laplacian(graph)
    error = laplacian @ result.vectors - result.vectors * result.values
    assert np.linalg.norm(error, axis=0).max() == pytest.approx(result.residual, abs=1e-12)
    assert result.residual < 1e-9
    np.testing.assert_allclose(result.vectors.T @ result.vectors, np.eye(6), atol=1e-9)


def test_path_of_three_by_hand():
    vectors, values, residual, *_ = laplacian_eigenmaps(graph_of(path(3), 3), 2)
    np.testing.assert_allclose(values, [1, 2], atol=1e-12)
    half = np.sqrt(0.5)
    np.testing.assert_allclose(vectors, [[half, -0.5], [0, half], [-half, -0.5]], atol=1e-12)
    assert residual < 1e-12


@pytest.mark.parametrize("size", [1, 40])
def test_disconnected_graph_skips_one_zero_per_component(size):
    # A path, a ring, an edge and two isolated nodes: five components.
    parts = path(6 * size) + ring(5 * size, 6 * size) + path(2, 11 * size)
    nodes = 11 * size + 4
    graph = graph_of(parts, nodes)
    result = laplacian_eigenmaps(graph, 5)
    full = sl.eigh(dense_laplacian(graph), eigvals_only=True)
    assert np.abs(full[:5]).max() < 1e-12
    np.testing.assert_allclose(result.values, full[5:10], atol=1e-9)
    assert result.residual < 1e-9
    np.testing.assert_array_equal(result.vectors[-2:], 0)


def test_many_components_do_not_hide_the_slow_modes():
    pairs = [(400 + 2 * i, 401 + 2 * i) for i in range(300)]
    result = laplacian_eigenmaps(graph_of(path(400) + pairs, 1000), 3)
    np.testing.assert_allclose(result.values, 1 - np.cos(np.pi * np.arange(1, 4) / 399), atol=1e-10)
    np.testing.assert_allclose(result.vectors[400:], 0, atol=1e-8)


@pytest.mark.parametrize("k", [0, 3, 10, 1000])
def test_missing_vectors_are_zero(k):
    # Two components of 2 and 3 nodes, one isolated node: three nontrivial vectors.
    graph = graph_of([(0, 1), (2, 3), (3, 4)], 6)
    vectors, values, residual, *_ = laplacian_eigenmaps(graph, k)
    assert vectors.shape == (6, k)
    np.testing.assert_allclose(values, ([1, 2, 2] + [0] * k)[:k], atol=1e-12)
    np.testing.assert_array_equal(vectors[:, 3:], 0)
    assert residual < 1e-12


def test_graph_without_edges():
    graph = Graph.from_edges(np.array([], dtype=int), np.array([], dtype=int), 4)
    result = laplacian_eigenmaps(graph, 2)
    np.testing.assert_array_equal(result.vectors, np.zeros((4, 2)))
    assert result.residual == 0


def test_direction_and_weight_are_ignored():
    pairs = np.array(path(9)).T
    weight = np.linspace(1, 5, 8)
    directed = Graph.from_edges(*pairs, 9, weight, undirected=False)
    undirected = Graph.from_edges(*pairs, 9)
    np.testing.assert_array_equal(
        laplacian_eigenmaps(directed, 3).vectors, laplacian_eigenmaps(undirected, 3).vectors
    )


@pytest.mark.parametrize("nodes", [60, 700])
def test_against_dense_scipy(nodes):
    graph = random_graph(nodes, 4)
    result = laplacian_eigenmaps(graph, 8)
    values, vectors = sl.eigh(dense_laplacian(graph), subset_by_index=(1, 8))
    np.testing.assert_allclose(result.values, values, atol=1e-10)
    overlap = np.abs(np.sum(result.vectors * vectors, axis=0))
    np.testing.assert_allclose(overlap, 1, atol=1e-8)


def test_same_seed_same_bytes():
    graph = random_graph(700, 4)
    first, second = (laplacian_eigenmaps(graph, 5, seed=3).vectors for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_seed_does_not_matter_for_a_simple_spectrum():
    graph = random_graph(700, 4)
    first, second = (laplacian_eigenmaps(graph, 5, seed=s).vectors for s in (0, 1))
    np.testing.assert_allclose(first, second, atol=1e-7)


def test_sign_of_a_symmetric_vector_does_not_depend_on_rounding():
    vector = np.array([[0.5], [-0.5], [0.5], [-0.5]])
    for noise in (1e-12, -1e-12):
        for flip in (1, -1):
            result = fix_signs(flip * (vector + noise * np.arange(4)[:, None]))
            np.testing.assert_allclose(result, vector, atol=1e-11)


@pytest.fixture
def no_factor(monkeypatch):
    monkeypatch.setattr(eigenmaps, "fill_limit", lambda entries: 0.0)


@pytest.mark.parametrize("failure", [MemoryError, RuntimeError])
def test_failed_factorisation_falls_back_to_the_filter(monkeypatch, failure):
    graph = random_graph(700, 5)
    expected = laplacian_eigenmaps(graph, 6)
    assert expected.method == "shift-invert"

    def fail(*args, **kwargs):
        raise failure

    monkeypatch.setattr(fill.sla, "splu", fail)
    result = laplacian_eigenmaps(graph, 6)
    assert result.method == "filtered"
    np.testing.assert_allclose(result.values, expected.values, atol=1e-10)
    np.testing.assert_allclose(result.vectors, expected.vectors, atol=1e-5)
    assert result.residual < 1e-6


@pytest.mark.parametrize("limit", [True, False])
def test_method_follows_the_fill(monkeypatch, limit):
    graph = random_graph(900, 5)
    entries = fill.analyze(eigenmaps.undirected_adjacency(graph)).entries
    monkeypatch.setattr(eigenmaps, "fill_limit", lambda _: entries - 1 if limit else entries)
    result = laplacian_eigenmaps(graph, 4)
    assert result.method == ("filtered" if limit else "shift-invert")
    assert result.fill == entries
    assert laplacian_eigenmaps(graph_of(path(9), 9), 2).method == "dense"


@pytest.mark.parametrize("method", ["shift-invert", "filtered"])
def test_grid_with_repeated_eigenvalues_against_dense(request, method):
    # The square symmetry makes pairs, which a Krylov space sees once.
    if method == "filtered":
        request.getfixturevalue("no_factor")
    index = np.arange(484).reshape(22, 22)
    pairs = np.concatenate(
        [
            np.stack([index[:-1].ravel(), index[1:].ravel()], 1),
            np.stack([index[:, :-1].ravel(), index[:, 1:].ravel()], 1),
        ]
    )
    graph = graph_of(pairs, 484)
    result = laplacian_eigenmaps(graph, 20)
    assert result.method == method
    values, vectors = sl.eigh(dense_laplacian(graph))
    np.testing.assert_allclose(result.values, values[1:21], atol=1e-10)
    # The space up to a gap is unique, whatever the basis.
    end = 1 + int(np.argmax(np.diff(values[10:22]))) + 10
    projector = vectors[:, 1:end] @ vectors[:, 1:end].T
    found = result.vectors[:, : end - 1]
    np.testing.assert_allclose(projector @ found, found, atol=1e-6)
    np.testing.assert_allclose(result.vectors.T @ result.vectors, np.eye(20), atol=1e-10)


def test_torus_with_eightfold_eigenvalues(no_factor):
    side = 20
    x, y = np.divmod(np.arange(side**2), side)
    right, up = (x + 1) % side * side + y, x * side + (y + 1) % side
    graph = Graph.from_edges(np.tile(np.arange(side**2), 2), np.concatenate([right, up]), side**2)
    wave = 1 - np.cos(2 * np.pi * np.arange(side) / side)
    expected = np.sort((wave[:, None] + wave).ravel() / 2)[1:31]
    np.testing.assert_allclose(laplacian_eigenmaps(graph, 30).values, expected, atol=1e-9)


def test_filter_on_a_disconnected_graph(no_factor):
    pairs = path(200) + ring(150, 200) + ring(150, 350)
    graph = graph_of(pairs, 503)
    result = laplacian_eigenmaps(graph, 7)
    full = sl.eigh(dense_laplacian(graph), eigvals_only=True)
    # Three components and three isolated nodes.
    np.testing.assert_allclose(result.values, full[6:13], atol=1e-9)
    np.testing.assert_array_equal(result.vectors[500:], 0)


def test_filter_is_deterministic(no_factor):
    graph = random_graph(700, 6)
    first, second = (laplacian_eigenmaps(graph, 5, seed=3) for _ in range(2))
    assert first.method == "filtered"
    np.testing.assert_array_equal(first.vectors, second.vectors)


def test_iteration_without_convergence_warns_and_reports_the_residual(monkeypatch, no_factor):
    monkeypatch.setattr(eigenmaps, "MAX_APPLICATIONS", 0)
    graph = graph_of(path(3000), 3000)
    with pytest.warns(UserWarning, match=r"only \d of 4 vectors converged in 28 steps"):
        result = laplacian_eigenmaps(graph, 4)
    adjacency = eigenmaps.undirected_adjacency(graph)
    scale = 1 / np.sqrt(adjacency.sum(axis=1))[:, None]
    v = result.vectors
    error = v - scale * (adjacency @ (scale * v)) - v * result.values
    assert np.linalg.norm(error, axis=0).max() == pytest.approx(result.residual, rel=1e-6)
    assert result.residual > 1e-8


def test_expander_is_refused_before_it_is_ordered(monkeypatch):
    graph = random_graph(9000, 6)
    monkeypatch.setattr(eigenmaps, "fill_limit", lambda entries: 1e5)

    def fail(adjacency):
        raise AssertionError("an expander was ordered by minimum degree")

    monkeypatch.setattr(eigenmaps, "analyze", fail)
    result = laplacian_eigenmaps(graph, 3)
    assert result.method == "filtered"
    assert result.fill > 1e5
    assert result.residual < 1e-6


def test_negative_k():
    with pytest.raises(ValueError, match="'k' to be non-negative"):
        laplacian_eigenmaps(graph_of(path(3), 3), -1)
