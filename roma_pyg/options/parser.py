"""Command line and YAML files to a checked ``RunConfig``: the one place where options are parsed.

All sources are brought to one form, dotted assignments such as ``data.window=64``: first the
files, in their order, then the command line. jsonargparse checks types; the dataclasses check
values.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import yaml
from jsonargparse import ArgumentParser, Namespace

from roma_pyg.__about__ import __version__
from roma_pyg.config import DataConfig, RunConfig, describe_type
from roma_pyg.options.keys import Key, all_keys, all_sections, catalogue, nearest
from roma_pyg.options.shipped import shipped
from roma_pyg.reading import read_yaml, shorten
from roma_pyg.recipes import expand

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T", bound="DataclassInstance")


@dataclass(frozen=True)
class Alias:
    """A short option of the command line.

    Attributes:
        keys: Keys that get its value.
        meaning: Text for ``--help``.
        implied: Further assignments.
        value: Value if none is given; None if one must be given.
    """

    keys: tuple[str, ...]
    meaning: str
    implied: tuple[tuple[str, str], ...] = ()
    value: str | None = None


_FILES = (("data.system", "files"),)
ALIASES = {
    "max_steps": Alias(("training.max_steps",), "Optimiser steps."),
    "resume": Alias(
        ("training.resume",),
        "Continue the run from its last checkpoint; --resume auto: if there is one.",
        (),
        "true",
    ),
    "seed": Alias(("training.seed",), "Seed of training. The data keeps data.seed."),
    "edges": Alias(("data.edges",), "Own data: edge list, .csv, .parquet or .npz.", _FILES),
    "series": Alias(("data.series",), "Own data: node series, .npy, .parquet or .csv.", _FILES),
    "dt": Alias(("data.dt",), "Own data: time between two samples.", _FILES),
}


@dataclass(frozen=True)
class Arguments:
    """A parsed command line.

    Attributes:
        config: The options of the run.
        options: Options that only the command knows, declared by its ``extend``.
    """

    config: RunConfig
    options: Namespace


def load_config(
    paths: str | Path | Sequence[str | Path] = (), overrides: Mapping[str, Any] | None = None
) -> RunConfig:
    """Load a configuration from YAML files and overrides, for use as a library.

    Args:
        paths: A YAML file, or several; later ones overlay earlier ones.
        overrides: Further options, nested or by dotted name, which win over the files.

    Returns:
        The checked configuration; what is not given has its default.

    Raises:
        ValueError: If a key is unknown (the nearest one is named) or a value impossible.
        FileNotFoundError: If a file does not exist.

    >>> load_config(overrides={"data.window": 32, "model": {"base": "none"}}).model.base
    'none'
    """
    files = [paths] if isinstance(paths, str | Path) else list(paths)
    assignments: dict[str, str] = {}
    for path in files:
        assignments |= _read_yaml(Path(path))
    assignments |= flatten(overrides or {})
    parser = _make_parser("roma_pyg", None, None)
    config, _ = _finish(parser, assignments, [])
    return config


def parse_arguments(
    argv: Sequence[str] | None,
    prog: str,
    description: str,
    extend: Callable[[ArgumentParser], None] | None = None,
) -> Arguments:
    """Parse a command line made of ``--config FILE``, short options and ``--dotted.key VALUE``.

    The command line wins over files, wherever ``--config`` stands. Dashes and underscores are
    the same. ``--print-config`` prints the resolved YAML, ``--help`` every key; both end the
    program.

    Args:
        argv: The arguments; those of the process if None.
        prog: Name of the program.
        description: First lines of the help.
        extend: Declares further options of the command on the parser.

    Returns:
        The configuration and the further options.

    Raises:
        ValueError: If an option is unknown (the nearest one is named) or a value impossible.
        FileNotFoundError: If a configuration file does not exist.
        SystemExit: With code 0, after ``--help``, ``--version`` or ``--print-config``.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = [word for word in words if word.replace("-", "_") != "__print_config"]
    parser = _make_parser(prog, description, extend)
    files, line, rest = _split_arguments(arguments, parser)
    assignments: dict[str, str] = {}
    for path in files:
        assignments |= _read_yaml(path)
    assignments |= expand(line)
    config, options = _finish(parser, assignments, rest)
    if len(arguments) < len(words):
        sys.stdout.write(config_to_yaml(config) + "\n")
        raise SystemExit(0)
    return Arguments(config, options)


def config_to_yaml(config: RunConfig) -> str:
    """Write a configuration as YAML, every key under a comment with its meaning.

    The text parses to an equal configuration.
    """
    lines = []
    for entry in catalogue():
        parts = entry.name.split(".")
        indent = "  " * (len(parts) - 1)
        if isinstance(entry, Key):
            value: Any = config
            for part in parts:
                value = getattr(value, part)
            # Dumped as the only item of a list, the value stays on its line without a document end.
            item = yaml.safe_dump([value], default_flow_style=True, width=10**6, allow_unicode=True)
            lines += [f"{indent}# {entry.meaning}", f"{indent}{parts[-1]}: {item.strip()[1:-1]}"]
        else:
            lines += ["", f"{indent}# {entry.meaning}", f"{indent}{parts[-1]}:"]
    return "\n".join(lines).strip()


def _make_parser(
    prog: str, description: str | None, extend: Callable[[ArgumentParser], None] | None
) -> ArgumentParser:
    parser = ArgumentParser(
        prog=prog,
        description=description,
        exit_on_error=False,
        usage=f"{prog} [--config FILE ...] [--KEY VALUE ...]",
        allow_abbrev=False,
        default_env=False,
        # The help texts below name type and default in words.
        formatter_class=argparse.HelpFormatter,
    )
    parser.add_argument(
        "--config", metavar="FILE", help="YAML file; may be repeated, later files overlay earlier."
    )
    parser.add_argument(
        "--print-config",
        "--print_config",
        action="store_true",
        help="Print the resolved configuration as YAML, and end.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    if extend is not None:
        extend(parser)
    short = parser.add_argument_group("short options")
    for name, alias in ALIASES.items():
        short.add_argument(
            f"--{name}",
            metavar=None if alias.value else "VALUE",
            nargs="?" if alias.value else None,
            help=f"{alias.meaning} Short for --{', --'.join(alias.keys)}.",
        )
    groups = {
        section.name: parser.add_argument_group(section.name, section.meaning)
        for section in all_sections().values()
    }
    for key in all_keys().values():
        expected = f"Expects {describe_type(key.type)}; default {_as_text(key.default)}."
        group = groups[key.section] if key.section else parser
        group.add_argument(
            f"--{key.name}",
            type=key.type,
            default=key.default,
            metavar="VALUE",
            help=f"{key.meaning} {expected}".replace("%", "%%"),
        )
    return parser


def _split_arguments(
    arguments: list[str], parser: ArgumentParser
) -> tuple[list[Path], dict[str, str], list[str]]:
    """Sort a command line into configuration files, assignments, and the rest."""
    own = {
        option.lstrip("-").replace("-", "_"): action
        for action in parser._actions
        for option in action.option_strings
        if option.lstrip("-").replace("-", "_") not in (*ALIASES, *all_keys())
    }
    files: list[Path] = []
    assignments: dict[str, str] = {}
    rest: list[str] = []
    queue = list(arguments)

    def take(name: str, inline: str, has_inline: bool, default: str | None = None) -> str:
        if has_inline:
            return inline
        if queue and not queue[0].startswith("--"):
            return queue.pop(0)
        if default is None:
            raise ValueError(f"Expected a value after '--{name}' (got none).")
        return default

    while queue:
        word = queue.pop(0)
        if not word.startswith("--"):
            rest.append(word)
            continue
        head, equals, inline = word[2:].partition("=")
        name = head.replace("-", "_")
        if name == "config":
            files.append(Path(take("config", inline, bool(equals))))
        elif name in ALIASES:
            alias = ALIASES[name]
            value = take(name, inline, bool(equals), alias.value)
            assignments |= dict.fromkeys(alias.keys, value) | dict(alias.implied)
        elif name in all_keys():
            assignments[name] = take(name, inline, bool(equals))
        elif name in own:
            rest.append(f"--{name}{equals}{inline}")
            while queue and not equals and own[name].nargs != 0 and not queue[0].startswith("--"):
                rest.append(queue.pop(0))
        else:
            raise _unknown(name, [*all_keys(), *ALIASES, *own])
    return files, assignments, rest


def _read_yaml(path: Path) -> dict[str, str]:
    path = shipped(path)
    if not path.is_file():
        raise FileNotFoundError(f"Expected a configuration file at '{path}' (got none).")
    content = read_yaml(path)
    try:
        if content is not None and not isinstance(content, Mapping):
            raise ValueError(
                f"Expected sections 'data', 'model', 'training' (got {shorten(content)})."
            )
        return flatten(content or {})
    except ValueError as error:
        raise ValueError(f"{error} (in {path})") from None


def flatten(content: Mapping[str, Any]) -> dict[str, str]:
    """Turn nested options, or options by dotted name, into assignments of dotted names.

    Raises:
        ValueError: If a key is unknown; the nearest one is named.

    >>> flatten({"data": {"window": 32}, "model.base": "none"})
    {'data.window': '32', 'model.base': 'none'}
    """
    return expand(dict(_flatten(content, "")))


def _flatten(content: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    """Give dotted assignments of nested mappings; every name is checked."""
    for part, value in content.items():
        name = f"{prefix}.{part}" if prefix else str(part)
        if name in all_keys():
            if isinstance(value, Mapping):
                expected = describe_type(all_keys()[name].type)
                raise ValueError(f"Expected '{name}' to be {expected} (got a section).")
            yield name, _as_text(value)
        elif isinstance(value, Mapping):
            if name not in all_sections() and not value:
                raise _unknown(name, all_sections())
            yield from _flatten(value, name)
        elif name in all_sections():
            # A section whose lines are all commented out reads as null.
            if value is not None:
                raise ValueError(f"Expected '{name}' to be a section (got {shorten(value)}).")
        else:
            raise _unknown(name, [*all_keys(), *all_sections()])


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return value
    return json.dumps(value, default=str)


def _unknown(name: str, candidates: Sequence[str] | Mapping[str, Any]) -> ValueError:
    short = name if len(name) <= 100 else f"{name[:90]} ..."
    return ValueError(f"Unknown key '{short}'. Did you mean '{nearest(short, candidates)}'?")


def _finish(
    parser: ArgumentParser, assignments: dict[str, str], rest: list[str]
) -> tuple[RunConfig, Namespace]:
    """Check types by jsonargparse, then values by the dataclasses."""
    words = [f"--{name}={value}" for name, value in assignments.items()]
    try:
        options = parser.parse_args([*rest, *words])
    except argparse.ArgumentError as error:
        raise ValueError(_explain(str(error), assignments)) from None
    values = {name: options[name] for name in all_keys()}
    if values["data.system"] == "files" and values["data.name"] == DataConfig().name:
        series = values["data.series"]
        values["data.name"] = Path(series).stem if series else values["data.name"]
    return _build(RunConfig, values, ""), options


def _explain(message: str, assignments: Mapping[str, str]) -> str:
    """Say a type error of jsonargparse in the words of the package."""
    found = re.search(r"[\"']?(?:--)?([a-z_]+\.[a-z_.]+)[\"']?", message)
    name = found.group(1) if found else ""
    if name not in all_keys():
        return " ".join(message.split())
    expected = describe_type(all_keys()[name].type)
    return f"Expected '{name}' to be {expected} (got {shorten(assignments.get(name, ''))})."


def _build(cls: type[T], values: Mapping[str, Any], prefix: str) -> T:
    hints = typing.get_type_hints(cls)
    arguments: dict[str, Any] = {}
    for item in fields(cls):
        name = f"{prefix}{item.name}"
        nested = is_dataclass(hints[item.name])
        arguments[item.name] = (
            _build(hints[item.name], values, f"{name}.") if nested else values[name]
        )
    return cls(**arguments)
