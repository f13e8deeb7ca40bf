"""Zarr arrays of unknown origin: only codecs that compress or transpose numbers may run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roma_pyg.data.export import check_zarr
from roma_pyg.reading import WrongTypeError, read_json

CODECS = {
    "bytes", "transpose", "blosc", "zstd", "gzip", "crc32c", "sharding_indexed",
    "zlib", "bz2", "lzma", "lz4", "shuffle", "delta", "crc32", "adler32", "bitround", "quantize",
}  # fmt: skip
"""Names of the codecs that are run; others, such as pickle, could execute what the array holds."""


def open_zarr(path: Path) -> Any:  # noqa: ANN401 - zarr has no types in all versions
    """Open a single array of numbers for reading.

    Args:
        path: Its folder, in version 2 or 3 of the format.

    Raises:
        MissingLibraryError: If zarr is not installed.
        ValueError: If it is no array of numbers, is damaged, or wants other codecs; the message
            names the folder.
    """
    check_zarr()
    metadata = [file for file in (path / "zarr.json", path / ".zarray") if file.is_file()]
    if not metadata:
        raise ValueError(f"{path}: Expected a single zarr array (got no zarr.json or .zarray).")
    special = [file for file in path.rglob("*") if not (file.is_file() or file.is_dir())]
    if special:
        raise ValueError(f"{special[0]}: Expected a chunk of an array (got no regular file).")
    for file in metadata:
        with reading_zarr(path):
            foreign = sorted(_codecs(read_json(file)) - CODECS)
        if foreign:
            raise ValueError(
                f"{file}: Expected codecs that hold numbers, such as blosc or zstd (got "
                f"{', '.join(foreign)}): others are never run, as they can execute code."
            )
    import zarr

    with reading_zarr(path):
        array = zarr.open_array(str(path), mode="r")
        if array.dtype.kind not in "biuf":
            raise WrongTypeError(f"{path}: Expected real numbers (got dtype {array.dtype}).")
        return array


@contextmanager
def reading_zarr(path: Path) -> Iterator[None]:
    """Turn whatever damaged chunks or metadata lead to into one error that names the folder.

    Args:
        path: Folder of the array.
    """
    try:
        yield
    except (PermissionError, MemoryError, WrongTypeError):
        raise
    except Exception as error:
        problem = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{path}: Expected a single zarr array (got: {problem}).") from None


def _codecs(content: object) -> set[str]:
    """Names of all codecs that the metadata of an array asks for, nested ones too."""
    if isinstance(content, list):
        return set().union(*map(_codecs, content))
    if not isinstance(content, dict):
        return set()
    found: set[str] = set()
    for key, value in content.items():
        if key in ("compressor", "filters", "codecs", "index_codecs"):
            entries = value if isinstance(value, list) else [value]
            found |= {_name(entry) for entry in entries if entry is not None}
        # Attributes are the user's, and ask for nothing.
        if key != "attributes":
            found |= _codecs(value)
    return found


def _name(entry: object) -> str:
    """Name of one codec, in either version of the format."""
    if isinstance(entry, dict):
        entry = entry.get("id", entry.get("name"))
    return str(entry).removeprefix("numcodecs.")
