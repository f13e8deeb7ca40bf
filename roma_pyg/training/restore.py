"""Models and configurations back from checkpoints, without pickle."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import torch
from torch import Tensor

from roma_pyg.config import RunConfig
from roma_pyg.models.roma import Roma

PREFIX = "model."
T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds of a model.

    Attributes:
        config: The run it comes from.
        weights: State of the model, averaged where averaging was on.
        step: Optimiser steps done.
    """

    config: RunConfig
    weights: dict[str, Tensor]
    step: int


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint with ``weights_only=True``: nothing in the file is executed.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is damaged or not a ROMA checkpoint.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected a checkpoint at '{path}' (got none).")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        config = from_dict(RunConfig, content["hyper_parameters"])
        state = content["state_dict"]
        step = int(content["global_step"])
    except Exception as error:
        raise ValueError(
            f"Expected '{path}' to be a checkpoint of roma-train (got {type(error).__name__}: "
            f"{error}); it is damaged, or from another program."
        ) from error
    weights = {
        name.removeprefix(PREFIX): value for name, value in state.items() if name.startswith(PREFIX)
    }
    return Checkpoint(config, weights, step)


def load(path: Path | str) -> Roma:
    """Load a trained model, ready to forecast.

    Args:
        path: Folder of a run (its best checkpoint is taken) or a checkpoint file.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it is damaged.
    """
    return load_model(Path(path))[0]


def load_model(path: Path) -> tuple[Roma, RunConfig]:
    """Load the model of a run folder or checkpoint file, and the configuration of its run.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it is damaged.
    """
    checkpoint = read_checkpoint(path / "best.ckpt" if path.is_dir() else path)
    model = Roma(checkpoint.config.model, checkpoint.config.data)
    model.load_state_dict(checkpoint.weights)
    return model.eval(), checkpoint.config


def from_dict(kind: type[T], values: dict[str, Any]) -> T:
    """Build a configuration dataclass from nested dictionaries; missing keys get defaults.

    Raises:
        ValueError: If a key is unknown or a value impossible.
    """
    hints = get_type_hints(kind)
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - names)
    if unknown:
        raise ValueError(f"Expected keys among {sorted(names)} (got {unknown}).")
    return kind(
        **{
            key: from_dict(hints[key], value) if is_dataclass(hints[key]) else value
            for key, value in values.items()
        }
    )
