"""Configurations that come with the package, usable from any folder."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]
# In a wheel they lie inside the package; in a checkout, which an editable install reads, beside it.
FOLDERS = (_PACKAGE / "configs", _PACKAGE.parent / "configs")


def shipped(path: Path) -> Path:
    """Find a file, or the one that the package brings under this name.

    A file that exists wins. Otherwise ``configs/quickstart.yaml`` and ``quickstart.yaml`` are the
    quickstart of the package, wherever the command runs.

    Returns:
        The path itself if there is neither.

    Example:
        >>> shipped(Path("configs/quickstart.yaml")).is_file()
        True
    """
    if path.is_absolute() or path.exists():
        return path
    name = path.relative_to("configs") if path.is_relative_to("configs") else path
    found = (folder / name for folder in FOLDERS)
    return next((file for file in found if file.is_file()), path)
