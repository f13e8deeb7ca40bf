"""Write ``docs/configuration.md`` from the dataclasses of ``roma_pyg.config``.

Usage: python docs/make_configuration.py [--check]
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path

from roma_pyg.config import describe_type
from roma_pyg.options.keys import Key, catalogue

TARGET = Path(__file__).with_name("configuration.md")

HEAD = """# Configuration

<!-- Written by docs/make_configuration.py; do not edit. `make docs` writes it anew. -->

Every option of a run, with its default. In a YAML file the sections are nested; on the command
line an option is `--section.key VALUE`, and wins over files. `--config FILE` may be repeated:
later files overlay earlier ones. `--print-config` prints the resolved configuration.

Short options: `--max_steps`, `--resume`, `--seed` (training), `--edges`, `--series`, `--dt`
(own data). Dashes and underscores are the same.
"""


TABLE = ["| key | default | value | meaning |", "| --- | --- | --- | --- |"]


def as_code(text: str) -> str:
    """Turn the double back-quotes of docstrings into Markdown code, and escape table bars."""
    return re.sub(r"``(.+?)``", r"`\1`", text).replace("|", "\\|")


def render() -> str:
    """Return the page."""
    lines = [HEAD, *TABLE]
    for entry in catalogue():
        if isinstance(entry, Key):
            name = entry.name.rpartition(".")[2]
            default = json.dumps(entry.default)
            kind = as_code(describe_type(entry.type))
            lines.append(f"| `{name}` | `{default}` | {kind} | {as_code(entry.meaning)} |")
        else:
            lines += ["", f"## `{entry.name}`", "", as_code(entry.meaning), ""]
            lines += TABLE
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"


def main() -> int:
    """Write the page, or with ``--check`` tell whether it is up to date."""
    parser = argparse.ArgumentParser(description="Write docs/configuration.md from the code.")
    parser.add_argument("--check", action="store_true", help="only compare; 1 if out of date")
    arguments = parser.parse_args()
    if arguments.check:
        return int(TARGET.read_text(encoding="utf-8") != render())
    temporary = TARGET.with_suffix(".tmp")
    temporary.write_text(render(), encoding="utf-8")
    temporary.replace(TARGET)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
