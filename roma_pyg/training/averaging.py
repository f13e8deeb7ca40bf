"""Exponential moving average of the weights."""

from __future__ import annotations

import lightning as L
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


def warm_decay(count: int, decay: float) -> float:
    """Decay after ``count`` updates: ``min(decay, (1 + count) / (10 + count))``.

    A constant decay would keep the random initial weights for about ``1 / (1 - decay)`` steps;
    this one averages over the last tenth of the steps until ``decay`` is reached.

    >>> warm_decay(0, 0.999), warm_decay(90, 0.999), warm_decay(10**6, 0.999)
    (0.1, 0.91, 0.999)
    """
    return min(decay, (1 + count) / (10 + count))


class EmaWeights(WeightAveraging):
    """Validates and saves an exponential moving average of the weights.

    ``a <- d a + (1 - d) w`` after every optimiser step (Polyak & Juditsky 1992), with the decay d
    of :func:`warm_decay`. The averaged weights are in place during validation and after the end
    of training; a checkpoint holds them as ``state_dict`` and the raw weights, from which
    training goes on, as ``current_model_state``. Costs one more copy of the weights.

    Args:
        decay: Largest decay, in (0, 1).

    Raises:
        ValueError: If ``decay`` is out of range.
    """

    def __init__(self, decay: float = 0.999) -> None:
        """Average parameters; buffers are copied, for they hold constants here."""
        if not 0 < decay < 1:
            raise ValueError(f"Expected 'decay' to be in (0, 1) (got {decay}).")

        def average(averaged: list[Tensor], current: list[Tensor], count: Tensor | int) -> None:
            get_ema_multi_avg_fn(warm_decay(int(count), decay))(averaged, current, count)

        super().__init__(use_buffers=False, multi_avg_fn=average)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Give the averages the precision of the weights, set after these were copied."""
        if self._average_model is not None:
            averages = self._average_model.module.parameters()
            for average, weight in zip(averages, pl_module.parameters(), strict=True):
                average.data = average.data.to(weight.dtype)
        super().on_train_start(trainer, pl_module)
