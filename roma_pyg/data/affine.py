"""The affine map that brings measured values into (0, 1], and its inverse."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roma_pyg.reading import shorten

LOW, HIGH = 0.02, 1.0


@dataclass(frozen=True)
class AffineScaling:
    """Map ``[minimum, maximum]`` of the measured unit linearly onto ``[low, high]``.

    ``y = low + (high - low) (x - minimum) / (maximum - minimum)``. The relative loss (sMSPE) and
    the multiplicative noise of the model are defined for positive values only; ``low`` stays
    clear of zero, where a relative error has no meaning.

    Args:
        minimum: Smallest measured value, in the unit of the data.
        maximum: Largest measured value, in the unit of the data.
        low: Image of ``minimum``, in (0, 1).
        high: Image of ``maximum``.

    Example:
        >>> scaling = AffineScaling(-1.0, 3.0)
        >>> scaling.apply(np.array([-1.0, 1.0, 3.0])).round(4)
        array([0.02, 0.51, 1.  ], dtype=float32)
        >>> scaling.invert(scaling.apply(np.array([-1.0, 1.0, 3.0]))).round(4)
        array([-1.,  1.,  3.])
    """

    minimum: float
    maximum: float
    low: float = LOW
    high: float = HIGH

    def __post_init__(self) -> None:
        """Check the range.

        Raises:
            ValueError: If the range is not finite, empty, or too wide for float64.
        """
        numbers = (self.minimum, self.maximum, self.low, self.high)
        if not all(isinstance(number, int | float) for number in numbers) or self.low >= self.high:
            raise ValueError(f"Expected minimum, maximum and low < high (got {numbers}).")
        if not np.isfinite(self.maximum - self.minimum) or self.maximum < self.minimum:
            raise ValueError(
                "Expected a finite range minimum <= maximum that float64 can hold "
                f"(got [{self.minimum}, {self.maximum}]). Change the unit of the data."
            )

    def apply(self, values: NDArray[Any]) -> NDArray[np.float32]:
        """Scale measured values of any shape; a constant series lands half-way."""
        span = self.maximum - self.minimum
        if span == 0:
            middle = 0.5 * (self.low + self.high)
            return np.full(np.shape(values), middle, dtype=np.float32)
        # In float64, as the interesting variation may be small beside the mean.
        unit = (np.asarray(values, dtype=np.float64) - self.minimum) / span
        return (self.low + (self.high - self.low) * unit).astype(np.float32)

    def invert(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return scaled values (such as forecasts) in the measured unit, same shape."""
        unit = (np.asarray(values, dtype=np.float64) - self.low) / (self.high - self.low)
        return self.minimum + (self.maximum - self.minimum) * unit

    def to_metadata(self) -> dict[str, float]:
        """Return plain numbers, for ``GraphSeries.metadata["scaling"]``."""
        return asdict(self)

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> AffineScaling | None:
        """Read the scaling of ``series.metadata``; None if the values were not scaled."""
        stored = metadata.get("scaling")
        if stored is None:
            return None
        if (
            not isinstance(stored, Mapping)
            or not {"minimum", "maximum"} <= set(stored)
            or (set(stored) - {"minimum", "maximum", "low", "high"})
        ):
            raise ValueError(
                "Expected a 'scaling' of minimum, maximum, low and high in the metadata (got "
                f"{shorten(stored)})."
            )
        return cls(**stored)
