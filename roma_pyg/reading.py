"""Text files of unknown origin to plain values: bounded in size, never executed.

YAML, JSON and their errors are handled here and nowhere else. Arrays have their own readers, see
`roma_pyg.data.array_files` and `roma_pyg.data.parquet_files`.
"""

from __future__ import annotations

import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import psutil
import yaml

YAML_BYTES = 1 << 18
"""Largest configuration file; the largest of this package has two thousandths of it."""

JSON_BYTES = 1 << 28
LABEL_LENGTH = 1000
"""Longest node label, as in an array all take as much memory as the longest; and longest option."""

DEPTH = 40
"""Deepest nesting of YAML."""

NODES = 20_000
"""Most values of a YAML file, where each alias counts as what it stands for."""

SMALL_BYTES = 1 << 30
EXPANSION = 200
"""An array above `SMALL_BYTES` may be this many times as large as its file."""


class WrongTypeError(TypeError, ValueError):
    """A value of the user's that has the wrong type: an error of the input, not of the program."""


class MissingLibraryError(ModuleNotFoundError, ValueError):
    """An optional library that the user's files or options need."""


def shorten(value: object, limit: int = 120) -> str:
    """Representation of a value for a message, cut where it is long.

    >>> shorten("x" * 1000, 12)
    "'xxxxxxx ...'"
    """
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = f"a very large {type(value).__name__}"
    return text if len(text) <= limit else f"{text[: limit - 4]} ...{text[-1]}"


def available_memory() -> int:
    """Bytes of memory that are free, or can be freed."""
    return int(psutil.virtual_memory().available)


def check_size(needed: int, path: Path, what: str = "it") -> None:
    """Refuse what memory does not hold, or what a file of that size cannot honestly hold.

    Args:
        needed: Bytes in memory.
        path: The file.
        what: What needs them, for the message.

    Raises:
        ValueError: If that is more than the memory that is free, or more than a gibibyte and
            two hundred times the size of the file, as of an archive made to fill the memory.
    """
    if needed < 0 or needed > available_memory():
        raise ValueError(
            f"{path}: Expected {what} to fit in the memory, {available_memory() / 1e9:.3g} GB free "
            f"(got {needed / 1e9:.3g} GB). Use a smaller file, or import it by `roma-data import`."
        )
    size = sum(file.stat().st_size for file in path.rglob("*")) if path.is_dir() else None
    size = path.stat().st_size if size is None else size
    if needed > max(SMALL_BYTES, EXPANSION * size):
        raise ValueError(
            f"{path}: Expected at most {EXPANSION} times the size of the file, {size} bytes (got "
            f"{what} of {needed / 1e9:.3g} GB): such files are made to fill the memory. Save it "
            "without compression if it is meant."
        )


def read_text(path: Path, limit: int = JSON_BYTES) -> str:
    """Read a text file.

    Args:
        path: A regular file; a pipe would wait for its writer.
        limit: Largest size in bytes.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is too large, or not UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected a file at '{path}' (got none).")
    if (size := path.stat().st_size) > limit:
        raise ValueError(f"Expected '{path}' to have at most {limit} bytes (got {size}).")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"Expected '{path}' to be text in UTF-8 (got {error}).") from None


def read_json(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Read a JSON file.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not JSON, too large, or nested too deeply.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"Expected '{path}' to be JSON (got: {error}).") from None


def read_yaml(path: Path) -> Any:  # noqa: ANN401 - whatever the file holds
    """Read a YAML file of plain values; tags that would make Python objects are refused.

    Args:
        path: The file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not YAML in UTF-8, gives a key twice, is nested too deeply or is large,
            also by aliases of aliases.
    """
    text = read_text(path, YAML_BYTES)
    try:
        # A loader that is safe, and strict besides.
        return yaml.load(text, _StrictLoader)
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, RecursionError) as error:
        problem = shorten(" ".join(str(error).split()), 600)[1:-1]
        raise ValueError(f"Expected '{path}' to be YAML (got {problem}).") from None


class _StrictLoader(yaml.SafeLoader):
    """Refuses keys that are given twice, deep nesting, and content that grows by aliases."""

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:  # noqa: ANN401
        self._depth += 1
        if self._depth > DEPTH:
            raise ValueError(f"values that are nested more than {DEPTH} deep")
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _count(node, {})
        return node


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Values of a node, aliases as often as they stand there; refuses cycles and double keys."""
    if known.setdefault(id(node), -1) > 0:
        return known[id(node)]
    children: list[yaml.Node] = []
    if isinstance(node, yaml.ScalarNode) and len(node.value) > LABEL_LENGTH:
        raise ValueError(
            f"a value of {len(node.value)} characters, more than {LABEL_LENGTH}, in line "
            f"{node.start_mark.line + 1}"
        )
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node)
        children = [child for pair in node.value for child in pair]
    total = 1
    for child in children:
        if known.get(id(child)) == -1:
            raise ValueError(f"an alias inside what it stands for, line {node.start_mark.line + 1}")
        total += _count(child, known)
        if total > NODES:
            raise ValueError(f"more than {NODES} values, aliases as often as they stand there")
    known[id(node)] = total
    return total


def _check_keys(node: yaml.MappingNode) -> None:
    seen: set[Hashable] = set()
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value in seen and key.tag != "tag:yaml.org,2002:merge":
                raise ValueError(
                    f"the key '{key.value}' twice, the second time in line "
                    f"{key.start_mark.line + 1}"
                )
            seen.add(key.value)
