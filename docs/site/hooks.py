"""What MkDocs needs beside the pages of this folder, see ``mkdocs.yml``.

Pages that lie elsewhere in the repository are read from there, the API pages are made from the tree
of the package, the page of the commands from their ``--help``, and formulas become MathML, which
browsers draw without a script.
"""

from __future__ import annotations

import ast
import html
import os
import posixpath
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "roma_pyg"

# Files outside of docs/, and the pages they become.
OUTSIDE = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changes.md",
    "CONTRIBUTING.md": "contributing.md",
    "data/README.md": "data_sets.md",
    "LICENSE": "licence.md",
}
# A module in the text leads to its place in the API.
MODULE = re.compile(r"`roma_pyg/((?!cli/)[a-z]\w*(?:/[a-z]\w*)*)\.py`")
FENCE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[([^\]]*)\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)")
FORMULA = re.compile(
    r'<(span|div) class="arithmatex">\\[(\[](.*?)\\[)\]]</\1>', re.DOTALL
)  # fmt: skip


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that do not lie in this folder."""
    pages = {page: (ROOT / name).read_text(encoding="utf-8") for name, page in OUTSIDE.items()}
    pages["licence.md"] = "# Licence\n\n" + pages["licence.md"]
    pages |= {"commands.md": commands()} | api()
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, *, page: Page, **kwargs: Any) -> str:  # noqa: ANN401
    """Let links between files of the repository lead to the pages of the site."""
    uri = page.file.src_uri
    return relink(markdown, {page: name for name, page in OUTSIDE.items()}.get(uri, f"docs/{uri}"))


def on_page_content(html: str, **kwargs: Any) -> str:  # noqa: ANN401
    """Turn formulas into MathML."""
    return FORMULA.sub(_mathml, html)


def _mathml(match: re.Match[str]) -> str:
    display = "block" if match[1] == "div" else "inline"
    return convert(html.unescape(match[2]).strip(), display=display)


def relink(markdown: str, source: str) -> str:
    """Rewrite the links of a file of the repository for the site.

    Args:
        markdown: Text of the file; code blocks are left as they are.
        source: Path of the file in the repository.

    Returns:
        The text, with links relative to its page. Of a link to a file that has no page, only the
        text is left.

    >>> relink("[changes](../CHANGELOG.md), [code](../roma_pyg/config.py)", "docs/index.md")
    '[changes](changes.md), code'
    >>> relink("[theory](docs/theory.md#data)", "README.md")
    '[theory](theory.md#data)'
    """

    def page_of(path: str) -> str | None:
        return path.removeprefix("docs/") if path.startswith("docs/") else OUTSIDE.get(path)

    folder = posixpath.dirname(page_of(source) or "")

    def link(match: re.Match[str]) -> str:
        text, target, anchor = match.groups()
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        page = page_of(path)
        if page is None:
            return text
        return f"[{text}]({posixpath.relpath(page, folder or '.')}{anchor or ''})"

    parts = FENCE.split(markdown)
    parts[::2] = [MODULE.sub(_module, LINK.sub(link, part)) for part in parts[::2]]
    return "".join(parts)


def _module(match: re.Match[str]) -> str:
    exists = (PACKAGE / f"{match[1]}.py").is_file()
    return f"[{match[0]}][roma_pyg.{match[1].replace('/', '.')}]" if exists else match[0]


def api() -> dict[str, str]:
    """Text of the API pages by name: one for each sub-package, and an overview."""
    names = sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py"))
    names.remove("cli")  # the page of the commands
    pages = {
        f"api/{name}.md": _page(f"roma_pyg.{name}", sorted((PACKAGE / name).rglob("*.py")))
        for name in names
    }
    # Files of the package itself share a page.
    pages["api/modules.md"] = _page("roma_pyg", sorted(PACKAGE.glob("*.py")), "Single modules")
    rows = [f"| [roma_pyg.{name}]({name}.md) | {_summary(f'roma_pyg.{name}')} |" for name in names]
    rows.append("| [single modules](modules.md) | Options, recipes, and what all packages share. |")
    pages["api/index.md"] = "\n".join(
        [
            "# API\n",
            "::: roma_pyg\n    options: {members: [], show_root_heading: false}\n",
            "## Names of `roma_pyg`\n",
            "| name | what |\n| --- | --- |",
            *_public_names(),
            "\n## Sub-packages\n",
            "| package | what |\n| --- | --- |",
            *rows,
            "\nNames in these pages may change between versions; those of `roma_pyg` are kept.\n",
        ]
    )
    return pages


def _page(package: str, files: list[Path], title: str | None = None) -> str:
    """Page of a package: what it holds, and then module after module."""
    modules = [path for path in files if path.stem != "__init__" and not path.stem.startswith("_")]
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in modules]
    rows = [
        f"| [`{name.removeprefix(package + '.')}`][{name}] | {_summary(name)} |" for name in names
    ]
    blocks = [_block(name) for name in names]
    head = [
        f"# {title or package}",
        _summary(package),
        "| module | what |\n| --- | --- |\n" + "\n".join(rows),
    ]
    return "\n\n".join([*head, *blocks]) + "\n"


def _block(module: str) -> str:
    label = module.split(".", 2)[-1]
    return f"::: {module}\n    options:\n      toc_label: {label}"


def _tree(module: str) -> ast.Module:
    path = ROOT.joinpath(*module.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _summary(module: str) -> str:
    """First paragraph of the docstring of a module."""
    return " ".join((ast.get_docstring(_tree(module)) or "").split("\n\n")[0].split())


def _public_names() -> list[str]:
    """Rows of the table of the names that ``roma_pyg`` offers, read from its source."""
    homes: dict[str, str] = {}
    for node in _tree("roma_pyg").body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "_HOME":
            homes = ast.literal_eval(node.value)
    rows = []
    for name, home in homes.items():
        module, _, attribute = home.partition(":")
        attribute = attribute or name
        found = next(n for n in _tree(module).body if getattr(n, "name", "") == attribute)
        text = (ast.get_docstring(found) or "").split("\n")[0]  # type: ignore[arg-type]
        rows.append(f"| [`{name}`][{module}.{attribute}] | {text.partition(' (arXiv')[0]} |")
    return rows


def commands() -> str:
    """Page of the commands: the help of each."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    entries = re.findall(r'^(roma-\w+) = "([\w.]+):main"$', text, re.MULTILINE)
    # Options of a run are the same for all commands, and have a page of their own.
    parts = ["# Commands\n\nOptions of a run, `--section.key VALUE`, are explained in "
             "[configuration](configuration.md).\n"]  # fmt: skip
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "96"}
    for name, module in entries:
        done = subprocess.run(
            [sys.executable, "-m", module, "--help"],
            capture_output=True, text=True, check=True, env=environment,
        )  # fmt: skip
        text = done.stdout.split("\n\ndata:\n")[0].rstrip()
        parts.append(f"## {name}\n\n```text\n{text}\n```\n")
    return "\n".join(parts)
