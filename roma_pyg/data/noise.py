"""Multiplicative log-normal noise on observed series."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from roma_pyg.data.pages import read_window

# Keeps these draws apart from other generators that are seeded by the same (seed, time).
_STREAM = 0x0153


def add_noise(
    values: NDArray[np.float32], variance: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    r"""Multiply every value by its own log-normal factor.

    .. math:: u \mapsto u \, e^{\eta}, \qquad \eta \sim \mathcal N(0, \mathtt{variance})

    The noise model of arXiv:2502.15913. Zero stays zero and signs are kept. The factor has median
    one, so its mean :math:`e^{\mathtt{variance}/2}` exceeds one slightly.

    Args:
        values: Values of any shape, float32; not modified.
        variance: Variance of the logarithm of the factor, at least 0 (published: 4e-4 and 1e-2).
        rng: Source of randomness; nothing is drawn at zero variance.

    Returns:
        Noisy values, a new array of the same shape, float32.

    Raises:
        ValueError: If the variance is negative or not finite.

    >>> add_noise(np.array([0.0, 2.0], dtype=np.float32), 0.0, np.random.default_rng(0))
    array([0., 2.], dtype=float32)
    """
    if not (np.isfinite(variance) and variance >= 0):
        raise ValueError(f"Expected 'variance' to be finite and at least 0 (got {variance}).")
    values = np.asarray(values, dtype=np.float32)
    if variance == 0:
        return values.copy()
    factor = rng.standard_normal(values.shape, dtype=np.float32)
    factor *= np.float32(variance**0.5)
    np.exp(factor, out=factor)
    factor *= values
    return factor


def noise_generator(seed: int, time: int) -> np.random.Generator:
    """Return the generator that belongs to ``(seed, time)`` alone.

    Args:
        seed: Seed of the evaluation, at least 0.
        time: Forecast time in samples, at least 0.
    """
    return np.random.default_rng([_STREAM, seed, time])


def noisy_history(
    values: NDArray[np.float32], time: int, window: int, variance: float, seed: int
) -> NDArray[np.float32]:
    """History before ``time`` with noise that depends on ``(seed, time)`` alone.

    Every method that is compared gets this same array. Memory is O(N K), also if ``values`` is a
    memory map.

    Args:
        values: Series, shape ``(N, T)``.
        time: First sample that is not seen.
        window: History length K, in samples.
        variance: Variance of the logarithm of the noise factor.
        seed: Seed of the noise.

    Returns:
        ``values[:, time - window : time]`` with noise, shape ``(N, K)``.

    Raises:
        ValueError: If the window does not lie inside the series.
    """
    if not window <= time <= values.shape[1]:
        raise ValueError(
            f"Expected 'time' in [{window}, {values.shape[1]}] for a window of {window} samples "
            f"(got {time})."
        )
    return add_noise(
        read_window(values, slice(None), time - window, time), variance, noise_generator(seed, time)
    )
