"""Power laws, fitted on logarithms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class PowerLaw:
    """``y = prefactor * x^-exponent``.

    Attributes:
        exponent: The exponent.
        low: Lower end of its 95 % confidence interval.
        high: Upper end.
        prefactor: Value at ``x = 1``.
        r2: Explained variance of the logarithms.
        points: Number of points.
    """

    exponent: float
    low: float
    high: float
    prefactor: float
    r2: float
    points: int

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Evaluate the law."""
        return self.prefactor * np.asarray(x, dtype=float) ** -self.exponent


def power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """Fit a power law by least squares on the logarithms.

    Args:
        x: Positive sizes; seeds of one size are points of their own.
        y: Positive errors.

    Raises:
        ValueError: If there are less than three points or only one size.

    >>> law = power_law([1, 10, 100], [2.0, 1.0, 0.5])
    >>> round(law.exponent, 3), round(law.prefactor, 3)
    (0.301, 2.0)
    """
    if len(x) != len(y) or len(x) < 3 or len(set(x)) < 2:
        raise ValueError(
            f"Expected at least three points of at least two sizes for a power law (got {len(x)} "
            f"points of {len(set(x))} sizes)."
        )
    found = stats.linregress(np.log(np.asarray(x, dtype=float)), np.log(np.asarray(y, dtype=float)))
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, len(x) - 2)) * float(found.stderr)
    exponent = -float(found.slope)
    return PowerLaw(
        exponent,
        exponent - reach,
        exponent + reach,
        math.exp(float(found.intercept)),
        float(found.rvalue) ** 2,
        len(x),
    )
