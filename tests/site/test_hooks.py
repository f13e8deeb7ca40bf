"""Pages from outside of docs/, links, and formulas of the site."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

pytest.importorskip("mkdocs")
pytest.importorskip("latex2mathml")
ROOT = Path(__file__).parents[2]
SPEC = importlib.util.spec_from_file_location("hooks", ROOT / "docs/site/hooks.py")
hooks = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(hooks)
FORMULA = re.compile(r"\$\$?(.+?)\$\$?", re.DOTALL)


@pytest.mark.parametrize(
    ("text", "source", "expected"),
    [
        ("[a](docs/theory.md#data)", "README.md", "[a](theory.md#data)"),
        ("[a](../README.md)", "docs/index.md", "[a](readme.md)"),
        ("[a](LICENSE)", "README.md", "[a](licence.md)"),
        ("[a](../docs/own_data.md)", "data/README.md", "[a](own_data.md)"),
        ("[a](../configs/small.yaml)", "docs/index.md", "a"),
        ("[a](#here), [b](https://arxiv.org)", "README.md", "[a](#here), [b](https://arxiv.org)"),
        ("![a](images/a.png)", "docs/index.md", "![a](images/a.png)"),
        ("![a](a.png)", "docs/experiments/x/report.md", "![a](a.png)"),
        ("```\n[a](../README.md)\n```", "docs/index.md", "```\n[a](../README.md)\n```"),
        ("`roma_pyg/nn/pool/select.py`", "docs/theory.md",
         "[`roma_pyg/nn/pool/select.py`][roma_pyg.nn.pool.select]"),
        ("`roma_pyg/cli/train.py`", "docs/theory.md", "`roma_pyg/cli/train.py`"),
    ],
)  # fmt: skip
def test_relink(text: str, source: str, expected: str) -> None:
    assert hooks.relink(text, source) == expected


def test_formulas_become_mathml() -> None:
    html = '<p><span class="arithmatex">\\(a &lt; b\\)</span></p>'
    assert "<mo>&#x0003C;</mo>" in hooks.on_page_content(html)
    block = '<div class="arithmatex">\\[\n\\frac{1}{2}\n\\]</div>'
    assert 'display="block"' in hooks.on_page_content(block)


def test_every_sub_package_has_a_page_with_its_modules_and_an_example() -> None:
    pages = hooks.api()
    folders = {path.parent.name for path in (ROOT / "roma_pyg").glob("*/__init__.py")}
    assert {f"api/{name}.md" for name in folders - {"cli"}} <= set(pages)
    for page, text in pages.items():
        modules = re.findall(r"^::: ([\w.]+)", text, re.MULTILINE)
        files = [ROOT.joinpath(*name.split(".")).with_suffix(".py") for name in modules]
        examples = [">>> " in file.read_text(encoding="utf-8") for file in files if file.exists()]
        assert page == "api/index.md" or any(examples), page


def test_every_public_name_is_listed() -> None:
    import roma_pyg

    rows = "\n".join(hooks._public_names())
    assert [n for n in roma_pyg.__all__ if f"[`{n}`]" not in rows] == ["__version__"]


@pytest.mark.parametrize("page", ["theory.md"])
def test_formulas_of_a_page_are_known(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    formulas = FORMULA.findall(text)
    assert len(formulas) > 40
    # What the converter does not know stays in the text, with its backslash.
    assert [f for f in formulas if "\\" in re.sub(r"<[^>]*>", "", hooks.convert(f))] == []
