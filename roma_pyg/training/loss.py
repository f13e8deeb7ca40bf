"""Training losses: forecast errors per level and step ahead, and the pooling penalties."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from roma_pyg import exchange
from roma_pyg.config import PoolConfig
from roma_pyg.models.base import EPSILON
from roma_pyg.models.output import LevelForecast, RomaOutput


def smspe(prediction: Tensor, target: Tensor, eps: float = EPSILON) -> Tensor:
    """Symmetric squared percentage error of every element.

    ``((y - p) / (|y| + |p| + eps))^2``, the data loss of Gabriel et al. (arXiv:2502.15913).

    Args:
        prediction: Forecast p, any shape, in units of the observable.
        target: Truth y, the same shape.
        eps: Added to the denominator, in units of the observable; positive.

    Returns:
        Errors in [0, 1), in the same shape, float32 or better.

    Raises:
        ValueError: If the shapes differ (broadcasting here is nearly always a mistake).

    >>> smspe(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 1.0]), eps=0.0)
    tensor([0.0000, 0.2500])
    """
    if prediction.shape != target.shape:
        raise ValueError(
            f"Expected 'prediction' of the target's shape {tuple(target.shape)} "
            f"(got {tuple(prediction.shape)})."
        )
    # Half precision keeps 3 digits, too few for a difference of nearly equal numbers.
    prediction, target = _at_least_single(prediction), _at_least_single(target)
    scale = prediction.abs() + target.abs() + eps
    return ((target - prediction) / scale).square()


def _at_least_single(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))


class HorizonWeights(nn.Module):
    """Weights that make near and far horizons count equally.

    The error q steps ahead is divided by a fixed reference error ``r_q``, such as the sMSPE of
    the linear base forecast on the training part: ``w_q = 1 / max(r_q, floor)``. A loss of 1 then
    means "as good as the reference" at every horizon. Without a reference all weights are one.

    Args:
        reference: Reference errors of the steps 1, 2, ..., shape ``(horizon,)``, in [0, 1].
        floor: Smallest reference error in use. It keeps a step that the reference forecasts
            (almost) exactly from outweighing all others.

    Raises:
        ValueError: If ``reference`` is not a vector of finite, non-negative numbers.

    >>> weights = HorizonWeights(torch.tensor([0.5, 0.25]))
    >>> weights(torch.tensor([2, 1, 2]))
    tensor([4., 2., 4.])
    """

    reference: Tensor

    def __init__(self, reference: Tensor | None = None, floor: float = 1e-9) -> None:
        """Keep the reference as a buffer, so that it is saved with the model."""
        super().__init__()
        values = torch.zeros(0) if reference is None else reference.detach().clone().float()
        if values.ndim != 1:
            raise ValueError(
                f"Expected 'reference' of shape (horizon,) (got {tuple(values.shape)})."
            )
        bad = (~values.isfinite() | (values < 0)).nonzero()
        if len(bad):
            step = int(bad[0])
            raise ValueError(
                f"Expected finite, non-negative 'reference' errors (got {values[step].item()} "
                f"for step {step + 1})."
            )
        self.floor = floor
        self.register_buffer("reference", values)

    def forward(self, steps: Tensor) -> Tensor:
        """Return the weights of some steps ahead.

        Args:
            steps: Steps ahead, 1 is the next sample, shape ``(Q,)``, int64.

        Returns:
            Weights, shape ``(Q,)``, float32.

        Raises:
            ValueError: If a step lies outside ``[1, horizon]``.
        """
        horizon = len(self.reference)
        if horizon == 0:
            return torch.ones(len(steps), device=steps.device)
        if len(steps) and not (steps.min() >= 1 and steps.max() <= horizon):
            raise ValueError(f"Expected 'steps' in [1, {horizon}] (got {steps.tolist()}).")
        return 1 / self.reference[steps - 1].clamp(min=self.floor)


def step_errors(level: LevelForecast) -> Tensor:
    """Mean sMSPE of one level at every step ahead, tokens weighted by their importance.

    Returns:
        Mean over subgraphs and tokens, shape ``(Q,)``.

    Raises:
        ValueError: If the level has no target.
    """
    if level.target is None:
        raise ValueError(
            "Expected every level to have a target (got None): a batch for training or "
            "validation needs 'target'."
        )
    return _mean_over_tokens(level, smspe(level.prediction, level.target))


def squared_errors(level: LevelForecast) -> Tensor:
    """Mean squared error of one level at every step ahead, tokens weighted by their importance.

    Returns:
        Mean over subgraphs and tokens, shape ``(Q,)``, in squared units of the observable.

    Raises:
        ValueError: If the level has no target.
    """
    if level.target is None:
        raise ValueError("Expected a level with a target (got None).")
    return _mean_over_tokens(level, (level.prediction - level.target).square())


def _mean_over_tokens(level: LevelForecast, errors: Tensor) -> Tensor:
    if level.importance is not None:
        # Over the parts of a joint batch, so that the mean of their errors is that of all.
        share = level.importance / exchange.mean(level.importance.mean())
        errors = errors * share.unsqueeze(-1)
    return errors.flatten(0, -2).mean(dim=0)


def data_loss(
    output: RomaOutput,
    weights: Tensor,
    coarse_weight: float,
    scale: Tensor | None = None,
    squared_share: float = 0.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted forecast error of all levels.

    Term of level l: ``d_l = mean_q w_q mean_i sMSPE_iq``; total: ``d_0 + c (d_1 + d_2 + ...)``.
    With a squared share a the fine term is ``(1 - a) d_0 + a mean_q MSE_q / sigma_q^2``. The sMSPE
    cares for small values most, the squared error for large deviations; both are one where the
    forecast is as good as the base forecast.

    Args:
        output: Forecasts with targets.
        weights: Weight of each step ahead, shape ``(Q,)``, such as ``HorizonWeights(steps)``.
        coarse_weight: Weight c of each coarse level, non-negative.
        scale: Error scale sigma_q of the base forecast at each step ahead, shape ``(Q,)``.
        squared_share: Share a of the squared error in the fine term, in [0, 1].

    Returns:
        The total, and the terms before weighting by level: ``data/0``, ``data/1``, ...

    Raises:
        ValueError: If a level has no target, or shapes disagree.
    """
    terms: dict[str, Tensor] = {}
    for index, level in enumerate(output.levels):
        errors = step_errors(level)
        if weights.shape != errors.shape:
            raise ValueError(
                f"Expected 'weights' of shape {tuple(errors.shape)}, one per step ahead "
                f"(got {tuple(weights.shape)})."
            )
        term = (weights * errors).mean()
        if index == 0 and squared_share > 0 and scale is not None:
            squared = (squared_errors(level) / scale.square()).mean()
            term = (1 - squared_share) * term + squared_share * squared
        terms[f"data/{index}"] = term
    total = torch.zeros((), device=weights.device)
    for name, term in terms.items():
        total = total + (term if name == "data/0" else coarse_weight * term)
    return total, terms


def penalty_loss(penalties: Mapping[str, Tensor], config: PoolConfig) -> Tensor:
    """Sum of the pooling penalties, each with its weight from the configuration.

    Args:
        penalties: Unweighted scalars named ``entropy/l``, ``edge_entropy/l``, ``link/l``,
            ``modularity/l``.
        config: Weights ``entropy``, ``edge_entropy``, ``link`` and ``modularity``.

    Raises:
        ValueError: If a penalty has no weight.

    >>> config = PoolConfig(entropy=0.5, link=2.0)
    >>> penalty_loss({"entropy/1": torch.tensor(4.0), "link/1": torch.tensor(1.0)}, config)
    tensor(4.)
    """
    weights = {
        "entropy": config.entropy,
        "edge_entropy": config.edge_entropy,
        "link": config.link,
        "modularity": config.modularity,
    }
    total = torch.zeros(())
    for name, value in penalties.items():
        kind = name.split("/")[0]
        if kind not in weights:
            raise ValueError(
                f"Expected penalties named {', '.join(weights)} with a level (got {name!r}): "
                f"give it a weight in PoolConfig."
            )
        total = total + weights[kind] * value
    return total


def residual_loss(
    output: RomaOutput, weights: Mapping[str, Tensor | float]
) -> tuple[Tensor, dict[str, Tensor]]:
    """Weighted residual of the effective law, a mean over the tokens of all levels.

    Args:
        output: Forecast with ``residuals``, which may be empty.
        weights: Weight of each kind of term, ``residual`` and ``residual_gradient``.

    Returns:
        The total, and the terms before weighting by their names in ``weights``.
    """
    total = torch.zeros(())
    terms: dict[str, Tensor] = {}
    if not output.residuals:
        return total, terms
    sizes = [level.prediction.shape[1] for level in output.levels]
    for kind, weight in weights.items():
        parts = [output.residuals[f"{kind}/{level}"] * n for level, n in enumerate(sizes)]
        terms[kind] = torch.stack(parts).sum() / sum(sizes)
        total = total + weight * terms[kind]
    return total, terms
