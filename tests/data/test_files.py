from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from roma_pyg.data.affine import AffineScaling
from roma_pyg.data.files import read_files

N, T = 4, 6
VALUES = np.linspace(0.05, 1, N * T, dtype=np.float32).reshape(N, T)
PATH = np.array([[0, 1, 2], [1, 2, 3]])
EDGES = "source,target\n0,1\n1,2\n2,3\n"


def write(folder, name, content):
    path = folder / name
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, pd.DataFrame):
        content.to_parquet(path)
    elif isinstance(content, dict):
        np.savez(path, **content)
    elif sp.issparse(content):
        sp.save_npz(path, content)
    else:
        np.save(path, content)
    return path


@pytest.fixture
def read(tmp_path):
    def inner(edges, series, edges_name="edges.csv", series_name="x.npy", window=2, horizon=2):
        return read_files(
            write(tmp_path, edges_name, edges),
            write(tmp_path, series_name, series),
            0.1,
            "mine",
            window,
            horizon,
        )

    return inner


def dense(series):
    return series.graph.to_matrix().toarray()


UNWEIGHTED = [[0, 1, 0, 0], [0.5, 0, 0.5, 0], [0, 0.5, 0, 0.5], [0, 0, 1, 0]]
WEIGHTED = [[0, 1, 0, 0], [0.25, 0, 0.75, 0], [0, 0.6, 0, 0.4], [0, 0, 1, 0]]


@pytest.mark.parametrize(
    ("name", "edges", "expected"),
    [
        ("e.csv", EDGES, UNWEIGHTED),
        ("e.csv", "0,1\n1,2\n2,3\n", UNWEIGHTED),
        ("e.csv", "0;1\n\n1;2\n2;3", UNWEIGHTED),
        ("e.csv", "0\t1\n1\t2\n2\t3\n2\t3\n1\t1\n", UNWEIGHTED),
        ("e.csv", "\ufeffFrom, To\r\n0, 1\r\n1, 2\r\n2, 3\r\n", UNWEIGHTED),
        ("e.csv", "0.0,1.0\n1,2\n2,3e0\n", UNWEIGHTED),
        ("e.csv", "u,v\n0,1\n1,2\n2,3\n", UNWEIGHTED),
        ("e.CSV", "0,1,1\n1,2,3\n2,3,2\n", WEIGHTED),
        ("e.csv", "when,weight,dst,src\nx,1,1,0\ny,3,2,1\nz,2,3,2\n", WEIGHTED),
        ("e.parquet", pd.DataFrame(PATH.T, columns=["a", "b"]), UNWEIGHTED),
        (
            "e.parquet",
            pd.DataFrame({"weight": [1, 3, 2], "to": PATH[1], "from": PATH[0]}),
            WEIGHTED,
        ),
        ("e.parquet", pd.DataFrame(PATH.T.astype(float), columns=["0", "1"]), UNWEIGHTED),
        ("e.npz", {"edge_index": PATH}, UNWEIGHTED),
        ("e.npz", {"edge_index": PATH, "edge_weight": np.array([1, 3, 2])}, WEIGHTED),
        ("e.npz", sp.csr_array((np.array([1, 3, 2]), PATH), shape=(N, N)), WEIGHTED),
    ],
)
def test_edge_formats(read, name, edges, expected):
    np.testing.assert_allclose(dense(read(edges, VALUES, name)), expected, atol=1e-7)


FRAME = pd.DataFrame(VALUES, columns=[str(i) for i in range(T)])


@pytest.mark.parametrize(
    ("name", "series"),
    [
        ("x.npy", VALUES),
        ("x.npy", np.asfortranarray(VALUES)),
        ("x.npy", VALUES.astype(np.float64)),
        ("x.parquet", FRAME),
        ("x.parquet", FRAME.astype(np.float64)),
        ("x.csv", FRAME.to_csv(header=False, index=False)),
        ("x.csv", FRAME.to_csv(index=False)),
        ("x.csv", FRAME.to_csv()),
        ("x.csv", FRAME.to_csv(index_label="node", sep=";")),
        ("x.csv", FRAME.rename(columns=lambda c: f"t{c}").to_csv(index=False)),
    ],
)
def test_series_formats(read, name, series):
    result = read(EDGES, series, series_name=name)
    assert result.values.dtype == np.float32
    assert result.values.flags.c_contiguous
    np.testing.assert_allclose(result.values, VALUES, rtol=1e-6)
    assert (result.dt, result.name, result.num_steps) == (0.1, "mine", T)


def test_npy_is_mapped_read_only(read):
    values = read(EDGES, VALUES).values
    assert isinstance(values, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        values[0, 0] = 1


def test_chunks_are_joined_in_order(read, monkeypatch):
    monkeypatch.setattr("roma_pyg.data.csv_table._CELLS", T)
    monkeypatch.setattr("roma_pyg.data.series_files.BLOCK", T)
    for name, series in (("x.csv", FRAME.to_csv(index=False)), ("x.parquet", FRAME)):
        np.testing.assert_allclose(read(EDGES, series, series_name=name).values, VALUES, rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "edges"),
    [
        ([30, 7, -2, 1000], "30,7\n7,-2\n-2,1000\n"),
        (["30.0", "7.0", "-2.0", "1000.0"], "30,7\n7,-2\n-2,1000\n"),
        (["Bonn", "NA", "nan", "São Paulo"], "Bonn,NA\nNA,nan\nnan,São Paulo\n"),
        (["a", "b", "c", "d"], "u,v\na,b\nb,c\nc,d\n"),
    ],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_labels(read, labels, edges, kind):
    frame = FRAME.copy()
    frame.insert(0, "node_id", labels)
    series = read(
        edges, frame.to_csv(index=False) if kind == "csv" else frame, series_name=f"x.{kind}"
    )
    np.testing.assert_allclose(dense(series), UNWEIGHTED)
    np.testing.assert_allclose(series.values, VALUES, rtol=1e-6)
    assert len(series.extras["label"]) == N


def test_labels_with_parquet_and_npz_edges(read):
    frame = FRAME.copy()
    frame.insert(0, "node", ["a", "b", "c", "d"])
    names = np.array(["a", "b", "c", "d"])[PATH]
    for name, edges in (
        ("e.parquet", pd.DataFrame(names.T, columns=["source", "target"])),
        ("e.npz", {"edge_index": names}),
        ("e.npz", sp.csr_array((np.ones(3), PATH), shape=(N, N))),
    ):
        series = read(edges, frame, name, "x.parquet")
        np.testing.assert_allclose(dense(series), UNWEIGHTED)


@pytest.mark.parametrize("index", [[3, 2, 1, 0], [3, 0, 1, 2]])
def test_pandas_index_is_the_label_in_parquet(read, index):
    frame = FRAME.set_index(pd.Index(index, name="node"))
    series = read(EDGES, frame, series_name="x.parquet")
    np.testing.assert_array_equal(series.extras["label"], index)
    # Row i of the series is node index[i] of the path.
    np.testing.assert_allclose(dense(series), np.array(UNWEIGHTED)[np.ix_(index, index)])


def test_values_out_of_range_are_scaled_and_can_be_restored(read):
    raw = 40 * VALUES - 7
    series = read(EDGES, raw)
    assert series.values.min() >= np.float32(0.02)
    assert series.values.max() <= 1
    scaling = AffineScaling.from_metadata(series.metadata)
    assert scaling is not None
    np.testing.assert_allclose(scaling.invert(series.values), raw, atol=1e-4)


def test_disconnected_warns(read):
    with pytest.warns(UserWarning, match=r"e\.csv: .*2 components, the largest has 3 of 4"):
        assert read("0,1\n1,2\n", VALUES, "e.csv").num_nodes == N


CSV = FRAME.round(4).to_csv(header=False, index=False)
ROWS = CSV.splitlines()


@pytest.mark.parametrize(
    ("edges", "message"),
    [
        ("", "empty"),
        ("source,target\n", "below the header"),
        ("source,target\n0,1\n\n1,2\n2,9\n", r"row 2 \(line 5\), column 1 \('target'\): .*got 9"),
        ("target,source\n0,1\n9,1\n", r"row 1 \(line 3\), column 0 \('target'\): .*got 9"),
        ("0,1\n-1,2\n", r"row 1 \(line 2\), column 0: .*got -1"),
        ("source,target\n0,1\n1,x\n", r"row 1 \(line 3\), column 1 .*integer node id \(got 'x'"),
        ("0,1\n1,1.5\n", r"row 1 \(line 2\), column 1.*1\.5"),
        ("0,1\n1,\n", r"row 1 \(line 2\), column 1.*missing"),
        ("0,1\n1\n", r"row 1 \(line 2\), column 1.*missing"),
        ("0,1\n1,2,3\n", "Expected 2 columns in every row.*line 2"),
        ("0,1,1\n1,2,-3\n", r"row 1 \(line 2\), column 2: .*non-negative weight \(got -3"),
        ("0,1,1\n1,2,nan\n", r"row 1 \(line 2\), column 2: .*finite"),
        ("0,1,1\n1,2,heavy\n", r"row 1 \(line 2\), column 2: .*not numeric"),
        ("source,target,source\n0,1,2\n", "distinct column names .*'source'.* 0 and 2"),
        ("source,src,target\n0,1,2\n", "one column out of source.*'source', 'src'"),
        ("source,b\n0,1\n", "a column 'source' and a column 'target'"),
        ("a,b,c,d\n0,1,2,3\n", "got 4 columns"),
        ("0\n1\n", "got 1 columns"),
        (f"0,1\n1,{10**30}\n", "below 2"),
        (b"\xff\xfe0,1", "UTF-8"),
    ],
)
def test_edge_csv_errors(read, edges, message):
    with pytest.raises(ValueError, match=rf"edges\.csv: (?s:.*){message}"):
        read(edges, VALUES)


@pytest.mark.parametrize(
    ("series", "message"),
    [
        ("", "empty"),
        ("t0,t1\n", "below the header"),
        (CSV.replace(ROWS[1], "1,nan,1,1,1,1"), r"row 1 \(line 2\), column 1.*finite"),
        (CSV.replace(ROWS[1], "1,inf,1,1,1,1"), r"row 1 \(line 2\), column 1.*finite"),
        (CSV.replace(ROWS[2], "1,1,,1,1,1"), r"row 2 \(line 3\), column 2.*missing"),
        (CSV.replace(ROWS[2], "1,1,1"), r"row 2 \(line 3\), column 3.*missing"),
        (CSV.replace(ROWS[3], "1,1,1,1,1,1,1"), "6 columns in every row.*line 4"),
        (CSV.replace(ROWS[3], "1,1,1,1,1,high"), r"row 3 \(line 4\), column 5.*'high'"),
        ("a,b,c,d,e,a\n" + CSV, "distinct column names .*'a'.* 0 and 5"),
        ("node\n1\n2\n", "labels only"),
        ("node,x,y,z,u\n1,1,1,1,1\n2,1,1,1,1\n1,1,1,1,1\n", "row 2: .*label 1 in rows 0 and 2"),
        ("node,x,y,z,u\n1,1,1,1,1\n,1,1,1,1\n", r"row 1 \(line 3\), column 0 \('node'\).*missing"),
        (
            "node,x,y,z,u\n5,1,1,1,1\n7,1,1,inf,1\n",
            r"row 1 \(line 3\), column 3 \('z'\), node 7: .*finite",
        ),
    ],
)
def test_series_csv_errors(read, series, message):
    with pytest.raises(ValueError, match=rf"x\.csv: (?s:.*){message}"):
        read(EDGES, series, series_name="x.csv")


NAN = FRAME.astype(np.float64).copy()
NAN.iloc[2, 3] = np.nan
NULL = FRAME.round().astype("Int64")
NULL.iloc[1, 2] = pd.NA


@pytest.mark.parametrize(
    ("name", "series", "error", "message"),
    [
        ("x.npy", np.ones((N, T, 1)), ValueError, r"shape \(N, T\)"),
        ("x.npy", np.ones(N), ValueError, r"shape \(N, T\)"),
        ("x.npy", np.array([["a"] * T] * N), TypeError, "real numbers"),
        ("x.npy", np.array([[None] * T] * N), ValueError, "Object arrays"),
        ("x.npy", np.ones((N, 3)), ValueError, r"at least 4 samples, window 2 .*got 3"),
        ("x.npy", b"", ValueError, "npy"),
        ("x.npy", b"\x93NUMPY rubbish", ValueError, "npy"),
        ("x.npy", np.ones((N, 0)), ValueError, "empty"),
        ("x.npy", NAN.to_numpy(), ValueError, r"row 2 \(node\), column 3: .*finite"),
        ("x.parquet", NAN, ValueError, r"row 2, column 3 \('3'\): .*finite"),
        ("x.parquet", NULL, ValueError, r"row 1, column 2 \('2'\): .*missing"),
        ("x.parquet", FRAME.assign(note="a"), TypeError, "column 'note': .*not numeric"),
        ("x.parquet", FRAME.iloc[:0], ValueError, "empty"),
        ("x.parquet", b"no parquet", ValueError, "parquet file"),
        ("x.parquet", FRAME.assign(node=[1, 2, 2, 3]), ValueError, "rows 1 and 2"),
        ("x.parquet", FRAME.assign(id=["a", "b", None, "d"]), ValueError, "row 2, column 'id'"),
        ("x.txt", "1", ValueError, r"\.npy, \.parquet or \.csv"),
    ],
)
def test_other_series_errors(read, name, series, error, message):
    with pytest.raises(error, match=message):
        read(EDGES, series, series_name=name)


def test_truncated_npy_is_named(read, tmp_path):
    path = write(tmp_path, "whole.npy", VALUES)
    with pytest.raises(ValueError, match=r"x\.npy"):
        read(EDGES, path.read_bytes()[:-8])


@pytest.mark.parametrize(
    ("name", "edges", "error", "message"),
    [
        ("e.npz", {"edges": PATH}, ValueError, "key 'edge_index'.*got keys edges"),
        ("e.npz", {"edge_index": PATH.astype(object)}, ValueError, "Object arrays"),
        ("e.npz", {"edge_index": PATH.T}, ValueError, "Transpose"),
        ("e.npz", {"edge_index": PATH + 1}, ValueError, "row 1, column 2.*count from 1"),
        ("e.npz", {"edge_index": PATH.astype(str)}, TypeError, "integer node ids"),
        ("e.npz", {"edge_index": PATH, "edge_weight": np.ones(2)}, ValueError, "weight per edge"),
        ("e.npz", sp.csr_array(np.eye(5)), ValueError, r"shape \(4, 4\).*\(5, 5\)"),
        ("e.npz", b"PK rubbish", ValueError, "npz"),
        ("e.npz", b"", ValueError, "npz"),
        ("e.parquet", pd.DataFrame({"a": [0], "b": [8]}), ValueError, r"row 0, column 1 \('b'\)"),
        ("e.parquet", pd.DataFrame({"a": [0, None], "b": [1, 2]}), ValueError, "row 1, column 0"),
        ("e.parquet", pd.DataFrame({"a": [0.5], "b": [1.0]}), ValueError, "integer node id"),
        ("e.parquet", pd.DataFrame({"a": ["x"], "b": ["y"]}), TypeError, "column 'node'"),
        ("e.parquet", pd.DataFrame({"a": ["x"], "b": [1]}), TypeError, "both text"),
        ("e.parquet", pd.DataFrame({"a": [True], "b": [False]}), TypeError, "column 'a'.*bool"),
        ("e.parquet", pd.DataFrame({"a": [], "b": []}, dtype=int), ValueError, "empty"),
        ("e.parquet", b"rubbish", ValueError, "parquet file"),
        ("e.txt", "0 1", ValueError, r"\.csv, \.parquet or \.npz"),
    ],
)
def test_other_edge_errors(read, name, edges, error, message):
    with pytest.raises(error, match=message):
        read(edges, VALUES, name)


def test_numbers_where_the_series_has_text_labels(read):
    frame = FRAME.assign(node=["a", "b", "c", "d"])
    with pytest.raises(TypeError, match="labels as text"):
        read({"edge_index": PATH}, frame, "e.npz", "x.parquet")


def test_unknown_text_label_names_row_and_line(read):
    frame = FRAME.assign(node=["a", "b", "c", "d"])
    with pytest.raises(ValueError, match=r"row 1 \(line 2\), column 1: .*'zz'"):
        read("a,b\nb,zz\n", frame, series_name="x.parquet")


def test_missing_files(tmp_path):
    edges = write(tmp_path, "e.csv", EDGES)
    with pytest.raises(FileNotFoundError, match=r"none\.npy"):
        read_files(edges, tmp_path / "none.npy", 1.0, "a", 2, 2)
    series = write(tmp_path, "x.npy", VALUES)
    with pytest.raises(FileNotFoundError, match=r"none\.csv"):
        read_files(tmp_path / "none.csv", series, 1.0, "a", 2, 2)


def test_samples_as_rows_get_a_hint(read):
    with pytest.raises(ValueError, match="transpose it if it is samples x nodes"):
        read("0,1\n1,7\n", np.full((5, 8), 0.5))
