"""The catalogue of configuration keys, read from the dataclasses of ``roma_pyg.config``.

Names, types, defaults and meanings are written once, in the dataclasses and their docstrings.
The command line, the printed YAML, the suggestions for misspelt keys and ``docs/configuration.md``
are all made from this catalogue.
"""

from __future__ import annotations

import difflib
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any

from docstring_parser import parse as parse_docstring

from roma_pyg.config import RunConfig


@dataclass(frozen=True)
class Key:
    """One option of a run.

    Attributes:
        name: Dotted name, such as ``data.window``.
        type: Its resolved type annotation.
        default: Its default value.
        meaning: What it means, with its unit, from the docstring of its dataclass.
    """

    name: str
    type: Any
    default: Any
    meaning: str

    @property
    def section(self) -> str:
        """Dotted name of the section that holds the key."""
        return self.name.rpartition(".")[0]


@dataclass(frozen=True)
class Section:
    """One group of options.

    Attributes:
        name: Dotted name, such as ``data.graph``.
        meaning: The text of the dataclass that declares the group.
    """

    name: str
    meaning: str


def _walk(cls: type[Any], prefix: str) -> Iterator[Key | Section]:
    text = parse_docstring(cls.__doc__ or "")
    if prefix:
        parts = (text.short_description, text.long_description)
        yield Section(prefix, " ".join(" ".join(part.split()) for part in parts if part))
    meanings = {p.arg_name: " ".join((p.description or "").split()) for p in text.params}
    hints = typing.get_type_hints(cls)
    nested = []
    default = cls()
    for item in fields(cls):
        name = f"{prefix}.{item.name}" if prefix else item.name
        if is_dataclass(hints[item.name]):
            nested.append((hints[item.name], name))
        else:
            value = getattr(default, item.name)
            yield Key(name, hints[item.name], value, meanings.get(item.name, ""))
    for child, name in nested:
        yield from _walk(child, name)


@cache
def catalogue() -> tuple[Key | Section, ...]:
    """Return sections and keys in the order of the documentation, each section before its keys."""
    return tuple(_walk(RunConfig, ""))


@cache
def all_keys() -> dict[str, Key]:
    """Return every key by its dotted name.

    >>> all_keys()["data.window"].default
    64
    """
    return {entry.name: entry for entry in catalogue() if isinstance(entry, Key)}


@cache
def all_sections() -> dict[str, Section]:
    """Return every section by its dotted name.

    >>> list(all_sections())[0]
    'data'
    """
    return {entry.name: entry for entry in catalogue() if isinstance(entry, Section)}


def nearest(name: str, candidates: Iterable[str]) -> str:
    """Return the candidate that most resembles a misspelt dotted name.

    The last components count as much as the whole names, so that ``windw`` and ``data.windw``
    both find ``data.window``.

    >>> nearest("windw", all_keys())
    'data.window'
    """

    def likeness(candidate: str) -> float:
        leaf = difflib.SequenceMatcher(None, name.rpartition(".")[2], candidate.rpartition(".")[2])
        return leaf.ratio() + difflib.SequenceMatcher(None, name, candidate).ratio()

    return max(candidates, key=likeness)
