"""How far two partitions of the nodes agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Agreement:
    """Agreement of two partitions; 1 if they are the same up to the names of the parts.

    Attributes:
        ami: Adjusted mutual information, 0 in the mean for random partitions of these sizes (Vinh,
            Epps & Bailey 2010).
        nmi: Mutual information in units of the mean entropy, in [0, 1]. It grows with the number
            of parts, also of random ones.
        ari: Adjusted Rand index, 0 in the mean for random partitions of these sizes (Hubert &
            Arabie 1985).
    """

    ami: float
    nmi: float
    ari: float


def agreement(first: ArrayLike, second: ArrayLike) -> Agreement:
    """Compare two partitions.

    Args:
        first: Part of each node, integers, shape ``(N,)``.
        second: The same for the other partition.

    Raises:
        ValueError: If they are not of one node at least, and of equally many.

    Example:
        >>> agreement([0, 0, 1, 1], [5, 5, 2, 2])
        Agreement(ami=1.0, nmi=1.0, ari=1.0)
    """
    # Slow to import, and of no use elsewhere.
    from sklearn import metrics

    first, second = np.asarray(first), np.asarray(second)
    if first.ndim != 1 or first.shape != second.shape or first.size == 0:
        raise ValueError(
            "Expected two partitions of the same nodes, one part for each (got shapes "
            f"{first.shape} and {second.shape})."
        )
    return Agreement(
        float(metrics.adjusted_mutual_info_score(first, second)),
        float(metrics.normalized_mutual_info_score(first, second)),
        float(metrics.adjusted_rand_score(first, second)),
    )


def shuffled(labels: ArrayLike, seed: int = 0) -> NDArray[np.int64]:
    """A random partition with parts of the same sizes: what agreement is by chance.

    Example:
        >>> sorted(shuffled([2, 2, 7, 7, 7]).tolist())
        [2, 2, 7, 7, 7]
    """
    return np.random.default_rng(seed).permutation(np.asarray(labels, dtype=np.int64))
