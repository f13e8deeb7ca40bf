from __future__ import annotations

import subprocess
import sys

import pytest

from roma_pyg.cli.console import guarded, write


def fail(error: BaseException) -> int:
    raise error


def test_write(capsys: pytest.CaptureFixture[str]) -> None:
    write("a")
    write()
    assert capsys.readouterr().out == "a\n\n"


def test_exit_code_passes_through() -> None:
    assert guarded("roma-train", lambda: 3) == 3


@pytest.mark.parametrize(
    "error", [ValueError("Expected x (got y)."), FileNotFoundError("Expected x (got y).")]
)
def test_expected_errors(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded("roma-train", lambda: fail(error)) == 2
    assert capsys.readouterr().err == "roma-train: error: Expected x (got y).\n"


def test_traceback_on_demand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ROMA_DEBUG", "1")
    assert guarded("roma-train", lambda: fail(ValueError("no"))) == 2
    written = capsys.readouterr().err
    assert written.startswith("Traceback")
    assert written.endswith("roma-train: error: no\n")


def test_unexpected_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError):
        guarded("roma-train", lambda: fail(ZeroDivisionError()))


def test_interrupt(capsys: pytest.CaptureFixture[str]) -> None:
    assert guarded("roma-train", lambda: fail(KeyboardInterrupt())) == 130
    assert "stopped" in capsys.readouterr().err


def test_reader_that_leaves_early() -> None:
    script = "from roma_pyg.cli.train import main; raise SystemExit(main(['--print-config']))"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
