"""Files that a reader never sees half of."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """Write a file under a name of its own, and rename it when all is written.

    If writing fails or is interrupted, the file that was there stays, and nothing else is left.
    Several processes may write the same file; that of the last one stays.

    Args:
        path: The file; its folder is made if needed.

    Yields:
        The open file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write a text file as :func:`replacing` does, in UTF-8 with Unix line ends."""
    with replacing(path) as stream:
        stream.write(text.encode("utf-8"))
