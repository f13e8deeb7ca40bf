"""What ``roma-bench`` shows while runs are under way."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

TAIL = 4096
"""Bytes at the end of a log among which its last line is looked for."""


class Board:
    """One line for everything that is finished, and below them one for each run under way.

    Lines of runs under way are rewritten in place, so they are shown in a terminal only; elsewhere
    (a file, a pipe, a CI log) there are the lasting lines alone. Safe to use from several threads.

    Args:
        stream: Where to write; the standard output by default.

    Example:
        >>> board = Board()
        >>> board.write("runs: 2, of which 0 are finished")
        runs: 2, of which 0 are finished
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        """Start with no run under way."""
        self._stream = stream
        self._lock = threading.RLock()
        self._lines: dict[str, tqdm[Any]] = {}

    @property
    def stream(self) -> TextIO:
        """The stream, looked up late so that a redirected standard output is respected."""
        return sys.stdout if self._stream is None else self._stream

    def write(self, line: str) -> None:
        """Write a lasting line above those of the runs under way."""
        with self._lock:
            tqdm.write(line, file=self.stream)
            self.stream.flush()

    def show(self, title: str, log: Path) -> None:
        """Show how far a run is: the last line of its log.

        Args:
            title: What is run.
            log: File that the run writes to.
        """
        if not self.stream.isatty():
            return
        with self._lock:
            if title not in self._lines:
                taken = {-line.pos for line in self._lines.values()}
                place = next(i for i in range(len(taken) + 1) if i not in taken)
                self._lines[title] = tqdm(
                    bar_format="{desc}",
                    position=place,
                    leave=False,
                    file=self.stream,
                    dynamic_ncols=True,
                )
            text = f"{title}  {last_line(log) or 'starting'}"
            if self._lines[title].desc != text:
                self._lines[title].set_description_str(text)

    def hide(self, title: str) -> None:
        """Take away the line of a run that has ended."""
        with self._lock:
            line = self._lines.pop(title, None)
            if line is not None:
                line.close()


def last_line(log: Path) -> str:
    """Last line of a log that is still written; empty if there is none.

    What a progress bar has overwritten does not count.
    """
    try:
        with log.open("rb") as file:
            file.seek(max(0, file.seek(0, 2) - TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    lines = [line.strip() for line in text.replace("\r", "\n").split("\n")]
    return next((line for line in reversed(lines) if line), "")
