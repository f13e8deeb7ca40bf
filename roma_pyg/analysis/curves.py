"""Scalars of a finished run, back from its TensorBoard events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Curve = tuple[NDArray[np.int64], NDArray[np.float64]]


def read_scalars(folder: Path, prefixes: tuple[str, ...] = ("",)) -> dict[str, Curve]:
    """Read scalars; of a step that was written twice, as after a resumed run, the last value.

    Args:
        folder: Folder with event files, such as ``RUN/tensorboard``.
        prefixes: Starts of the tags that are wanted.

    Returns:
        Steps, ascending, and values by tag; empty without events.
    """
    # Slow to import.
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not folder.is_dir():
        return {}
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0})
    events.Reload()
    curves = {}
    for tag in sorted(events.Tags()["scalars"]):
        if tag.startswith(prefixes):
            series = {event.step: event.value for event in events.Scalars(tag)}
            steps = np.array(sorted(series), dtype=np.int64)
            curves[tag] = (steps, np.array([series[step] for step in steps.tolist()]))
    return curves
