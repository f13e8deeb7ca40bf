"""An experiment file, and the runs it stands for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from roma_pyg.config import DataConfig, RunConfig, check, check_fields, describe_type, has_type
from roma_pyg.options.keys import nearest
from roma_pyg.options.parser import flatten, load_config
from roma_pyg.options.shipped import shipped
from roma_pyg.reading import WrongTypeError, read_yaml, shorten

T = TypeVar("T")

MOST_TRIALS = 1000
"""Combinations of options that a search tries per member."""

SIMPLE = "simple forecasts"
"""Member that stands for persistence, linear extrapolation, ridge and MLP."""


@dataclass(frozen=True)
class EvaluationPlan:
    """How finished models are scored.

    Attributes:
        horizons: Steps ahead of direct forecasts.
        rollout: Steps ahead of rollouts; empty for none.
        stride: Samples kept per round of a rollout; the horizon of the model if None.
        times: Forecast times of each view.
        rollout_times: Forecast times of the rollout.
        nodes: Largest number of nodes scored per view; None for all.
        mlp_steps: Training steps of the MLP among the simple forecasts; 0 for none.
    """

    horizons: tuple[int, ...] = (1, 16, 64)
    rollout: tuple[int, ...] = (32, 64, 96, 128)
    stride: int | None = None
    times: int = 6
    rollout_times: int = 4
    nodes: int | None = 1000
    mlp_steps: int = 3000

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "evaluation")
        for key in ("horizons", "rollout"):
            steps = getattr(self, key)
            check(all(step >= 1 for step in steps), f"evaluation.{key}", "at least 1", steps)
        for key in ("stride", "times", "rollout_times", "nodes"):
            value = getattr(self, key)
            check(value is None or value >= 1, f"evaluation.{key}", "at least 1", value)
        check(self.mlp_steps >= 0, "evaluation.mlp_steps", "at least 0", self.mlp_steps)


@dataclass(frozen=True)
class Tuning:
    """A search over options before the seeds are trained, the same for every member.

    Attributes:
        options: Values by dotted key; every combination is tried.
        steps: Optimiser steps of each trial.
        seed: Seed of the trials, other than those of the experiment.
        condition: Condition the trials are made on; the first if None.
    """

    options: dict[str, list[Any]]
    steps: int
    seed: int = 100
    condition: str | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "tuning")
        check(self.steps >= 1, "tuning.steps", "at least 1", self.steps)
        trials = math.prod(map(len, self.options.values()))
        check(1 <= trials <= MOST_TRIALS, "tuning.options", "1 to 1000 trials", trials)


@dataclass(frozen=True)
class Fit:
    """A power law between the size of something and the error.

    Attributes:
        x: ``parameters``, ``samples`` (training samples of all nodes) or ``compute`` (floating
            point operations of the training, 6 x parameters x tokens).
        conditions: Conditions the fit is over.
        member: Member the fit is of; the reference if None.
    """

    x: str
    conditions: tuple[str, ...]
    member: str | None = None

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "fits")
        known = ("parameters", "samples", "compute")
        check(self.x in known, "fits.x", f"one of {', '.join(known)}", self.x)


@dataclass(frozen=True)
class Run:
    """One training of an experiment.

    Attributes:
        condition: What all members share, such as the data set.
        member: The model.
        seed: The seed.
        config: The resolved options.
        trial: Options that this run tries out in the search, if it is part of one.
    """

    condition: str
    member: str
    seed: int
    config: RunConfig
    trial: dict[str, Any] = field(default_factory=dict)

    @property
    def slug(self) -> str:
        """Name of files and folders of this run."""
        parts = [self.condition, self.member, f"seed{self.seed}"]
        parts += [f"{key.split('.')[-1]}-{value}" for key, value in self.trial.items()]
        return "__".join(slug(part) for part in parts)


@dataclass(frozen=True)
class Experiment:
    """A table of runs: members (models) times conditions (data and sizes) times seeds.

    The options of a run are put together from, in this order, the later winning: the
    configuration files of the experiment, the condition, the profile, the profile's options of the
    condition, the member, the profile's options of the member, and the seed.

    Attributes:
        name: Name of the experiment, that of its file.
        title: One line about it.
        profile: Name of the profile.
        files: Configuration files that all runs start from.
        seeds: Seeds of each member in each condition.
        seed_keys: Options that get the seed.
        reference: Member the others are compared with.
        match: Whether members get the width with which they have as many parameters as the
            reference in the same condition.
        shared: Options of all runs.
        conditions: Options by condition.
        members: Options by member.
        tests: Options of further data sets on which every run is scored, by name.
        evaluation: How finished models are scored.
        tuning: Search before the seeds, if any.
        fits: Power laws.
        simple: Whether simple forecasts are made for each condition and seed.
        reach: Members whose final validation error is the mark in a table of the steps that each
            member needs to reach it.
    """

    name: str
    title: str
    profile: str
    files: list[Path]
    seeds: list[int]
    seed_keys: list[str]
    reference: str
    match: bool
    shared: dict[str, str]
    conditions: dict[str, dict[str, str]]
    members: dict[str, dict[str, str]]
    tests: dict[str, dict[str, str]]
    evaluation: EvaluationPlan
    tuning: Tuning | None
    fits: list[Fit]
    simple: bool
    reach: list[str]
    _loaded: dict[Any, RunConfig] = field(default_factory=dict, repr=False, compare=False)

    def config(
        self, condition: str, member: str, seed: int, tuned: Mapping[str, Any] | None = None
    ) -> RunConfig:
        """Resolve the options of one run.

        Args:
            condition: Name of the condition.
            member: Name of the member, or ``SIMPLE``.
            seed: The seed.
            tuned: Options found by a search.
        """
        options = {**self.shared, **self.conditions[condition], **self.members.get(member, {})}
        options |= flatten(tuned or {})
        # All seeds share the configuration that is read for the first.
        options |= dict.fromkeys(self.seed_keys, str(self.seeds[0]))
        config = self._load(options)
        for key in self.seed_keys:
            config = _with_option(config, key.split("."), seed)
        if "data.seed" in self.seed_keys:
            config = replace(config, data=replace(config.data, name=f"{config.data.name}-s{seed}"))
        if self.match and member not in (self.reference, SIMPLE):
            from roma_pyg.experiments.sizes import count_parameters, match_parameters

            aim = self.config(condition, self.reference, seed)
            target = count_parameters(aim.model, aim.data)
            config = replace(config, model=match_parameters(config.model, config.data, target))
        return config

    def _load(self, options: dict[str, str]) -> RunConfig:
        """Read a configuration; as that takes a tenth of a second, every one once."""
        known = (tuple(self.files), tuple(sorted(options.items())))
        if known not in self._loaded:
            self._loaded[known] = load_config(self.files, options)
        return self._loaded[known]

    def test_data(self, condition: str, seed: int) -> dict[str, DataConfig]:
        """Further data sets on which a run is scored, by name; seeded unless they say a seed.

        Args:
            condition: Condition of the run.
            seed: Seed of the run.
        """
        found = {}
        for name, options in self.tests.items():
            joint = {**self.shared, **self.conditions[condition], **options}
            seeded = "data.seed" in self.seed_keys and "data.seed" not in options
            data = self._load(joint).data
            if seeded:
                data = replace(data, name=f"{data.name}-s{seed}", seed=seed)
            found[name] = data
        return found

    def runs(
        self,
        tuned: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        only_simple: bool = False,
    ) -> list[Run]:
        """All runs but those of the search, seed by seed, so that a part of them is a fair part.

        Args:
            tuned: Options by member, found by the search.
            only_simple: Leave out the learned members, whose widths take time to find.
        """
        tuned = tuned or {}
        names = [*([SIMPLE] if self.simple else []), *([] if only_simple else self.members)]
        return [
            Run(condition, member, seed, self.config(condition, member, seed, tuned.get(member)))
            for seed in self.seeds
            for condition in self.conditions
            for member in names
        ]

    def trials(self) -> list[Run]:
        """The runs of the search, member by member."""
        if self.tuning is None:
            return []
        condition = self.tuning.condition or next(iter(self.conditions))
        trials: list[Run] = []
        combinations: list[dict[str, Any]] = [{}]
        for key, values in self.tuning.options.items():
            combinations = [{**c, key: value} for c in combinations for value in values]
        for member in self.members:
            for options in combinations:
                tried = {**options, "training.max_steps": self.tuning.steps}
                config = self.config(condition, member, self.tuning.seed, tried)
                trials.append(Run(condition, member, self.tuning.seed, config, dict(options)))
        return trials


def _with_option(config: T, path: list[str], value: object) -> T:
    """A configuration with one option changed, given by the names that lead to it."""
    name, *rest = path
    if rest:
        value = _with_option(getattr(config, name), rest, value)
    return replace(config, **{name: value})  # type: ignore[type-var]


def slug(text: str) -> str:
    """Name that is safe for files.

    >>> slug("ROMA, no levels")
    'roma-no-levels'
    """
    return re.sub(r"[^a-z0-9.+]+", "-", text.lower()).strip("-")


PROFILE_KEYS = {"options", "conditions", "members", "seeds", "evaluation", "tuning"}
JOINED = {"options", "evaluation", "tuning", "profiles"}
"""What an experiment joins with that of the one that it extends; the rest it replaces."""


def load_experiment(path: Path, profile: str = "small") -> Experiment:
    """Read an experiment file.

    A file that ``extends`` another one, named relative to it, has all keys of that but those it
    gives itself; of options, evaluation, tuning and profiles it has those that it does not give.
    Any other file without ``members`` is taken as the configuration of a single run: the experiment
    then has one member and one condition.

    Args:
        path: YAML file.
        profile: Name of one of its profiles.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If a key is unknown, or the profile is; if a file extends itself.
    """
    path = shipped(path)
    content = _read(path)
    if "members" not in content:
        load_config(path)
        content = {"config": [str(path)], "members": {"ROMA": {}}, "profiles": {profile: {}}}
    try:
        return _experiment(path, content, profile)
    except ValueError as error:
        raise ValueError(f"{error} (in {path})") from None


def _read(path: Path, extending: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Content of an experiment file, with that of the one that it extends.

    Configuration files, whose names are relative to the file that names them, get their paths.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected an experiment file at '{path}' (got none).")
    content = read_yaml(path)
    content = {} if content is None else content
    if not isinstance(content, dict):
        raise ValueError(f"Expected '{path}' to hold an experiment (got {shorten(content)}).")
    try:
        _check_kinds({key: value for key, value in content.items() if key in _KINDS})
    except WrongTypeError as error:
        raise WrongTypeError(f"{error} (in {path})") from None
    if files := content.get("config"):
        files = [files] if isinstance(files, str) else files
        content["config"] = [str(path.parent / file) for file in files]
    name = content.pop("extends", None)
    if name is None:
        return content
    other, known = path.parent / name, (*extending, path.resolve())
    if other.resolve() in known:
        raise ValueError(f"Expected '{path}' to extend another file (got '{name}', a circle).")
    try:
        return _joined(_read(other, known), content)
    except (ValueError, FileNotFoundError) as error:
        raise type(error)(f"{error} (in {path})") from None


def _joined(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """An experiment, or a profile of one, with the keys of one that extends it."""
    joint = {**old, **new}
    for key in JOINED & old.keys() & new.keys():
        parts = old[key], new[key]
        # What is of another kind is refused when the experiment is made.
        if not all(isinstance(part, dict) for part in parts):
            continue
        if key == "options":
            parts = flatten(old[key]), flatten(new[key])
        joint[key] = {**parts[0], **parts[1]}
        if key == "profiles":
            for name in old[key].keys() & new[key].keys():
                joint[key][name] = _joined(old[key][name] or {}, new[key][name] or {})
    return joint


def _experiment(path: Path, content: dict[str, Any], profile: str) -> Experiment:
    _check_keys(content, set(_KINDS))
    profiles = content.get("profiles") or {"small": {}}
    if profile not in profiles:
        raise ValueError(
            f"Expected a profile among {', '.join(map(repr, profiles))} (got {profile!r})."
        )
    chosen = profiles[profile] or {}
    _check_keys(chosen, PROFILE_KEYS)
    _check_kinds(chosen)
    shared = flatten(content.get("options") or {})
    extra = flatten(chosen.get("options") or {})
    special = _options_of(chosen, "conditions", content.get("conditions") or {"all": {}})
    special_members = _options_of(chosen, "members", content["members"])
    conditions = {
        name: {**flatten(options or {}), **extra, **special[name]}
        for name, options in (content.get("conditions") or {"all": {}}).items()
    }
    members = {
        name: {**flatten(options or {}), **special_members[name]}
        for name, options in content["members"].items()
    }
    if not members:
        raise ValueError("Expected at least one member in 'members' (got none).")
    reference = content.get("reference", next(iter(members)))
    if reference not in members:
        raise ValueError(f"Expected 'reference' to be a member (got {reference!r}).")
    tuning = {**(content.get("tuning") or {}), **(chosen.get("tuning") or {})}
    plan = {**(content.get("evaluation") or {}), **(chosen.get("evaluation") or {})}
    evaluation = from_section(EvaluationPlan, plan)
    search = from_section(Tuning, tuning) if tuning else None
    fits = [from_section(Fit, item) for item in content.get("fits") or []]
    named = {
        "conditions": [name for fit in fits for name in fit.conditions],
        "members": [fit.member for fit in fits if fit.member is not None],
    }
    named["members"] += content.get("reach") or []
    named["conditions"] += [search.condition] if search and search.condition else []
    for kind, known in (("conditions", conditions), ("members", members)):
        unknown = [name for name in named[kind] if name not in known]
        if unknown:
            raise ValueError(f"Expected {kind} among {', '.join(known)} (got {unknown}).")
    return Experiment(
        name=path.stem,
        title=str(content.get("title", path.stem)),
        profile=profile,
        files=[Path(file) for file in content.get("config") or []],
        seeds=list(chosen.get("seeds", content.get("seeds", [0, 1, 2]))),
        seed_keys=list(content.get("seed_keys", ["data.seed", "training.seed"])),
        reference=reference,
        match=bool(content.get("match", False)),
        shared=shared,
        conditions=conditions,
        members=members,
        tests={name: flatten(options) for name, options in (content.get("tests") or {}).items()},
        evaluation=evaluation,
        tuning=search,
        fits=fits,
        simple=bool(content.get("simple", True)),
        reach=list(content.get("reach") or []),
    )


def _options_of(
    profile: dict[str, Any], kind: str, known: Mapping[str, Any]
) -> dict[str, dict[str, str]]:
    """Options that a profile adds to conditions or members, by name; none for most."""
    given = profile.get(kind) or {}
    unknown = [name for name in given if name not in known]
    if unknown:
        raise ValueError(f"Expected {kind} among {', '.join(known)} (got {unknown}).")
    return {name: flatten(given.get(name) or {}) for name in known}


def from_section(kind: type[T], values: dict[str, Any]) -> T:
    """Make a dataclass of this module; lists become tuples.

    Args:
        kind: The dataclass.
        values: Its values.

    Raises:
        ValueError: If a key is unknown.
    """
    _check_keys(values, {item.name for item in fields(kind)})  # type: ignore[arg-type]
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
    needed = [
        item.name
        for item in fields(kind)  # type: ignore[arg-type]
        if item.default is MISSING and item.default_factory is MISSING
    ]
    missing = [name for name in needed if name not in values]
    if missing:
        given = ", ".join(values) or "none"
        raise ValueError(f"Expected the keys {', '.join(needed)} (got {given}).")
    return kind(**values)


# Types of the keys of an experiment file, and of its profiles; null stands for nothing.
_KINDS: dict[str, Any] = {
    "title": str,
    "extends": str,
    "config": str | list[str],
    "seeds": list[int],
    "seed_keys": list[str],
    "reference": str,
    "match": bool,
    "simple": bool,
    "reach": list[str],
    "fits": list[dict[str, Any]],
    "options": dict[str, Any],
    "evaluation": dict[str, Any],
    "tuning": dict[str, Any],
    "tests": dict[str, dict[str, Any]],
    "conditions": dict[str, dict[str, Any] | None],
    "members": dict[str, dict[str, Any] | None],
    "profiles": dict[str, dict[str, Any] | None],
}


def _check_kinds(content: dict[str, Any]) -> None:
    """Check the types of all keys.

    Raises:
        WrongTypeError: If one is of another type; the message names it.
    """
    for name, value in content.items():
        if value is not None and not has_type(value, _KINDS[name]):
            raise WrongTypeError(
                f"Expected '{name}' to be {describe_type(_KINDS[name])} (got {shorten(value)})."
            )


def _check_keys(values: object, known: set[str]) -> None:
    if not isinstance(values, dict):
        keys = ", ".join(sorted(known))
        raise ValueError(f"Expected a section with keys {keys} (got {shorten(values)}).")
    for key in values:
        if key not in known:
            short = str(key)[:100]
            raise ValueError(f"Unknown key '{short}'. Did you mean '{nearest(short, known)}'?")
