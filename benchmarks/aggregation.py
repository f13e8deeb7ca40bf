"""Reduction of edge messages to their receivers: ours, PyG's default, torch-scatter.

    python benchmarks/aggregation.py --edges 1e6 2e7 --channels 8

Sum, mean, variance and maximum at once, forward and backward, on one random graph with receivers
in ascending order and six edges per receiver on average. Each method runs in the same process on
the same messages; the time is the best of ``--repeats``. PyG's default is its
``MultiAggregation`` with every acceleration it finds, and without the offsets it would not be
given by a `MessagePassing` layer.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch_geometric.nn import MultiAggregation

from roma_pyg.kernels import use_kernel
from roma_pyg.nn.segment import AGGREGATIONS, row_offsets, segment_aggregate

Method = Callable[[Tensor, Tensor, Tensor, int], Tensor]


def ours(messages: Tensor, index: Tensor, rowptr: Tensor, count: int) -> Tensor:
    """Plain torch."""
    return segment_aggregate(messages, index, rowptr, count, AGGREGATIONS, "torch")


def by_scatter(messages: Tensor, index: Tensor, rowptr: Tensor, count: int) -> Tensor:
    """Our backward pass on the forward kernels of torch-scatter."""
    return segment_aggregate(messages, index, rowptr, count, AGGREGATIONS, "scatter")


def by_pyg(messages: Tensor, index: Tensor, rowptr: Tensor, count: int) -> Tensor:
    """What a layer of PyG with these four aggregations does."""
    aggregate = MultiAggregation(list(AGGREGATIONS))
    return aggregate(messages, index, dim_size=count)


def seconds(method: Method, arguments: tuple, repeats: int) -> tuple[float, float]:
    """Best time of the forward pass, and of the backward pass."""
    forward, backward = [], []
    messages = arguments[0].requires_grad_()
    for _ in range(repeats):
        messages.grad = None
        start = time.perf_counter()
        result = method(*arguments)
        middle = time.perf_counter()
        result.sum().backward()
        forward.append(middle - start)
        backward.append(time.perf_counter() - middle)
    return min(forward), min(backward)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--edges", type=float, nargs="+", default=[1e6, 5e6, 2e7])
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    methods: dict[str, Method] = {"roma_pyg, plain torch": ours, "PyG MultiAggregation": by_pyg}
    if use_kernel("torch-scatter"):
        methods["roma_pyg, torch-scatter"] = by_scatter
    else:
        sys.stderr.write("torch-scatter is not active here: make kernels\n")
    print(f"{options.channels} channels, {torch.get_num_threads()} threads; ratio to the first")
    print(
        "| edges | method | forward s | backward s | ratio |\n| ---: | --- | ---: | ---: | ---: |"
    )
    for edges in map(int, options.edges):
        torch.manual_seed(0)
        count = max(1, edges // 6)
        index = torch.randint(count, (edges,)).sort().values
        arguments = (torch.randn(edges, options.channels), index, row_offsets(index, count), count)
        first = 0.0
        for name, method in methods.items():
            forward, backward = seconds(method, arguments, options.repeats)
            first = first or forward + backward
            ratio = (forward + backward) / first
            print(f"| {edges:,} | {name} | {forward:.3f} | {backward:.3f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
