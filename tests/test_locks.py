"""One process at a time, whatever becomes of the others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from roma_pyg.locks import Busy, only_process

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no locks there")


@contextmanager
def holder(path: Path, then: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that is inside, and then does something."""
    lines = ["import os, signal, sys, time", "from pathlib import Path"]
    lines += ["from roma_pyg.locks import only_process", f"path = Path({str(path)!r})"]
    lines += ["with only_process(path):", "    print('inside', flush=True)"]
    program = "\n".join(lines) + "\n" + textwrap.indent(then, "    ")
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "inside\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_another_process_is_refused_until_the_first_is_through(tmp_path: Path) -> None:
    path = tmp_path / "made"
    with holder(path, "sys.stdin.read()") as process:
        with pytest.raises(Busy), only_process(path):
            pass
        process.communicate()
        assert process.returncode == 0
    assert list(tmp_path.iterdir()) == []
    with only_process(path) as locked:
        assert locked
    assert list(tmp_path.iterdir()) == []


def test_who_waits_finds_what_the_first_made(tmp_path: Path) -> None:
    path, told = tmp_path / "made", []
    with (
        holder(path, "time.sleep(1); path.write_text('all')"),
        only_process(path, lambda: told.append(path.exists())),
    ):
        assert path.read_text() == "all"
    assert told == [False]


def test_also_within_one_process(tmp_path: Path) -> None:
    with only_process(tmp_path / "made"):
        with pytest.raises(Busy), only_process(tmp_path / "made"):
            pass
        with only_process(tmp_path / "other"):
            pass
        # Having been refused changed nothing.
        with pytest.raises(Busy), only_process(tmp_path / "made"):
            pass


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    with holder(tmp_path / "made", "os.kill(os.getpid(), signal.SIGKILL)") as process:
        process.wait(30)
    with only_process(tmp_path / "made"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_outlives_its_parent_holds_nothing(tmp_path: Path) -> None:
    # As a process of a loader, which is forked within.
    then = (
        "child = os.fork()\nif child == 0: time.sleep(60)\nprint(child, flush=True)\ntime.sleep(60)"
    )
    with holder(tmp_path / "made", then) as process:
        assert process.stdout is not None
        child = int(process.stdout.readline())
        try:
            with pytest.raises(Busy), only_process(tmp_path / "made"):
                pass
            process.kill()
            process.wait(30)
            os.kill(child, 0)
            with only_process(tmp_path / "made"):
                pass
        finally:
            os.kill(child, signal.SIGKILL)


def test_a_forked_process_that_leaves_lets_the_parent_keep_it(tmp_path: Path) -> None:
    with only_process(tmp_path / "made"):
        child = os.fork()
        if child == 0:
            try:
                # Its own copies of all descriptors are closed.
                with pytest.raises(Busy), only_process(tmp_path / "made"):
                    pass
                os._exit(0)
            finally:
                os._exit(1)
        deadline = time.monotonic() + 30
        while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert ended == (child, 0)
        with pytest.raises(Busy), only_process(tmp_path / "made"):
            pass


def test_without_locks_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        only_process(tmp_path / "made") as first,
        only_process(tmp_path / "made") as second,
    ):
        assert (first, second) == (False, False)
