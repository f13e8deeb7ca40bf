"""The Lightning module: one optimisation step, validation, and what is logged."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import lightning as L
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.optim import Optimizer

from roma_pyg import exchange, ranks
from roma_pyg.analysis.metrics import HorizonErrors
from roma_pyg.config import EffectiveConfig, PoolConfig, TrainingConfig
from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.output import LevelForecast, RomaOutput
from roma_pyg.training.balance import TERMS, ResidualWeights, gradient_norm
from roma_pyg.training.loss import (
    HorizonWeights,
    data_loss,
    penalty_loss,
    residual_loss,
    step_errors,
)
from roma_pyg.training.optimizer import make_optimizer
from roma_pyg.training.schedule import make_schedule

REPORTED_STEPS = (1, 4, 16, 64)


class NonFiniteLossError(ValueError):
    """The loss or a weight became NaN or infinite; training cannot go on."""


def check_weights(module: nn.Module, step: int) -> None:
    """Raise if a weight is not finite, so that such weights are never saved.

    Args:
        module: Whose parameters are checked.
        step: Optimiser steps done, for the message.

    Raises:
        NonFiniteLossError: With the name of the first such parameter.
    """
    named = list(module.named_parameters())
    finite = torch.stack([value.detach().isfinite().all() for _, value in named]).tolist()
    if not all(finite):
        raise NonFiniteLossError(
            f"Expected finite weights (got NaN or infinity in '{named[finite.index(False)][0]}' "
            f"after step {step}, whose loss was finite: its gradient was not). {_REMEDY}"
        )


_REMEDY = (
    "Start again with a lower training.learning_rate or training.clip, with training.precision "
    "32-true, or without the extreme values of the data; a resumed run would take the same steps."
)


class RomaModule(L.LightningModule):
    """Trains a forecast model on subgraph batches.

    Tags: ``loss/total`` and every unweighted term by level (``loss/data/0``, ``loss/entropy/1``,
    ...), ``smspe/l`` (sMSPE of level l without horizon weights), ``val/loss`` (the term
    ``data/0``: only the forecast on the graph itself chooses a checkpoint), ``val/data/l``,
    ``val/smspe/q`` and ``val/r2/q`` for q of 1, 4, 16, 64 steps ahead where evaluated,
    ``optimizer/learning_rate`` and ``optimizer/gradient_norm`` (before clipping). With an effective
    law also ``loss/residual`` and ``loss/residual_gradient``, ``effective/...`` (the same and the
    unexplained share by level, weights, viscosity), ``gradient/data``, ``gradient/residual`` and
    ``gradient/residual_gradient`` (norms of the gradients of the unweighted terms with respect to
    the forecast's parameters), and ``val/unexplained/l``.

    Args:
        model: Maps a :class:`SubgraphBatch` to a :class:`RomaOutput`.
        options: Learning rate, decay, schedule, coarse weight and log interval.
        pool: Weights of the pooling penalties.
        reference: Reference error of each step ahead, shape ``(horizon,)``, see
            :class:`HorizonWeights`; None weighs all steps equally.
        config: The resolved configuration of the run as plain values; it is stored in
            checkpoints as ``hyper_parameters``.
        scale: Error scale of the base forecast at each step ahead, shape ``(horizon,)``, for the
            squared share of the loss; None leaves that out.
        effective: Weights of the residual of the effective law; None where there is no law.

    Raises:
        TypeError: If ``config`` holds something that a checkpoint could not load without pickle.
    """

    scale: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        options: TrainingConfig,
        pool: PoolConfig,
        reference: Tensor | None = None,
        config: dict[str, Any] | None = None,
        scale: Tensor | None = None,
        effective: EffectiveConfig | None = None,
    ) -> None:
        """Bind model and options."""
        super().__init__()
        self.model = model
        self.options = options
        self.pool = pool
        self.horizon_weights = HorizonWeights(reference)
        # The floor is that of the horizon weights: what the base forecasts exactly is no yardstick.
        self.register_buffer("scale", None if scale is None else scale.clamp_min(1e-5))
        has_law = effective is not None and effective.kind != "none"
        self.residual_weights = ResidualWeights(effective) if effective and has_law else None
        self._errors: dict[int, HorizonErrors] = {}
        config = {} if config is None else config
        _check_plain(config, "config")
        # Written to TensorBoard as text by the run, not as its hyper-parameter table.
        self.save_hyperparameters(config, logger=False)

    def forward(self, batch: SubgraphBatch) -> RomaOutput:
        """Forecast one batch."""
        return self.model(batch)

    def training_step(self, batch: SubgraphBatch, batch_idx: int) -> Tensor:
        """Return the loss of one batch; the mean over several ranks is that of their joint batch.

        Raises:
            NonFiniteLossError: If the loss is NaN or infinite.
        """
        if batch.later is not None:
            roll = cast(Callable[[SubgraphBatch], SubgraphBatch], self.model.push_forward)
            batch = roll(batch)
        with exchange.joint():
            return self._step(batch)

    def _step(self, batch: SubgraphBatch) -> Tensor:
        output, terms = self._evaluate(batch)
        if self._writes_logs:
            logs: dict[str, Tensor | float] = {
                f"loss/{name}": value.detach() for name, value in terms.items()
            }
            for index, level in enumerate(output.levels):
                logs[f"smspe/{index}"] = step_errors(level).mean().detach()
            if self.residual_weights is not None:
                logs |= self._watch_residual(output, terms, self.residual_weights)
            self.log_dict(exchange.mean_of_each(logs), batch_size=batch.num_core)
            rate = self.trainer.optimizers[0].param_groups[0]["lr"]
            self.log("optimizer/learning_rate", rate, batch_size=batch.num_core)
        return terms["total"]

    def on_validation_epoch_start(self) -> None:
        """Forget the errors of the last validation."""
        self._errors = {}

    def validation_step(self, batch: SubgraphBatch, batch_idx: int) -> dict[str, Any]:
        """Add one batch to the validation.

        Returns:
            ``loss``, and ``output``, the :class:`RomaOutput`, for callbacks such as figures.
        """
        with exchange.joint():
            output, terms = self._evaluate(batch)
        self._add_errors(output.levels[0], batch.steps)
        size = batch.num_core
        self.log("val/loss", terms["data/0"], batch_size=size, sync_dist=True)
        data = {f"val/{name}": value for name, value in terms.items() if name.startswith("data/")}
        data |= {
            f"val/{name}": value
            for name, value in output.residuals.items()
            if name.startswith("unexplained/")
        }
        self.log_dict(data, batch_size=size, sync_dist=True)
        return {"loss": terms["data/0"], "output": output}

    def on_validation_epoch_end(self) -> None:
        """Log the errors by step ahead."""
        with exchange.joint():
            mine, *others = exchange.gather(self._errors)
        for step, errors in mine.items():
            for part in others:
                errors.merge(part[step])
            result = errors.result()
            self.log(f"val/smspe/{step}", float(result.smspe[0]), sync_dist=True)
            if math.isfinite(result.r2[0]):  # it is not defined where the truth is constant
                self.log(f"val/r2/{step}", float(result.r2[0]), sync_dist=True)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the number of ranks, which each had ``data.graphs_per_batch`` subgraphs."""
        checkpoint["ranks"] = ranks.size()

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Log the gradient norm before clipping, on the steps that write logs."""
        if not self._writes_logs:
            return
        norms = [p.grad.norm() for p in self.parameters() if p.grad is not None]
        self.log("optimizer/gradient_norm", torch.linalg.vector_norm(torch.stack(norms)))

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Muon or AdamW with decay on matrices; warm-up and decay of the rate per step."""
        options = self.options
        optimizer = make_optimizer(
            self.model, options.learning_rate, options.weight_decay, options.optimizer
        )
        schedule = make_schedule(
            optimizer, options.max_steps, options.warmup, kind=options.schedule
        )
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }

    @property
    def _writes_logs(self) -> bool:
        """Whether the logger writes after this step; logging costs a few milliseconds."""
        return (self.trainer.global_step + 1) % self.options.log_interval == 0

    def _add_errors(self, level: LevelForecast, steps: Tensor) -> None:
        """Add the forecasts of the reported steps ahead to the running errors."""
        assert level.target is not None  # the loss has checked it
        for column, step in enumerate(steps.tolist()):
            if step in REPORTED_STEPS:
                errors = self._errors.setdefault(step, HorizonErrors(1))
                pair = (level.prediction[..., column], level.target[..., column])
                errors.update(*(x.detach().float().reshape(-1, 1).cpu().numpy() for x in pair))

    def _evaluate(self, batch: SubgraphBatch) -> tuple[RomaOutput, dict[str, Tensor]]:
        """Return the forecast and all unweighted terms with their weighted ``total``."""
        output = self(batch)
        weights = self.horizon_weights(batch.steps)
        scale = None if self.scale is None else self.scale[batch.steps - 1]
        data, terms = data_loss(
            output, weights, self.options.coarse_weight, scale, self.options.squared_error
        )
        total = data + penalty_loss(output.penalties, self.pool)
        terms = {**terms, **output.penalties, "data": data}
        if self.residual_weights is not None:
            residual, named = residual_loss(output, self.residual_weights())
            terms |= named
            total = total + residual
        terms["total"] = total
        if not torch.isfinite(total):
            check_weights(self.model, self.global_step)
            raise NonFiniteLossError(self._describe(terms))
        return output, terms

    def _watch_residual(
        self, output: RomaOutput, terms: dict[str, Tensor], weights: ResidualWeights
    ) -> dict[str, Tensor | float]:
        """Measure the gradient of each term, set the weights for the steps to come, and log."""
        own = [p for name, p in self.model.named_parameters() if not name.startswith("effective.")]
        norms = {name: gradient_norm(terms[name], own) for name in ("data", *TERMS)}
        weights.update(norms["data"], {name: norms[name] for name in TERMS})
        logs: dict[str, Tensor | float] = {f"gradient/{k}": v for k, v in norms.items()}
        logs |= {f"effective/{k}": v.detach() for k, v in output.residuals.items()}
        logs |= {f"effective/weight/{k}": v for k, v in weights().items()}
        law = getattr(self.model, "effective", None)
        if law is not None and law.raw_viscosity is not None:
            logs["effective/viscosity"] = law.viscosity.detach()
        return logs

    def _describe(self, terms: dict[str, Tensor]) -> str:
        values = ", ".join(f"{name} = {value.item():.4g}" for name, value in terms.items())
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        return (
            f"Expected a finite loss (got {values} at step {self.global_step}, learning rate "
            f"{rate:.3g}). {_REMEDY}"
        )


def _check_plain(value: object, path: str) -> None:
    """Raise unless a value consists of dicts, lists, strings, numbers, bools and None."""
    if isinstance(value, dict):
        for key, item in value.items():
            _check_plain(key, f"{path} key")
            _check_plain(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_plain(item, f"{path}[{index}]")
    elif type(value) not in (str, int, float, bool, type(None)):
        raise TypeError(
            f"Expected '{path}' to be a plain Python value (got {type(value).__name__}), because "
            "checkpoints are loaded without pickle. Convert it to str, int, float, list or dict."
        )
