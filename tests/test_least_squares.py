from __future__ import annotations

import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch

from roma_pyg.least_squares import solve_normal


def definite(*shape):
    rows = torch.randn(*shape[:-1], 3 * shape[-1], shape[-1], dtype=torch.float64)
    return rows.mT @ rows / rows.shape[-2]


def in_two_threads(source: str) -> str:
    """Output of a fresh process; this one has changed its number of threads, or not."""
    environment = os.environ | {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(source)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.parametrize("size", [1, 2, 17, 200])
@pytest.mark.parametrize("columns", [1, 5])
def test_equals_numpy(size: int, columns: int) -> None:
    torch.manual_seed(size)
    gram, cross = definite(3, 2, size), torch.randn(3, 2, size, columns, dtype=torch.float64)
    expected = np.linalg.solve(gram.numpy(), cross.numpy())
    np.testing.assert_allclose(solve_normal(gram, cross).numpy(), expected, rtol=1e-8, atol=1e-10)


def test_leading_dimensions_broadcast() -> None:
    torch.manual_seed(0)
    gram, cross = definite(4), torch.randn(5, 4, 2, dtype=torch.float64)
    torch.testing.assert_close(gram @ solve_normal(gram, cross), cross)
    gram, cross = definite(5, 4), torch.randn(4, 2, dtype=torch.float64)
    torch.testing.assert_close(gram @ solve_normal(gram, cross), cross.expand(5, 4, 2))


@pytest.mark.parametrize("below", [0.0, -1e-16, -1e-15])
def test_what_rounding_has_made_indefinite_gets_its_least_norm_solution(below: float) -> None:
    torch.manual_seed(0)
    axes = torch.linalg.qr(torch.randn(6, 6, dtype=torch.float64))[0]
    values = torch.tensor([below, below, 0.5, 1.0, 2.0, 3.0], dtype=torch.float64)
    singular, healthy = (axes * values) @ axes.T, definite(6)
    wanted = axes[:, 2:] @ torch.randn(4, 1, dtype=torch.float64)
    found = solve_normal(torch.stack([singular, healthy]), torch.stack([singular @ wanted] * 2))
    torch.testing.assert_close(singular @ found[0], singular @ wanted, rtol=0, atol=1e-12)
    assert found[0].norm() <= wanted.norm() * (1 + 1e-9)
    torch.testing.assert_close(healthy @ found[1], singular @ wanted)


@pytest.mark.parametrize("columns", [1, 64])
def test_in_a_process_that_has_set_its_threads(columns: int) -> None:
    """As after `torch.set_num_threads(2)`, in the main process or by a library."""
    source = f"""
        import torch
        from roma_pyg.least_squares import solve_normal
        torch.set_num_threads(2)
        torch.manual_seed(0)
        rows = torch.randn(64, 400, 163, dtype=torch.float64)
        gram, cross = rows.mT @ rows / 400, torch.randn(64, 163, {columns}, dtype=torch.float64)
        print(float((gram @ solve_normal(gram, cross) - cross).abs().max()))
    """
    assert float(in_two_threads(source)) < 1e-9


def test_a_simulation_leaves_linear_algebra_as_it_was() -> None:
    """Batched LU of torch errs once the process has called `torch.set_num_threads`."""
    source = """
        import numpy as np
        import scipy.sparse as sp
        import torch
        from roma_pyg.config import KuramotoConfig
        from roma_pyg.data.graph import Graph
        from roma_pyg.dynamics.kuramoto import Kuramoto
        graph = Graph.from_matrix(sp.csr_array(np.ones((8, 8)) - np.eye(8)))
        before = torch.get_num_threads()
        list(Kuramoto(np.ones(8), graph, KuramotoConfig()).integrate(np.arange(8.0), 3))
        assert torch.get_num_threads() == before == 2, torch.get_num_threads()
        torch.manual_seed(0)
        rows = torch.randn(64, 400, 163, dtype=torch.float64)
        gram, cross = rows.mT @ rows / 400, torch.randn(64, 163, 1, dtype=torch.float64)
        print(float((gram @ torch.linalg.solve(gram, cross) - cross).abs().max()))
    """
    assert float(in_two_threads(source)) < 1e-9
