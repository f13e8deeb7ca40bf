"""Paired comparisons over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Ratio:
    """Errors of one method in units of those of another, on the same seeds.

    Attributes:
        ratio: Geometric mean of the ratios.
        low: Lower end of the 95 % confidence interval; NaN with less than two pairs.
        high: Upper end.
        p: Two-sided p-value of a ratio of one; NaN with less than two pairs.
        pairs: Number of pairs.
    """

    ratio: float
    low: float
    high: float
    p: float
    pairs: int


def paired_ratio(errors: Sequence[float], reference: Sequence[float]) -> Ratio:
    """Compare two methods by the t-test on the logarithms of their ratios, seed by seed.

    Pairs take out what both share, such as how hard the data set of a seed is.

    Args:
        errors: Positive errors of one method by seed.
        reference: Those of the other, in the same order.

    Raises:
        ValueError: If the numbers differ, or there is no pair.

    >>> result = paired_ratio([1.0, 2.2, 3.0], [2.0, 4.0, 6.3])
    >>> round(result.ratio, 2), result.p < 0.01
    (0.51, True)
    """
    if len(errors) != len(reference) or not errors:
        raise ValueError(
            f"Expected as many errors as of the reference, at least one (got {len(errors)} and "
            f"{len(reference)})."
        )
    logs = np.log(np.asarray(errors, dtype=float)) - np.log(np.asarray(reference, dtype=float))
    mean, pairs = float(logs.mean()), len(logs)
    if pairs < 2:
        return Ratio(math.exp(mean), math.nan, math.nan, math.nan, pairs)
    error = float(logs.std(ddof=1)) / math.sqrt(pairs)
    if error == 0:
        return Ratio(math.exp(mean), math.exp(mean), math.exp(mean), float(mean == 0), pairs)
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, pairs - 1)) * error
    p = 2 * float(stats.t.sf(abs(mean) / error, pairs - 1))
    return Ratio(math.exp(mean), math.exp(mean - reach), math.exp(mean + reach), p, pairs)
