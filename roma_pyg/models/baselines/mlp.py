"""Multilayer perceptron on own lags, or on own and neighbour-mean lags."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from roma_pyg.data.graph import Graph, IntArray
from roma_pyg.models.baselines.lags import lag_features
from roma_pyg.models.baselines.ridge import Moments
from roma_pyg.models.baselines.samples import WindowSampler
from roma_pyg.models.forecaster import Group


class MLP(nn.Module):
    r"""Forecasts the increment over the last value, with one network for all nodes.

    .. math:: \hat y_i(t + q) = u_i(t) + s\, f_q\!\left(\frac{x_i - \mu}{\sigma}\right)

    with lags :math:`x_i`, their training means and standard deviations :math:`\mu, \sigma`, the
    mean standard deviation s of the own lags, and a network f with GELU units. It ignores the
    graph but for the neighbour means.

    Args:
        window: History length K, in samples.
        horizon: Number of samples forecast.
        neighbors: Whether neighbour-mean lags are inputs.
        width: Hidden channels C.
        layers: Hidden layers.
    """

    group: ClassVar[Group] = "baseline"
    center: Tensor
    scale: Tensor

    def __init__(
        self,
        window: int,
        horizon: int,
        *,
        neighbors: bool = True,
        width: int = 256,
        layers: int = 3,
    ) -> None:
        """Initialise from the global torch seed.

        Raises:
            ValueError: If a size is below 1.
        """
        super().__init__()
        for key, value in (
            ("window", window),
            ("horizon", horizon),
            ("width", width),
            ("layers", layers),
        ):
            if value < 1:
                raise ValueError(f"Expected '{key}' to be at least 1 (got {value}).")
        self.name = "MLP, own + neighbours" if neighbors else "MLP, own lags"
        self.window = window
        self.horizon = horizon
        self.neighbors = neighbors
        inputs = window * (1 + neighbors)
        modules: list[nn.Module] = []
        for channels in [inputs] + [width] * (layers - 1):
            modules += [nn.Linear(channels, width), nn.GELU()]
        self.network = nn.Sequential(*modules, nn.Linear(width, horizon))
        self.register_buffer("center", torch.zeros(inputs))
        self.register_buffer("scale", torch.ones(inputs))

    @classmethod
    def fit(
        cls,
        sampler: WindowSampler,
        moments: Moments,
        *,
        neighbors: bool = True,
        steps: int = 3000,
        batch_size: int = 2048,
        learning_rate: float = 1e-3,
        width: int = 256,
        layers: int = 3,
        seed: int = 0,
        progress: bool = False,
    ) -> MLP:
        """Train on fresh noisy windows: AdamW, one-cycle learning rate, mean squared error.

        Each pool of windows (16 batches from up to 4,096 nodes) is used once, then drawn anew.
        The global torch generator is left as it was.

        Args:
            sampler: Windows of the training part.
            moments: Moments of its lags and targets, for the standardisation.
            neighbors: Whether to use the neighbour-mean lags.
            steps: Optimiser steps.
            batch_size: Windows per step.
            learning_rate: Peak learning rate.
            width: Hidden channels.
            layers: Hidden layers.
            seed: Seed of initialisation, windows and noise.
            progress: Show a progress bar.

        Raises:
            ValueError: If there are no steps.
        """
        if steps < 1:
            raise ValueError(f"Expected 'steps' to be at least 1 (got {steps}).")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = cls(
                sampler.window, sampler.horizon, neighbors=neighbors, width=width, layers=layers
            )
        inputs = len(model.center)
        model.center.copy_(torch.from_numpy(moments.mean[0][:inputs]))
        model.scale.copy_(torch.from_numpy(moments.std[:inputs]))
        optimizer = torch.optim.AdamW(model.parameters(), learning_rate)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, max(steps, 4))
        batches = _batches(sampler, np.random.default_rng([0x317, seed]), batch_size)
        with tqdm(
            total=steps, desc=model.name, unit="step", disable=None if progress else True
        ) as bar:
            for step in range(steps):
                lags, target = next(batches)
                error = (model(lags[:, :inputs]) - target) / model.step_size
                loss = error.square().mean()
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                bar.update()
                if step % 50 == 0:
                    bar.set_postfix(loss=f"{loss.item():.4f}")
        return model.eval().requires_grad_(False)

    @property
    def step_size(self) -> Tensor:
        """Unit of the increment: the mean standard deviation of the own lags."""
        return self.scale[: self.window].mean()

    def forward(self, lags: Tensor) -> Tensor:
        """Forecast from lags of shape ``(n, inputs)``, shape ``(n, horizon)``."""
        increment = self.network((lags - self.center) / self.scale)
        return lags[:, self.window - 1 : self.window] + self.step_size * increment

    @torch.inference_mode()
    def forecast(
        self, history: NDArray[np.float32], graph: Graph, nodes: IntArray | None = None
    ) -> NDArray[np.float32]:
        """Forecast, shape ``(n, horizon)``; see :class:`~roma_pyg.models.forecaster.Forecaster`.

        Raises:
            ValueError: If the window differs from the one of the fit.
        """
        if history.shape[1] != self.window:
            raise ValueError(
                f"Expected a history of {self.window} samples, as in the fit "
                f"(got {history.shape[1]})."
            )
        lags = torch.from_numpy(lag_features(history, graph, nodes, neighbors=self.neighbors))
        # Blocks of rows bound the memory of the hidden layers on large graphs.
        blocks = [self(block.to(self.center.device)).cpu() for block in lags.split(65536)]
        forecast: NDArray[np.float32] = torch.cat(blocks).numpy()
        return forecast


def _batches(
    sampler: WindowSampler, rng: np.random.Generator, batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield shuffled batches for ever; a pool smaller than a batch is one batch."""
    while True:
        pool = sampler.draw(rng, num_nodes=4096, num_windows=16 * batch_size)
        order = rng.permutation(len(pool))
        for start in range(0, max(1, len(pool) - batch_size + 1), batch_size):
            picked = order[start : start + batch_size]
            yield torch.from_numpy(pool.lags[picked]), torch.from_numpy(pool.target[picked])
