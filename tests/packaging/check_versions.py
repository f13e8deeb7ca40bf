"""Install the wheel into a new environment, with the lowest or the newest versions, and use it.

Usage: python tests/packaging/check_versions.py {lowest,newest} [--python python3.10]
    [--torch torch==2.13.0] [--folder FOLDER] [--tests tests/nn ...]

The environment gets the lowest version that ``pyproject.toml`` declares of every dependency, or the
newest that pip takes. Then the commands run in an empty folder: a data set is generated, a model
trained, evaluated, used and analysed; and the tests that are named run against the installed
package. The versions of the main dependencies and what passed are printed at the end.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
# In an order in which torch.compile, which with torch 2.4 makes small numbers zero, comes last.
TESTS = ["geometry", "dynamics", "physics", "options", "data", "nn", "renormalization", "models"]
MAIN = ["torch", "torch-geometric", "lightning", "numpy", "scipy", "pandas", "networkit"]
PIP = ["--quiet", "--disable-pip-version-check", "--no-compile"]
COMMANDS = [
    "roma-doctor",
    "roma-train --help",
    # A configuration that comes with the package.
    "roma-train --config configs/tiny.yaml --evaluate none",
    "roma-predict runs/tiny --output forecast.npy",
    "roma-analyze runs/tiny --times 1",
]
LIBRARY = """
from pathlib import Path
import roma_pyg
assert Path(roma_pyg.__file__).is_relative_to({folder!r}), roma_pyg.__file__
model = roma_pyg.load("runs/tiny")
series = roma_pyg.load_series(model.data)
assert model.forecast(series, horizon=16).shape == (series.num_nodes, 16)
assert model.supernodes(series).labels(level=1).max() < 4
"""


def lowest(pyproject: str) -> list[str]:
    """Turn the lower bounds of the dependencies into pins.

    >>> lowest('dependencies = [\\n    "torch>=2.4",\\n    "jsonargparse[signatures]>=4.38",\\n]')
    ['torch==2.4', 'jsonargparse==4.38']
    """
    found = re.search(r"^dependencies = \[(.*?)^\]", pyproject, re.MULTILINE | re.DOTALL)
    declared = found[1] if found else ""
    return [f"{name}=={low}" for name, low in re.findall(r'"([\w-]+)[\w\[\]]*>=([\w.]+)', declared)]


def run(*words: str | Path, cwd: Path = ROOT) -> None:
    """Run a command; its output is shown if it fails."""
    # The package is to come from the environment, not from the checkout.
    hidden = {"PYTHONPATH", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        check=False,
    )  # fmt: skip
    if done.returncode:
        sys.stdout.write(done.stdout)
        raise SystemExit(f"failed: {' '.join(map(str, words))[:300]}")


@contextmanager
def step(name: str) -> Iterator[None]:
    """Print a step and its seconds."""
    start = time.monotonic()
    yield
    sys.stdout.write(f"{name}: {time.monotonic() - start:.0f} s\n")
    sys.stdout.flush()


def check(which: str, python: str, torch: str | None, folder: Path, tests: list[str]) -> None:
    """Build, install, use, test; see the top of the file."""
    pins = lowest((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    pins = [pin for pin in pins if not (torch and pin.startswith("torch=="))]
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(pins if which == "lowest" else []), encoding="utf-8")
    with step("wheel from the source distribution"):
        run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", ROOT)
    wheel = next((folder / "dist").glob("*.whl"))
    commands = folder / "venv" / "bin"
    with step("installation"):
        run(python, "-m", "venv", folder / "venv")
        pip = (commands / "python", "-m", "pip", "install", *PIP, "--constraint", constraints)
        run(*pip, *([torch] if torch else []), wheel)
        if tests:
            run(*pip, "pytest", "hypothesis", "networkx", "zarr", "selenium")
    work = folder / "work"
    work.mkdir()
    with step("commands"):
        for line in COMMANDS:
            name, *words = line.split()
            run(commands / name, *words, cwd=work)
        run(commands / "python", "-c", LIBRARY.format(folder=str(folder.resolve())), cwd=work)
    if tests:
        with step(f"tests ({', '.join(tests)})"):
            # Warnings of other versions are not errors. `python -m pytest` would see the checkout.
            run(commands / "pytest", "-q", "-W", "default", "-p", "no:cacheprovider", *tests)
    report = "import importlib.metadata as m, platform; print('python', platform.python_version(), "
    report += f"*(f'{{name}} {{m.version(name)}}' for name in {MAIN!r}), sep='\\n  ')"
    subprocess.run([commands / "python", "-c", report], check=True)


def main() -> None:
    """Read the arguments and check."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("which", choices=["lowest", "newest"])
    parser.add_argument("--python", default=sys.executable, help="another python")
    parser.add_argument("--torch", help="this torch instead of the lowest or newest one")
    parser.add_argument("--folder", type=Path, help="keep everything in this new folder")
    default = [f"tests/{name}" for name in TESTS]
    parser.add_argument("--tests", nargs="*", default=default, help="tests that run, or none")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        check(arguments.which, arguments.python, arguments.torch, folder, arguments.tests)


if __name__ == "__main__":
    main()
