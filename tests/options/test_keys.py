from __future__ import annotations

import re
from typing import Literal

import pytest

from roma_pyg.config import RunConfig, describe_type
from roma_pyg.options.keys import all_keys, all_sections, nearest


def leaves(content: dict, prefix: str = "") -> dict:
    values = {}
    for name, value in content.items():
        if isinstance(value, dict):
            values |= leaves(value, f"{prefix}{name}.")
        else:
            values[f"{prefix}{name}"] = value
    return values


def test_keys_are_those_of_the_dataclasses_with_their_defaults() -> None:
    expected = leaves(RunConfig().to_dict())
    assert {name: key.default for name, key in all_keys().items()} == expected


def test_every_key_and_section_has_a_meaning() -> None:
    assert [name for name, key in all_keys().items() if len(key.meaning) < 8] == []
    assert [name for name, section in all_sections().items() if not section.meaning] == []


def test_times_and_rates_of_the_system_name_their_unit() -> None:
    for name in ("coupling", "dt", "burn_in", "modulation_period", "frequency_std"):
        meaning = all_keys()[f"data.kuramoto.{name}"].meaning
        assert re.search("time|inverse", meaning), name


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("data.windw", "data.window"),
        ("windw", "data.window"),
        ("max_step", "training.max_steps"),
        ("learning_rate", "training.learning_rate"),
        ("kuramoto.dt", "data.kuramoto.dt"),
        ("model.trunk.widht", "model.trunk.width"),
        ("modle.pool.sizes", "model.pool.sizes"),
        ("data.graph.node", "data.graph.nodes"),
    ],
)
def test_nearest(wrong: str, right: str) -> None:
    assert nearest(wrong, all_keys()) == right


def test_types_in_words() -> None:
    assert describe_type(float) == "a number"
    assert describe_type(str | None) == "text or null"
    assert describe_type(list[int]) == "a list of integers, such as [64, 16]"
    assert describe_type(Literal["a", "b"]) == "one of 'a', 'b'"
    with pytest.raises(TypeError, match="that can be described"):
        describe_type(dict)
