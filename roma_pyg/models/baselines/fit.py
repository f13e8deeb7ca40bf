"""Fits all baselines on the training part of a series."""

from __future__ import annotations

import numpy as np

from roma_pyg.data.series import GraphSeries
from roma_pyg.data.split import Split
from roma_pyg.models.baselines.linear import LinearExtrapolation
from roma_pyg.models.baselines.mlp import MLP
from roma_pyg.models.baselines.node_ridge import NodeRidge
from roma_pyg.models.baselines.persistence import Persistence
from roma_pyg.models.baselines.ridge import Moments, Ridge
from roma_pyg.models.baselines.samples import WindowSampler
from roma_pyg.models.forecaster import Forecaster

FIT_WINDOWS = 196_608
CHOICE_WINDOWS = 16_384
NODE_RIDGE_NUMBERS = 5e8
"""Coefficients above which there is no ridge per node; 2 GB of them."""


def fit_baselines(
    series: GraphSeries,
    split: Split,
    window: int,
    horizon: int,
    noise: float,
    seed: int,
    mlp_steps: int = 3000,
    *,
    mlp_own_lags: bool = False,
    progress: bool = False,
) -> list[Forecaster]:
    """Fit persistence, linear extrapolation, ridge and MLP.

    Everything is fitted on training nodes at training times, with neighbour means over the graph
    that the training nodes induce, and with the noise of the model on lags and targets. Only the
    ridge penalties are chosen on validation nodes at validation times (neighbours: training and
    validation nodes). Test times are never read, and test nodes only by
    ridge per node.

    Time: the linear methods take seconds; the MLP dominates (see ``mlp_steps``). Memory does not
    grow with N or T beyond one copy of the training graph.

    Args:
        series: The series; its values may be a memory map.
        split: Held-out nodes and times, made with at least this window and horizon.
        window: History length K, in samples, at least 2.
        horizon: Number of samples forecast directly by each method.
        noise: Variance of the multiplicative noise on lags and targets.
        seed: Seed of windows, noise and initialisation.
        mlp_steps: Optimiser steps of the MLP on batches of 2,048 windows; 0 for no MLP.
        mlp_own_lags: Also fit an MLP that sees own lags only.
        progress: Show a progress bar.

    Returns:
        Persistence, linear extrapolation, ridge on own lags, ridge on own and neighbour-mean lags,
        ridge per node (which reads the series of all nodes at training times; not beyond 2 GB of
        coefficients), and the MLP on own and neighbour-mean lags (with ``mlp_own_lags`` before it
        the other one).

    Raises:
        ValueError: If the window is below 2, or the split leaves nothing to fit on.
    """
    if window < 2:
        raise ValueError(f"Expected 'window' to be at least 2 (got {window}).")
    train, val = (
        WindowSampler(series, split.nodes[part], visible, split.times[part], window, horizon, noise)
        for part, visible in (
            ("train", split.nodes["train"]),
            ("val", np.union1d(split.nodes["train"], split.nodes["val"])),
        )
    )
    moments = Moments()
    for windows in train.stream(np.random.default_rng([0x316, seed, 0]), FIT_WINDOWS):
        moments.update(windows.lags, windows.target)
    rng = np.random.default_rng([0x316, seed, 1])
    choice = val.draw(rng, num_nodes=1024, num_windows=CHOICE_WINDOWS)
    training_windows = train.stream(np.random.default_rng([0x316, seed, 2]), CHOICE_WINDOWS)
    methods: list[Forecaster] = [
        Persistence(horizon),
        LinearExtrapolation.fit(training_windows, window, horizon),
        Ridge.fit(moments, choice, neighbors=False),
        Ridge.fit(moments, choice, neighbors=True),
    ]
    if series.num_nodes * (window + 1) * horizon <= NODE_RIDGE_NUMBERS:
        method = NodeRidge.fit(
            series,
            split.nodes["train"],
            split.times["train"],
            split.times["val"],
            window,
            horizon,
            noise,
            seed,
        )
        methods.append(method)
    if mlp_steps > 0:
        for neighbors in (False, True) if mlp_own_lags else (True,):
            methods.append(
                MLP.fit(
                    train,
                    moments,
                    neighbors=neighbors,
                    steps=mlp_steps,
                    seed=seed,
                    progress=progress,
                )
            )
    return methods
