"""Weights of the residual terms of the loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from roma_pyg import exchange
from roma_pyg.config import EffectiveConfig

TERMS = ("residual", "residual_gradient")


class ResidualWeights(nn.Module):
    r"""Weights of the residual of the effective law and of its gradient in the loss.

    ``fixed`` weights are those of the configuration. ``balanced`` ones are chosen so that the
    gradient of a weighted term is as long as a given share of that of the data loss (Wang,
    Teng & Perdikaris 2021, doi:10.1137/20M1318043, with norms in the place of extrema):

    .. math:: w_k \leftarrow .9\, w_k + .1\, s_k \|\nabla L_{data}\| / \|\nabla L_k\|

    The first measurement is taken as it is; before it the weights are zero. They are kept in
    checkpoints.

    Args:
        config: Weights or shares s, and the scheme.

    Example:
        >>> balance = ResidualWeights(EffectiveConfig(residual=0.5, residual_gradient=0.0))
        >>> balance.update(data=2.0, terms={"residual": 4.0, "residual_gradient": 1.0})
        >>> balance()
        {'residual': tensor(0.2500), 'residual_gradient': tensor(0.)}
    """

    weight: Tensor
    measured: Tensor

    def __init__(self, config: EffectiveConfig) -> None:
        """Start from the weights of the configuration, or from zero where they are balanced."""
        super().__init__()
        self.balanced = config.weighting == "balanced"
        self.share = torch.tensor([getattr(config, name) for name in TERMS])
        start = torch.zeros(len(TERMS)) if self.balanced else self.share.clone()
        self.register_buffer("weight", start)
        self.register_buffer("measured", torch.zeros((), dtype=torch.bool))

    def forward(self) -> dict[str, Tensor]:
        """Return the weight of each term; they stay on the device, so that nothing waits."""
        return dict(zip(TERMS, self.weight.clone().unbind(), strict=True))

    def update(self, data: float, terms: Mapping[str, float]) -> None:
        """Take a measurement of gradient norms into account, where weights are balanced.

        Args:
            data: Norm of the gradient of the data loss.
            terms: Norm of the gradient of each unweighted residual term.
        """
        if not self.balanced:
            return
        norms = torch.tensor([terms[name] for name in TERMS], dtype=torch.float64)
        # A term without gradient keeps its weight.
        ratio = torch.where(norms > 0, data / norms.clamp_min(1e-30), torch.zeros_like(norms))
        new = (self.share * ratio).to(self.weight)
        new = torch.where((norms > 0).to(self.weight.device), new, self.weight)
        self.weight.copy_(0.9 * self.weight + 0.1 * new if bool(self.measured) else new)
        self.measured.fill_(True)


def gradient_norm(value: Tensor, parameters: Sequence[Tensor]) -> float:
    """Norm of the gradient of a scalar, whose graph is kept.

    Args:
        value: Scalar; of the parts of a joint batch their mean counts.
        parameters: With respect to which; those it does not depend on count as zero.
    """
    found = torch.autograd.grad(value, list(parameters), retain_graph=True, allow_unused=True)
    gradients = [part for part in found if part is not None]
    if exchange.place()[1] > 1 and gradients:
        gradients = [exchange.mean(torch.cat([part.flatten() for part in gradients]))]
    norms = [torch.linalg.vector_norm(part) for part in gradients]
    return float(torch.linalg.vector_norm(torch.stack(norms))) if norms else 0.0
