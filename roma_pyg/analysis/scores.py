"""The result of an evaluation: one row per method, view, noise, mode and step ahead."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from roma_pyg.analysis.metrics import skill
from roma_pyg.analysis.table import Style, format_table
from roma_pyg.models.forecaster import Group
from roma_pyg.writing import write_text

Mode = Literal["direct", "rollout"]
MAIN_VIEW = "held-out nodes and time"


@dataclass(frozen=True)
class Score:
    """Errors of one method at one step ahead.

    Attributes:
        method: Name of the method.
        group: What it counts as: ``naive``, ``baseline``, ``model`` or ``ceiling``.
        view: What was held out.
        noise: Variance of the noise on the history; the truth is clean.
        mode: ``direct``, or ``rollout`` where the method was fed its own output.
        horizon: Steps ahead, in samples.
        smspe: Symmetric mean squared percentage error, a fraction.
        smape: Symmetric mean absolute percentage error, a fraction.
        rmse: Root mean squared error, in units of the observable.
        r2: Explained variance about the mean of the evaluated truth.
        mean_rmse: Error of the mean over the evaluated nodes, root mean square over the times.
        count: Number of forecasts (nodes times times).
        skill: ``1 - smspe / best naive smspe``; NaN without naive methods.
        skill_baselines: The same against the best of naive methods and baselines.
    """

    method: str
    group: Group
    view: str
    noise: float
    mode: Mode
    horizon: int
    smspe: float
    smape: float
    rmse: float
    r2: float
    mean_rmse: float
    count: int
    skill: float = math.nan
    skill_baselines: float = math.nan


@dataclass(frozen=True)
class Evaluation:
    """Scores of several methods on the same forecasts.

    Attributes:
        rows: The scores, method by method.
        metadata: Name of the series, time step, seed, window, stride and numbers of forecasts.
    """

    rows: list[Score]
    metadata: dict[str, Any] = field(default_factory=dict)

    def select(self, **conditions: object) -> list[Score]:
        """Rows whose attributes equal all ``conditions``.

        Raises:
            ValueError: If a condition names no attribute of a row.
        """
        known = [entry.name for entry in fields(Score)]
        for key in conditions:
            if key not in known:
                raise ValueError(f"Expected a column among {', '.join(known)} (got '{key}').")
        return [
            row
            for row in self.rows
            if all(getattr(row, key) == value for key, value in conditions.items())
        ]

    def table(
        self,
        view: str | None = None,
        *,
        views: bool = False,
        noise: float | None = None,
        mode: Mode | None = None,
        metrics: tuple[str, ...] = ("smspe", "r2"),
        style: Style = "text",
    ) -> str:
        """Readable tables: methods as rows, steps ahead as columns, the best method marked.

        Args:
            view: View shown; held-out nodes and time if None.
            views: Show all views instead.
            noise: Noise variance shown; all if None.
            mode: ``direct`` or ``rollout``; both if None.
            metrics: Columns of a score shown in each cell; errors are given in units of 1e-2.
            style: ``text`` for a terminal, ``markdown``.

        Returns:
            One table per view, noise and mode, separated by empty lines.

        Raises:
            ValueError: If nothing was evaluated for this choice.
        """
        wanted = {row.view: None for row in self.rows} if views else {view or MAIN_VIEW: None}
        chosen = [
            row
            for row in self.rows
            if row.view in wanted and noise in (None, row.noise) and mode in (None, row.mode)
        ]
        if not chosen:
            raise ValueError(
                f"Expected scores of {', '.join(map(repr, wanted))}, noise {noise}, mode {mode} "
                f"(got none; there are {', '.join(sorted({repr(r.view) for r in self.rows}))})."
            )
        order = {name: place for place, name in enumerate({row.view: 0 for row in self.rows})}
        blocks = sorted({(order[row.view], row.noise, row.mode) for row in chosen})
        return "\n\n".join(
            format_table(
                [r for r in chosen if (order[r.view], r.noise, r.mode) == block],
                metrics,
                style,
                name=str(self.metadata.get("series", "")),
                dt=float(self.metadata.get("dt", 1.0)),
            )
            for block in blocks
        )

    def to_csv(self, path: Path | str) -> None:
        """Write the rows to a CSV file with a header; written aside, then renamed."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [entry.name for entry in fields(Score)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in self.rows)
        write_text(Path(path), text.getvalue())

    def to_json(self, path: Path | str) -> None:
        """Write metadata and rows to a JSON file; numbers that are not finite become null."""
        rows = [
            {
                key: None if isinstance(value, float) and not math.isfinite(value) else value
                for key, value in asdict(row).items()
            }
            for row in self.rows
        ]
        content = {"metadata": self.metadata, "rows": rows}
        write_text(Path(path), json.dumps(content, indent=1, allow_nan=False) + "\n")


def with_skill(rows: list[Score]) -> list[Score]:
    """Fill in the skills: each row against the best others of its view, noise, mode and step."""
    naive: dict[tuple[object, ...], float] = {}
    every: dict[tuple[object, ...], float] = {}
    for row in rows:
        for groups, best in ((("naive",), naive), (("naive", "baseline"), every)):
            # A method that has diverged (NaN) is nobody's reference.
            if row.group in groups and not math.isnan(row.smspe):
                best[_place(row)] = min(row.smspe, best.get(_place(row), math.inf))
    return [
        replace(
            row,
            skill=skill(row.smspe, naive.get(_place(row), math.nan)),
            skill_baselines=skill(row.smspe, every.get(_place(row), math.nan)),
        )
        for row in rows
    ]


def _place(row: Score) -> tuple[object, ...]:
    return row.view, row.noise, row.mode, row.horizon
