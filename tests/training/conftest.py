"""A tiny stand-in model, batches for it, and trainers that run it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from roma_pyg.config import PoolConfig, TrainingConfig
from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.output import LevelForecast, RomaOutput
from roma_pyg.training.callbacks import make_callbacks
from roma_pyg.training.charts import NamedScalars
from roma_pyg.training.checkpoints import AtomicCheckpointIO
from roma_pyg.training.module import RomaModule

WINDOW, HORIZON, NODES = 8, 16, 6


class TwoLevels(nn.Module):
    """Linear forecast from own lags, and the means of two halves of the nodes as coarse level."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(WINDOW, HORIZON)
        self.norm = nn.LayerNorm(WINDOW)

    def forward(self, batch: SubgraphBatch) -> RomaOutput:
        graphs, steps = batch.num_graphs, batch.steps - 1
        core = batch.window[: batch.num_core]
        fine = core[:, -1:] + self.linear(self.norm(core))[:, steps]
        fine = fine.view(graphs, NODES, -1)
        half = torch.eye(2).repeat_interleave(NODES // 2, 0) / (NODES // 2)
        assignment = half.expand(graphs, -1, -1)
        target = None if batch.target is None else batch.target.view(graphs, NODES, -1)
        coarse_target = None if target is None else assignment.mT @ target
        return RomaOutput(
            levels=[
                LevelForecast(fine, target),
                LevelForecast(assignment.mT @ fine, coarse_target, assignment),
            ],
            penalties={
                "entropy/1": self.linear.weight.square().mean(),
                "link/1": self.linear.bias.square().mean(),
            },
        )


def sines(seed: int, steps: tuple[int, ...] = (1, 4, 9, 16), graphs: int = 1) -> SubgraphBatch:
    """Sines of random frequency and phase in (0, 1)."""
    generator = torch.Generator().manual_seed(seed)
    count = NODES * graphs
    phase = 6 * torch.rand(count, 1, generator=generator)
    rate = 0.1 + 0.2 * torch.rand(count, 1, generator=generator)

    def values(times: Tensor) -> Tensor:
        return 0.5 + 0.4 * torch.sin(rate * times + phase)

    ahead = torch.tensor(steps)
    return SubgraphBatch(
        window=values(torch.arange(1 - WINDOW, 1)),
        features=torch.rand(count, 3, generator=generator),
        edge_index=torch.zeros(2, 0, dtype=torch.int64),
        edge_weight=torch.zeros(0),
        steps=ahead,
        node_id=torch.arange(count) + 100,
        num_graphs=graphs,
        target=values(ahead),
    )


@dataclass
class Fit:
    """A finished run."""

    folder: Path
    trainer: L.Trainer
    module: RomaModule


@pytest.fixture
def model() -> TwoLevels:
    return TwoLevels()


@pytest.fixture
def make_batch() -> Callable[..., SubgraphBatch]:
    return sines


@pytest.fixture
def batch() -> SubgraphBatch:
    return sines(0)


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., Fit]:
    return lambda folder=tmp_path, **options: run_fit(folder, **options)


def run_fit(
    folder: Path,
    steps: int = 5,
    val_interval: int = 2,
    average: float | None = None,
    batches: list[SubgraphBatch] | None = None,
    extra: list[L.Callback] | None = None,
    resume: Path | None = None,
    figures: bool = False,
    schedule_steps: int | None = None,
    checkpoint_interval: int = 100,
    plugins: list[Any] | None = None,
) -> Fit:
    """Train the stand-in for some steps on the CPU."""
    options = TrainingConfig(
        max_steps=schedule_steps or steps,
        log_interval=1,
        figures=figures,
        learning_rate=0.01,
        checkpoint_interval=checkpoint_interval,
    )
    torch.manual_seed(0)
    module = RomaModule(
        TwoLevels(),
        options,
        PoolConfig(),
        reference=torch.linspace(0.01, 0.1, HORIZON),
        config={"model": {"sizes": [2]}, "name": "stand-in"},
    )
    data = batches or [sines(seed) for seed in range(20)]
    trainer = L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        max_epochs=-1,
        logger=NamedScalars(folder, name="", version="", default_hp_metric=False),
        callbacks=[
            *make_callbacks(options, folder, dt=0.1, average=average, progress=False),
            *(extra or []),
        ],
        plugins=[AtomicCheckpointIO(), *(plugins or [])],
        gradient_clip_val=1.0,
        val_check_interval=val_interval,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_progress_bar=any(
            isinstance(c, L.pytorch.callbacks.ProgressBar) for c in extra or ()
        ),
        enable_model_summary=False,
    )
    trainer.fit(
        module,
        DataLoader(data, batch_size=None),
        DataLoader([sines(100), sines(101)], batch_size=None),
        ckpt_path=resume,
        weights_only=True,
    )
    return Fit(folder, trainer, module)
