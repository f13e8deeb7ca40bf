"""Docstrings in Markdown, for the site: in the code they are written with reStructuredText roles.

An extension of griffe, which reads the docstrings for mkdocstrings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import griffe

# Lines of a doctest, up to a blank one; nothing in them is changed.
EXAMPLE = re.compile(r"((?:^ *>>> .*\n(?:^ *\S.*\n)*)+)", re.MULTILINE)
# ".. math::", its formula on the same line or indented below.
MATH = re.compile(r"^( *)\.\. math::(.*\n(?:(?:\1 +\S.*)?\n)*)", re.MULTILINE)
# "::" at the end of a line, and an indented block.
LITERAL = re.compile(r"^( *)(\S.*)::\n\n((?:(?:\1 +\S.*)?\n)+)", re.MULTILINE)
# A block of code, ``code``, :math:`formula`, :func:`name` and `name`.
SPAN = re.compile(r"```.*?```|``(.+?)``|:math:`([^`]+)`|(?::\w+:)?`([^`]+)`", re.DOTALL)
HEADING = re.compile(r"^( *)Example:$", re.MULTILINE)


def to_markdown(text: str, find: Callable[[str], str | None] = lambda name: None) -> str:
    r"""Turn the roles and directives of a docstring into Markdown.

    Args:
        text: The docstring, without the indentation of the code around it.
        find: Gives the full path of a name in the documentation, or None if it has none.

    >>> to_markdown("The mean :math:`\\bar x` of ``x``, see :func:`fit`.")
    'The mean $\\bar x$ of `x`, see `fit`.'
    >>> to_markdown("See `fit`.", lambda name: f"package.{name}")
    'See [`fit`][package.fit].'
    """

    def span(match: re.Match[str]) -> str:
        code, formula, name = match.groups()
        if formula:
            return f"${' '.join(formula.split())}$"
        if code:
            return f"`{code}`"
        if not name:
            return match[0]
        path = find(name.removeprefix("~"))
        shown = name.rpartition(".")[2] if name.startswith("~") else name
        return f"[`{shown}`][{path}]" if path else f"`{shown}`"

    parts = EXAMPLE.split(HEADING.sub(r"\1Examples:", text.rstrip()) + "\n")
    for i in range(0, len(parts), 2):
        parts[i] = SPAN.sub(span, LITERAL.sub(_literal, MATH.sub(_block, parts[i])))
    for i in range(1, len(parts), 2):
        # An example without a heading would be read as a quotation.
        if parts[i].startswith(">>>"):
            parts[i] = f"```pycon\n{parts[i]}```\n"
    return "".join(parts).rstrip("\n")


def _block(match: re.Match[str]) -> str:
    indent, formula = match.groups()
    return f"{indent}$$\n{indent}{' '.join(formula.split())}\n{indent}$$\n\n"


def _literal(match: re.Match[str]) -> str:
    indent, line, block = match.groups()
    lines = [text.removeprefix(f"{indent}    ") for text in block.strip("\n").split("\n")]
    return f"{indent}{line}:\n\n```python\n" + "\n".join(lines) + "\n```\n"


class Markdown(griffe.Extension):
    """Converts every docstring of a package once it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **kwargs: Any) -> None:  # noqa: ANN401
        """Convert the docstrings of all objects that are defined in the package."""
        waiting: list[griffe.Object | griffe.Alias] = [pkg]
        while waiting:
            item = waiting.pop()
            if item.is_alias:
                continue
            waiting += item.members.values()
            if item.name == "__init__" and item.docstring:
                # It is shown below that of the class, which has said what the class is.
                _, _, item.docstring.value = item.docstring.value.partition("\n\n")
            if item.docstring:
                item.docstring.value = to_markdown(
                    item.docstring.value, lambda name, item=item: _path(item, name)
                )


def _path(item: griffe.Object | griffe.Alias, name: str) -> str | None:
    """Full path of a public, documented object that is named in a docstring."""
    try:
        found = item.modules_collection[item.resolve(name.removesuffix("()"))]
        found = found.final_target if found.is_alias else found
    except (griffe.GriffeError, KeyError):
        return None
    path: str = found.path
    public = not any(part.startswith("_") for part in path.split("."))
    listed = path.startswith(f"{item.package.path}.") and found.has_docstring
    return path if public and listed else None
