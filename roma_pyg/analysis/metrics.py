"""Forecast errors: formulas, and streaming accumulators that merge exactly."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from roma_pyg.models.base import EPSILON

# Relative spread below which a truth counts as constant: float64 rounding of its mean.
CONSTANT = 1e-12

FloatArray64 = NDArray[np.float64]


def relative_error(prediction: NDArray[np.floating], truth: NDArray[np.floating]) -> FloatArray64:
    r"""Symmetric relative error :math:`|y - \hat y| / (|y| + |\hat y| + 10^{-4})`, in [0, 1)."""
    y, guess = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    return np.abs(y - guess) / (np.abs(y) + np.abs(guess) + EPSILON)


def smspe(prediction: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Symmetric mean squared percentage error (arXiv:2502.15913), as a fraction in [0, 1).

    >>> round(smspe(np.array([1.0, 3.0]), np.array([1.0, 1.0])), 4)
    0.125
    """
    return float(np.square(relative_error(prediction, truth)).mean())


def smape(prediction: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Symmetric mean absolute percentage error, as a fraction in [0, 1).

    The denominator is the sum, not the mean, of the two sizes, as in :func:`smspe`.
    """
    return float(relative_error(prediction, truth).mean())


def rmse(prediction: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Root mean squared error, in units of the observable."""
    y, guess = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    return float(np.sqrt(np.square(y - guess).mean()))


def r2(prediction: NDArray[np.floating], truth: NDArray[np.floating]) -> float:
    """Explained fraction of the variance about the mean of the evaluated truth.

    One is perfect, zero as good as that mean; NaN if the truth is constant.
    """
    y, guess = np.asarray(truth, np.float64), np.asarray(prediction, np.float64)
    spread = np.square(y - y.mean()).sum()
    if spread <= y.size * (CONSTANT * y.mean()) ** 2:
        return float("nan")
    return float(1 - np.square(y - guess).sum() / spread)


def skill(error: float, best_naive_error: float) -> float:
    """Skill ``1 - error / best_naive_error``: one is perfect, zero as good as the best naive one.

    Against a perfect naive method (error zero) it is zero for another perfect one, otherwise minus
    infinity. NaN errors give NaN.

    >>> skill(0.25, 1.0)
    0.75
    """
    if best_naive_error == 0:
        return 0.0 if error == 0 else (float("nan") if np.isnan(error) else -float("inf"))
    return 1 - error / best_naive_error


@dataclass(frozen=True)
class HorizonMetrics:
    """Errors per step ahead; each array has shape ``(Q,)``, float64.

    Attributes:
        smspe: Symmetric mean squared percentage error, a fraction.
        smape: Symmetric mean absolute percentage error, a fraction.
        rmse: Root mean squared error, in units of the observable.
        r2: Explained variance about the mean of the evaluated truth at that step; NaN if the
            truth is constant.
        count: Number of forecasts behind each entry.
    """

    smspe: FloatArray64
    smape: FloatArray64
    rmse: FloatArray64
    r2: FloatArray64
    count: int


class HorizonErrors:
    """Streams forecasts and truths, and gives the errors per step ahead.

    The spread of the truth is merged by the pairwise update of Chan, Golub & LeVeque (1983), so
    any order of updates and merges gives the errors of all forecasts at once, to rounding. A
    method that has diverged (infinite or NaN forecasts) gets NaN or infinite errors.

    Args:
        num_steps: Number of steps ahead Q.
    """

    def __init__(self, num_steps: int) -> None:
        """Start empty; O(Q) memory."""
        self.num_steps = num_steps
        self._count = 0
        self._squared_relative = np.zeros(num_steps)
        self._relative = np.zeros(num_steps)
        self._squared = np.zeros(num_steps)
        self._mean = np.zeros(num_steps)
        self._spread = np.zeros(num_steps)

    def update(self, prediction: NDArray[np.floating], truth: NDArray[np.floating]) -> None:
        """Add forecasts.

        Args:
            prediction: Shape ``(n, Q)``.
            truth: Shape ``(n, Q)``, finite.

        Raises:
            ValueError: If the shapes are wrong or the truth is not finite.
        """
        if prediction.shape != truth.shape or truth.shape[1:] != (self.num_steps,):
            raise ValueError(
                f"Expected forecasts and truth of shape (n, {self.num_steps}) "
                f"(got {tuple(prediction.shape)} and {tuple(truth.shape)})."
            )
        if not np.isfinite(truth).all():
            raise ValueError("Expected finite truth (got NaN or infinity).")
        if len(truth) == 0:
            return
        y, guess = truth.astype(np.float64), prediction.astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            relative = relative_error(guess, y)
            self._squared_relative += np.square(relative).sum(0)
            self._relative += relative.sum(0)
            self._squared += np.square(y - guess).sum(0)
        self._join(len(y), y.mean(0), np.square(y - y.mean(0)).sum(0))

    def merge(self, other: HorizonErrors) -> None:
        """Add everything that ``other`` has seen.

        Raises:
            ValueError: If the numbers of steps differ.
        """
        if other.num_steps != self.num_steps:
            raise ValueError(f"Expected {self.num_steps} steps (got {other.num_steps}).")
        if other._count == 0:
            return
        with np.errstate(over="ignore", invalid="ignore"):
            self._squared_relative += other._squared_relative
            self._relative += other._relative
            self._squared += other._squared
        self._join(other._count, other._mean, other._spread)

    def result(self) -> HorizonMetrics:
        """Errors of everything seen so far.

        Raises:
            ValueError: If nothing has been seen.
        """
        if self._count == 0:
            raise ValueError("Expected at least one forecast (got none).")
        varies = self._spread > self._count * (CONSTANT * self._mean) ** 2
        with np.errstate(over="ignore", invalid="ignore"):
            left = self._squared / np.where(varies, self._spread, 1.0)
            return HorizonMetrics(
                smspe=self._squared_relative / self._count,
                smape=self._relative / self._count,
                rmse=np.sqrt(self._squared / self._count),
                r2=np.where(varies, 1 - left, np.nan),
                count=self._count,
            )

    def _join(self, count: int, mean: FloatArray64, spread: FloatArray64) -> None:
        """Merge number, mean and spread of a second set of truths."""
        total = self._count + count
        gap = mean - self._mean
        self._spread = self._spread + spread + gap**2 * (self._count * count / total)
        self._mean = self._mean + gap * (count / total)
        self._count = total
