"""Text files that a reader never sees half of."""

from __future__ import annotations

from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it; makes its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
    except OSError:  # a full disk
        temporary.unlink(missing_ok=True)
        raise
    temporary.replace(path)
