from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from roma_pyg.experiments.sizes import count_parameters, match_parameters
from roma_pyg.experiments.spec import SIMPLE, load_experiment, slug

ROOT = Path(__file__).parents[2]
FILES = sorted(
    path
    for path in (ROOT / "configs" / "experiments").glob("*.yaml")
    if {"members", "extends"} & yaml.safe_load(path.read_text(encoding="utf-8")).keys()
)

BASIC = {
    "title": "A trial",
    "seeds": [3, 4],
    "options": {"data.window": 8, "training.max_steps": 5},
    "conditions": {"short": {"data.horizon": 2}, "long": {"data.horizon": 4, "data.name": "x"}},
    "members": {"A": {}, "B": {"model": {"kind": "gps", "operator.layers": 1}}},
    "profiles": {
        "small": {},
        "paper": {
            "options": {"training.max_steps": 50},
            "conditions": {"long": {"data.horizon": 9}},
            "members": {"B": {"training.max_steps": 70}},
            "seeds": [5],
        },
    },
}


def write(tmp_path, content) -> Path:
    path = tmp_path / "trial.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def test_runs_are_seeds_times_conditions_times_members(tmp_path):
    runs = load_experiment(write(tmp_path, BASIC)).runs()
    assert [(r.seed, r.condition, r.member) for r in runs[:4]] == [
        (3, "short", SIMPLE),
        (3, "short", "A"),
        (3, "short", "B"),
        (3, "long", SIMPLE),
    ]
    assert len(runs) == 12
    assert len({run.slug for run in runs}) == 12
    assert {run.config.training.seed for run in runs} == {3, 4}


def test_a_seed_has_a_data_set_of_its_own(tmp_path):
    runs = load_experiment(write(tmp_path, BASIC)).runs()
    names = {(run.config.data.name, run.config.data.seed) for run in runs}
    assert names == {("km5k-s3", 3), ("km5k-s4", 4), ("x-s3", 3), ("x-s4", 4)}
    content = {**BASIC, "seed_keys": ["training.seed"]}
    runs = load_experiment(write(tmp_path, content)).runs()
    assert {(run.config.data.name, run.config.data.seed) for run in runs} == {("km5k", 0), ("x", 0)}


def test_later_options_win(tmp_path):
    paper = load_experiment(write(tmp_path, BASIC), "paper")
    assert paper.config("short", "A", 5).training.max_steps == 50
    assert paper.config("short", "B", 5).training.max_steps == 70
    assert paper.config("long", "A", 5).data.horizon == 9
    tuned = paper.config("short", "B", 5, {"training.learning_rate": 0.1})
    assert tuned.training.learning_rate == 0.1
    assert paper.seeds == [5]


def test_trials_try_every_combination_for_every_member(tmp_path):
    options = {"training.learning_rate": [0.1, 0.2], "training.clip": [1.0, 2.0]}
    content = {**BASIC, "tuning": {"options": options, "steps": 3, "condition": "long"}}
    trials = load_experiment(write(tmp_path, content)).trials()
    assert len(trials) == 8
    assert {t.condition for t in trials} == {"long"}
    assert {(t.config.training.learning_rate, t.config.training.clip) for t in trials} == {
        (a, b) for a in (0.1, 0.2) for b in (1.0, 2.0)
    }
    assert {(t.config.training.max_steps, t.config.training.seed) for t in trials} == {(3, 100)}


def test_tests_have_the_seed_of_the_run_unless_they_say_one(tmp_path):
    tests = {"other K": {"data.kuramoto.coupling": 2.0}, "other graph": {"data.seed": 9}}
    experiment = load_experiment(write(tmp_path, {**BASIC, "tests": tests}))
    found = experiment.test_data("long", 4)
    assert (found["other K"].seed, found["other K"].name) == (4, "x-s4")
    assert (found["other graph"].seed, found["other graph"].name) == (9, "x")
    assert found["other K"].horizon == 4


def test_a_plain_configuration_is_an_experiment_of_one(tmp_path):
    path = write(tmp_path, {"data": {"window": 9}})
    experiment = load_experiment(path)
    assert [run.member for run in experiment.runs()[:2]] == [SIMPLE, "ROMA"]
    assert experiment.runs()[0].config.data.window == 9


def extended(tmp_path, content, **base):
    """A file in a folder of its own that extends the basic experiment."""
    write(tmp_path, {**BASIC, **base})
    path = tmp_path / "more" / "other.yaml"
    path.parent.mkdir(exist_ok=True)
    content = {"extends": "../trial.yaml", **content}
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


def test_an_experiment_that_extends_another_has_what_it_does_not_give(tmp_path):
    (tmp_path / "base.yaml").write_text("model: {features: 7}", encoding="utf-8")
    tuning = {"options": {"training.learning_rate": [0.1, 0.2]}, "steps": 3}
    base = {"config": "base.yaml", "tuning": tuning, "evaluation": {"times": 2, "nodes": 5}}
    content = {
        "title": "Another",
        "options": {"training": {"max_steps": 6}},
        "conditions": {"tall": {"data.horizon": 3}},
        "evaluation": {"times": 4},
        "tuning": {"options": {"training.clip": [1.0]}},
        "profiles": {"paper": {"conditions": {"tall": {"data.horizon": 8}}}},
    }
    path = extended(tmp_path, content, **base)
    small, paper = load_experiment(path), load_experiment(path, "paper")
    assert (small.name, small.title, small.seeds) == ("other", "Another", [3, 4])
    assert list(small.conditions) == list(paper.conditions) == ["tall"]
    assert list(small.members) == ["A", "B"]
    assert (small.evaluation.times, small.evaluation.nodes) == (4, 5)
    assert (small.tuning.steps, small.tuning.options) == (3, {"training.clip": [1.0]})
    config = small.config("tall", "A", 3)
    assert (config.data.window, config.data.horizon, config.model.features) == (8, 3, 7)
    assert config.training.max_steps == 6
    # Of the profile too: its steps and members are those of the other file.
    assert paper.seeds == [5]
    assert paper.config("tall", "A", 5).data.horizon == 8
    assert paper.config("tall", "A", 5).training.max_steps == 50
    assert paper.config("tall", "B", 5).training.max_steps == 70


def test_an_extended_experiment_may_extend_another(tmp_path):
    path = extended(tmp_path, {"title": "Second", "seeds": [8]})
    third = path.with_name("third.yaml")
    third.write_text("{extends: other.yaml, seeds: [9]}", encoding="utf-8")
    experiment = load_experiment(third)
    assert (experiment.title, experiment.seeds) == ("Second", [9])
    assert experiment.config("short", "A", 9).data.window == 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"extends": "other.yaml"}, "to extend another file.*a circle"),
        ({"extends": "none.yaml"}, "experiment file at .*none.yaml"),
        ({"extends": ["../trial.yaml"]}, "'extends' to be text"),
        ({"options": [1]}, "'options' to be a section"),
        ({"options": {"model.knd": "gps"}}, "Did you mean 'model.kind'"),
        ({"profiles": {"small": [1]}}, "'profiles' to be"),
        ({"profiles": {"small": {"options": [1]}}}, "'options' to be a section"),
        ({"conditions": {"tall": {}}, "profiles": {}}, "conditions among tall"),
    ],
)
def test_says_what_is_wrong_with_one_that_extends(tmp_path, content, message):
    path = extended(tmp_path, content)
    with pytest.raises((ValueError, FileNotFoundError), match=message) as error:
        load_experiment(path, "paper" if "conditions" in content else "small")
    assert "other.yaml" in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"memberz": {}}, "Did you mean 'members'"),
        ({"reference": "C"}, "'reference' to be a member"),
        ({"members": {"A": {"model.knd": "gps"}}}, "Did you mean 'model.kind'"),
        ({"profiles": {"small": {"conditions": {"wide": {}}}}}, "conditions among short, long"),
        ({"evaluation": {"time": 3}}, "Did you mean 'times'"),
        ({"tuning": {"steps": 3, "optoins": {}}}, "Did you mean 'options'"),
        ({"options": {"recipe": "publisht"}}, "roma, published"),
    ],
)
def test_says_what_is_wrong_and_where(tmp_path, change, message):
    with pytest.raises(ValueError, match=message) as error:
        load_experiment(write(tmp_path, {**BASIC, **change}))
    assert "trial.yaml" in str(error.value)


def test_rejects_unknown_profiles_and_files(tmp_path):
    with pytest.raises(ValueError, match="'small', 'paper'"):
        load_experiment(write(tmp_path, BASIC), "huge")
    with pytest.raises(FileNotFoundError, match="experiment file"):
        load_experiment(tmp_path / "none.yaml")
    path = tmp_path / "bad.yaml"
    path.write_text("members: [")
    with pytest.raises(ValueError, match="to be YAML"):
        load_experiment(path)


@pytest.mark.parametrize("profile", ["small", "paper"])
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_shipped_experiments_have_members_of_equal_size(path, profile):
    experiment = load_experiment(path, profile)
    for condition in experiment.conditions:
        seed = experiment.seeds[0]
        sizes = {}
        for member in experiment.members:
            config = experiment.config(condition, member, seed)
            sizes[member] = count_parameters(config.model, config.data)
        if experiment.match:
            target = sizes[experiment.reference]
            assert all(abs(size / target - 1) <= 0.05 for size in sizes.values()), sizes


def test_shipped_experiments_are_those_of_the_documentation():
    assert {path.stem for path in FILES} == {
        "comparison",
        "comparison_bd",
        "comparison_long",
        "comparison_long_bd",
        "comparison_long_large",
        "scaling_noise",
        "scaling_noise_high",
        "effective_dynamics",
        "effective_dynamics_burgers",
        "positional_embedding",
        "size",
        "generalisation",
        "recipe",
        "ablation",
        "ablation_levels",
    }


def test_matching_says_when_it_cannot(tmp_path):
    config = load_experiment(write(tmp_path, BASIC)).config("short", "B", 3)
    with pytest.raises(ValueError, match="at best"):
        match_parameters(config.model, config.data, 100)


def test_slug():
    assert slug("L, 1/4 of the data") == "l-1-4-of-the-data"
