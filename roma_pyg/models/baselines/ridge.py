"""Pooled ridge regression on own lags, or on own and neighbour-mean lags."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.graph import Graph, IntArray
from roma_pyg.models.baselines.lags import lag_features
from roma_pyg.models.baselines.samples import Windows
from roma_pyg.models.forecaster import Group

PENALTIES = (1e-12, 1e-8, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)

FloatArray64 = NDArray[np.float64]


class Moments:
    """Streamed first and second moments of inputs and targets, in float64.

    Everything that a linear least-squares fit needs: O(P^2 + P Q) memory for P inputs and Q
    targets, whatever the number of samples. Sums are taken about the means of the first update,
    which keeps their cancellation small.
    """

    def __init__(self) -> None:
        """Start empty."""
        self.count = 0

    def update(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> None:
        """Add samples.

        Args:
            x: Inputs, shape ``(n, P)``.
            y: Targets, shape ``(n, Q)``.
        """
        if self.count == 0:
            self._x0, self._y0 = x.mean(0, dtype=np.float64), y.mean(0, dtype=np.float64)
            self._x, self._y = np.zeros_like(self._x0), np.zeros_like(self._y0)
            self._xx = np.zeros((len(self._x0), len(self._x0)))
            self._xy = np.zeros((len(self._x0), len(self._y0)))
        dx, dy = x - self._x0, y - self._y0
        self.count += len(x)
        self._x += dx.sum(0)
        self._y += dy.sum(0)
        self._xx += dx.T @ dx
        self._xy += dx.T @ dy

    @property
    def mean(self) -> tuple[FloatArray64, FloatArray64]:
        """Means of inputs ``(P,)`` and targets ``(Q,)``."""
        return self._x0 + self._x / self.count, self._y0 + self._y / self.count

    @property
    def covariance(self) -> tuple[FloatArray64, FloatArray64]:
        """Covariance of the inputs ``(P, P)``, and of inputs with targets ``(P, Q)``."""
        x, y = self._x / self.count, self._y / self.count
        return self._xx / self.count - np.outer(x, x), self._xy / self.count - np.outer(x, y)

    @property
    def std(self) -> FloatArray64:
        """Standard deviation of the inputs, shape ``(P,)``; one where an input is constant."""
        std = np.sqrt(np.diagonal(self.covariance[0]).clip(min=0))
        return np.where(std > 1e-9 * (1 + np.abs(self.mean[0])), std, 1.0)


def solve_ridge(
    moments: Moments, penalties: tuple[float, ...], inputs: int | None = None
) -> tuple[FloatArray64, FloatArray64]:
    r"""Closed-form ridge regression for several penalties at once.

    With standardised inputs :math:`z` (mean 0, variance 1) and an intercept that is not penalised

    .. math:: B_\lambda = (\overline{z z^T} + \lambda I)^{-1}\, \overline{z y^T}

    by one eigendecomposition (Hastie, Tibshirani & Friedman, *The Elements of Statistical
    Learning*, section 3.4.1), returned for the inputs as they came.

    Args:
        moments: Moments of P inputs and Q targets.
        penalties: Values of lambda, no unit, non-negative.
        inputs: Use the first so many inputs only.

    Returns:
        Slopes ``(len(penalties), P, Q)`` and intercepts ``(len(penalties), Q)``, float64.

    Raises:
        ValueError: If there are no samples.
    """
    if moments.count == 0:
        raise ValueError("Expected at least one sample to fit a ridge regression (got none).")
    part = slice(0, inputs)
    (center, level), (xx, xy) = moments.mean, moments.covariance
    center, std = center[part], moments.std[part]
    values, vectors = np.linalg.eigh(xx[part, part] / np.outer(std, std))
    projected = vectors.T @ (xy[part] / std[:, None])
    # Rounding leaves eigenvalues of +-1e-16 where inputs are dependent; at lambda = 0 they would
    # be divided by. Below the floor the minimum-norm solution has no component.
    floor = len(values) * np.finfo(np.float64).eps * max(values[-1], 1e-300)
    kept = values > floor
    slopes = []
    for penalty in penalties:
        gain = np.where(kept, 1 / (np.where(kept, values, 1.0) + penalty), 0.0)
        slopes.append(vectors @ (gain[:, None] * projected) / std[:, None])
    slope = np.stack(slopes)
    return slope, level - center @ slope


class Ridge:
    r"""One linear map from lags to all steps ahead, shared by all nodes.

    .. math:: \hat y_i(t + q) = a_q + \sum_k b_{qk} u_i(t - k)
        \; \left( + \sum_k c_{qk} \sum_j w_{ij} u_j(t - k) \right)

    Args:
        slope: Coefficients of the lags (own, then neighbour means, oldest first), shape
            ``(K, horizon)`` or ``(2 K, horizon)``.
        intercept: Shape ``(horizon,)``.
        neighbors: Whether neighbour-mean lags are inputs.
        penalty: Penalty of each step ahead, for the record, shape ``(horizon,)``.
    """

    group: ClassVar[Group] = "naive"

    def __init__(
        self,
        slope: NDArray[np.floating],
        intercept: NDArray[np.floating],
        *,
        neighbors: bool,
        penalty: NDArray[np.floating] | None = None,
    ) -> None:
        """Keep the coefficients."""
        self.slope = slope
        self.intercept = intercept
        self.neighbors = neighbors
        self.penalty = penalty
        self.horizon = slope.shape[1]
        self.name = "ridge, own + neighbours" if neighbors else "ridge, own lags"

    @classmethod
    def fit(
        cls,
        moments: Moments,
        validation: Windows,
        *,
        neighbors: bool,
        penalties: tuple[float, ...] = PENALTIES,
    ) -> Ridge:
        """Fit by least squares; the penalty of each step ahead has the least validation error.

        Args:
            moments: Moments of own and neighbour-mean lags ``(2 K)`` and targets, training part.
            validation: Windows of the validation part.
            neighbors: Whether to use the neighbour-mean lags.
            penalties: Penalties to choose from, relative to inputs of variance one.

        Raises:
            ValueError: If there are no samples.
        """
        inputs = validation.lags.shape[1] // (1 if neighbors else 2)
        slope, intercept = solve_ridge(moments, penalties, inputs)
        lags = validation.lags[:, :inputs].astype(np.float64)
        error = np.stack(
            [
                np.square(lags @ b + a - validation.target).mean(0)
                for b, a in zip(slope, intercept, strict=True)
            ]
        )
        best, step = error.argmin(0), np.arange(slope.shape[2])
        return cls(
            slope[best, :, step].T,
            intercept[best, step],
            neighbors=neighbors,
            penalty=np.asarray(penalties)[best],
        )

    def forecast(
        self, history: NDArray[np.float32], graph: Graph, nodes: IntArray | None = None
    ) -> NDArray[np.float32]:
        """Forecast, shape ``(n, horizon)``; see :class:`~roma_pyg.models.forecaster.Forecaster`."""
        lags = lag_features(history, graph, nodes, neighbors=self.neighbors)
        if lags.shape[1] != len(self.slope):
            raise ValueError(
                f"Expected a history of {len(self.slope) // (1 + self.neighbors)} samples, as in "
                f"the fit (got {history.shape[1]})."
            )
        # Coefficients of opposite sign nearly cancel, so the product is taken in float64.
        return (lags @ self.slope + self.intercept).astype(np.float32)
