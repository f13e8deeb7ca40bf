from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from roma_pyg.dynamics import sparse_product
from roma_pyg.dynamics.sparse_product import SparseProduct, torch_csr_works

BACKENDS = ["scipy", pytest.param("torch-sparse", marks=pytest.mark.kernels)]
if torch_csr_works():
    BACKENDS.append("torch")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("columns", [1, 2, 5])
def test_equals_the_dense_product(backend, columns):
    rng = np.random.default_rng(columns)
    # Some rows are empty, the last ones among them.
    matrix = sp.csr_array(np.where(rng.random((40, 40)) < 0.08, rng.normal(size=(40, 40)), 0.0))
    product = SparseProduct(matrix.indptr, matrix.indices, matrix.data, backend)
    x = rng.normal(size=(40, columns))
    out = torch.full((40, columns), np.nan, dtype=torch.float64)
    assert product.apply(torch.from_numpy(x), out) is out
    np.testing.assert_allclose(out.numpy(), matrix.toarray() @ x, rtol=0, atol=1e-14)


@pytest.mark.parametrize(
    ("csr", "kernel", "expected"),
    [
        (True, True, "torch"),
        (True, False, "torch"),
        (False, False, "scipy"),
        pytest.param(False, True, "torch-sparse", marks=pytest.mark.kernels),
    ],
)
def test_auto_takes_the_fastest_that_is_there(monkeypatch, csr, kernel, expected):
    if csr and not torch_csr_works():
        pytest.skip("this build of torch has no CSR product")
    monkeypatch.setattr(sparse_product, "torch_csr_works", lambda: csr)
    monkeypatch.setattr(sparse_product, "use_kernel", lambda name: kernel)
    one = np.ones(1)
    assert SparseProduct(np.array([0, 1]), np.zeros(1, np.int64), one).backend == expected


def test_a_backend_that_is_not_there(monkeypatch):
    monkeypatch.setattr(sparse_product, "use_kernel", lambda name: False)
    arrays = (np.array([0, 1]), np.zeros(1, np.int64), np.ones(1))
    with pytest.raises(ValueError, match=r"Expected torch-sparse to be installed .* use 'auto'"):
        SparseProduct(*arrays, "torch-sparse")
    with pytest.raises(ValueError, match=r"Expected 'backend' to be one of .* \(got 'numpy'\)"):
        SparseProduct(*arrays, "numpy")
