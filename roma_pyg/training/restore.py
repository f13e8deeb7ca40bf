"""Models and configurations back from checkpoints, without pickle."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import torch
from torch import Tensor

from roma_pyg.config import RunConfig
from roma_pyg.data.memory import NodeMemory
from roma_pyg.models.graph_operator import GraphOperator
from roma_pyg.models.make import make_model, model_shapes
from roma_pyg.reading import shorten

BEST, LAST, PREVIOUS = "best.ckpt", "last.ckpt", "previous.ckpt"
PREFIX = "model."
T = TypeVar("T")


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds of a model, read without executing anything.

    Attributes:
        config: The run it comes from.
        weights: State of the model, averaged where averaging was on.
        step: Optimiser steps done.
        path: The file.
        ranks: Processes that trained together.
    """

    config: RunConfig
    weights: dict[str, Tensor]
    step: int
    path: Path
    ranks: int = 1

    @property
    def joint_graphs(self) -> int:
        """Subgraphs of a training step, of all ranks together."""
        return self.ranks * self.config.data.graphs_per_batch

    def memory(self) -> NodeMemory | None:
        """What the memory of the nodes consists of; None for a model without memory.

        Raises:
            ValueError: If the weights do not fit the configuration.
        """
        data = self.config.data
        if data.memory.size == 0:
            return None
        check_weights_fit(self, model_shapes(self.config.model, data))
        memory = NodeMemory.of(data)
        prefix = "memory."
        memory.load_state_dict(
            {
                name.removeprefix(prefix): value
                for name, value in self.weights.items()
                if name.startswith(prefix)
            }
        )
        return memory


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint with ``weights_only=True``: nothing in the file is executed.

    Args:
        path: File written by a run, such as ``best.ckpt``.

    Raises:
        FileNotFoundError: If there is no such file.
        PermissionError: If it may not be read.
        ValueError: If it is damaged, holds more than tensors and plain values, is not a ROMA
            checkpoint, or has options that this version does not know.
    """
    if not path.is_file():
        hint = " The run has not been validated yet." if (path.parent / LAST).exists() else ""
        raise FileNotFoundError(f"Expected a checkpoint at '{path}' (got no file).{hint}")
    try:
        _check_archive(path)
        # Mapped, not copied: a tensor cannot be larger than the file.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except PermissionError:
        raise
    except Exception as error:
        # torch's own message would advise to load the file without protection.
        raise ValueError(
            f"Expected '{path}' to be a checkpoint of tensors and plain values (got "
            f"{type(error).__name__}): it is damaged, or holds Python objects, which are never "
            "loaded. Use another checkpoint, or train again."
        ) from error
    missing = _missing_parts(content)
    if missing:
        raise ValueError(
            f"Expected '{path}' to be a checkpoint of roma-train (got one without {missing}); it "
            "is from another program."
        )
    try:
        config = from_dict(RunConfig, content["hyper_parameters"])
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Expected '{path}' to hold options that this version of roma-pyg knows: {error}"
        ) from error
    weights = {
        name.removeprefix(PREFIX): _own(name, value, path)
        for name, value in content["state_dict"].items()
        if isinstance(name, str) and name.startswith(PREFIX)
    }
    ranks = content.get("ranks", 1)
    ranks = ranks if isinstance(ranks, int) and ranks > 0 else 1
    return Checkpoint(config, weights, int(content["global_step"]), path, ranks)


def load(path: Path | str) -> GraphOperator:
    """Load a trained model, ready to forecast.

    Args:
        path: Folder of a run (its best checkpoint is taken) or a checkpoint file.

    Returns:
        The model on the CPU, in evaluation mode.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it is damaged.

    Example:
        >>> from roma_pyg import load_config, load_series, train
        >>> model = load(train(load_config("tiny.yaml"), progress=False))
        >>> series = load_series(model.data)
        >>> model.forecast(series, horizon=16).shape == (series.num_nodes, 16)
        True
        >>> model.supernodes(series).labels(level=1).shape == (series.num_nodes,)
        True
    """
    return load_model(Path(path))[0]


def load_model(path: Path) -> tuple[GraphOperator, RunConfig]:
    """Load the model of a run folder or checkpoint file, and the configuration of its run.

    Args:
        path: Folder of a run (its best checkpoint is taken) or a checkpoint file.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        ValueError: If it is damaged, or its weights do not fit its configuration.
    """
    path = path / BEST if path.is_dir() else path
    checkpoint = read_checkpoint(path)
    # Before the model is made, which may be larger than the file.
    check_weights_fit(checkpoint, model_shapes(checkpoint.config.model, checkpoint.config.data))
    model = make_model(checkpoint.config.model, checkpoint.config.data)
    model.load_state_dict(checkpoint.weights)
    return model.eval(), checkpoint.config


def check_weights_fit(checkpoint: Checkpoint, wanted: Mapping[str, Tensor]) -> None:
    """Compare the weights of a checkpoint with those that a model needs.

    Args:
        checkpoint: The weights.
        wanted: State of the model by name; numbers do not matter, and may be on ``meta``.

    Raises:
        ValueError: If names, shapes or kinds differ, or a weight is not finite.
    """
    weights = checkpoint.weights
    problems = [f"no '{name}'" for name in wanted if name not in weights]
    problems += [f"'{name}', unknown" for name in weights if name not in wanted]
    for name in wanted.keys() & weights.keys():
        ours, theirs = wanted[name], weights[name]
        if ours.shape != theirs.shape:
            problems.append(f"'{name}' of shape {tuple(theirs.shape)}, not {tuple(ours.shape)}")
        elif ours.is_floating_point() != theirs.is_floating_point() or theirs.is_complex():
            problems.append(f"'{name}' of {theirs.dtype}, not {ours.dtype}")
        elif not theirs.isfinite().all():
            problems.append(f"'{name}' with entries that are not finite")
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError(
            f"Expected '{checkpoint.path}' to hold weights that fit its configuration (got "
            f"{'; '.join(problems[:3])}{more}). Use the options and the version of roma-pyg that "
            "it was written with, or train again."
        )


def from_dict(kind: type[T], values: dict[str, Any]) -> T:
    """Build a configuration dataclass from nested dictionaries; missing keys get defaults.

    Args:
        kind: A dataclass of `roma_pyg.config`.
        values: Its values, as from ``RunConfig.to_dict``.

    Raises:
        ValueError: If a key is unknown or a value impossible.

    Example:
        >>> from roma_pyg.config import SplitConfig
        >>> from_dict(SplitConfig, {"test_nodes": 0.3}).test_nodes
        0.3
    """
    if not isinstance(values, dict):
        raise ValueError(f"Expected a dictionary of {kind.__name__} (got {shorten(values)}).")
    hints = get_type_hints(kind)
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(map(str, set(values) - names))
    if unknown:
        raise ValueError(f"Expected keys of {kind.__name__} among {sorted(names)} (got {unknown}).")
    return kind(
        **{
            key: from_dict(hints[key], value) if is_dataclass(hints[key]) else value
            for key, value in values.items()
        }
    )


def _own(name: str, value: object, path: Path) -> Tensor:
    """A weight in memory of its own: the file may be replaced.

    Raises:
        ValueError: If it is no plain tensor, or its shape has more entries than are stored.
    """
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.device.type != "cpu":
        raise ValueError(
            f"Expected '{path}' to hold a plain tensor '{name}' (got {shorten(value)})."
        )
    if value.is_quantized or value.nbytes > value.untyped_storage().nbytes():
        raise ValueError(
            f"Expected '{path}' to store every entry of '{name}' (got shape {tuple(value.shape)} "
            f"from {value.untyped_storage().nbytes()} bytes): it is damaged, or made to fill the "
            "memory."
        )
    return value.clone()


def _check_archive(path: Path) -> None:
    """Compare the parts of a checkpoint, a zip archive, with their checksums; torch does not.

    torch stores its parts as they are. Compressed or overlapping ones could unpack to anything.
    """
    with zipfile.ZipFile(path) as archive:
        parts = archive.infolist()
        packed = [part for part in parts if part.compress_type != zipfile.ZIP_STORED]
        total = sum(part.file_size for part in parts)
        if packed or total > path.stat().st_size:
            raise zipfile.BadZipFile("parts are compressed, or larger than the file")
        damaged = archive.testzip()
    if damaged is not None:
        raise zipfile.BadZipFile(f"the checksum of '{damaged}' is another")


def _missing_parts(content: object) -> list[str]:
    """Parts that a checkpoint of a run has and this content lacks."""
    parts = {"hyper_parameters": dict, "state_dict": dict, "global_step": int}
    if not isinstance(content, dict):
        return list(parts)
    missing = [name for name, kind in parts.items() if not isinstance(content.get(name), kind)]
    step = content.get("global_step")
    if isinstance(step, bool) or (isinstance(step, int) and step < 0):
        missing.append("global_step")
    return missing
