"""Tables of forecast errors for terminals and Markdown."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from roma_pyg.analysis.scores import Score

Style = Literal["text", "markdown"]

# Per metric: heading, factor, whether more is better.
METRICS: dict[str, tuple[str, float, bool]] = {
    "smspe": ("sMSPE x 1e-2", 100, False),
    "smape": ("sMAPE x 1e-2", 100, False),
    "rmse": ("RMSE", 1, False),
    "mean_rmse": ("RMSE of the mean", 1, False),
    "r2": ("R2", 1, True),
    "skill": ("skill", 1, True),
    "skill_baselines": ("skill vs baselines", 1, True),
}


def format_table(
    rows: Sequence[Score], metrics: Sequence[str], style: Style, *, name: str, dt: float
) -> str:
    """Table of the rows of one view, noise and mode, with the skill of each model below.

    The best value of each column is marked by a star (bold in Markdown); the ceiling, which knows
    more than any method, does not take part.

    Args:
        rows: Scores of one view, noise and mode.
        metrics: Attributes of a score shown in each cell, see ``METRICS``.
        style: ``text`` or ``markdown``.
        name: Name of the series, for the title.
        dt: Time between samples, for the column headings.

    Raises:
        ValueError: If a metric or the style is unknown.
    """
    for metric in metrics:
        if metric not in METRICS:
            raise ValueError(f"Expected a metric among {', '.join(METRICS)} (got '{metric}').")
    if style not in ("text", "markdown"):
        raise ValueError(f"Expected 'style' to be 'text' or 'markdown' (got {style!r}).")
    horizons = sorted({row.horizon for row in rows})
    scores = {(row.method, row.horizon): row for row in rows}
    best = {
        (m, h): _best([r for r in rows if r.horizon == h], m) for m in metrics for h in horizons
    }
    body = []
    for method in dict.fromkeys(row.method for row in rows):
        line = [method]
        for h in horizons:
            row = scores.get((method, h))
            cells = [_cell(row, m, best[m, h], style) for m in metrics] if row else ["-"]
            line.append(" / ".join(cells))
        body.append(line)
    for row in {row.method: row for row in rows if row.group == "model"}.values():
        for label, attribute in (("naive", "skill"), ("baseline", "skill_baselines")):
            values = [scores.get((row.method, h)) for h in horizons]
            skills = [math.nan if s is None else getattr(s, attribute) for s in values]
            if not all(map(math.isnan, skills)):
                shown = ["-" if math.isnan(s) else f"{s:+.3f}" for s in skills]
                body.append([f"skill of {row.method} vs best {label}", *shown])
    header = ["steps ahead (time)", *(f"{h} ({h * dt:g})" for h in horizons)]
    mark = "* best" if style == "text" else "bold: best"
    first = rows[0]
    title = ", ".join(
        [name] * bool(name)
        + [
            first.view,
            f"input noise {first.noise:g}" if first.noise else "clean input",
            "rollout" if first.mode == "rollout" else "direct forecast",
        ]
    )
    title += f": {' / '.join(METRICS[m][0] for m in metrics)} ({mark})"
    return "\n".join([title, *([""] * (style == "markdown")), *_layout([header, *body], style)])


def _best(rows: Sequence[Score], metric: str) -> float:
    """Best value of a column among everything but the ceiling, NaN if there is none."""
    values = [getattr(row, metric) for row in rows if row.group != "ceiling"]
    values = [value for value in values if not math.isnan(value)]
    if not values:
        return math.nan
    return float(max(values) if METRICS[metric][2] else min(values))


def _cell(row: Score, metric: str, best: float, style: Style) -> str:
    """One number; text cells keep a place for the star, so that the numbers line up."""
    _, factor, more_is_better = METRICS[metric]
    value = float(getattr(row, metric))
    # Errors reach over orders of magnitude, from one step ahead on clean input to many on noisy.
    shown = f"{value:.4f}" if more_is_better else format_error(value * factor)
    marked = value == best and row.group != "ceiling"
    if style == "markdown":
        return f"**{shown}**" if marked else shown
    return shown + ("*" if marked else " ")


def format_error(value: float, digits: int = 3) -> str:
    """Format with significant digits.

    Args:
        value: The number; what is not finite becomes a dash.
        digits: Significant digits.

    >>> [format_error(value) for value in (0.0, 0.0000123, 0.00216, 1.5, 36.6, float("nan"))]
    ['0', '1.23e-05', '0.00216', '1.50', '36.6', '-']
    >>> format_error(0.0123, digits=2)
    '0.012'
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "-"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:.{digits - 1}e}" if decimals > 5 else f"{value:.{max(decimals, 0)}f}"


def _layout(lines: list[list[str]], style: Style) -> list[str]:
    """Pad the cells to columns; the first column is left-aligned."""
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    padded = [
        [line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]
        for line in lines
    ]
    if style == "markdown":
        rule = (
            "| " + " | ".join(["-" * widths[0], *("-" * (w - 1) + ":" for w in widths[1:])]) + " |"
        )
        text = [f"| {' | '.join(cells)} |" for cells in padded]
        return [text[0], rule, *text[1:]]
    text = ["  ".join(cells).rstrip() for cells in padded]
    return [text[0], "-" * max(map(len, text)), *text[1:]]
