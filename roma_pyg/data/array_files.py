"""Arrays from .npy and .npz files of unknown origin: headers are checked before memory is taken."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from roma_pyg.reading import check_size

OBJECTS = "Object arrays are refused, as reading them can run code."
Layout = tuple[tuple[int, ...], bool, np.dtype[Any]]


def map_npy(path: Path) -> NDArray[Any]:
    """Map a ``.npy`` file into memory, read-only; nothing is read.

    Args:
        path: The file.

    Returns:
        A memory map; an array in memory where there is nothing to map.

    Raises:
        ValueError: If it is not a ``.npy`` file, holds objects, or is shorter than its header
            says; the message names the file.
    """
    with _reading(path, "plain .npy array of numbers"), path.open("rb") as stream:
        shape, fortran, dtype = _layout(stream, path.stat().st_size)
        if math.prod(shape) == 0:
            return np.empty(shape, dtype)
        offset = stream.tell()
        order: Any = "F" if fortran else "C"
        return np.memmap(stream, dtype, "r", offset, shape, order)


def npz_keys(path: Path) -> set[str]:
    """Names of the arrays of an ``.npz`` archive.

    Raises:
        ValueError: If it is not a zip archive; the message names the file.
    """
    with _reading(path, ".npz archive"), zipfile.ZipFile(path) as archive:
        return {name.removesuffix(".npy") for name in archive.namelist()}


def read_npz(path: Path, keys: set[str]) -> dict[str, NDArray[Any]]:
    """Read some arrays of an ``.npz`` archive.

    Args:
        path: The archive.
        keys: Names of the arrays; those that are missing are left out.

    Raises:
        ValueError: If the archive is damaged, holds objects, or arrays that differ from their
            headers, or needs more memory than is free or than a file of its size should.
    """
    arrays: dict[str, NDArray[Any]] = {}
    with _reading(path, ".npz archive of plain numeric arrays"), zipfile.ZipFile(path) as archive:
        names = {name: name.removesuffix(".npy") for name in archive.namelist()}
        chosen = [name for name, key in names.items() if key in keys]
        # Never more is unpacked than the directory of the archive says.
        check_size(sum(archive.getinfo(name).file_size for name in chosen), path, "its content")
        for name in chosen:
            with archive.open(name) as stream:
                _layout(stream, archive.getinfo(name).file_size)
            with archive.open(name) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
                arrays[names[name]] = np.asarray(array)
                # To its end, where the checksum is compared.
                stream.read()
    return arrays


def _layout(stream: IO[bytes], size: int) -> Layout:
    """Read the header of an array in a file or entry of ``size`` bytes, and check it."""
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"version {version} of the format is not known")
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    else:
        # Versions 2 and 3 differ in the encoding of field names, which plain arrays do not have.
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    if dtype.hasobject:
        raise ValueError("it holds objects")
    needed, there = dtype.itemsize * math.prod(shape), size - stream.tell()
    if min(shape, default=0) < 0 or needed > there:
        raise ValueError(
            f"the header says shape {shape} of {dtype}, {needed} bytes, where {there} bytes are"
        )
    return shape, fortran, dtype


@contextmanager
def _reading(path: Path, expected: str) -> Iterator[None]:
    """Turn whatever damaged bytes lead to into one error that names the file."""
    try:
        yield
    except (PermissionError, MemoryError):
        raise
    except Exception as error:
        if isinstance(error, ValueError) and str(path) in str(error):
            raise
        problem = " ".join(str(error).split())[:300] or type(error).__name__
        raise ValueError(f"{path}: Expected a {expected} (got: {problem}). {OBJECTS}") from None
