"""A folder of figures, tables and arrays, with a page that shows them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from roma_pyg.writing import replacing, write_text

DPI = 130


class ReportFolder:
    """Collects figures and tables; every file appears under its name only once it is whole.

    Args:
        path: The folder; made if needed.
        title: First line of the page.
    """

    def __init__(self, path: Path, title: str) -> None:
        """Start a page."""
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._page = [f"# {title}\n"]

    def section(self, title: str, text: str = "") -> None:
        """Begin a section."""
        self._page.append(f"## {title}\n")
        if text:
            self._page.append(f"{text}\n")

    def figure(self, name: str, figure: Figure, caption: str) -> None:
        """Write ``NAME.png`` and show it."""
        target = self.path / f"{name}.png"
        with replacing(target) as stream:
            figure.savefig(stream, format="png", dpi=DPI)
        self._page.append(f"![{caption}]({target.name})\n\n{caption}\n")

    def table(
        self, name: str, rows: Sequence[dict[str, Any]], caption: str, shown: int | None = None
    ) -> None:
        """Write ``NAME.csv`` in full precision, and show its first rows (None: all), rounded."""
        columns = list(rows[0])
        stream = io.StringIO()
        writer = csv.DictWriter(stream, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(self.path / f"{name}.csv", stream.getvalue())
        align = ["---" if isinstance(rows[0][column], str) else "---:" for column in columns]
        lines = [
            columns,
            align,
            *([_cell(row[column]) for column in columns] for row in rows[:shown]),
        ]
        text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        self._page.append(f"{text}\n\n{caption} (`{name}.csv`)\n")

    def arrays(self, name: str, **arrays: Any) -> None:  # noqa: ANN401
        """Write ``NAME.npz``: the data of figures."""
        with replacing(self.path / f"{name}.npz") as stream:
            np.savez_compressed(stream, **arrays)

    def finish(self) -> Path:
        """Write ``report.md``; return its path."""
        target = self.path / "report.md"
        write_text(target, "\n".join(self._page))
        return target


def _cell(value: Any) -> str:  # noqa: ANN401
    if isinstance(value, float | np.floating):
        return f"{float(value):.3g}"
    return f"{value:,}" if isinstance(value, int | np.integer) else str(value)
