from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from roma_pyg.data.layout import find_layout, read_positional


def touch(folder, *names):
    for name in names:
        (folder / name).touch()


def test_files_of_a_folder(tmp_path):
    touch(tmp_path, "x_km.parquet", "edges_km.parquet", "pe_dim32_km.parquet", "notes.txt")
    files = find_layout(tmp_path)
    assert files.series == tmp_path / "x_km.parquet"
    assert files.edges == tmp_path / "edges_km.parquet"
    assert files.positional == tmp_path / "pe_dim32_km.parquet"


def test_one_of_several_by_name(tmp_path):
    touch(tmp_path, "x_a.parquet", "edges_a.parquet", "x_b.parquet", "edges_b.parquet")
    files = find_layout(tmp_path / "b")
    assert (files.series.name, files.edges.name) == ("x_b.parquet", "edges_b.parquet")
    assert files.positional is None
    with pytest.raises(ValueError, match=r"got x_a\.parquet, x_b\.parquet\): give folder/NAME"):
        find_layout(tmp_path)


def test_edges_may_have_another_name(tmp_path):
    touch(tmp_path, "x_noisy.parquet", "edges_km.parquet")
    assert find_layout(tmp_path).edges.name == "edges_km.parquet"


def test_missing_and_ambiguous_files(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"series as 'x_\*\.parquet'"):
        find_layout(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"series as 'x_none\.parquet'"):
        find_layout(tmp_path / "none")
    touch(tmp_path, "x_km.parquet")
    with pytest.raises(FileNotFoundError, match=r"edges as 'edges_\*\.parquet'"):
        find_layout(tmp_path)
    touch(tmp_path, "edges_km.parquet", "pe_dim8_km.parquet", "pe_dim16_km.parquet")
    with pytest.raises(ValueError, match=r"pe_dim16_km\.parquet, pe_dim8_km\.parquet"):
        find_layout(tmp_path)


def test_positional_features(tmp_path):
    values = np.random.default_rng(0).random((5, 3)).astype(np.float32)
    np.save(tmp_path / "p.npy", values)
    pd.DataFrame(values, columns=["0", "1", "2"]).to_parquet(tmp_path / "p.parquet")
    for name in ("p.npy", "p.parquet"):
        result = read_positional(tmp_path / name, 5)
        assert result.dtype == np.float32
        np.testing.assert_array_equal(result, values)
    assert isinstance(read_positional(tmp_path / "p.npy", 5), np.memmap)
    with pytest.raises(ValueError, match=r"shape \(6, P\), a row per node \(got \(5, 3\)\)"):
        read_positional(tmp_path / "p.npy", 6)
    with pytest.raises(FileNotFoundError, match="there is none"):
        read_positional(tmp_path / "none.npy", 5)
    values[3, 1] = np.nan
    np.save(tmp_path / "p.npy", values)
    with pytest.raises(ValueError, match="row 3: Expected finite numbers"):
        read_positional(tmp_path / "p.npy", 5)


@pytest.mark.parametrize("name", ["p.npy", "p.parquet", "p.txt"])
def test_rubbish_is_named(tmp_path, name):
    (tmp_path / name).write_bytes(b"rubbish")
    with pytest.raises(ValueError, match=rf"{name}: Expected .*\.?(npy|parquet)"):
        read_positional(tmp_path / name, 5)
