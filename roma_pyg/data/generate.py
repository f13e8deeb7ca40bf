"""Generates data sets, chunk by chunk, so that an interrupted one can be finished."""

from __future__ import annotations

import logging
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from roma_pyg.config import DataConfig
from roma_pyg.data.estimate import estimate
from roma_pyg.data.graph import Graph
from roma_pyg.data.journal import PLAN, Journal, JournalError
from roma_pyg.data.store import StoreWriter, only_writer, read_metadata
from roma_pyg.data.systems import build, parameters
from roma_pyg.dynamics.simulation import Simulation, State
from roma_pyg.reading import read_json, shorten

CHECKPOINT_INTERVAL = 50
"""Samples between two stored states; also those of a chunk."""

_LOGGER = logging.getLogger(__name__)


def generate(config: DataConfig, progress: bool = True) -> Path:
    """Generate the data set of a configuration, or reuse it if it is there.

    Its folder ``root/name`` holds the graph with its couplings, the observable of each node
    (``values``), and as extras ``angle`` and ``radius`` of the nodes and what belongs to the system
    (see `roma_pyg.dynamics`): for ``kuramoto`` the ``omega`` of the nodes, the ``order_parameter``
    at each sample, and the ``phases`` (float64) at every 50th sample, from which the exact system
    can be started again; for ``burgers`` the sources of the bursts, ``total_mean`` and
    ``total_max`` at each sample, and the ``states``.

    Samples are first appended to the journal ``root/.name.unfinished``, in chunks of 50; a process
    that is killed loses the current chunk only, and the next call goes on from the last whole one,
    to the same bytes as an uninterrupted run. Then they are turned node by node into the data
    set, which appears at once. Memory is O(N + E); until then the samples lie twice on disk.

    Args:
        config: Name, seed, graph and system.
        progress: Say what it takes, and show a progress bar.

    Returns:
        The folder.

    Raises:
        ValueError: If the folder holds a data set with other parameters.
        StoreError: If the data set is damaged.
        OSError: If the disk has no room for it.
    """
    path = Path(config.root) / config.name
    journal = path.with_name(f".{path.name}.unfinished")
    wanted = parameters(config)
    with only_writer(path):
        if path.exists():
            _check_same(path, read_metadata(path).get("parameters", {}), wanted)
        else:
            if (journal / PLAN).is_file():
                plan = read_json(journal / PLAN)
                stored = plan.get("parameters") if isinstance(plan, dict) else None
                if not isinstance(stored, dict):
                    raise JournalError(
                        f"Expected the parameters of a data set in '{journal / PLAN}' (got "
                        f"{shorten(plan)}): remove the folder to begin anew."
                    )
                _check_same(journal, stored, wanted)
            else:
                need = estimate(config)
                if progress:
                    tqdm.write(f"Generating '{path}': {need}", file=sys.stderr)
                need.check_room(path.parent)
            _simulate(path, journal, config, progress)
        # Also of a process that was killed just before this line.
        shutil.rmtree(journal, ignore_errors=True)
    return path


def _simulate(path: Path, folder: Path, config: DataConfig, progress: bool) -> None:
    """Fill the journal, and make the data set of it."""
    graph, simulation, places = build(config)
    plan = {"parameters": parameters(config), "graph": graph.checksum}
    shape = simulation.initial().shape
    with Journal(folder, plan, graph.num_nodes, shape) as journal:
        last = _fill(journal, simulation, config.steps, progress)
        _write(path, journal, graph, simulation, places, last, progress)


def _fill(journal: Journal, simulation: Simulation, steps: int, progress: bool) -> State:
    """Simulate what the journal lacks; returns the last state."""
    if journal.states > 0:
        first = (journal.states - 1) * CHECKPOINT_INTERVAL
        start = journal.state(journal.states - 1)
        _LOGGER.warning("Going on after sample %d of %d.", journal.samples, steps)
    else:
        first, start = -simulation.burn_in, simulation.initial()
    state, done = start, journal.samples
    bar = tqdm(
        total=simulation.burn_in + steps,
        initial=simulation.burn_in + first,
        desc=f"Simulating {simulation.num_nodes:,} nodes",
        unit="sample",
        disable=None if progress else True,
    )
    with bar:
        for sample, state in enumerate(simulation.states(start, first, steps - first), first):
            bar.update()
            if sample < done:
                continue
            journal.append(simulation.observe(state, sample), simulation.scalars(state))
            if sample % CHECKPOINT_INTERVAL == 0:
                journal.append_state(state)
                journal.commit()
    journal.commit()
    return state


def _write(
    path: Path,
    journal: Journal,
    graph: Graph,
    simulation: Simulation,
    places: dict[str, Any],
    last: State,
    progress: bool,
) -> None:
    """Turn the journal into the data set, a block of nodes at a time."""
    scalars = journal.scalars()
    peak = np.float32(simulation.peak(scalars))
    bar = tqdm(
        total=graph.num_nodes,
        desc=f"Writing {path.name}",
        unit="node",
        unit_scale=True,
        disable=None if progress else True,
    )
    with bar, StoreWriter(path, graph, journal.samples, simulation.dt) as writer:
        for rows in journal.rows():
            writer.append(rows if peak == 1 else rows / peak)
            bar.update(len(rows))
        for arrays in (simulation.arrays, places, scalars):
            for name, array in arrays.items():
                writer.add(name, array)
        writer.add(simulation.state_name, journal.all_states())
        writer.metadata = {
            "parameters": journal.plan["parameters"],
            "checkpoint_interval": CHECKPOINT_INTERVAL,
            "peak": float(peak),
            "regime": simulation.regime(scalars, journal.state(0), last),
        }


def _check_same(path: Path, stored: dict[str, Any], wanted: dict[str, Any]) -> None:
    there, here = _flatten(stored), _flatten(wanted)
    different = [
        f"{key} = {here.get(key)} (there {there.get(key)})"
        for key in sorted(here.keys() | there.keys())
        if here.get(key) != there.get(key)
    ]
    if different:
        kind = "unfinished data set" if path.name.endswith(".unfinished") else "data set"
        raise ValueError(
            f"Expected the {kind} '{path}' to have the parameters of this configuration (got "
            f"others: {'; '.join(different)}). Choose another data.name, or remove the folder."
        )


def _flatten(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
