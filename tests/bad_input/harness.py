"""Runs one case of bad input, within limits, and says whether its answer is a good one."""

from __future__ import annotations

import contextlib
import io
import pickle
import re
import resource
import signal
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from hypothesis import HealthCheck, settings

SECONDS = 20
"""Time of one case; the slowest takes less than two seconds on a free core."""

SLACK = 3 << 29
"""Memory that one case may add: what would take more is to be refused before."""

settings.register_profile(
    "bad-input",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Hang(BaseException):
    """A case has not ended in time; no handler of the package catches it."""


@dataclass(frozen=True)
class Outcome:
    """What a command did.

    Args:
        program: Its name.
        code: Exit code.
        out: What it wrote to stdout.
        err: What it wrote to stderr.
    """

    program: str
    code: int
    out: str
    err: str

    @property
    def message(self) -> str:
        """The error, without progress bars and warnings before it."""
        found = re.findall(
            rf"^{self.program}(?: \w+)?: error: .*", self.err, re.DOTALL | re.MULTILINE
        )
        return found[-1] if found else ""


@contextlib.contextmanager
def limits(seconds: int = SECONDS, memory: int = SLACK) -> Iterator[None]:
    """Interrupt what takes too long, and fail allocations of more memory than is allowed."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise Hang(f"no answer within {seconds} s")

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGALRM, stop)
    assert threading.current_thread() is threading.main_thread()
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + memory, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.alarm(0)
        signal.signal(signal.SIGALRM, handler)


def call(main: Callable[[list[str]], int], *words: object) -> Outcome:
    """Run a command in this process; what is raised out of it is a traceback for its user."""
    out, err = io.StringIO(), io.StringIO()
    program = {"data": "roma-data", "train": "roma-train", "predict": "roma-predict"}.get(
        main.__module__.rpartition(".")[2], f"roma-{main.__module__.rpartition('.')[2]}"
    )
    program = program.replace("roma-evaluate", "roma-eval")
    with limits(), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(word) for word in words])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
    return Outcome(program, code, out.getvalue(), err.getvalue())


def attempt(action: Callable[[], object]) -> Exception | None:
    """The error of the library, if it is one that a user is to read; None if it works."""
    with limits():
        try:
            action()
        except (ValueError, TypeError, OSError) as error:
            return error
    return None


def assert_clear(outcome: Outcome, *where: str) -> None:
    """An error as by convention: exit code, one message, where, what was expected, what came."""
    assert outcome.code == 2, f"exit code {outcome.code}\n{outcome.out}\n{outcome.err}"
    assert "Traceback" not in outcome.err, outcome.err
    message = outcome.message
    assert message, outcome.err
    assert_clear_text(message, *where)


def assert_clear_text(message: str, *where: str) -> None:
    """A message that names the place, says what was expected and what came, and is not a novel."""
    for word in where:
        assert word in message, f"{word!r} is not named in: {message}"
    expected = re.search(r"[Ee]xpected |Unknown key |unrecognized arguments|argument", message)
    assert expected, f"says not what was expected: {message}"
    assert re.search(r"\(got|Did you mean|there is none|unrecognized|invalid|required", message), (
        f"says not what came: {message}"
    )
    assert "enough memory" not in message, "ran out of memory instead of refusing"
    assert len(message) < 3000, f"{len(message)} characters: {message[:500]}"


def files(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file, hidden ones too, by its size and time of change."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            state = path.stat()
            found[str(path.relative_to(folder))] = (state.st_size, state.st_mtime_ns)
    return found


class Touch:
    """Unpickled, it makes a file: proof that something was executed."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


def evil_pickle(canary: Path) -> bytes:
    """A pickle that makes a file where it is loaded."""
    return pickle.dumps(Touch(canary))


def npy_header(text: str, version: int = 1) -> bytes:
    """Magic and header of a .npy file, whatever the header says."""
    size = 2 if version == 1 else 4
    raw = text.encode("latin1")
    return b"\x93NUMPY" + bytes([version, 0]) + len(raw).to_bytes(size, "little") + raw


def npy(shape: object, descr: str = "'<f4'", data: bytes = b"", fortran: bool = False) -> bytes:
    """A .npy file whose header may lie about its data."""
    text = f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"
    return npy_header(text) + data


def npz(path: Path, method: int = zipfile.ZIP_DEFLATED, **entries: bytes) -> None:
    """An .npz archive of raw entries."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in entries.items():
            archive.writestr(f"{name}.npy", content)
