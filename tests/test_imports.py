"""The layers of the package: who may import whom, read from the source."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import roma_pyg

# Every sub-package, with those it may import. `nn`, `physics` and `data` know nothing of each
# other; `training` may use `analysis`, not the other way round.
BASE = {
    "autograd",
    "config",
    "exchange",
    "kernels",
    "least_squares",
    "locks",
    "ranks",
    "reading",
    "recipes",
    "writing",
    "__about__",
}
LOWEST = {"geometry", "dynamics"}
MAY_IMPORT = {
    "geometry": set(),
    "dynamics": set(),
    "nn": LOWEST,
    "physics": LOWEST,
    "data": LOWEST,
    "renormalization": LOWEST | {"data"},
    "models": LOWEST | {"nn", "physics", "data"},
    "analysis": LOWEST | {"nn", "physics", "data", "models", "renormalization"},
    "training": LOWEST | {"nn", "physics", "data", "models", "analysis"},
    "options": set(),
    "experiments": LOWEST | {"nn", "physics", "data", "models", "analysis", "training", "options"},
    "cli": LOWEST
    | {"nn", "physics", "data", "models", "analysis", "training", "options", "experiments"},
}
PACKAGE = Path(roma_pyg.__file__).parent
MODULES = sorted(path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py"))


def imported_modules(source: str, module: Path) -> Iterator[str]:
    """Give every module of roma_pyg that a source imports, also inside functions."""
    parents = ("roma_pyg", *module.parts[:-1])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = parents[: len(parents) - node.level + 1] if node.level else ()
            start = ".".join(filter(None, (*above, node.module)))
            yield from (f"{start}.{alias.name}" for alias in node.names)


def violations(source: str, module: Path) -> list[str]:
    """Give the imports that the layers forbid."""
    layer = module.parts[0] if len(module.parts) > 1 else None
    if layer is None and module.stem == "__init__":
        return []
    allowed = BASE | ({layer} | MAY_IMPORT[layer] if layer else set())
    parts = [name.split(".") for name in imported_modules(source, module)]
    return [
        ".".join(name)
        for name in parts
        if name[0] == "roma_pyg" and len(name) > 1 and name[1] not in allowed
    ]


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_layers(module: Path) -> None:
    assert violations((PACKAGE / module).read_text(encoding="utf-8"), module) == []


def test_every_folder_is_a_layer() -> None:
    assert {path.parts[0] for path in MODULES if len(path.parts) > 1} <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nn/a.py", "from roma_pyg.data.graph import Graph"),
        ("data/a.py", "def f():\n    import roma_pyg.nn.segment"),
        ("physics/a.py", "from ..nn import segment"),
        ("nn/pool/a.py", "from ...models import roma"),
        ("analysis/a.py", "from roma_pyg import training"),
        ("geometry/a.py", "from roma_pyg.dynamics import kuramoto"),
        ("config.py", "from roma_pyg.data import graph"),
    ],
)
def test_forbidden_imports_are_found(module: str, source: str) -> None:
    assert len(violations(source, Path(module))) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("nn/a.py", "from roma_pyg.geometry import poincare\nimport torch"),
        ("nn/pool/a.py", "from .. import segment\nfrom .select import Select"),
        ("data/a.py", "from roma_pyg.config import DataConfig"),
        ("training/a.py", "from roma_pyg.analysis.plots import figure"),
    ],
)
def test_allowed_imports_pass(module: str, source: str) -> None:
    assert violations(source, Path(module)) == []
