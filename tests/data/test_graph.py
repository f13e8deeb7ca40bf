from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from roma_pyg.data.graph import Graph, as_indices, check_range, normalize_rows


def random_graph(seed=0, nodes=30, edges=90, *, undirected=True):
    rng = np.random.default_rng(seed)
    senders, receivers = rng.integers(nodes, size=(2, edges))
    return Graph.from_edges(senders, receivers, nodes, rng.random(edges), undirected=undirected)


def reference(senders, receivers, nodes, weight, *, undirected, add=True):
    """The coupling matrix by plain loops."""
    dense = np.zeros((nodes, nodes))
    for j, i, w in zip(senders, receivers, weight, strict=True):
        if i != j:
            dense[i, j] = dense[i, j] + w if add else w
    if undirected:
        dense = np.maximum(dense, dense.T)
    total = dense.sum(1, keepdims=True)
    return np.divide(dense, total, out=np.zeros_like(dense), where=total > 0)


def test_path_by_hand():
    graph = Graph.from_edges(np.array([0, 1]), np.array([1, 2]), 4)
    assert graph.rowptr.tolist() == [0, 1, 3, 4, 4]
    assert graph.col.tolist() == [1, 0, 2, 1]
    assert graph.weight.tolist() == [1, 0.5, 0.5, 1]
    assert graph.degree.tolist() == [1, 2, 1, 0]
    assert (graph.num_nodes, graph.num_edges) == (4, 4)
    assert not graph.has_no_isolated_node
    assert graph.induced(np.arange(3)).has_no_isolated_node


def test_a_row_is_a_receiver():
    graph = Graph.from_edges(
        np.array([1, 2]), np.array([0, 0]), 3, np.array([1.0, 3.0]), undirected=False
    )
    np.testing.assert_array_equal(
        graph.to_matrix().toarray(), [[0, 0.25, 0.75], [0, 0, 0], [0, 0, 0]]
    )


@pytest.mark.parametrize("undirected", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_from_edges_agrees_with_plain_loops(seed, undirected):
    rng = np.random.default_rng(seed)
    # Few nodes, so that loops and repetitions in both directions are frequent.
    senders, receivers = rng.integers(6, size=(2, 40))
    weight = rng.random(40) * (rng.random(40) > 0.2)
    graph = Graph.from_edges(senders, receivers, 6, weight, undirected=undirected)
    expected = reference(senders, receivers, 6, weight, undirected=undirected)
    np.testing.assert_allclose(graph.to_matrix().toarray(), expected, rtol=1e-6)
    assert graph.num_edges == np.count_nonzero(expected)
    plain = Graph.from_edges(senders, receivers, 6, undirected=undirected)
    expected = reference(senders, receivers, 6, np.ones(40), undirected=undirected, add=False)
    np.testing.assert_allclose(plain.to_matrix().toarray(), expected, rtol=1e-6)


def test_repeated_edges_add_up_only_with_weights():
    senders, receivers = np.array([1, 1, 2]), np.array([0, 0, 0])
    plain = Graph.from_edges(senders, receivers, 3, undirected=False)
    assert plain.weight.tolist() == [0.5, 0.5]
    weighted = Graph.from_edges(senders, receivers, 3, np.ones(3), undirected=False)
    np.testing.assert_allclose(weighted.weight, [2 / 3, 1 / 3], rtol=1e-6)


def test_both_directions_keep_the_larger_weight():
    # 0 - 1 is given as 1 and as 3, 1 - 2 as 1: node 1 is pulled by 3 : 1.
    graph = Graph.from_edges(np.array([0, 1, 1]), np.array([1, 0, 2]), 3, np.array([1.0, 3.0, 1.0]))
    np.testing.assert_allclose(graph.to_matrix().toarray()[1], [0.75, 0, 0.25], rtol=1e-6)


@pytest.mark.parametrize("undirected", [True, False])
def test_loops_and_zero_weights_are_no_edges(undirected):
    graph = Graph.from_edges(
        np.array([0, 1, 2]),
        np.array([0, 2, 0]),
        3,
        np.array([5.0, 0.0, 2.0]),
        undirected=undirected,
    )
    expected = [[0, 0, 1], [0, 0, 0], [1, 0, 0]] if undirected else [[0, 0, 1], [0, 0, 0], [0] * 3]
    np.testing.assert_array_equal(graph.to_matrix(weighted=False).toarray(), expected)


@pytest.mark.parametrize("seed", range(3))
def test_rows_sum_to_one_and_columns_ascend(seed):
    graph = random_graph(seed, undirected=False)
    total = graph.to_matrix().sum(1)
    np.testing.assert_allclose(total[graph.degree > 0], 1, rtol=1e-6)
    np.testing.assert_array_equal(total[graph.degree == 0], 0)
    for start, stop in zip(graph.rowptr, graph.rowptr[1:], strict=False):
        assert (np.diff(graph.col[start:stop]) > 0).all()


def test_the_order_of_the_edges_does_not_matter():
    rng = np.random.default_rng(0)
    edges, weight = rng.integers(9, size=(2, 30)), rng.integers(1, 5, size=30).astype(float)
    order = rng.permutation(30)
    one = Graph.from_edges(*edges, 9, weight)
    other = Graph.from_edges(*edges[:, order], 9, weight[order])
    assert one.checksum == other.checksum


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.uint16, np.uint64, ">i4"])
def test_indices_of_any_width(dtype):
    senders, receivers = np.array([0, 1], dtype=dtype), np.array([1, 2], dtype=dtype)
    graph = Graph.from_edges(senders, receivers, 3)
    expected = Graph.from_edges(np.array([0, 1]), np.array([1, 2]), 3)
    assert graph.checksum == expected.checksum
    rebuilt = Graph(
        graph.rowptr.astype(dtype), graph.col.astype(dtype), graph.weight.astype(np.float64)
    )
    assert rebuilt.checksum == expected.checksum
    assert (rebuilt.rowptr.dtype, rebuilt.col.dtype) == (np.int64, np.int64)
    assert rebuilt.weight.dtype == np.float32


def test_checksum_sees_structure_and_weights():
    graph = random_graph()
    half = graph.weight.copy()
    half[0] *= 0.5
    sums = {
        graph.checksum,
        Graph(graph.rowptr, graph.col, half).checksum,
        random_graph(1).checksum,
        graph.induced(np.arange(29)).checksum,
    }
    assert len(sums) == 4


def test_extreme_weights_are_normalised():
    weight = np.array([1e300, 3e300, 1e-300, 1e-300])
    graph = Graph.from_edges(
        np.array([1, 2, 0, 2]), np.array([0, 0, 1, 1]), 3, weight, undirected=False
    )
    np.testing.assert_allclose(graph.weight, [0.25, 0.75, 0.5, 0.5], rtol=1e-6)


def test_rows_of_zeros_become_uniform():
    weight = normalize_rows(np.array([0, 2, 2, 5]), np.array([0, 0, 1, 0, 3], dtype=np.float32))
    assert weight.tolist() == [0.5, 0.5, 0.25, 0, 0.75]
    # A coupling that vanishes beside the others in float32 is all that is left of node 0.
    graph = Graph.from_edges(
        np.array([1, 2]), np.array([0, 0]), 3, np.array([1.0, 1e-60]), undirected=False
    )
    assert graph.weight.tolist() == [1, 0]
    assert graph.induced(np.array([0, 2])).weight.tolist() == [1]


def test_from_matrix_merges_drops_the_diagonal_and_leaves_its_input_alone():
    data = np.array([2.0, 9.0, 1.0, 1.0])
    matrix = sp.csr_matrix((data, np.array([2, 0, 1, 1]), np.array([0, 4, 4, 4])), shape=(3, 3))
    graph = Graph.from_matrix(matrix)
    assert graph.col.tolist() == [1, 2]
    assert graph.weight.tolist() == [0.5, 0.5]
    assert matrix.indices.tolist() == [2, 0, 1, 1]
    assert matrix.data.tolist() == [2, 9, 1, 1]


@pytest.mark.parametrize("seed", range(4))
def test_induced_is_the_dense_submatrix_renormalised(seed):
    graph = random_graph(seed)
    nodes = np.random.default_rng(seed).permutation(30)[:12]
    dense = graph.to_matrix().toarray().astype(np.float64)[np.ix_(nodes, nodes)]
    total = dense.sum(1, keepdims=True)
    expected = np.divide(dense, total, out=np.zeros_like(dense), where=total > 0)
    np.testing.assert_allclose(graph.induced(nodes).to_matrix().toarray(), expected, rtol=1e-5)


def test_induced_on_all_or_no_nodes():
    graph = random_graph()
    np.testing.assert_array_equal(graph.induced(np.arange(30)).col, graph.col)
    np.testing.assert_allclose(graph.induced(np.arange(30)).weight, graph.weight, rtol=1e-6)
    assert graph.induced(np.array([], dtype=int)).num_nodes == 0


def test_neighbor_mean_by_hand():
    graph = Graph.from_edges(
        np.array([1, 2]), np.array([0, 0]), 3, np.array([1.0, 3.0]), undirected=False
    )
    values = np.array([[7.0, 1.0], [4.0, 0.0], [8.0, 2.0]])
    np.testing.assert_allclose(graph.neighbor_mean(values), [[7, 1.5], [0, 0], [0, 0]])
    np.testing.assert_allclose(graph.neighbor_mean(values[:, 0]), [7, 0, 0])


def test_empty_graphs():
    nothing = np.array([], dtype=np.int64)
    for graph in (Graph.from_edges(nothing, nothing, 0), Graph.from_edges([], [], 3)):
        assert graph.num_edges == 0
        assert not graph.has_dead_end
        assert graph.neighbor_mean(np.ones(graph.num_nodes)).tolist() == [0] * graph.num_nodes
    assert Graph.from_edges(nothing, nothing, 0).checksum != graph.checksum


def test_only_a_directed_graph_has_dead_ends():
    edges = np.array([0, 1]), np.array([1, 2])
    assert not Graph.from_edges(*edges, 4).has_dead_end
    # Node 2 feels 1, which feels 0, which feels nobody.
    assert Graph.from_edges(*edges, 4, undirected=False).has_dead_end


def test_read_only_memory_maps(tmp_path):
    graph = random_graph()
    arrays = []
    for name in ("rowptr", "col", "weight"):
        np.save(tmp_path / f"{name}.npy", getattr(graph, name))
        arrays.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
    mapped = Graph(*arrays)
    assert all(
        np.shares_memory(array, field)
        for array, field in zip(arrays, (mapped.rowptr, mapped.col, mapped.weight), strict=True)
    )
    assert mapped.checksum == graph.checksum
    values = np.arange(30.0)
    np.testing.assert_array_equal(mapped.neighbor_mean(values), graph.neighbor_mean(values))
    nodes = np.array([5, 3, 20])
    assert mapped.induced(nodes).checksum == graph.induced(nodes).checksum


@pytest.mark.parametrize(
    ("rowptr", "col", "weight", "message"),
    [
        ([], [], [], r"Expected 'rowptr' of shape \(N \+ 1,\) starting at 0"),
        ([1, 2], [0], [1], "starting at 0"),
        (3, [0], [1], "starting at 0"),
        ([0, 2, 1], [1], [1], "Expected 'rowptr' to be non-decreasing"),
        ([0, 1, 3], [1, 0], [1, 1], r"Expected 'col' of shape \(3,\)"),
        ([0, 1, 2], [1, 0], [1], r"Expected 'weight' of shape \(2,\) \(got \(1,\)\)"),
        ([0, 1, 2], [1, 2], [1, 1], r"Expected 'col' in \[0, 2\) \(got 2 at position 1\)"),
        ([0, 1, 2], [-1, 0], [1, 1], r"\(got -1 at position 0\)"),
        ([0, 0, 2, 2], [2, 0], [1, 1], r"ascending and distinct .* \(got 0 after 2 at edge 1\)"),
        ([0, 2, 2, 2], [1, 1], [1, 1], r"ascending and distinct .* \(got 1 after 1 at edge 1\)"),
        ([0, 1, 2], [1, 0], [1, -1], "Expected finite, non-negative 'weight'"),
        ([0, 1, 2], [1, 0], [1, np.nan], "Expected finite, non-negative 'weight'"),
    ],
)
def test_impossible_layouts(rowptr, col, weight, message):
    with pytest.raises(ValueError, match=message):
        Graph(np.array(rowptr), np.array(col), np.array(weight))


@pytest.mark.parametrize(
    ("senders", "receivers", "options", "message"),
    [
        ([0, 5], [1, 0], {}, r"Expected 'senders' in \[0, 3\) \(got 5 at position 1\)"),
        ([0, 1], [1, -1], {}, r"Expected 'receivers' in \[0, 3\) \(got -1 at position 1\)"),
        ([0, 1], [1], {}, r"of the same shape \(E,\) \(got \(2,\) and \(1,\)\)"),
        ([[0]], [[1]], {}, r"of the same shape"),
        ([0], [1], {"weight": np.ones(2)}, r"Expected 'weight' of shape \(1,\) \(got \(2,\)\)"),
        ([0, 1], [1, 2], {"weight": np.array([1, -2.0])}, r"\(got -2.0 at edge 1\)"),
        ([0, 1], [1, 2], {"weight": np.array([np.inf, 1])}, r"\(got inf at edge 0\)"),
        ([0, 0], [1, 1], {"weight": np.full(2, 1.7e308)}, "finite sum per receiver .* receiver"),
    ],
)
def test_impossible_edges(senders, receivers, options, message):
    with pytest.raises(ValueError, match=message):
        Graph.from_edges(np.array(senders), np.array(receivers), 3, **options)


def test_other_errors():
    graph = random_graph()
    with pytest.raises(TypeError, match=r"'senders' of an integer type \(got float64\)"):
        Graph.from_edges(np.array([0.5]), np.array([1]), 2)
    with pytest.raises(ValueError, match="Expected 'num_nodes' to be non-negative"):
        Graph.from_edges(np.array([], dtype=int), np.array([], dtype=int), -1)
    with pytest.raises(ValueError, match=r"Expected a square matrix \(got shape \(2, 3\)\)"):
        Graph.from_matrix(sp.csr_array(np.ones((2, 3))))
    with pytest.raises(ValueError, match=r"Expected non-negative weights .* at receiver 1"):
        Graph.from_matrix(sp.csr_array(np.array([[0.0, 1.0], [-1.0, 0.0]])))
    with pytest.raises(ValueError, match=r"finite sum per receiver .* at receiver 0"):
        Graph.from_matrix(sp.csr_array(np.array([[0.0, np.nan], [1.0, 0.0]])))
    with pytest.raises(ValueError, match=r"Expected distinct 'nodes' \(got 4 twice\)"):
        graph.induced(np.array([4, 1, 4]))
    with pytest.raises(ValueError, match=r"Expected 'nodes' in \[0, 30\) \(got 30"):
        graph.induced(np.array([4, 30]))
    with pytest.raises(TypeError, match=r"'nodes' of an integer type \(got bool\)"):
        graph.induced(np.ones(30, dtype=bool))


def test_index_helpers():
    same = np.arange(3)
    assert np.shares_memory(as_indices("i", same), same)
    assert as_indices("i", []).dtype == np.int64
    check_range("i", as_indices("i", []), 0)
    with pytest.raises(ValueError, match=r"Expected 'i' in \[0, 0\)"):
        check_range("i", same, 0)
