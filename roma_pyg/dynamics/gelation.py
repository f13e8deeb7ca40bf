r"""Growth curves of gelation: how a community forms suddenly out of small clusters.

Clusters of sizes i and j join at the rate ``i j``: every pair of members is as likely to make
contact. With n_s clusters of size s per member, of which there are infinitely many, each alone at
time 0, Smoluchowski's equation reads

.. math:: \dot n_s = \tfrac12 \sum_{i + j = s} i j\, n_i n_j - s\, n_s,

the loss being to clusters of every size and to the gel, so that the total mass stays one. For
``v(x, t) = 1 - sum_s s n_s(t) e^(s x)``, x <= 0, multiplying by ``s e^(s x)`` and summing gives the
inviscid Burgers equation

.. math:: v_t + v\, v_x = 0, \qquad v(x, 0) = 1 - e^x.

v is constant along the lines ``x = x_0 + v t``, hence ``v = 1 - exp(x - v t)``. Its slope at x = 0
is minus the second moment of the sizes, ``sum_s s^2 n_s = 1 / (1 - t)``, which diverges at t = 1:
a shock forms there and stays at x = 0. Its height is the mass that is missing from the finite
clusters, the gel fraction ``g(t) = v(0, t)``,

.. math:: 1 - g = e^{-t g}.

It is zero up to t = 1, then rises as ``2 (t - 1)`` and saturates as ``1 - e^-t``.

Gelation with a gel that goes on reacting: Ziff, Ernst & Hendriks, J. Phys. A 16, 2293 (1983), their
F-model. Online communities: Manrique, Zheng, Cao & Johnson, Phys. Rev. Lett. 121, 048301 (2018);
Burgers equation and shocks: arXiv:2108.01940, and Manrique et al., Phys. Rev. Lett. 130, 237401
(2023), arXiv:2210.14382.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import lambertw

Values = NDArray[np.float64]

# Newton's method for the exponent, started at t - 1/t, is at rounding error after three steps.
NEWTON_STEPS = 3
# Where it stops to be safe to divide by 1 - e^-z; the steps are exact there, as all is linear.
SMALLEST = 1e-9
# Beyond this time the gel holds everything, to double precision.
SATURATED = 40.0


def gel_fraction(time: ArrayLike) -> Values:
    r"""Gel fraction g(t), the largest solution of ``1 - g = exp(-t g)``.

    In closed form ``g = 1 + W(-t e^-t) / t`` with the principal branch of Lambert's W, which loses
    digits near the onset. Here the exponent ``z = t g`` is found instead, as the root of
    ``z / (1 - e^-z) = t``. Its left side has slopes between 1/2 and 1, so Newton's method converges
    from the start ``z = t - 1/t``, which is right to first order at both ends.

    Args:
        time: Time t in units of the onset, any shape, not NaN. Times before the onset at t = 1,
            also negative ones, give zero.

    Returns:
        g in [0, 1], same shape.

    Example:
        >>> gel_fraction([0.5, 1.0, 2.0]).round(6).tolist()
        [0.0, 0.0, 0.796812]
    """
    t = np.clip(np.asarray(time, dtype=np.float64), 1.0, SATURATED)
    z = t - 1 / t
    for _ in range(NEWTON_STEPS):
        z = np.maximum(z, SMALLEST)
        gel = -np.expm1(-z)
        quotient = z / gel
        z -= (quotient - t) / (quotient + (1 - quotient) / gel)
    fraction: Values = np.clip(z / t, 0.0, 1.0)
    return fraction


def gel_rate(time: ArrayLike) -> Values:
    r"""Growth rate of the gel, ``g' = g (1 - g) / (1 - t (1 - g))``.

    It jumps from 0 to 2 at the onset, the front of the shock, and decays as ``e^-t``.

    Args:
        time: Time t in units of the onset, any shape.

    Returns:
        g' in [0, 2], same shape; at t = 1 the value after the jump.

    Example:
        >>> gel_rate([0.9, 1.0]).tolist()
        [0.0, 2.0]
    """
    t = np.asarray(time, dtype=np.float64)
    gel = gel_fraction(t)
    distance = t - 1
    # Series of g' at the onset, where numerator and denominator vanish together.
    near = 2 - 16 / 3 * distance
    remaining = 1 - t * (1 - gel)
    far = np.divide(gel * (1 - gel), remaining, out=np.zeros_like(t), where=distance > 1e-5)
    rate: Values = np.where(distance < 0, 0.0, np.where(distance > 1e-5, far, near))
    return rate


def growth_curve(
    time: ArrayLike, onset: ArrayLike, rate: ArrayLike, saturation: ArrayLike
) -> Values:
    """Members of a community that gels: ``saturation * g(1 + rate (time - onset))``.

    Args:
        time: Time in time units; arguments are broadcast.
        onset: Time at which the gel appears, in time units.
        rate: Aggregation rate, in inverse time units, positive: the curve leaves zero with the
            slope ``2 rate saturation`` and goes from 10 to 90 % within ``1.505 / rate``.
        saturation: Members after a long time, non-negative.

    Returns:
        Members in [0, saturation].

    Raises:
        ValueError: If a rate is not positive or a saturation negative.

    Example:
        >>> growth_curve([9.0, 10.0, 12.0, 90.0], onset=10.0, rate=0.5, saturation=3.0).round(3)
        array([0.  , 0.  , 2.39, 3.  ])
    """
    rate, saturation = np.asarray(rate), np.asarray(saturation)
    if not (rate > 0).all():
        raise ValueError(f"Expected 'rate' to be positive (got {rate.min()}).")
    if not (saturation >= 0).all():
        raise ValueError(f"Expected 'saturation' to be non-negative (got {saturation.min()}).")
    age = np.asarray(time, dtype=np.float64) - np.asarray(onset)
    return np.asarray(saturation * gel_fraction(1 + rate * age))


def shock_profile(x: ArrayLike, time: float) -> Values:
    r"""Solution v(x, t) of the inviscid Burgers equation that the aggregation obeys.

    .. math:: v = 1 - \sum_s s\, n_s e^{s x} = 1 + W(-t\, e^{x - t}) / t

    Args:
        x: Logarithm of the argument of the generating function, non-positive, any shape.
        time: Time t in units of the onset, non-negative.

    Returns:
        v in [0, 1], falling in x: the share of members whose cluster is marked, if each member is
        marked with the probability ``1 - e^x`` and the gel always. v(0, t) is the gel fraction.

    Raises:
        ValueError: If x is positive or the time negative.

    Example:
        >>> shock_profile([-1.0, 0.0], 2.0).round(6).tolist()
        [0.944352, 0.796812]
    """
    x = np.asarray(x, dtype=np.float64)
    if not (x <= 0).all():
        raise ValueError(f"Expected 'x' to be non-positive (got {x.max()}).")
    if not time >= 0:
        raise ValueError(f"Expected 'time' to be non-negative (got {time}).")
    if time == 0:
        return np.asarray(-np.expm1(x))
    branch = lambertw(np.asarray(-time * np.exp(x - time), dtype=np.complex128), 0).real
    # At the branch point itself, where the shock forms, scipy may give NaN; W is -1 there.
    return np.asarray(np.clip(1 + np.nan_to_num(branch, nan=-1.0) / time, 0.0, 1.0))
