"""Random windows to fit the baselines on, drawn from a part of the split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from mmap import PAGESIZE

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from roma_pyg.data.graph import IntArray
from roma_pyg.data.noise import add_noise
from roma_pyg.data.pages import release_pages
from roma_pyg.data.series import GraphSeries


@dataclass(frozen=True)
class Windows:
    """Inputs and targets of ``n`` windows.

    Attributes:
        lags: Own lags and neighbour-mean lags, noisy, shape ``(n, 2 K)``, float32.
        target: Next samples, noisy, shape ``(n, horizon)``, float32.
    """

    lags: NDArray[np.float32]
    target: NDArray[np.float32]

    def __len__(self) -> int:
        """Number of windows."""
        return len(self.lags)


class WindowSampler:
    """Draws noisy windows of given nodes at given times; other nodes do not exist for it.

    Every draw picks some nodes and some times, reads the windows of these nodes and of their
    neighbours (``visible`` ones only), adds noise to each value as it would be observed, and
    averages over the neighbours by one sparse product. Memory of a draw is O(m q (K + horizon)
    + c q K) for m nodes with c distinct neighbours and q times: it does not grow with N or T, and
    the series may be a memory map.

    Args:
        series: Series with N nodes.
        nodes: Nodes whose windows are drawn, subset of ``visible``.
        visible: Nodes that may act as neighbours; couplings are renormalised among them.
        times: Forecast times to draw from.
        window: History length K, in samples.
        horizon: Length of the target, in samples.
        noise: Variance of the multiplicative noise on lags and targets.
    """

    def __init__(
        self,
        series: GraphSeries,
        nodes: IntArray,
        visible: IntArray,
        times: range,
        window: int,
        horizon: int,
        noise: float,
    ) -> None:
        """Cut out the visible graph; O(N + E) memory.

        Raises:
            ValueError: If a part is empty, a node is not visible, or a window leaves the series.
        """
        for name, part in (("nodes", nodes), ("times", times)):
            if len(part) == 0:
                raise ValueError(f"Expected at least one entry in '{name}' (got none).")
        if times[0] < window or times[-1] + horizon > series.num_steps:
            raise ValueError(
                f"Expected 'times' in [{window}, {series.num_steps - horizon}] for window {window} "
                f"and horizon {horizon} (got {times[0]} to {times[-1]})."
            )
        self.visible = np.sort(visible)
        place = np.searchsorted(self.visible, nodes).clip(max=len(self.visible) - 1)
        if (self.visible[place] != nodes).any():
            raise ValueError("Expected every node of 'nodes' to be in 'visible'.")
        self._place = place
        self._coupling = series.graph.induced(self.visible).to_matrix()
        self._values = series.values
        self.times = times
        self.window = window
        self.horizon = horizon
        self.noise = noise

    def draw(self, rng: np.random.Generator, num_nodes: int, num_windows: int) -> Windows:
        """Draw about ``num_windows`` windows: up to ``num_nodes`` nodes, each at the same times.

        Args:
            rng: Source of randomness.
            num_nodes: Nodes of the draw, at most the available ones.
            num_windows: Windows wanted. At least 8 times are used, where there are as many, and
                never more than there are.
        """
        num_nodes = min(num_nodes, len(self._place))
        num_times = min(max(8, -(-num_windows // num_nodes)), len(self.times))
        picked = self._place[rng.choice(len(self._place), num_nodes, replace=False)]
        times = self.times.start + rng.choice(len(self.times), num_times, replace=False)
        rows = self._coupling[picked]
        near = np.union1d(rows.indices, picked)
        past = self._gather(near, times - self.window, self.window, rng)
        ahead = self._gather(picked, times, self.horizon, rng)
        mean = rows[:, near] @ past.reshape(len(near), -1)
        own = past[np.searchsorted(near, picked)]
        lags = np.concatenate([own, mean.reshape(own.shape)], axis=2, dtype=np.float32)
        return Windows(lags.reshape(-1, 2 * self.window), ahead.reshape(-1, self.horizon))

    def stream(
        self, rng: np.random.Generator, num_windows: int, num_nodes: int = 1024
    ) -> Iterator[Windows]:
        """Yield draws until ``num_windows`` windows have been drawn."""
        drawn = 0
        while drawn < num_windows:
            windows = self.draw(rng, num_nodes, min(8 * num_nodes, num_windows - drawn))
            drawn += len(windows)
            yield windows

    def _gather(
        self, rows: IntArray, starts: IntArray, length: int, rng: np.random.Generator
    ) -> NDArray[np.float32]:
        """Noisy pieces of the series, shape ``(rows, starts, length)``."""
        pieces = sliding_window_view(self._values, length, axis=1)
        found = pieces[self.visible[rows][:, None], starts[None, :]]
        release_pages(self._values, found.size // length * (4 * length + 2 * PAGESIZE))
        return add_noise(found, self.noise, rng)
