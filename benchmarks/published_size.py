"""A model and a batch of the published size, on a random hyperbolic graph.

512 core nodes with about 3,500 directed edges, one coarse level of 64, window 64, two times 32
positional features embedded to 64, encoder width 128, pool width 256, 3 operator layers of width
256 with 8 heads, 256 basis functions, 256 coordinate features, 32 random functions, an emergent
law (its second operator has the size of the first).
"""

from __future__ import annotations

import resource
import sys
import time

import numpy as np
import torch
from torch import Tensor

from roma_pyg.config import (
    DataConfig,
    EffectiveConfig,
    EncoderConfig,
    GraphConfig,
    MemoryConfig,
    ModelConfig,
    OperatorConfig,
    PoolConfig,
    PositionalConfig,
    TrainingConfig,
    TrunkConfig,
)
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import hyperbolic_graph
from roma_pyg.data.sampling import SubgraphBatch, SubgraphSampler, collate
from roma_pyg.dynamics.kuramoto import coupling_matrix
from roma_pyg.models.roma import Roma
from roma_pyg.training.balance import TERMS
from roma_pyg.training.loss import data_loss, penalty_loss, residual_loss
from roma_pyg.training.memory import keep_freed_memory
from roma_pyg.training.optimizer import make_optimizer

WINDOW, HORIZON, NODES = 64, 64, 512


def model_config(kind: str, times: int, derivative: str = "partial") -> ModelConfig:
    """Sizes of the published model.

    Args:
        kind: ``deeponet`` or ``nomad``.
        times: Steps ahead at which the residual is taken; 0 for no law.
        derivative: Gradient of the residual that is punished.
    """
    return ModelConfig(
        features=64,
        encoder=EncoderConfig(width=128),
        pool=PoolConfig(sizes=[64], width=256),
        operator=OperatorConfig(width=256, layers=3, heads=8, num_functions=32, history=0),
        trunk=TrunkConfig(kind=kind, basis=256, width=256, layers=3, fourier_features=256),  # type: ignore[arg-type]
        effective=EffectiveConfig(
            kind="emergent" if times else "none",
            times=max(times, 1),
            derivative=derivative,  # type: ignore[arg-type]
            weighting="fixed",
        ),
    )


def make_batch(steps_ahead: int, num_features: int = 64, seed: int = 0) -> SubgraphBatch:
    """One subgraph of 512 core nodes with windows of random sines.

    Args:
        steps_ahead: Number of steps ahead with targets, drawn out of 64.
        num_features: Features of a node.
        seed: Of graph, subgraph and series.
    """
    adjacency = hyperbolic_graph(GraphConfig(nodes=6000, average_degree=9), seed=seed).adjacency
    graph = Graph.from_matrix(coupling_matrix(adjacency))
    rng = np.random.default_rng(seed)
    subgraph = SubgraphSampler(graph, NODES, 16).sample(rng)
    rate, phase = rng.normal(size=(2, graph.num_nodes, 1))
    times = 0.1 * np.arange(WINDOW + HORIZON)
    values = (0.5 + 0.45 * np.cos(rate * times + 6 * phase)).astype(np.float32)
    ahead = np.sort(rng.choice(HORIZON, steps_ahead, replace=False)) + 1
    features = rng.random((len(subgraph.nodes), num_features)).astype(np.float32)
    target = values[subgraph.core[:, None], WINDOW + ahead - 1]
    window = values[subgraph.nodes, :WINDOW]
    return collate([subgraph], [window], [features], ahead, [target], importance=None, seed=seed)


def make_model(kind: str, times: int, seed: int = 0, derivative: str = "partial") -> Roma:
    """A model of the published size; see :func:`model_config`."""
    torch.manual_seed(seed)
    position = PositionalConfig(eigenmaps=32, walk_embedding=32, degree=False)
    data = DataConfig(
        window=WINDOW,
        horizon=HORIZON,
        nodes_per_graph=NODES,
        positional=position,
        # As published.
        memory=MemoryConfig(size=0),
    )
    return Roma(model_config(kind, times, derivative), data)


class Step:
    """One training step: forward, all loss terms, backward, clipping, optimiser.

    Args:
        model: The model; it is moved to the device.
        optimizer: ``adamw`` (as published) or ``muon``.
        device: ``cpu`` or ``cuda``.
        half: Forward pass under autocast to bfloat16, as ``training.precision: bf16-mixed``.
    """

    def __init__(
        self, model: Roma, optimizer: str = "adamw", device: str = "cpu", half: bool = False
    ) -> None:
        """Make the optimiser; memory is kept as in a training."""
        keep_freed_memory()
        self.model = model.to(device)
        self.device, self.half = torch.device(device), half
        options = TrainingConfig()
        self.optimizer = make_optimizer(model, 1e-4, options.weight_decay, optimizer)  # type: ignore[arg-type]
        self.weights = dict.fromkeys(TERMS, 1.0)

    def loss(self, batch: SubgraphBatch) -> Tensor:
        """All loss terms, added."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            output = self.model(batch)
        scale = self.model.base.scale[batch.steps - 1]
        data, _ = data_loss(output, torch.ones_like(scale), 0.1, scale, 0.5)
        residual, _ = residual_loss(output, self.weights)
        return data + penalty_loss(output.penalties, self.model.config.pool) + residual

    def __call__(self, batch: SubgraphBatch) -> float:
        """Run the step; returns the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        return loss.item()  # waits for the device

    def repeat(self, batch: SubgraphBatch, repeats: int) -> tuple[list[float], list[float]]:
        """Run a first step and ``repeats`` more; returns the loss and the seconds of each."""
        batch = batch.to(self.device)
        losses, seconds = [], []
        for _ in range(repeats + 1):
            start = time.perf_counter()
            losses.append(self(batch))
            seconds.append(time.perf_counter() - start)
        return losses, seconds


def machine(device: str) -> str:
    """What computes: the name of the GPU, or the number of threads."""
    return (
        torch.cuda.get_device_name() if device == "cuda" else f"{torch.get_num_threads()} threads"
    )


def peak_gb(device: str = "cpu") -> float:
    """Largest memory of this process so far: resident, or what was allocated on a GPU."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    # ru_maxrss counts kilobytes, on macOS bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
