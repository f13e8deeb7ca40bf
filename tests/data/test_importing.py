from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from roma_pyg.data.affine import AffineScaling
from roma_pyg.data.importing import import_files
from roma_pyg.data.store import check_store, open_store

N, T = 40, 9
VALUES = np.random.default_rng(0).uniform(0.1, 1, (N, T)).astype(np.float32)


@pytest.fixture
def edges(tmp_path):
    ring = np.arange(N)
    frame = pd.DataFrame({"0": ring, "1": (ring + 1) % N})
    frame.to_parquet(tmp_path / "edges_km.parquet")
    return tmp_path / "edges_km.parquet"


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    for module in ("series_files", "validate"):
        monkeypatch.setattr(f"roma_pyg.data.{module}.BLOCK", 7 * T)


def write(folder, suffix, values=VALUES):
    path = folder / f"x_km{suffix}"
    if suffix == ".npy":
        np.save(path, values)
    elif suffix == ".csv":
        pd.DataFrame(values).to_csv(path, index=False)
    elif suffix == ".zarr":
        zarr = pytest.importorskip("zarr")
        array = zarr.open_array(
            str(path), mode="w", shape=values.shape, chunks=(6, 4), dtype=values.dtype
        )
        array[:] = values
    else:
        names = [str(i) for i in range(values.shape[1])]
        pq.write_table(
            pa.table(list(values.T), names=names), path, row_group_size=max(11, len(values) // 8)
        )
    return path


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".csv", ".zarr"])
def test_every_format_comes_back_from_the_store(tmp_path, edges, suffix):
    counts = []
    path = import_files(edges, write(tmp_path, suffix), tmp_path / "km", 0.5, report=counts.append)
    assert check_store(path) == []
    assert sum(counts) == 2 * N
    assert max(counts) < N or suffix == ".csv"
    series = open_store(path)
    assert isinstance(series.values.base, np.memmap)
    np.testing.assert_allclose(series.values, VALUES, rtol=1e-6)
    assert (series.dt, series.graph.num_edges, series.metadata["scaling"]) == (0.5, 2 * N, None)


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".zarr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_other_ranges_are_scaled(tmp_path, edges, suffix, dtype):
    raw = (100 * VALUES - 50).astype(dtype)
    series = open_store(import_files(edges, write(tmp_path, suffix, raw), tmp_path / "km"))
    scaling = AffineScaling.from_metadata(series.metadata)
    assert series.values.min() >= np.float32(0.02)
    assert series.values.max() == 1
    np.testing.assert_allclose(scaling.invert(series.values), raw, atol=1e-3)


def test_column_names_of_any_kind_and_integers(tmp_path, edges):
    whole = np.arange(1, N * T + 1).reshape(N, T)
    for names in ([f"t={i}" for i in range(T)], [str(-i) for i in range(T)]):
        path = tmp_path / "x_km.parquet"
        pq.write_table(pa.table(list(whole.T), names=names), path)
        folder = tmp_path / names[1]
        series = open_store(import_files(edges, path, folder))
        scaling = AffineScaling.from_metadata(series.metadata)
        np.testing.assert_allclose(scaling.invert(series.values), whole, rtol=1e-4)


def test_labels_are_kept(tmp_path):
    names = [f"n{i}" for i in range(N)]
    frame = pd.DataFrame(VALUES, columns=[str(i) for i in range(T)])
    frame.insert(0, "node", names)
    frame.to_parquet(tmp_path / "x.parquet")
    (tmp_path / "e.csv").write_text("\n".join(f"n{i},n{(i + 1) % N}" for i in range(N)))
    series = open_store(import_files(tmp_path / "e.csv", tmp_path / "x.parquet", tmp_path / "km"))
    assert series.extras["label"].tolist() == names
    assert (series.graph.degree == 2).all()


def test_positional_features_are_kept_as_they_are(tmp_path, edges):
    features = np.random.default_rng(0).random((N, 4)).astype(np.float32)
    pd.DataFrame(features, columns=list("abcd")).to_parquet(tmp_path / "pe_dim4_km.parquet")
    path = import_files(
        edges, write(tmp_path, ".npy"), tmp_path / "km", positional=tmp_path / "pe_dim4_km.parquet"
    )
    np.testing.assert_array_equal(open_store(path).extras["position"], features)


@pytest.mark.parametrize("suffix", [".npy", ".parquet", ".zarr"])
def test_a_value_that_is_not_finite_is_found_in_any_block(tmp_path, edges, suffix):
    values = VALUES.copy()
    values[33, 4] = np.nan
    path = write(tmp_path, suffix, values)
    with pytest.raises(ValueError, match=r"row 33.*column 4.*finite"):
        import_files(edges, path, tmp_path / "km")
    assert not any("km" in entry.name and entry.is_dir() and entry != path
                   for entry in tmp_path.iterdir())  # fmt: skip


def test_errors_leave_no_data_set(tmp_path, edges):
    series = write(tmp_path, ".npy")
    pd.DataFrame({"a": [0], "b": [N]}).to_parquet(tmp_path / "bad.parquet")
    with pytest.raises(ValueError, match=rf"row 0, column 1 \('b'\).*got {N}"):
        import_files(tmp_path / "bad.parquet", series, tmp_path / "km")
    with pytest.raises(FileNotFoundError, match="there is none"):
        import_files(edges, tmp_path / "none.zarr", tmp_path / "km")
    (tmp_path / "km").mkdir()
    with pytest.raises(FileExistsError, match="not to exist"):
        import_files(edges, series, tmp_path / "km")
    assert list((tmp_path / "km").iterdir()) == []
    np.save(tmp_path / "flat.npy", np.ones(5))
    with pytest.raises(ValueError, match=r"shape \(N, T\)"):
        import_files(edges, tmp_path / "flat.npy", tmp_path / "other")


@pytest.mark.parametrize("suffix", [".npy", ".parquet"])
def test_memory_does_not_hold_the_series(tmp_path, edges, suffix, monkeypatch):
    nodes, samples = 4000, 1600
    for module in ("series_files", "validate"):
        monkeypatch.setattr(f"roma_pyg.data.{module}.BLOCK", 100 * samples)
    ring = np.arange(nodes)
    np.savez(tmp_path / "e.npz", edge_index=np.stack([ring, (ring + 1) % nodes]))
    path = write(tmp_path, suffix, np.full((nodes, samples), 0.5, dtype=np.float32))
    tracemalloc.start()
    try:
        import_files(tmp_path / "e.npz", path, tmp_path / "km")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 0.5 * 4 * nodes * samples
