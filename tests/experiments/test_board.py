"""Progress of runs: in place in a terminal, lasting lines alone elsewhere."""

from __future__ import annotations

import io

import pytest

from roma_pyg.experiments.board import Board, last_line


class Terminal(io.StringIO):
    """A terminal that remembers all that was written to it."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def logs(tmp_path):
    for name, text in (("a", "step 1/9\nstep 2/9\n"), ("b", "scoring\n")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def test_in_a_terminal_each_run_has_a_line_of_its_own(logs):
    terminal = Terminal()
    board = Board(terminal)
    board.show("KM ROMA", logs / "a")
    board.show("KM DON", logs / "b")
    shown = terminal.getvalue()
    assert "KM ROMA  step 2/9" in shown
    assert "KM DON  scoring" in shown
    assert "step 1/9" not in shown
    board.show("KM ROMA", logs / "a")
    assert terminal.getvalue() == shown, "nothing new is not written again"
    (logs / "a").write_text("step 3/9\n", encoding="utf-8")
    board.show("KM ROMA", logs / "a")
    assert "KM ROMA  step 3/9" in terminal.getvalue()


def test_a_place_is_taken_again(logs):
    board = Board(Terminal())
    for name in ("one", "two", "three"):
        board.show(name, logs / "a")
    board.hide("two")
    board.hide("two")
    board.show("four", logs / "b")
    places = {name: -line.pos for name, line in board._lines.items()}
    assert sorted(places.values()) == [0, 1, 2]
    for name in places:
        board.hide(name)
    assert board._lines == {}


def test_elsewhere_only_lasting_lines_are_written(logs):
    stream = io.StringIO()
    board = Board(stream)
    board.show("KM ROMA", logs / "a")
    board.write("finished")
    board.hide("KM ROMA")
    assert stream.getvalue() == "finished\n"


def test_a_run_without_a_log_is_starting(tmp_path):
    terminal = Terminal()
    Board(terminal).show("KM ROMA", tmp_path / "none")
    assert "KM ROMA  starting" in terminal.getvalue()


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", ""),
        ("\n \n", ""),
        ("one\ntwo\n\n", "two"),
        ("bar 1%\rbar 50%\r", "bar 50%"),
        ("x" * 10_000 + "\nend", "end"),
    ],
)
def test_last_line(tmp_path, content, line):
    path = tmp_path / "log"
    path.write_text(content, encoding="utf-8", newline="")
    assert last_line(path) == line
