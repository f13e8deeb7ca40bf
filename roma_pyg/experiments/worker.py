"""One run of an experiment, in a process of its own: ``python -m roma_pyg.experiments.worker JOB``.

The job is a JSON file with all that the run needs; the record is written where the job says.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from roma_pyg.analysis.curves import read_scalars
from roma_pyg.analysis.evaluation import VIEWS, evaluate
from roma_pyg.analysis.scores import MAIN_VIEW, Score
from roma_pyg.config import DataConfig, RunConfig
from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.data.memory import NodeMemory
from roma_pyg.experiments.records import circumstances, placeless, same_options, write_record
from roma_pyg.experiments.spec import SIMPLE, EvaluationPlan, Experiment, Run, from_section
from roma_pyg.models.baselines import NodeRidge, fit_baselines
from roma_pyg.models.forecast import BaseForecaster, RomaForecaster
from roma_pyg.models.forecaster import Forecaster
from roma_pyg.models.graph_operator import GraphOperator
from roma_pyg.models.make import make_model
from roma_pyg.reading import read_json, read_yaml
from roma_pyg.training.restore import from_dict, load_model
from roma_pyg.training.run import train
from roma_pyg.writing import write_text


@dataclass(frozen=True)
class Job:
    """What a worker needs to know.

    Attributes:
        record: File of the record.
        condition: Name of the condition.
        member: Name of the member.
        seed: Seed of the run.
        trial: Options tried out, if the run is part of a search; it is then not scored.
        config: Resolved options.
        evaluation: How the model is scored.
        tests: Further data sets.
        prepare: Only generate the data set and compute its features.
    """

    record: Path
    condition: str
    member: str
    seed: int
    trial: dict[str, Any]
    config: RunConfig
    evaluation: EvaluationPlan
    tests: dict[str, DataConfig]
    prepare: bool = False

    @classmethod
    def of(cls, experiment: Experiment, run: Run, record: Path) -> Job:
        """The job of a run."""
        return cls(
            record,
            run.condition,
            run.member,
            run.seed,
            run.trial,
            run.config,
            experiment.evaluation,
            # Trials are not scored, so they need no further data sets.
            {} if run.trial else experiment.test_data(run.condition, run.seed),
        )

    def write(self, path: Path) -> None:
        """Write the job as JSON."""
        content = {**asdict(self), "record": str(self.record)}
        write_text(path, json.dumps(content, indent=1))

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read a job that was written by :meth:`write`.

        Raises:
            ValueError: If it is damaged.
        """
        content = read_json(path)
        try:
            return cls(
                **{
                    **content,
                    "record": Path(content["record"]),
                    "config": from_dict(RunConfig, content["config"]),
                    "evaluation": from_section(EvaluationPlan, content["evaluation"]),
                    "tests": {k: from_dict(DataConfig, v) for k, v in content["tests"].items()},
                }
            )
        except (TypeError, KeyError, AttributeError, ValueError) as error:
            raise ValueError(
                f"Expected '{path}' to be a job of roma-bench (got {error!r})."
            ) from error


def perform(job: Job) -> dict[str, Any]:
    """Train and score one run; return its record, which is also written.

    A run that was interrupted goes on from its last checkpoint; one that was trained already is
    only scored.
    """
    begin = time.perf_counter()
    config = job.config
    _say("loading the data")
    data = GraphSeriesData(config.data, config.training, progress=False)
    if job.prepare:
        _test_data(job, None)
        return {}
    record: dict[str, Any] = {
        "condition": job.condition,
        "member": job.member,
        "seed": job.seed,
        "trial": job.trial,
        "config": placeless(config),
        "nodes": data.series.num_nodes,
        "samples": len(data.split.nodes["train"]) * len(data.split.times["train"]),
    }
    if job.member == SIMPLE:
        memory, forecasters = data.memory, _simple(job, data)
    else:
        folder = _trained(config, data)
        record |= read_json(folder / "summary.json")
        record["curve"] = read_curve(folder / "tensorboard")
        model, _ = load_model(folder)
        memory, forecasters = model.memory, _learned(model, job.member)
    tests = _test_data(job, memory)
    if not job.trial:
        record["evaluation"] = asdict(job.evaluation)
        record["tests"] = {name: asdict(replace(d, root="")) for name, d in job.tests.items()}
        _say("scoring")
        rows = score(forecasters(data), data, job.evaluation, config.data.noise)
        for name, other in tests.items():
            _say(f"scoring, {name}")
            others = score(
                forecasters(other), other, job.evaluation, config.data.noise, only_main=True
            )
            rows += [replace(row, view=name) for row in others]
        record["scores"] = {
            item.name: [_rounded(getattr(row, item.name)) for row in rows]
            for item in fields(Score)
            if not item.name.startswith("skill")
        }
    record["seconds"] = round(time.perf_counter() - begin, 1)
    record["made"] = circumstances()
    write_record(job.record, record)
    return record


def _simple(job: Job, data: GraphSeriesData) -> Callable[[GraphSeriesData], list[Forecaster]]:
    """Fit the simple forecasts; returns what makes them for a data set."""
    config = job.config
    _say("fitting")
    fitted = fit_baselines(
        data.series,
        data.split,
        config.data.window,
        config.data.horizon,
        config.data.noise,
        config.training.seed,
        mlp_steps=job.evaluation.mlp_steps,
    )
    model: GraphOperator | None = None
    if data.memory is not None and config.model.base == "linear":
        model = make_model(config.model, replace(config.data, nodes_per_graph=data.nodes_per_graph))
        model.fit_statistics(data.statistics(), data.memory)

    def make(other: GraphSeriesData) -> list[Forecaster]:
        past = other.series, other.split.times["train"]
        methods = [m.on(*past) if isinstance(m, NodeRidge) else m for m in fitted]
        if model is not None:
            methods.append(BaseForecaster(model, other.series.graph, other.features))
        return methods

    return make


def _learned(model: GraphOperator, name: str) -> Callable[[GraphSeriesData], list[Forecaster]]:
    """What makes the forecaster of a trained model for a data set."""
    return lambda other: [RomaForecaster(model, other.series.graph, other.features, name=name)]


def _test_data(job: Job, memory: NodeMemory | None) -> dict[str, GraphSeriesData]:
    """Further data sets, remembered by the memory of a model."""
    return {
        name: GraphSeriesData(options, job.config.training, memory=memory, progress=False)
        for name, options in job.tests.items()
    }


def _trained(config: RunConfig, data: GraphSeriesData) -> Path:
    """Train, or go on, or take what is finished; returns the folder of the run."""
    folder = Path(config.training.output) / config.training.name
    wanted = replace(config.data, nodes_per_graph=data.nodes_per_graph)
    if (folder / "config.yaml").is_file():
        found = read_yaml(folder / "config.yaml")
        same = same_options(found, replace(config, data=wanted).to_dict())
        if same and (folder / "summary.json").is_file():
            return folder
        if not same:
            shutil.rmtree(folder)
    config = replace(config, training=replace(config.training, resume="auto"))
    return train(config, data=data)


def score(
    methods: list[Forecaster],
    data: GraphSeriesData,
    plan: EvaluationPlan,
    noise: float,
    *,
    only_main: bool = False,
) -> list[Score]:
    """Score methods on held-out nodes and held-out time, direct and by rollout.

    Args:
        methods: What is scored.
        data: The data set.
        plan: Steps ahead and numbers of times and nodes.
        noise: Variance of the noise on the history.
        only_main: Leave out the views that share nodes or times with the training.
    """
    window, horizon = data.options.window, data.options.horizon
    horizons = [step for step in plan.horizons if step <= horizon]
    views = (MAIN_VIEW,) if only_main else tuple(VIEWS)
    rows = evaluate(
        methods,
        data.series,
        data.split,
        window,
        horizons=horizons,
        noises=(noise,),
        times_per_view=plan.times,
        nodes_limit=plan.nodes,
        modes=("direct",),
        views=views,
        ceiling=False,
    ).rows
    if plan.rollout:
        rows += evaluate(
            methods,
            data.series,
            data.split,
            window,
            horizons=plan.rollout,
            noises=(noise,),
            times_per_view=plan.rollout_times,
            rollout_stride=plan.stride or horizon,
            modes=("rollout",),
            views=(MAIN_VIEW,),
            ceiling=False,
        ).rows
    return rows


def read_curve(folder: Path) -> dict[str, list[float]]:
    """Validation scalars of a run by tag, and ``step``."""
    curve: dict[str, list[float]] = {}
    for tag, (steps, values) in read_scalars(folder, ("val/",)).items():
        curve.setdefault("step", steps.tolist())
        curve[tag] = [_rounded(value) for value in values.tolist()]
    return curve


def _say(what: str) -> None:
    """Write to the log what is done now; ``roma-bench`` shows the last line of it."""
    sys.stderr.write(what + "\n")
    sys.stderr.flush()


def _rounded(value: Any) -> Any:  # noqa: ANN401
    return float(f"{value:.6g}") if isinstance(value, float) else value


if __name__ == "__main__":
    perform(Job.read(Path(sys.argv[1])))
