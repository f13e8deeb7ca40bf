"""Docstrings become Markdown: roles, formulas, code and examples."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

griffe = pytest.importorskip("griffe")
ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("docstrings", ROOT / "docs/site/docstrings.py")
docstrings = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(docstrings)
to_markdown = docstrings.to_markdown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("``(N, K)`` and ``a | b``", "`(N, K)` and `a | b`"),
        (r"mean :math:`\bar x_i` here", r"mean $\bar x_i$ here"),
        (":math:`a +\n    b` ends", "$a + b$ ends"),
        (":func:`smspe` or `smspe`", "`smspe` or `smspe`"),
        (":class:`~roma_pyg.data.graph.Graph`", "`Graph`"),
        ("Head.\n\n.. math:: a = b\n\nTail", "Head.\n\n$$\na = b\n$$\n\nTail"),
        (".. math::\n\n    a = b,\n\n    c = d\n\nTail", "$$\na = b, c = d\n$$\n\nTail"),
        (".. math:: a\n          = b", "$$\na = b\n$$"),
        ("Use::\n\n    import x\n\n    x()\n\nEnd", "Use:\n\n```python\nimport x\n\nx()\n```\nEnd"),
        ("Example:\n    >>> f(`a`)\n    ``b``", "Examples:\n    >>> f(`a`)\n    ``b``"),
        ("Text.\n\n>>> 1 + 1\n2\n\nTail", "Text.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nTail"),
    ],
)  # fmt: skip
def test_to_markdown(text: str, expected: str) -> None:
    assert to_markdown(text) == expected


def test_names_become_links() -> None:
    known = {"fit": "package.fit", "package.Graph": "package.Graph"}.get
    text = "`fit`, :class:`~package.Graph` and `other`."
    assert to_markdown(text, known) == "[`fit`][package.fit], [`Graph`][package.Graph] and `other`."


def test_docstrings_of_a_package(tmp_path: Path) -> None:
    package = tmp_path / "small"
    package.mkdir()
    (package / "__init__.py").write_text('"""See `one.f` and `_hidden`."""\n', encoding="utf-8")
    (package / "one.py").write_text(
        "import math\n\n\n"
        'def f():\n    """As `g`, not `math`."""\n\n\n'
        'def g():\n    """G."""\n\n\n'
        'class C:\n    """See :meth:`m`."""\n\n'
        "    def __init__(self):\n"
        '        """Make.\n\n        Raises:\n            E: If.\n        """\n\n'
        '    def m(self):\n        """See `C` and `_p`."""\n\n'
        '    def _p(self):\n        """P."""\n',
        encoding="utf-8",
    )
    extensions = griffe.load_extensions(docstrings.Markdown)
    loaded = griffe.load("small", search_paths=[tmp_path], extensions=extensions)
    assert loaded["one.f"].docstring.value == "As [`g`][small.one.g], not `math`."
    assert loaded["one.C"].docstring.value == "See [`m`][small.one.C.m]."
    assert loaded["one.C.__init__"].docstring.value == "Raises:\n    E: If."
    assert loaded["one.C.m"].docstring.value == "See [`C`][small.one.C] and `_p`."
