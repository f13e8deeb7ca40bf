"""Trains the members of an experiment, each in a process of its own, and only once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from roma_pyg.analysis.scores import MAIN_VIEW
from roma_pyg.experiments.board import Board
from roma_pyg.experiments.records import placeless, read_record, same_options, write_record
from roma_pyg.experiments.spec import SIMPLE, EvaluationPlan, Experiment, Run, from_section
from roma_pyg.locks import Busy, only_process

State = Literal["done", "failed", "busy"]
POLL = 2.0
"""Seconds between looks at runs that another process does."""


@dataclass(frozen=True)
class Place:
    """Where an experiment keeps its files.

    Attributes:
        root: Folder of all experiments.
        experiment: The experiment.
    """

    root: Path
    experiment: Experiment

    @property
    def folder(self) -> Path:
        """Folder of this experiment and profile."""
        return self.root / self.experiment.name / self.experiment.profile

    def record(self, run: Run) -> Path:
        """File of the record of a run."""
        return self.folder / "records" / f"{run.slug}.json"

    def job(self, run: Run, prepare: bool = False) -> Path:
        """File that tells a worker what to do: a run, or only its data."""
        return self.folder / "jobs" / f"{_stem(run, prepare)}.json"

    def log(self, run: Run, prepare: bool = False) -> Path:
        """File with what a run printed, or the making of its data."""
        return self.folder / "logs" / f"{_stem(run, prepare)}.log"

    def located(self, run: Run) -> Run:
        """The run with its folder in the configuration."""
        options = replace(
            run.config.training,
            output=str(self.folder / "runs"),
            name=run.slug,
            figures=False,
        )
        return replace(run, config=replace(run.config, training=options))

    def finished(self, run: Run) -> dict[str, Any] | None:
        """The record of a run, if there is one with the same options, scored in the same way."""
        record = read_record(self.record(run))
        if record is None:
            return None
        if (record["condition"], record["member"], record["seed"]) != (
            run.condition,
            run.member,
            run.seed,
        ):
            return None
        wanted = self.located(run).config.to_dict()
        # A small graph is one subgraph: the size that was there is written to the record.
        alike = same_options(record["config"], wanted)
        return record if alike and (run.trial or self._scored_alike(record, run)) else None

    def _scored_alike(self, record: dict[str, Any], run: Run) -> bool:
        """Whether a record, which may leave out defaults, was scored as the experiment wants it."""
        wanted = self.experiment.test_data(run.condition, run.seed)
        tests = record.get("tests", {})
        try:
            plan = from_section(EvaluationPlan, record.get("evaluation", {}))
        except (TypeError, ValueError):
            return False
        return (
            plan == self.experiment.evaluation
            and set(tests) == set(wanted)
            and all(
                same_options({"data": tests[name]}, {"data": asdict(data)})
                for name, data in wanted.items()
            )
        )


def _stem(run: Run, prepare: bool) -> str:
    """Name of the files of a run, or of the making of its data."""
    return f"{run.slug}__data" if prepare else run.slug


@dataclass(frozen=True)
class Selection:
    """A part of the runs of an experiment.

    Attributes:
        members: Names of members; None for all.
        conditions: Names of conditions; None for all.
        seeds: Seeds; None for all.
    """

    members: Sequence[str] | None = None
    conditions: Sequence[str] | None = None
    seeds: Sequence[int] | None = None

    def check(self, experiment: Experiment) -> None:
        """Raise a ValueError if something is selected that the experiment does not have."""
        known: dict[str, list[Any]] = {
            "members": [*experiment.members, SIMPLE],
            "conditions": list(experiment.conditions),
            "seeds": experiment.seeds,
        }
        for kind, choices in known.items():
            unknown = [item for item in getattr(self, kind) or () if item not in choices]
            if unknown:
                raise ValueError(
                    f"Expected {kind} among {', '.join(map(str, choices))} (got {unknown})."
                )

    def of(self, runs: list[Run]) -> list[Run]:
        """Runs that are selected; trials are not selected by seed."""
        return [
            run
            for run in runs
            if (self.members is None or run.member in self.members)
            and (self.conditions is None or run.condition in self.conditions or run.trial)
            and (self.seeds is None or run.seed in self.seeds or run.trial)
        ]


class ExperimentError(ValueError):
    """Some runs of an experiment failed."""


def run_experiment(
    experiment: Experiment,
    root: Path,
    *,
    jobs: int | None = None,
    threads: int | None = None,
    selection: Selection | None = None,
    board: Board | None = None,
) -> None:
    """Search, then train and score all runs that are not finished.

    Processes that do so at the same time share the runs, and wait for those of each other.

    Args:
        experiment: What is run.
        root: Folder of all experiments; records go to ``root/NAME/PROFILE/records``.
        jobs: Runs at the same time; one per core if None, for the models of the small profiles use
            one core best, or one in all where they train on a GPU.
        threads: Threads of each run; the cores divided by the jobs if None.
        selection: Part of the runs; all if None.
        board: Where progress is shown; the standard output if None.

    Raises:
        ValueError: If the selection names what is not there.
        ExperimentError: If a run failed; all others are finished before.
    """
    place = Place(root, experiment)
    selection = selection or Selection()
    selection.check(experiment)
    cores = available_cores()
    jobs = jobs or (1 if _on_gpu(experiment) else cores)
    threads = threads or max(1, cores // jobs)
    board = board or Board()
    _perform(place, selection.of(experiment.trials()), jobs, threads, board, "search")
    runs = selection.of(experiment.runs(tuned(place)))
    _perform(place, runs, jobs, threads, board, "runs")


def available_cores() -> int:
    """Cores that this process may use, which may be fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _on_gpu(experiment: Experiment) -> bool:
    """Whether some run would train on a GPU here."""
    if not torch.cuda.is_available():
        return False
    return any(run.config.training.accelerator != "cpu" for run in experiment.runs())


def tuned(place: Place) -> dict[str, dict[str, Any]]:
    """Best options of each member by the validation loss at the end of its trials."""
    best: dict[str, tuple[float, dict[str, Any]]] = {}
    for run in place.experiment.trials():
        record = place.finished(run)
        if record is None:
            continue
        loss = record["curve"]["val/loss"][-1]
        if loss is not None and loss < best.get(run.member, (float("inf"), {}))[0]:
            best[run.member] = (loss, run.trial)
    return {member: options for member, (_, options) in best.items()}


def _perform(
    place: Place,
    runs: list[Run],
    jobs: int,
    threads: int,
    board: Board,
    what: str,
) -> None:
    waiting = [run for run in runs if place.finished(run) is None]
    if runs:
        board.write(f"{what}: {len(runs)}, of which {len(runs) - len(waiting)} are finished")
    waiting, twins = _without_twins(place, waiting)
    if not waiting:
        return
    _prepare(place, waiting, threads * jobs, board)
    count = len(waiting)
    failed: list[Run] = []
    start, done = time.monotonic(), 0
    told = False
    while waiting:
        elsewhere = []
        with closing(_launch_all(place, waiting, jobs, threads, board)) as ended:
            for run, state in ended:
                if state == "busy":
                    elsewhere.append(run)
                    continue
                done += 1
                left = (time.monotonic() - start) / done * (count - done)
                head = f"[{done:>3}/{count}] {_title(run)}"
                if state == "failed":
                    failed.append(run)
                    board.write(f"{head}  FAILED, see {place.log(run)}")
                    continue
                record = read_record(place.record(run))
                assert record is not None
                for twin in twins.get(run.slug, ()):
                    _copy(place, record, twin)
                board.write(f"{head}  {outcome(record)}  {_duration(left)} left")
        waiting = elsewhere
        if waiting:
            if not told:
                names = ", ".join(run.slug for run in waiting)
                board.write(f"waiting for another roma-bench, which does {names}")
                told = True
            time.sleep(POLL)
    if failed:
        raise ExperimentError(
            f"Expected all {count} runs to finish (got {len(failed)} failures: "
            f"{', '.join(run.slug for run in failed)}); see {place.folder / 'logs'}. The same "
            "command tries them again."
        )


def _launch_all(
    place: Place, runs: list[Run], jobs: int, threads: int, board: Board
) -> Generator[tuple[Run, State]]:
    """Launch runs, several at a time; yields them as they end."""
    stop = threading.Event()
    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(_launch, place, run, threads, stop, board): run for run in runs}
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _without_twins(place: Place, waiting: list[Run]) -> tuple[list[Run], dict[str, list[Run]]]:
    """Find simple forecasts that conditions share, as those do that differ in the model only.

    What another condition has finished already is taken over.

    Returns:
        Runs that are left to do, and by slug of one of them those that will get a copy of its
        record.
    """
    left: list[Run] = []
    twins: dict[str, list[Run]] = {}
    known: list[tuple[Any, Run, dict[str, Any] | None]] = []
    if any(run.member == SIMPLE for run in waiting):
        for run in place.experiment.runs(only_simple=True):
            if record := place.finished(run):
                known.append((_seen(place.experiment, run), run, record))
    for run in waiting:
        if run.member != SIMPLE:
            left.append(run)
            continue
        seen = _seen(place.experiment, run)
        alike = ((other, record) for key, other, record in known if key == seen)
        other, record = next(alike, (None, None))
        if other is None:
            left.append(run)
            known.append((seen, run, None))
        elif record is not None:
            _copy(place, record, run)
        else:
            twins.setdefault(other.slug, []).append(run)
    return left, twins


def _seen(experiment: Experiment, run: Run) -> tuple[Any, ...]:
    """All that simple forecasts look at: those of runs where it is equal are the same."""
    options = run.config
    tests = experiment.test_data(run.condition, run.seed)
    return options.data, tests, options.model.base, options.training.seed


def _copy(place: Place, record: dict[str, Any], run: Run) -> None:
    """Write the record of a run that computes what another one did; it took no time."""
    config = placeless(place.located(run).config)
    own = {"condition": run.condition, "config": config, "seconds": 0.0}
    write_record(place.record(run), {**record, **own})


def _prepare(place: Place, runs: Iterable[Run], threads: int, board: Board) -> None:
    """Make each data set once, before runs ask for it at the same time."""
    seen: list[Any] = []
    for run in runs:
        # Trials are not scored, so they need no further data sets.
        tests = [] if run.trial else place.experiment.test_data(run.condition, run.seed).values()
        needed = [(data.root, data.name, data.positional) for data in (run.config.data, *tests)]
        new = [key for key in needed if key not in seen]
        if not new:
            continue
        seen += new
        names = ", ".join(name for _, name, _ in new)
        board.write(f"data set {names}")
        if not _work(place, run, threads, threading.Event(), board, prepare=True):
            raise ExperimentError(
                f"Expected to make the data set '{names}' (it failed); see "
                f"{place.log(run, prepare=True)}."
            )


def _launch(place: Place, run: Run, threads: int, stop: threading.Event, board: Board) -> State:
    """Train and score a run, unless another process does."""
    if stop.is_set():
        return "failed"
    path = place.job(run)
    try:
        with only_process(path):
            # Another one may have finished it meanwhile.
            if place.finished(run) or _work(place, run, threads, stop, board):
                return "done"
            return "failed"
    except Busy:
        return "busy"


def _work(
    place: Place,
    run: Run,
    threads: int,
    stop: threading.Event,
    board: Board,
    prepare: bool = False,
) -> bool:
    """Run a worker; whether it succeeded."""
    from roma_pyg.experiments.worker import Job

    job = replace(Job.of(place.experiment, place.located(run), place.record(run)), prepare=prepare)
    path = place.job(run, prepare)
    job.write(path)
    log = place.log(run, prepare)
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "10000"),
    }
    words = [sys.executable, "-m", "roma_pyg.experiments.worker", str(path)]
    with log.open("w") as output:
        process = subprocess.Popen(words, stdout=output, stderr=output, env=environment)
        try:
            while process.poll() is None and not stop.wait(0.2):
                board.show(_title(run), log)
        finally:
            board.hide(_title(run))
            if process.poll() is None:
                process.terminate()
                process.wait()
    return process.returncode == 0


def outcome(record: dict[str, Any]) -> str:
    """One line on a finished run."""
    parts = []
    if "steps_per_second" in record:
        parameters = record["parameters"] / 1e6
        parts.append(f"{parameters:5.2f} M {record['steps_per_second']:5.2f} steps/s")
        losses = record["curve"].get("val/loss", [])
        parts.append(f"val {losses[-1]:.4f}" if losses else "")
    best: dict[int, float] = {}
    if scores := record.get("scores"):
        names = ("view", "mode", "horizon", "smspe")
        for view, mode, step, error in zip(*(scores[name] for name in names), strict=True):
            if (view, mode) == (MAIN_VIEW, "direct") and error is not None:
                best[step] = min(error, best.get(step, float("inf")))
    ahead = sorted(best)[1:]
    parts += [f"{step} ahead {100 * best[step]:.3f}" for step in ahead]
    return "  ".join([*parts, _duration(record["seconds"])])


def _title(run: Run) -> str:
    trial = " ".join(f"{key.split('.')[-1]}={value}" for key, value in run.trial.items())
    member = "simple" if run.member == SIMPLE else run.member
    return f"{run.condition:<10} {member:<22} seed {run.seed:<3} {trial}".rstrip()


def _duration(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:.1f} min" if minutes < 60 else f"{minutes / 60:.1f} h"


def states(place: Place) -> str:
    """Table of all runs and whether they are finished."""
    lines = []
    for run in [*place.experiment.trials(), *place.experiment.runs(tuned(place))]:
        record = place.finished(run)
        state = f"finished  {outcome(record)}" if record else "waiting"
        lines.append(f"{_title(run)}  {state}")
    return "\n".join(lines)
