"""The states of the global random generators, kept in checkpoints."""

from __future__ import annotations

import random
from typing import Any

import lightning as L
import numpy as np
import torch
from torch import Tensor

from roma_pyg import ranks


def random_state() -> dict[str, Any]:
    """Return the states of Python's, numpy's and torch's generators as tensors and plain values.

    The batches of a run need none of them, see :class:`roma_pyg.data.windows.WindowStream`; models
    and callbacks may draw from them.
    """
    version, words, gauss = random.getstate()
    _, key, *rest = np.random.get_state()  # noqa: NPY002 - third-party code draws from it
    return {
        "python": [version, torch.tensor(words), gauss],
        "numpy": [torch.tensor(key, dtype=torch.int64), *rest],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Bring the generators into a state from :func:`random_state`.

    Args:
        state: The state; that of GPUs is left out where there are not as many as there were.

    >>> state = random_state()
    >>> first = random.random(), float(torch.rand(()))
    >>> set_random_state(state)
    >>> (random.random(), float(torch.rand(()))) == first
    True
    """
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words.tolist()), gauss))
    key, *rest = state["numpy"]
    words_of_numpy = key.numpy().astype(np.uint32)
    np.random.set_state(("MT19937", words_of_numpy, *rest))  # noqa: NPY002 - as above
    torch.set_rng_state(state["torch"])
    devices: list[Tensor] = state["cuda"]
    if torch.cuda.is_available() and len(devices) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(devices)


class RandomState(L.Callback):
    """Keeps the random state in checkpoints, and restores it when a run is resumed.

    The state is that of rank 0. Other ranks draw from states of their own, which follow from the
    global one, the rank and the step, so that no two ranks drop out the same channels.
    """

    def __init__(self) -> None:
        """Nothing to restore."""
        self._loaded: dict[str, Any] = {}

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the generators."""
        return random_state()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take a state, for later."""
        self._loaded = state_dict

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Restore it; late, for Lightning's loaders draw from torch's generator before."""
        if self._loaded:
            set_random_state(self._loaded)
            self._loaded = {}
        if ranks.rank() > 0:
            torch.manual_seed(hash((torch.initial_seed(), ranks.rank(), trainer.global_step)))
