"""Power laws, fitted on logarithms."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True)
class PowerLaw:
    """``y = prefactor * x^-exponent``, with one exponent and a prefactor for each group of points.

    Attributes:
        exponent: The exponent.
        low: Lower end of its 95 % confidence interval.
        high: Upper end.
        prefactors: Value at ``x = 1`` by group.
        r2: Explained variance of the logarithms within the groups.
        points: Number of points.
    """

    exponent: float
    low: float
    high: float
    prefactors: Mapping[Hashable, float]
    r2: float
    points: int

    @property
    def prefactor(self) -> float:
        """Value at ``x = 1``, geometric mean over the groups."""
        return math.exp(float(np.mean(np.log(list(self.prefactors.values())))))

    def __call__(self, x: np.ndarray, group: Hashable = None) -> np.ndarray:
        """Evaluate the law of ``group``, or that of the mean prefactor."""
        prefactor = self.prefactor if group is None else self.prefactors[group]
        return prefactor * np.asarray(x, dtype=float) ** -self.exponent


def power_law(
    x: Sequence[float], y: Sequence[float], groups: Sequence[Hashable] | None = None
) -> PowerLaw:
    """Fit a power law by least squares on the logarithms.

    Points of one group share a prefactor, all points the exponent. Where each seed has a data set
    of its own, which is harder or easier than the others, seeds are the groups: the interval of the
    exponent then does not hold what differs between data sets.

    Args:
        x: Positive sizes; seeds of one size are points of their own.
        y: Positive errors.
        groups: Group of each point; by default all are of one.

    Raises:
        ValueError: If there are less than two points more than groups, or only one size in each.

    >>> law = power_law([1, 10, 100], [2.0, 1.0, 0.5])
    >>> round(law.exponent, 3), round(law.prefactor, 3)
    (0.301, 2.0)
    >>> law = power_law([1, 4, 1, 4], [2.0, 1.0, 6.0, 3.0], ["easy"] * 2 + ["hard"] * 2)
    >>> round(law.exponent, 3), {name: round(at_1, 3) for name, at_1 in law.prefactors.items()}
    (0.5, {'easy': 2.0, 'hard': 6.0})
    """
    of_point: list[Hashable] = [None] * len(x) if groups is None else list(groups)
    if not len(x) == len(y) == len(of_point):
        raise ValueError(
            f"Expected a size, an error and a group of each point (got {len(x)}, {len(y)} and "
            f"{len(of_point)})."
        )
    members: dict[Hashable, list[int]] = {}
    for i, group in enumerate(of_point):
        members.setdefault(group, []).append(i)
    size, error = (np.log(np.asarray(values, dtype=float)) for values in (x, y))
    means = {g: (size[at].mean(), error[at].mean()) for g, at in members.items()}
    apart = size - [means[g][0] for g in of_point]
    spread = float(apart @ apart)
    freedom = len(x) - len(members) - 1
    if freedom < 1 or all(len({x[i] for i in at}) < 2 for at in members.values()):
        raise ValueError(
            f"Expected at least {len(members) + 2} points in {len(members)} groups, of two sizes "
            f"in one of them, for a power law (got {len(x)} points of {len(set(x))} sizes)."
        )
    change = error - [means[g][1] for g in of_point]
    exponent = -float(apart @ change) / spread
    left = change + exponent * apart
    unexplained, variance = float(left @ left), float(change @ change)
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2, freedom)) * math.sqrt(
        unexplained / freedom / spread
    )
    return PowerLaw(
        exponent,
        exponent - reach,
        exponent + reach,
        {g: math.exp(y_mean + exponent * x_mean) for g, (x_mean, y_mean) in means.items()},
        1 - unexplained / variance if variance > 0 else 0.0,
        len(x),
    )
