"""Samples of a data set that is being generated: appended in chunks, each of which survives."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from roma_pyg.reading import read_json
from roma_pyg.writing import write_text

_LOGGER = logging.getLogger(__name__)
PLAN = "plan.json"
LOG = "journal.jsonl"
SAMPLES = "samples.f32"
STATES = "states.f64"
READ_BYTES = 1 << 22


class JournalError(ValueError):
    """A journal is of another data set, or cannot be read."""


class Journal:
    """The samples so far, in order of time, in a folder of their own.

    Samples and states are appended to two files; `commit` writes both to the disk and then one line
    with their number, checksum and scalars to a third. A process that is killed at any moment
    leaves whole lines whose data is on the disk, and perhaps something behind them, which is cut
    off when the journal is opened again. Lines are checked against the data then, and everything
    from the first damaged one on is dropped too.

    Args:
        folder: Where it lives; made if missing.
        plan: What the data set is, written on the first opening and compared later.
        num_nodes: Number of nodes N.
        state_shape: Shape of a state, ``(..., N)``.

    Attributes:
        plan: As given.
        samples: Number of committed samples.
        states: Number of committed states.

    Raises:
        JournalError: If the folder holds the journal of another plan.
    """

    def __init__(
        self, folder: Path, plan: dict[str, Any], num_nodes: int, state_shape: tuple[int, ...]
    ) -> None:
        """Open the files, and drop what was not committed."""
        self.folder = folder
        self.plan = plan
        self.num_nodes = num_nodes
        self.state_shape = state_shape
        self.samples = self.states = 0
        self._scalars: dict[str, list[float]] = {}
        self._bytes = {SAMPLES: 4 * num_nodes, STATES: 8 * int(np.prod(state_shape))}
        self._check_plan(plan)
        lines = self._read_lines()
        self._log = self._open(LOG, sum(len(line) for line in lines))
        self._files = {
            SAMPLES: self._open(SAMPLES, self.samples * self._bytes[SAMPLES]),
            STATES: self._open(STATES, self.states * self._bytes[STATES]),
        }
        self._begin()

    def __enter__(self) -> Journal:
        """Nothing is left to do."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files; what was not committed is dropped on the next opening."""
        for file in (self._log, *self._files.values()):
            file.close()

    def append(self, values: NDArray[np.float32], scalars: dict[str, float]) -> None:
        """Add one sample of all nodes.

        Args:
            values: Shape ``(N,)``.
            scalars: Numbers of this sample, by name; the same names for every sample.

        Raises:
            ValueError: If the shape is wrong or a value is not finite.
        """
        sample = self.samples + self._pending
        if values.shape != (self.num_nodes,):
            raise ValueError(
                f"Expected a sample of shape ({self.num_nodes},) (got {values.shape})."
            )
        finite = np.isfinite(values)
        if not finite.all():
            bad = int(np.argmin(finite))
            raise ValueError(
                f"Expected finite values (got {values[bad]} at node {bad} of sample {sample}); a "
                "simulation that does so may need smaller steps."
            )
        self._write(SAMPLES, np.ascontiguousarray(values, dtype=np.float32))
        for name, value in scalars.items():
            self._new_scalars.setdefault(name, []).append(value)
        self._pending += 1

    def append_state(self, state: NDArray[np.float64]) -> None:
        """Add a state, from which a simulation can go on."""
        if state.shape != self.state_shape:
            raise ValueError(f"Expected a state of shape {self.state_shape} (got {state.shape}).")
        self._write(STATES, np.ascontiguousarray(state, dtype=np.float64))
        self._pending_states += 1

    def commit(self) -> None:
        """Make everything so far survive whatever comes."""
        if self._pending == 0 and self._pending_states == 0:
            return
        for file in self._files.values():
            file.flush()
            os.fsync(file.fileno())
        entry = {
            "samples": self.samples + self._pending,
            "states": self.states + self._pending_states,
            "scalars": self._new_scalars,
            "blake2b": {name: digest.hexdigest() for name, digest in self._digests.items()},
        }
        self._log.write(_line(entry))
        self._log.flush()
        os.fsync(self._log.fileno())
        self._accept(entry)
        self._begin()

    def scalars(self) -> dict[str, NDArray[np.float64]]:
        """Numbers of all committed samples by name, shape ``(samples,)`` each."""
        return {name: np.asarray(values) for name, values in self._scalars.items()}

    def state(self, index: int) -> NDArray[np.float64]:
        """One of the committed states."""
        if not 0 <= index < self.states:
            raise IndexError(f"Expected 'index' in [0, {self.states}) (got {index}).")
        size = self._bytes[STATES]
        flat = np.fromfile(self.folder / STATES, np.float64, size // 8, offset=index * size)
        return flat.reshape(self.state_shape)

    def all_states(self) -> NDArray[np.float64]:
        """All committed states, a read-only memory map of shape ``(states, *state_shape)``."""
        shape = (self.states, *self.state_shape)
        return np.memmap(self.folder / STATES, np.float64, "r", shape=shape)

    def rows(self, block_bytes: int = 1 << 26) -> Iterator[NDArray[np.float32]]:
        """Committed samples by node: blocks of shape ``(n, samples)``, in the order of nodes.

        Each block reads its nodes from every sample. Memory is twice ``block_bytes``.
        """
        count = max(1, block_bytes // (4 * max(self.samples, 1)))
        with (self.folder / SAMPLES).open("rb", buffering=0) as file:
            for first in range(0, self.num_nodes, count):
                block = np.empty((self.samples, min(count, self.num_nodes - first)), np.float32)
                for sample, row in enumerate(block):
                    file.seek(4 * (sample * self.num_nodes + first))
                    if file.readinto(row.data) != row.nbytes:
                        raise JournalError(f"Expected sample {sample} in '{file.name}' (got less).")
                yield np.ascontiguousarray(block.T)

    def _check_plan(self, plan: dict[str, Any]) -> None:
        """Write the plan, or compare it with the one that is there."""
        file = self.folder / PLAN
        if not file.is_file():
            write_text(file, json.dumps(plan, indent=2) + "\n")
            return
        if read_json(file) != json.loads(json.dumps(plan)):
            raise JournalError(
                f"Expected '{file}' to be of this data set (got another graph or other options, "
                "perhaps of another version): remove the folder to begin anew."
            )

    def _read_lines(self) -> list[bytes]:
        """Lines that are whole and whose data is; counts them as committed."""
        lines: list[bytes] = []
        log = self.folder / LOG
        if not log.exists():
            return lines
        for name in self._bytes:
            (self.folder / name).touch()
        streams = {name: (self.folder / name).open("rb") for name in self._bytes}
        try:
            for line in log.read_bytes().splitlines(keepends=True):
                entry = _parse(line)
                if entry is None or not self._is_whole(entry, streams):
                    _LOGGER.warning(
                        "'%s' is damaged after sample %d; going on from there.", log, self.samples
                    )
                    break
                self._accept(entry)
                lines.append(line)
        finally:
            for stream in streams.values():
                stream.close()
        return lines

    def _is_whole(self, entry: dict[str, Any], streams: Mapping[str, BinaryIO]) -> bool:
        """Whether the data of the next line is what was written."""
        counts = {
            SAMPLES: entry["samples"] - self.samples,
            STATES: entry["states"] - self.states,
        }
        if min(counts.values()) < 0:
            return False
        for name, stream in streams.items():
            digest = hashlib.blake2b(digest_size=16)
            left = counts[name] * self._bytes[name]
            while left > 0 and (piece := stream.read(min(left, READ_BYTES))):
                digest.update(piece)
                left -= len(piece)
            if left or digest.hexdigest() != entry["blake2b"][name]:
                return False
        return True

    def _accept(self, entry: dict[str, Any]) -> None:
        self.samples, self.states = entry["samples"], entry["states"]
        for name, values in entry["scalars"].items():
            self._scalars.setdefault(name, []).extend(values)

    def _begin(self) -> None:
        """Start a new chunk."""
        self._pending = self._pending_states = 0
        self._new_scalars: dict[str, list[float]] = {}
        self._digests = {name: hashlib.blake2b(digest_size=16) for name in self._bytes}

    def _open(self, name: str, size: int) -> BinaryIO:
        """Open a file to append behind its committed part."""
        file = (self.folder / name).open("ab")
        if file.tell() != size:
            file.truncate(size)
        return file

    def _write(self, name: str, array: NDArray[Any]) -> None:
        content = array.data.cast("B")
        self._files[name].write(content)
        self._digests[name].update(content)


def _line(entry: dict[str, Any]) -> bytes:
    """A line with its own checksum in front."""
    text = json.dumps(entry, sort_keys=True).encode()
    return hashlib.blake2b(text, digest_size=8).hexdigest().encode() + b" " + text + b"\n"


def _parse(line: bytes) -> dict[str, Any] | None:
    """Content of a line, None if it is not whole."""
    digest, _, text = line.rstrip(b"\n").partition(b" ")
    if not line.endswith(b"\n") or digest.decode(errors="replace") != (
        hashlib.blake2b(text, digest_size=8).hexdigest()
    ):
        return None
    try:
        entry = json.loads(text)
        numbers = [entry[key] for key in ("samples", "states")]
        numbers += [value for values in entry["scalars"].values() for value in values]
        digests = [entry["blake2b"][name] for name in (SAMPLES, STATES)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    whole = all(isinstance(number, int | float) for number in numbers)
    whole &= all(isinstance(digest, str) for digest in digests)
    return entry if whole and all(isinstance(number, int) for number in numbers[:2]) else None
