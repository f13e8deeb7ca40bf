"""Several ranks exchange numbers and write a matrix together; a program of its own, as `driver.py`.

Usage: exchange_driver.py FOLDER; writes the exit codes of all ranks to the standard output, by
name of what they did.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from forking import fork

from roma_pyg import exchange, ranks
from roma_pyg.data.export import Header
from roma_pyg.data.shared_export import SharedRowWriter
from roma_pyg.nn.pool import link_loss, sample_negatives


def numbers() -> None:
    """Sums and means over the ranks, in the block of parts only."""
    rank, size = ranks.rank(), ranks.size()
    mine = torch.tensor([float(rank), 1.0])
    with exchange.connected(20):
        assert exchange.tell(lambda: {"made by": ranks.rank()}) == {"made by": 0}
        assert exchange.place() == (0, 1)
        assert exchange.total(mine) is mine
        with exchange.joint():
            assert exchange.place() == (rank, size)
            assert exchange.total(mine).tolist() == [size * (size - 1) / 2, size]
            assert exchange.mean(mine).tolist() == [(size - 1) / 2, 1.0]
            assert exchange.largest(10 * rank) == 10 * (size - 1)
            assert exchange.gather(rank) == list(range(size))
            means = exchange.mean_of_each({"a": mine[0], "b": 2.0})
            assert {k: float(v) for k, v in means.items()} == {"a": (size - 1) / 2, "b": 2.0}
        assert exchange.place() == (0, 1)


def links() -> None:
    """Pairs without a link, and their loss, are those of the joint graphs."""
    rank, size = ranks.rank(), ranks.size()
    n, graphs = 6, 2
    ring = torch.arange(n)
    one = torch.stack([ring, (ring + 1) % n])
    # Graphs differ in their number of edges.
    every = [one[:, : n - g] + n * g for g in range(graphs * size)]
    own = torch.cat(every[graphs * rank : graphs * (rank + 1)], 1) - n * graphs * rank
    points = 0.3 * torch.randn(n * graphs * size, 3, generator=torch.Generator().manual_seed(1))
    points.requires_grad_()

    def pairs(edges: torch.Tensor, count: int) -> torch.Tensor:
        return sample_negatives(edges, n, count, torch.Generator().manual_seed(5))

    whole = torch.cat(every, 1)
    joint = pairs(whole, graphs * size)
    loss = link_loss(points, whole, joint, 1.0, 2.0, 1.0)
    (expected,) = torch.autograd.grad(loss, points)
    with exchange.connected(20), exchange.joint():
        mine = pairs(own, graphs)
        first = n * graphs * rank
        chosen = joint[:, (joint[0] >= first) & (joint[0] < first + n * graphs)] - first
        assert torch.equal(mine, chosen)
        part = link_loss(points[first : first + n * graphs], own, mine, 1.0, 2.0, 1.0)
        (gradient,) = torch.autograd.grad(part, points)
        torch.testing.assert_close(exchange.mean(part), loss.detach())
        torch.testing.assert_close(exchange.mean(gradient), expected)


def matrix(path: Path, fault: str = "") -> None:
    """Every rank writes its rows; one may fail."""
    rows = np.arange(ranks.rank(), 10, ranks.size())
    with (
        exchange.connected(20),
        SharedRowWriter(path, 10, Header(["1", "2"]), lambda block: 2 * block) as writer,
    ):
        first = rows[:-1] if fault == "missing" and ranks.rank() == 1 else rows
        writer.write(first, np.stack([first, first + 0.5], 1))
        if fault == "error" and ranks.rank() == 1:
            raise ValueError("Expected no error (got one).")
        if fault == "slow" and ranks.rank() == 0:
            time.sleep(1)


def hanging() -> None:
    """A rank that does not come, at which the others give up."""
    try:
        with exchange.connected(2), exchange.joint():
            if ranks.rank() == 1:
                time.sleep(6)
                os.kill(os.getpid(), signal.SIGKILL)
            exchange.barrier()
    except ranks.RankFailed as error:
        sys.exit(2 if "got nothing from rank 1 within 2 s): one hangs, or" in str(error) else 3)


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder = Path(sys.argv[1])
    tasks = {
        "numbers": (3, numbers),
        "links": (2, links),
        "whole": (3, partial(matrix, folder / "whole.npy")),
        "slow": (2, partial(matrix, folder / "slow.parquet", "slow")),
        "error": (2, partial(matrix, folder / "error.npy", "error")),
        "missing": (2, partial(matrix, folder / "missing.npy", "missing")),
        "hanging": (2, hanging),
    }
    json.dump({name: fork(*task) for name, task in tasks.items()}, sys.stdout)
