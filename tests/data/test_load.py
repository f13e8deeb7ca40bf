from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from roma_pyg.config import DataConfig
from roma_pyg.data.importing import import_files
from roma_pyg.data.load import load_series, open_folder

N, T = 12, 20
VALUES = np.random.default_rng(0).uniform(0.1, 1, (N, T)).astype(np.float32)


@pytest.fixture
def files(tmp_path):
    """A data set in the layout of the authors."""
    ring = np.arange(N)
    pd.DataFrame({"i": ring, "j": (ring + 1) % N}).to_parquet(tmp_path / "edges_km.parquet")
    frame = pd.DataFrame(VALUES, columns=[str(i) for i in range(T)])
    frame.to_parquet(tmp_path / "x_km.parquet")
    return tmp_path


def test_folder_in_the_layout_of_the_authors(files):
    for place in (files, files / "km"):
        series = open_folder(place, dt=0.2)
        np.testing.assert_array_equal(series.values, VALUES)
        assert (series.dt, series.graph.num_edges) == (0.2, 2 * N)
    assert not series.extras
    features = np.random.default_rng(1).random((N, 2)).astype(np.float32)
    pd.DataFrame(features, columns=["0", "1"]).to_parquet(files / "pe_dim2_km.parquet")
    np.testing.assert_array_equal(open_folder(files).extras["position"], features)
    with pytest.raises(ValueError, match="at least 21 samples"):
        open_folder(files, min_steps=21)


def test_imported_data_set_is_opened_by_its_folder(files):
    path = import_files(files / "edges_km.parquet", files / "x_km.parquet", files / "store", 0.2)
    config = DataConfig(system="files", series=str(path), window=8, horizon=8)
    for edges in (None, "edges.csv"):
        # The edges of the data set are its own, whatever the configuration names.
        series = load_series(replace(config, edges=edges))
        assert series.graph.num_edges == 2 * N
    assert isinstance(series.values.base, np.memmap)
    np.testing.assert_array_equal(series.values, VALUES)
    with pytest.raises(ValueError, match=r"at least 40 samples in .* \(got 20\)"):
        load_series(DataConfig(system="files", series=str(path), window=32, horizon=8))


def test_files_still_need_their_edges():
    with pytest.raises(ValueError, match=r"'data\.edges' to be a file"):
        DataConfig(system="files", series="my/x.npy")


def test_nothing_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"a data set, or files x_\*\.parquet.*neither"):
        open_folder(tmp_path)
