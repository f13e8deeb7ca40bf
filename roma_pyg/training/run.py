"""A run from configuration to trained model, and its evaluation."""

from __future__ import annotations

import itertools
import json
import logging
import warnings
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import lightning as L
import torch
import yaml
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch import Tensor

from roma_pyg import exchange, ranks
from roma_pyg.analysis.curves import read_scalars
from roma_pyg.analysis.evaluation import Evaluation, choose_times, evaluate
from roma_pyg.analysis.scores import Mode
from roma_pyg.config import RunConfig, TrainingConfig
from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.locks import Busy, only_process
from roma_pyg.models.baselines import fit_baselines
from roma_pyg.models.forecast import BaseForecaster, RomaForecaster
from roma_pyg.models.forecaster import Forecaster
from roma_pyg.models.graph_operator import GraphOperator
from roma_pyg.models.make import make_model
from roma_pyg.training.callbacks import make_callbacks
from roma_pyg.training.charts import NamedScalars
from roma_pyg.training.checkpoints import AtomicCheckpointIO
from roma_pyg.training.dashboard import Dashboard
from roma_pyg.training.memory import keep_freed_memory
from roma_pyg.training.module import RomaModule
from roma_pyg.training.monitor import ResourceMonitor
from roma_pyg.training.restore import (
    LAST,
    Checkpoint,
    check_weights_fit,
    load_model,
    read_checkpoint,
)
from roma_pyg.training.resuming import find_checkpoint, naming_last_good, naming_unfit
from roma_pyg.training.stopping import Stopped, StopSignals
from roma_pyg.writing import write_text

_LOGGER = logging.getLogger(__name__)

CONFIG, SUMMARY = "config.yaml", "summary.json"

MANY_NODES = 200_000
"""Nodes above which fewer forecast times are evaluated."""


def train(config: RunConfig, *, data: GraphSeriesData | None = None, progress: bool = True) -> Path:
    """Train a model; everything about the run lands in one folder.

    The folder ``training.output/training.name`` (with ``-2``, ``-3``, ... behind the name if a run
    has or begins one and is not resumed) gets ``config.yaml`` (the resolved configuration),
    ``best.ckpt``, ``last.ckpt`` and ``previous.ckpt``, the TensorBoard events, and ``summary.json``
    (steps per second, memory, share of time spent on the dashboard, and what the effective law
    leaves unexplained).

    A run that was stopped and is resumed ends with the weights of one that was not, bit by bit on
    a CPU. A run that is finished is left as it is by ``training.resume``. While another process
    trains in the folder, as a job that is stopped for this one, it is waited for.

    Several ranks, as ``torchrun`` starts them, train together: each takes ``data.graphs_per_batch``
    subgraphs per step, and the gradient is that of one process with all of them. Rank 0 generates
    data and writes; all need to see the folders of data and runs.

    Args:
        config: Data, model and training.
        data: Data that is loaded already; loaded or generated from ``config.data`` if None.
        progress: Show progress bars.

    Returns:
        The folder of the run.

    Raises:
        FileNotFoundError: If ``training.resume`` is true and there is nothing to resume.
        OSError: If something cannot be written, as on a full disk; names the last good checkpoint.
        ValueError: If the data does not fit the configuration, the loss is not finite, or the
            checkpoint to resume from is damaged; names the last good checkpoint.
        KeyboardInterrupt: After Ctrl-C; the step in progress is finished and saved.
        Stopped: After SIGTERM or SIGUSR1, in the same way.
        RankFailed: If another rank failed; names it, what it said, and the last good checkpoint.

    Example:
        >>> from roma_pyg import load_config
        >>> run = train(load_config("tiny.yaml"), progress=False)
        >>> run.as_posix(), sorted(path.name for path in run.glob("*.ckpt"))
        ('runs/tiny', ['best.ckpt', 'last.ckpt', 'previous.ckpt'])
    """
    options = config.training
    with exchange.connected(options.timeout), ExitStack() as claims:
        folder, path, finished = exchange.tell(lambda: _claim(options, claims))
        if finished:
            return folder
        checkpoint = None if path is None else read_checkpoint(path)
        with naming_last_good(folder), exchange.blaming():
            return _train(config, folder, checkpoint, data, progress and ranks.rank() == 0)


def _train(
    config: RunConfig,
    folder: Path,
    checkpoint: Checkpoint | None,
    data: GraphSeriesData | None,
    progress: bool,
) -> Path:
    """Train in a folder, from a checkpoint on; returns the folder."""
    options = config.training
    accelerator = _accelerator(options)
    L.seed_everything(options.seed, verbose=False)
    if data is None:
        # A run that goes on keeps its memory, also where it would be found anew with other signs.
        memory = None if checkpoint is None else checkpoint.memory()
        data = GraphSeriesData(config.data, options, memory=memory, progress=progress)
    data.prepare_features()
    # A small graph is one subgraph: the model is made for the size that is really there.
    config = replace(config, data=replace(config.data, nodes_per_graph=data.nodes_per_graph))
    model = make_model(config.model, config.data)
    if checkpoint is None:
        model.load_state_dict(exchange.tell(lambda: _fitted(model, data)))
    else:
        # Scales and base forecast come back with the weights.
        check_weights_fit(checkpoint, model.state_dict())
        if options.precision == "64-true":
            # Lightning loads the weights before it converts the model, which would round them.
            model.double()
        model.load_state_dict(checkpoint.weights)
        _compare_batches(config, checkpoint)
    keep_freed_memory()
    if options.compile:
        model.compile_operator()
    module = RomaModule(
        model,
        options,
        config.model.pool,
        model.base.reference if options.horizon_weights else None,
        config.to_dict(),
        model.base.scale,
        config.model.effective,
    )
    if options.precision == "64-true":
        # The same for the weights of the terms of the loss.
        module.double()
    leads = ranks.rank() == 0
    if leads:
        folder.mkdir(parents=True, exist_ok=True)
        text = yaml.safe_dump(config.to_dict(), sort_keys=False)
        write_text(folder / CONFIG, text)
    logger = NamedScalars(
        options.output,
        folder.name,
        version="",
        sub_dir="tensorboard",
        # What was logged after the checkpoint comes again.
        purge_step=0 if checkpoint is None else checkpoint.step,
    )
    callbacks = make_callbacks(
        options, folder, data.series.dt, average=options.average, progress=progress
    )
    with _quiet_lightning():
        trainer = L.Trainer(
            accelerator=accelerator,
            devices=ranks.local_size(),
            num_nodes=ranks.size() // ranks.local_size(),
            strategy=_strategy(options),
            use_distributed_sampler=False,
            precision=options.precision,  # type: ignore[arg-type]
            max_steps=options.max_steps,
            max_epochs=-1,
            gradient_clip_val=options.clip,
            val_check_interval=validation_interval(options.max_steps, options.val_interval),
            check_val_every_n_epoch=None,
            num_sanity_val_steps=0,
            log_every_n_steps=options.log_interval,
            logger=logger if leads else False,
            callbacks=callbacks,
            # On a cluster, too, processes that heed signals as anywhere else: Lightning's plugin
            # for Slurm takes over SIGUSR1 and submits jobs.
            plugins=[
                AtomicCheckpointIO(),
                LightningEnvironment() if ranks.size() == 1 else TorchElasticEnvironment(),
            ],
            enable_progress_bar=progress,
            enable_model_summary=False,
            default_root_dir=folder,
        )
        try:
            path = None if checkpoint is None else checkpoint.path
            with naming_unfit(path):
                trainer.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
        except Stopped:
            raise
        except SystemExit:
            # Lightning ends the process on Ctrl-C.
            if trainer.interrupted:
                raise KeyboardInterrupt from None
            raise
    if leads:
        _summarize(config, folder, model.num_parameters, callbacks)
    # A signal during the last step.
    signals = next(call for call in callbacks if isinstance(call, StopSignals))
    signals.leave(options.max_steps, folder / LAST)
    return folder


def _fitted(model: GraphOperator, data: GraphSeriesData) -> dict[str, Tensor]:
    """State of a new model with scales and base forecast."""
    model.fit_statistics(data.statistics(), data.memory)
    return model.state_dict()


def _compare_batches(config: RunConfig, checkpoint: Checkpoint) -> None:
    """Warn if a resumed run would take other batches than before."""
    before, now = checkpoint.joint_graphs, config.data.graphs_per_batch * ranks.size()
    if before != now and ranks.rank() == 0:
        warnings.warn(
            f"Expected {before} subgraphs per step, as before (got {now}): {ranks.size()} x "
            f"{config.data.graphs_per_batch} instead of {checkpoint.ranks} x "
            f"{checkpoint.config.data.graphs_per_batch}. Going on with other batches; set "
            "data.graphs_per_batch to keep them.",
            stacklevel=2,
        )


def _strategy(options: TrainingConfig) -> Strategy | str:
    """How ranks train together.

    Raises:
        ValueError: If there are fewer GPUs than ranks on this machine.
    """
    if ranks.size() == 1:
        return "auto"
    if _accelerator(options) == "gpu" and torch.cuda.device_count() < ranks.local_size():
        raise ValueError(
            f"Expected one GPU per rank (got {torch.cuda.device_count()} for {ranks.local_size()} "
            "ranks on this machine): lower --nproc-per-node, or set training.accelerator to cpu."
        )
    return DDPStrategy(gradient_as_bucket_view=True)


def _summarize(
    config: RunConfig, folder: Path, parameters: int, callbacks: list[L.Callback]
) -> None:
    """Write the summary of a finished training."""
    summary: dict[str, object] = {"parameters": parameters, "ranks": ranks.size()}
    for callback in callbacks:
        if isinstance(callback, ResourceMonitor | Dashboard):
            summary |= callback.summary()
    if config.model.effective.kind != "none":
        summary["unexplained"] = _unexplained(folder)
    write_text(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")


def _unexplained(folder: Path) -> list[float]:
    """Share of ``|u_t|^2`` that the law left in the last validation, by level.

    From the log: a run may have been killed after its last validation and resumed to write this.
    """
    prefix = "val/unexplained/"
    curves = read_scalars(folder / "tensorboard", (prefix,))
    levels = sorted(curves, key=lambda tag: int(tag[len(prefix) :]))
    return [round(float(curves[tag][1][-1]), 4) for tag in levels]


def evaluate_run(
    run: Path,
    times: int | None = None,
    horizons: tuple[int, ...] = (1, 16, 64),
    noises: tuple[float, ...] = (0.0, 4e-4),
    baselines: bool = True,
    *,
    modes: tuple[Mode, ...] = ("direct",),
    nodes_limit: int | None = 1000,
    progress: bool = True,
) -> Evaluation:
    """Evaluate the best checkpoint of a run on held-out nodes and held-out time.

    Args:
        run: Folder of the run.
        times: Forecast times per view; None for 16, or 4 on more than 200,000 nodes, where each
            time reads a window of every node, and the exact simulator takes minutes.
        horizons: Steps ahead, in samples.
        noises: Variances of the noise on the history.
        baselines: Also fit and evaluate the MLP; persistence, line, ridge and the base forecast of
            a model with memory always are.
        modes: ``direct`` forecasts, ``rollout`` forecasts, or both.
        nodes_limit: Largest number of nodes scored per view; all if None.
        progress: Show progress bars.

    Returns:
        Scores; also written to ``evaluation.csv`` and ``evaluation.json`` in the folder.

    Raises:
        FileNotFoundError: If the folder holds no finished checkpoint.
        ValueError: If the checkpoint is damaged.

    Example:
        >>> from roma_pyg import load_config
        >>> run = train(load_config("tiny.yaml"), progress=False)
        >>> result = evaluate_run(run, 2, (1, 8), baselines=False, progress=False)
        >>> "ROMA" in result.table()
        True
    """
    model, config = load_model(run)
    data = GraphSeriesData(config.data, config.training, memory=model.memory, progress=progress)
    # Before the MLP is trained: horizons that the series has no room for.
    choose_times(data.split.times["test"], data.series.num_steps - max(horizons), times or 1)
    methods: list[Forecaster] = fit_baselines(
        data.series,
        data.split,
        config.data.window,
        config.data.horizon,
        config.data.noise,
        config.training.seed,
        mlp_steps=3000 if baselines else 0,
        progress=progress,
    )
    if model.memory is not None and model.base.kind == "linear":
        methods.append(BaseForecaster(model, data.series.graph, data.features))
    methods.append(RomaForecaster(model, data.series.graph, data.features))
    result = evaluate(
        methods,
        data.series,
        data.split,
        config.data.window,
        horizons=horizons,
        noises=noises,
        times_per_view=times or (4 if data.series.num_nodes > MANY_NODES else 16),
        nodes_limit=nodes_limit,
        modes=modes,
        progress=progress,
    )
    result.to_csv(run / "evaluation.csv")
    result.to_json(run / "evaluation.json")
    return result


def validation_interval(steps: int, wanted: int) -> int:
    """Steps between validations, near to those wanted, so that the last one ends the run.

    A run is best at its end, where the learning rate is smallest. Without a validation there, the
    best checkpoint would be an earlier one.

    Args:
        steps: Steps of the run, positive.
        wanted: Steps between validations that are asked for, positive.

    Returns:
        An interval that fits into the steps a whole number of times, but for fewer steps than
        there are validations.

    >>> validation_interval(1800, 500), validation_interval(60, 500), validation_interval(9, 4)
    (450, 60, 4)
    """
    return steps // max(1, round(steps / wanted))


def _accelerator(options: TrainingConfig) -> str:
    """Return ``gpu`` for ``auto`` where CUDA is, else ``cpu``: other devices lack float64."""
    if options.accelerator == "auto":
        return "gpu" if torch.cuda.is_available() else "cpu"
    if options.accelerator == "gpu" and not (
        torch.cuda.is_available() or torch.backends.mps.is_available()
    ):
        raise ValueError(
            "Expected a GPU for 'training.accelerator' = 'gpu' (got none that torch can use): take "
            "'auto' or 'cpu', or install a build of torch for the GPU."
        )
    return options.accelerator


def _claim(options: TrainingConfig, claims: ExitStack) -> tuple[Path, Path | None, bool]:
    """Become the only process that trains in a folder.

    Args:
        options: Names the folder.
        claims: Gets the lock of the folder.

    Returns:
        The folder of the run, the checkpoint to resume from, and whether the run is finished.
    """
    folder = Path(options.output) / options.name
    if options.resume:
        # With `auto` a job that begins and one that goes on are the same: no other folder.
        claims.enter_context(only_process(folder, lambda: _wait_for(folder)))
        found = find_checkpoint(folder, options.resume)
        finished = found is not None and found.step >= options.max_steps
        path = None if found is None else found.path
        return folder, path, finished and (folder / SUMMARY).is_file()
    names = itertools.chain([options.name], (f"{options.name}-{n}" for n in itertools.count(2)))
    free = (Path(options.output) / name for name in names)
    return next(path for path in free if _begins(path, claims)), None, False


def _wait_for(folder: Path) -> None:
    _LOGGER.warning("Waiting for another process that trains in '%s'.", folder)


def _begins(folder: Path, claims: ExitStack) -> bool:
    """Claim a folder for a new run, unless it has one or another process begins one there."""
    with ExitStack() as claim:
        try:
            claim.enter_context(only_process(folder))
        except Busy:
            return False
        if (folder / CONFIG).exists():
            return False
        claims.enter_context(claim.pop_all())
        return True


class _quiet_lightning:
    """Hold back Lightning's advertisements and its advice on loaders that do not apply here."""

    def __enter__(self) -> None:
        self._caught = warnings.catch_warnings()
        self._caught.__enter__()
        warnings.filterwarnings("ignore", message=".*does not have many workers.*")
        # Lightning's own use of a class that torch has deprecated.
        warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
        self._logger = logging.getLogger("lightning.pytorch.utilities.rank_zero")
        self._level = self._logger.level
        self._logger.setLevel(logging.WARNING)

    def __exit__(self, *error: object) -> None:
        self._logger.setLevel(self._level)
        self._caught.__exit__(None, None, None)
