"""The simple forecast that the network corrects, and by how much it does."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import torch
from scipy.interpolate import CubicSpline
from torch import Tensor, nn

from roma_pyg.least_squares import solve_normal
from roma_pyg.physics import Jet

EPSILON = 1e-4
"""What the sMSPE adds to its denominator."""

RELATIVE_FLOOR = 0.1
"""Forecasts below this share of their root mean square count as much as one of this size."""

VARIANCE_STEPS = 10
"""Steps of the fit of what the forecast leaves; two digits are there after five."""

_ROWS = 1024


class BaseForecast(nn.Module):
    r"""Linear forecast from own and neighbour lags, with the scale of what it leaves unexplained.

    .. math:: \bar y(t + q) = W_q [w, A w, 1]

    Here w is the window of a node and A w the mean window of its neighbours (zero without any).
    The fit is least squares in two passes: in the second one, a sample counts by
    :math:`1 / (\bar y^2 + f^2)` for its forecast :math:`\bar y` of the first, where f is a tenth of
    the root mean square (`RELATIVE_FLOOR`). So the error is small relative to the value, which is
    what the sMSPE measures. Without these weights, noise on large lags drowns the small values, as
    noise is relative to the value, and the network cannot take out again what a linear map has
    mixed.
    The network adds :math:`s_q \delta`, where :math:`s_q^2 = a_q^2 + b_q^2 \bar y^2` is what the
    forecast leaves (:meth:`spread`), a linear function of its square fitted to
    :math:`(y - \bar y)^2`. So the network works on numbers of order one at every step ahead, for
    small and large values: one step ahead the forecast is nearly exact and errs in proportion to
    the value, as the noise does (b), and sixty ahead neither holds (a). Absolute corrections have
    :math:`s_q^2 = E (y - \bar y)^2`, the square of ``scale``, in units of which the loss takes
    errors in any case.

    As the forecast is linear in the window, it commutes with coarse graining. Weights and scales
    are fitted once and not trained. The weights are kept and applied in double precision, also
    under autocast: for clean input they reach thousands with alternating signs, and in float32
    their rounding would exceed what the forecast errs one step ahead.

    Args:
        window: Length K of a window, in samples.
        horizon: Number of steps ahead.
        ahead: Samples at the end of a window that are not history, but its continuation by the
            memory of the node.
        kind: ``linear`` (fitted by :meth:`fit`), ``persistence`` (the last value) or ``none``
            (zero, with scale one: the published model).
        relative: Whether corrections are relative to the forecast.

    Raises:
        ValueError: If ``kind`` is unknown.

    Example:
        >>> base = BaseForecast(window=2, horizon=3, kind="persistence")
        >>> base(torch.tensor([[0.1, 0.5, 0.7, 0.9]]), torch.tensor([1, 3])).tolist()
        [[0.5, 0.5]]
    """

    weight: Tensor
    scale: Tensor
    constant: Tensor
    slope: Tensor
    reference: Tensor

    def __init__(
        self,
        window: int,
        horizon: int,
        kind: str = "linear",
        ahead: int = 0,
        *,
        relative: bool = True,
    ) -> None:
        """Start from persistence, or from zero for ``none``."""
        super().__init__()
        if kind not in ("linear", "persistence", "none"):
            raise ValueError(
                f"Expected 'kind' to be 'linear', 'persistence' or 'none' (got {kind!r})."
            )
        self.kind = kind
        self.window = window
        self.last = window - ahead - 1
        weight = torch.zeros(horizon, 2 * window + 1, dtype=torch.float64)
        if kind != "none":
            weight[:, self.last] = 1.0
        self.register_buffer("weight", weight)
        self.relative = relative
        self.register_buffer("scale", torch.ones(horizon))
        self.register_buffer("constant", torch.ones(horizon))
        self.register_buffer("slope", torch.zeros(horizon))
        self.register_buffer("reference", torch.ones(horizon))

    @torch.no_grad()
    def fit(self, samples: Iterable[tuple[Tensor, Tensor, Tensor]], penalty: float = 1e-10) -> None:
        """Fit weights and scales by least squares of the relative error on training samples.

        Also sets ``reference``, the mean sMSPE of the forecast (of persistence for ``none``) at
        each step ahead, which the loss uses to weigh near against far.

        Args:
            samples: Lags ``[own, neighbour]`` of shape ``(n, 2 K)``, targets ``(n, horizon)``,
                noisy as in training, and the weight of each row, ``(n,)``, non-negative.
            penalty: Ridge penalty as a fraction of the mean variance of a lag.

        Raises:
            ValueError: If there are no samples, their shapes do not fit, or they are not finite.
        """
        samples = list(samples)
        if not samples:
            raise ValueError("Expected at least one training sample to fit the base forecast.")
        lags, target, weight = (torch.cat(parts) for parts in zip(*samples, strict=True))
        rows = len(lags)
        for name, values, shape in (
            ("lags", lags, (rows, 2 * self.window)),
            ("target", target, (rows, len(self.scale))),
            ("weight", weight, (rows,)),
        ):
            if values.shape != shape:
                raise ValueError(f"Expected '{name}' of shape {shape} (got {tuple(values.shape)}).")
            if not bool(values.isfinite().all()):
                bad = int((~values.isfinite()).reshape(rows, -1).any(1).nonzero()[0])
                raise ValueError(
                    f"Expected finite '{name}' to fit the base forecast (got NaN or infinity in "
                    f"row {bad})."
                )
        weight = (weight / weight.sum()).to(target.dtype)
        if self.kind == "linear":
            self.weight.copy_(_relative_ridge(lags, target, weight, penalty))
        if self.kind == "none":
            forecast = lags[:, self.last, None].expand_as(target)
        else:
            forecast = self(lags, torch.arange(1, len(self.scale) + 1, device=lags.device))
            error = (target - forecast).square()
            self.scale.copy_((weight @ error).sqrt().clamp_min(1e-6))
            self.constant.copy_(self.scale)
            if self.relative:
                constant, slope = _variance(forecast.square(), error, weight)
                self.constant.copy_(constant.sqrt().clamp_min(1e-6))
                self.slope.copy_(slope.sqrt())
        relative = (target - forecast) / (target.abs() + forecast.abs() + EPSILON)
        self.reference.copy_((weight @ relative.square()).clamp_min(1e-9))

    def forward(
        self, lags: Tensor, steps: Tensor, mass: float = 1.0, derivative: int = 0
    ) -> Tensor:
        """Forecast, or its derivative in time.

        Between the steps ahead the forecast is their cubic spline.

        Args:
            lags: Own and neighbour lags, shape ``(..., 2 K)``.
            steps: Steps ahead in [1, horizon], 1 is the next sample, shape ``(Q,)``, int64.
            mass: What a constant series of one is on this level; the intercept grows with it.
            derivative: 0 for the forecast, 1 or 2 for a derivative with respect to the time in
                units of the horizon.

        Returns:
            Shape ``(..., Q)``.
        """
        weight = self.weight[steps - 1]
        if derivative:
            weight = self._spline(derivative)[steps - 1] @ self.weight
        with torch.autocast(lags.device.type, enabled=False):
            exact = lags.to(weight.dtype)
            forecast = nn.functional.linear(exact, weight[:, :-1], weight[:, -1] * mass)
            return forecast.to(lags.dtype)

    def spread(self, forecast: Tensor, steps: Tensor) -> Tensor:
        """Size of what forecasts leave unexplained, which corrections are in units of.

        Args:
            forecast: Forecasts per unit of mass, shape ``(..., Q)``.
            steps: Steps ahead in [1, horizon], shape ``(Q,)``, int64.

        Returns:
            Shape ``(..., Q)``.
        """
        if not self.relative:
            return self.scale[steps - 1].expand_as(forecast)
        constant, slope = self.constant[steps - 1], self.slope[steps - 1]
        return (constant.square() + (slope * forecast).square()).sqrt()

    def spread_jet(self, forecast: Jet, steps: Tensor) -> Jet:
        """As :meth:`spread`, with derivatives; its two numbers are cubic splines in between.

        Args:
            forecast: Functions of the time in units of the horizon, shape ``(..., Q, 1)``.
            steps: Steps ahead in [1, horizon], shape ``(Q,)``, int64.

        Returns:
            Shape ``(..., Q, 1)``.
        """

        def between(values: Tensor) -> Jet:
            parts = [values] + [
                (self._spline(k) @ values.double()).to(values.dtype) for k in range(1, 3)
            ]
            parts = [part[steps - 1].unsqueeze(-1) for part in parts]
            return Jet.of_time(parts, forecast.dim, forecast.order)

        constant, relative = between(self.constant), between(self.slope) * forecast
        return (constant * constant + relative * relative) ** 0.5

    def _spline(self, order: int) -> Tensor:
        return _spline_derivative(len(self.scale), order).to(self.weight.device)


def _variance(square: Tensor, error: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """Squared errors as a linear function of squared forecasts, ``c + s square``.

    Gamma regression: an error of variance v has a square of mean v and standard deviation in
    proportion to v. The constant is at least what the slope gives a tenth of the root mean square
    (`RELATIVE_FLOOR`), so that the smallest forecasts can be corrected, too.

    Args:
        square: Squared forecasts, shape ``(n, Q)``.
        error: Squared errors, shape ``(n, Q)``.
        weight: Of sum one, shape ``(n,)``.

    Returns:
        Constants and slopes, both non-negative, shapes ``(Q,)``.
    """
    mean = (weight @ square).clamp_min(EPSILON**2)
    # In units of the mean, from half absolute and half relative.
    x, y, weight = (square / mean).double(), error.double(), weight.double()
    total = (weight @ y).clamp_min(1e-12)
    proportional = weight @ (y / (x + RELATIVE_FLOOR**2))
    constant = slope = total / 2
    for _ in range(VARIANCE_STEPS):
        share = weight[:, None] / (constant + slope * x).square()
        share = share / share.sum(0)
        at, rate = (share * x).sum(0), (share * y).sum(0)
        variance = (share * (x - at).square()).sum(0)
        covariance = (share * (x - at) * (y - rate)).sum(0)
        slope = (covariance / variance.clamp_min(1e-12)).clamp_min(0)
        constant = rate - slope * at
        bound = constant < RELATIVE_FLOOR**2 * slope
        slope = torch.where(bound, proportional, slope)
        constant = torch.where(bound, RELATIVE_FLOOR**2 * slope, constant).clamp_min(1e-12)
    return constant.to(square.dtype), (slope / mean).to(square.dtype)


@lru_cache
def _spline_derivative(horizon: int, order: int) -> Tensor:
    """Matrix from values at the steps to derivatives of their spline there, per horizon."""
    nodes = np.arange(1, horizon + 1) / horizon
    if horizon == 1:
        return torch.zeros(1, 1, dtype=torch.float64)
    return torch.from_numpy(CubicSpline(nodes, np.eye(horizon))(nodes, order))


def _relative_ridge(lags: Tensor, target: Tensor, weight: Tensor, penalty: float) -> Tensor:
    """Least squares of the error relative to a first fit, shape ``(horizon, 2 K + 1)``.

    Weights from the fit and not from the target leave the forecast unbiased: they depend on nothing
    but the lags.
    """
    lags, target, weight = lags.double(), target.double(), weight.double()[:, None]
    first = _ridge(lags, target, weight, penalty)
    square = (lags @ first[:, :-1].T + first[:, -1]).square()
    floor = (RELATIVE_FLOOR**2 * (weight * square).sum(dim=0)).clamp_min(EPSILON**2)
    share = weight / (square + floor)
    return _ridge(lags, target, share / share.sum(dim=0), penalty)


def _ridge(lags: Tensor, target: Tensor, share: Tensor, penalty: float) -> Tensor:
    """Weighted least squares with intercept in float64, one row per target.

    Args:
        lags: Shape ``(n, 2 K)``.
        target: Shape ``(n, H)``.
        share: Weights, of sum one, for each target or all alike, shape ``(n, H)`` or ``(n, 1)``.
        penalty: As a fraction of the mean variance of a lag.

    Returns:
        Shape ``(H, 2 K + 1)``. The time is that of a product of a few rows, which stay in the
        cache, with themselves for each column of the weights.
    """
    center = lags.mean(dim=0)
    count = lags.shape[1] + 1
    gram = lags.new_zeros(share.shape[1], count, count)
    cross = lags.new_zeros(count, target.shape[1])
    for some, wanted, part in zip(*(x.split(_ROWS) for x in (lags, target, share)), strict=True):
        known = torch.cat([some - center, some.new_ones(len(some), 1)], dim=1)
        for total, column in zip(gram, part.T, strict=True):
            total.addmm_(known.T, column[:, None] * known)
        cross.addmm_(known.T, part * wanted)
    slopes = gram.diagonal(dim1=1, dim2=2)[:, :-1]
    slopes.add_(penalty * slopes.mean(dim=1, keepdim=True) + 1e-14)
    weight = solve_normal(gram, cross.T.unsqueeze(-1)).squeeze(-1)
    weight[:, -1] -= weight[:, :-1] @ center
    return weight
