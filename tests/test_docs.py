"""The documentation agrees with the code, and its links lead somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import roma_pyg
from roma_pyg.__about__ import __version__

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), ROOT / "data" / "README.md"])


def test_configuration_page_is_up_to_date() -> None:
    script = ROOT / "docs" / "make_configuration.py"
    done = subprocess.run([sys.executable, str(script), "--check"], cwd=ROOT, check=False)
    assert done.returncode == 0, "docs/configuration.md is out of date: make docs"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (page.parent / link).exists()] == []


def test_theory_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
    files = set(re.findall(r"`((?:roma_pyg|tests|docs|configs)/[\w/]+\.(?:py|yaml|md))`", text))
    assert len(files) > 10
    assert sorted(name for name in files if not (ROOT / name).exists()) == []


def test_theory_names_every_file_with_a_formula() -> None:
    text = (ROOT / "docs" / "theory.md").read_text(encoding="utf-8")
    files = (ROOT / "roma_pyg").rglob("*.py")
    formulas = [f for f in files if re.search(r":math:|\.\. math::", f.read_text(encoding="utf-8"))]
    names = [path.relative_to(ROOT).as_posix() for path in formulas]
    assert len(names) > 20
    assert [name for name in names if f"`{name}`" not in text] == []


def test_architecture_and_readme_name_every_package() -> None:
    folders = sorted(path.parent.name for path in (ROOT / "roma_pyg").glob("*/__init__.py"))
    architecture = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tree = architecture.split("```")[1]
    assert [name for name in folders if not re.search(rf"\b{name}\b", tree)] == []
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in folders if f"`roma_pyg/{name}`" not in readme] == []


def test_architecture_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    files = set(re.findall(r"`((?:\w+/)+\w+\.(?:py|md|yaml))`", text))
    assert len(files) > 10
    assert [f for f in files if not ((ROOT / f).exists() or (ROOT / "roma_pyg" / f).exists())] == []


@pytest.mark.parametrize("name", sorted(set(roma_pyg.__all__) - {"__version__"}))
def test_every_public_name_has_an_example(name: str) -> None:
    assert ">>> " in (getattr(roma_pyg, name).__doc__ or "")


def test_version_and_licence_of_the_citation() -> None:
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {__version__}\n" in text
    assert "\nlicense: MIT\n" in text


def test_shell_commands_of_contributing_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^make ([a-z-]+)", text, re.MULTILINE)
    assert {"setup", "check", "site", "test-versions"} <= set(targets)
    assert [t for t in targets if not re.search(rf"^{t}:", makefile, re.MULTILINE)] == []
