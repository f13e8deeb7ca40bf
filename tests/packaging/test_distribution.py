"""Wheel and source distribution are built, hold what a user needs, and nothing else."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("build")
pytest.importorskip("hatchling")

ROOT = Path(__file__).parents[2]


def build(folder: Path, *options: str) -> None:
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), *options]
    done = subprocess.run(
        [*command, str(ROOT)], capture_output=True, text=True, check=False, cwd=folder
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the source distribution and the wheel that is built from it."""
    folder = tmp_path_factory.mktemp("dist")
    build(folder)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> dict[str, int]:
    """Sizes of the files of the wheel."""
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        return {item.filename: item.file_size for item in archive.infolist()}


@pytest.fixture(scope="module")
def source(built: Path) -> dict[str, int]:
    """Sizes of the files of the source distribution, without its top folder."""
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        return {item.name.partition("/")[2]: item.size for item in archive if item.isfile()}


def test_wheel_holds_every_module_and_configuration(wheel: dict[str, int]) -> None:
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "roma_pyg").rglob("*.py")}
    configs = {f"roma_pyg/{path.relative_to(ROOT)}" for path in (ROOT / "configs").rglob("*.yaml")}
    known = {name for name in wheel if ".dist-info/" not in name}
    assert known == modules | configs | {"roma_pyg/py.typed"}


def test_wheel_has_licence_and_commands(built: Path, wheel: dict[str, int]) -> None:
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in wheel)
    declared = re.findall(
        r"^(roma-\w+) = ", (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE
    )
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        points = next(name for name in wheel if name.endswith("entry_points.txt"))
        text = archive.read(points).decode()
    assert len(declared) == 7
    assert re.findall(r"^(roma-\w+) = roma_pyg\.cli\.", text, re.MULTILINE) == sorted(declared)


def test_source_holds_what_building_testing_and_the_site_need(source: dict[str, int]) -> None:
    files = ["LICENSE", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "CITATION.cff", "Makefile"]
    files += ["pyproject.toml", "mkdocs.yml", "docs/theory.md", "docs/site/hooks.py"]
    files += ["roma_pyg/py.typed", "configs/quickstart.yaml", "tests/conftest.py", "data/README.md"]
    assert sorted(set(files) - set(source)) == []


def test_nothing_is_large_or_left_over(wheel: dict[str, int], source: dict[str, int]) -> None:
    stray = re.compile(
        r"^(data|runs|build|dist|\.venv)/(?!README)|__pycache__|\.(npy|ckpt|pyc|so)$"
    )
    for files, largest, whole in ((wheel, 100_000, 3_000_000), (source, 400_000, 12_000_000)):
        assert [name for name in files if stray.search(name)] == []
        assert {name: size for name, size in files.items() if size > largest} == {}
        assert sum(files.values()) < whole


def test_wheel_of_the_checkout_is_that_of_the_source(tmp_path: Path, wheel: dict[str, int]) -> None:
    build(tmp_path, "--wheel")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as archive:
        assert {item.filename: item.file_size for item in archive.infolist()} == wheel
