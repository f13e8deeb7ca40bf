"""What the processes of one run tell each other.

A process alone, see `roma_pyg.ranks`, has nothing to exchange: all functions give back what they
are given.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import NoReturn, TypeVar, cast

import psutil
import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed import PrefixStore, Store, rendezvous  # type: ignore[attr-defined]

from roma_pyg.ranks import RankFailed, rank, size

T = TypeVar("T")

_FAILURE = "failure"
# Seconds in which a rank that fails tells the others, from when they notice that it is gone.
_PATIENCE = 2.0


class _Group:
    """What the ranks share while they are connected."""

    def __init__(self, store: Store, timeout: float) -> None:
        self.store = store
        self.timeout = timeout
        self.turns = 0
        self.joint = False


_group: _Group | None = None


@contextmanager
def connected(timeout: float) -> Iterator[None]:
    """Join the other ranks; an error of one of them ends all.

    Messages between CPUs go through gloo, those between GPUs through nccl. A process alone, or one
    that is connected already, does nothing.

    Args:
        timeout: Seconds that a rank waits for the others in an exchange.

    Raises:
        RankFailed: If another rank failed, was killed, or did not come in time; names it, and what
            it said. The rank that failed raises its own error.
    """
    global _group
    if size() == 1 or _group is not None:
        yield
        return
    before = _on_end_of_job(_leave)
    try:
        with blaming():
            _group = _connect(timeout)
            yield
            _part(_group)
            dist.destroy_process_group()
    finally:
        _group = None
        _on_end_of_job(before)


def _connect(timeout: float) -> _Group:
    limit = timedelta(seconds=timeout)
    store, number, count = next(iter(rendezvous("env://", timeout=limit)))
    store = PrefixStore("roma_pyg", store)
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=number, world_size=count, timeout=limit)
    store.set(f"process {number}", f"{os.getpid()} {socket.gethostname()}")
    return _Group(store, timeout)


def _part(group: _Group) -> None:
    """Let rank 0, which may keep the store, stay until the others need it no more."""
    others = [f"left {number}" for number in range(1, size())]
    if rank() > 0:
        group.store.set(f"left {rank()}", "")
        return
    deadline = time.monotonic() + group.timeout
    while not group.store.check(others) and time.monotonic() < deadline:
        _check_failure()
        time.sleep(0.02)


@contextmanager
def blaming() -> Iterator[None]:
    """Tell the other ranks of an error in this block, or find out whose error ended it.

    Raises:
        RankFailed: If another rank failed; any other error is passed on.
    """
    try:
        yield
    except Exception as error:
        if size() > 1:
            # torchrun ends the other ranks by this signal as soon as one has failed.
            _on_end_of_job(signal.SIG_IGN)
        _blame(error)


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _on_end_of_job(handler: object) -> object:
    """Set what SIGTERM does; returns what it did."""
    if threading.current_thread() is not threading.main_thread():
        return None
    return signal.signal(signal.SIGTERM, handler)  # type: ignore[arg-type]


def _blame(error: Exception) -> NoReturn:
    """Raise the error of the rank that failed first, as this rank sees it."""
    if _group is None or isinstance(error, RankFailed):
        raise error
    what = (str(error).strip() or repr(error)).splitlines()[0]
    try:
        if not _is_lost(error):
            # The first one counts.
            kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
            _group.store.compare_set(_FAILURE, "", f"rank {rank()}: {kind}{what}")
            raise error
        reason = _find_reason(_group, error)
    except dist.DistError:
        # Rank 0 kept the store, unless torchrun does.
        reason = "no connection to rank 0): it failed, was killed, or lost its machine."
    raise RankFailed(f"Expected all {size()} ranks at work (got {reason}") from error


def _find_reason(group: _Group, error: Exception) -> str:
    """Which other rank failed, and how."""
    group.store.set(f"waits {rank()}", "")
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        _check_failure(error)
        time.sleep(0.05)
    others = [number for number in range(size()) if number != rank()]
    if any(sign in str(error).lower() for sign in ("timed out", "timeout")):
        late = [number for number in others if not group.store.check([f"waits {number}"])]
        return (
            f"nothing from {_name(late)} within {group.timeout:g} s): one hangs, or "
            "training.timeout is too short."
        )
    dead = [number for number in others if _is_dead(group.store, number)]
    return (
        f"no connection to {_name(dead)}): one was killed, ran out of memory, or lost its "
        "machine; torchrun tells more."
    )


def _name(numbers: list[int]) -> str:
    return f"rank {', '.join(map(str, numbers))}" if numbers else "another rank"


def _is_dead(store: Store, number: int) -> bool:
    """Whether a rank ran on this machine, and does no more."""
    pid, host = store.get(f"process {number}").decode().split(" ", 1)
    if host != socket.gethostname():
        return False
    try:
        return psutil.Process(int(pid)).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def _is_lost(error: Exception) -> bool:
    """Whether an error only says that another rank is gone."""
    if isinstance(error, dist.DistError):
        return True
    signs = ("gloo", "nccl", "connection", "timed out")
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in signs)


def _check_failure(cause: Exception | None = None) -> None:
    """Raise what another rank has told of its failure."""
    if _group is not None and _group.store.check([_FAILURE]):
        told = _group.store.get(_FAILURE).decode(errors="replace")
        raise RankFailed(f"Expected all {size()} ranks at work (got an error at {told})") from cause


@contextmanager
def first() -> Iterator[None]:
    """Let rank 0 do something before the others, which wait as long as it takes.

    What is written once and then read by all belongs here. Waiting is not subject to the timeout;
    should rank 0 fail, the others end.

    Raises:
        RankFailed: At the waiting ranks, if another rank failed.
    """
    if _group is None:
        yield
        return
    _group.turns += 1
    turn = f"turn {_group.turns}"
    while rank() > 0 and not _group.store.check([turn]):
        _check_failure()
        time.sleep(0.02)
    yield
    if rank() == 0:
        _group.store.set(turn, "done")


def tell(make: Callable[[], T]) -> T:
    """What rank 0 makes, at all ranks; the others wait as long as it takes.

    Args:
        make: Called by rank 0 only. Its result is pickled for the others.

    Raises:
        RankFailed: If another rank failed.
    """
    if _group is None:
        return make()
    with first():
        box = [make() if rank() == 0 else None]
    dist.broadcast_object_list(box, src=0)
    return cast(T, box[0])


@contextmanager
def joint() -> Iterator[None]:
    """Work on parts of one thing: sums and means in this block go over all connected ranks.

    All ranks must pass the same places of the block. Outside of it every rank works for itself, so
    that rank 0 can draw or evaluate something alone.
    """
    if _group is None or _group.joint:
        yield
        return
    _group.joint = True
    try:
        yield
    finally:
        _group.joint = False


def place() -> tuple[int, int]:
    """Which part of how many this process works on: ``(0, 1)`` outside of :func:`joint`."""
    return (rank(), size()) if _group is not None and _group.joint else (0, 1)


def total(values: Tensor) -> Tensor:
    """Sum over the parts; without gradient where there are several.

    Args:
        values: Same shape at all ranks, on the device of the model or the CPU.
    """
    if place()[1] == 1:
        return values
    values = values.detach().clone()
    dist.all_reduce(values)
    return values


def mean(values: Tensor) -> Tensor:
    """Mean over the parts; without gradient where there are several.

    Args:
        values: Same shape at all ranks, on the device of the model or the CPU.

    >>> mean(torch.tensor([1.0, 2.0]))
    tensor([1., 2.])
    """
    return total(values) / place()[1] if place()[1] > 1 else values


def mean_of_each(values: Mapping[str, Tensor | float]) -> dict[str, Tensor | float]:
    """Mean over the parts of named scalars, in one exchange.

    Args:
        values: The same names at all ranks.
    """
    if place()[1] == 1:
        return dict(values)
    device = next((x.device for x in values.values() if isinstance(x, Tensor)), None)
    joined = [torch.as_tensor(value, device=device).detach().double() for value in values.values()]
    return dict(zip(values, mean(torch.stack(joined)).float().unbind(), strict=True))


def largest(number: int) -> int:
    """Largest number of all parts."""
    if place()[1] == 1:
        return number
    value = torch.tensor(number)
    dist.all_reduce(value, dist.ReduceOp.MAX)
    return int(value)


def gather(value: T) -> list[T]:
    """What every part has, in the order of the ranks.

    Args:
        value: Is pickled for the others.
    """
    if place()[1] == 1:
        return [value]
    values: list[T | None] = [None] * size()
    dist.all_gather_object(values, value)
    return cast("list[T]", values)


def barrier() -> None:
    """Wait until all parts are here."""
    total(torch.zeros(()))
