"""What the whole past of a node tells about its future, in a few numbers."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from roma_pyg import exchange
from roma_pyg.config import DataConfig
from roma_pyg.data.collective import CollectiveModes
from roma_pyg.data.crossfit import block_edges, block_of, kept_times
from roma_pyg.data.graph import IntArray
from roma_pyg.data.history import History
from roma_pyg.data.surroundings import Surroundings
from roma_pyg.least_squares import solve_normal

PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Candidates of the ridge penalty per node, relative to the variance of a lag."""

FITTED_NODES = 512
JUDGED_NODES = 128
INTERVALS = 16
RECALLED = slice(None, None, 4)
"""Of the outlook steps, those a memory is recalled from: errors at near steps are much alike."""

INFLATIONS = (1, 4, 16, 64, 256)
"""Candidates of how many windows of a node tell as much as one that is independent of others."""

SLACK = 1.02
"""Error, in units of the least, up to which less inflation is preferred."""

LARGEST_COUNT = 512
MANY_NODES = 50_000
_NODES = 32
_LOGGER = logging.getLogger(__name__)


class NodeMemory(nn.Module):
    r"""Linear forecasts that differ from node to node, in a space of few dimensions.

    What is known of node i is its window w, and with `Surroundings` the course that collective
    modes expect of it, and lags of the mean window of its neighbours; together x. It is continued
    at a few steps ahead q (:func:`outlook_steps`) by

    .. math:: \hat y_i(t + q) = \Big(B_q + \sum_{m=1}^{M} a_{im} D_{mq}\Big) \cdot [x, 1]

    with coefficients B that all nodes share and M modes D in which they differ, as in a linear
    mixed-effects model (Laird & Ware 1982) whose random effects have a covariance of rank M. The
    modes are the principal components of ridge regressions of some nodes, in the metric of their
    forecasts (:meth:`fit`); the memory :math:`a_i \sim N(0, 1)` of a node is its posterior mean
    given its own past (:meth:`recall`): empirical Bayes. So a node costs M numbers instead of
    K times Q, a node that was not there in the training has a memory as well, and one with a
    short past has the forecast of all.

    What is not known of the surroundings is filled by its linear regression on what is.
    Nothing here is trained by gradient descent.

    Short series tell less than they seem to: where the times to learn from are fewer than
    :func:`least_times`, all nodes share one forecast, and where a block of them leaves fewer than
    `CollectiveModes.least_times`, collective modes are not looked at.

    Args:
        size: Number of modes M.
        window: History length K, in samples.
        horizon: Longest step ahead, in samples.
        collective: Look at the course that collective modes expect.
        neighbors: Look at the mean window of the neighbours.

    Raises:
        ValueError: If a size is not positive.

    Example:
        >>> phase, rate = np.random.default_rng(0).random((2, 40, 1))
        >>> waves = np.sin(6 * phase + (0.1 + rate) * np.arange(400)).astype(np.float32)
        >>> memory = NodeMemory(size=8, window=8, horizon=16)
        >>> memory.fit(waves, np.arange(40), range(8, 300))
        >>> coefficients = torch.from_numpy(memory.recall(waves, range(8, 300))[-1])
        >>> outlook = memory(torch.from_numpy(waves[:, 340:348]), coefficients)
        >>> truth = torch.from_numpy(waves[:, 347 + memory.steps])
        >>> bool((outlook - truth).abs().mean() < 0.05)
        True
    """

    level: Tensor
    spread: Tensor
    shared: Tensor
    modes: Tensor
    scale: Tensor
    fill_course: Tensor
    fill_neighbors: Tensor

    def __init__(
        self,
        size: int,
        window: int,
        horizon: int,
        *,
        collective: bool = False,
        neighbors: bool = False,
    ) -> None:
        """Start with modes of zero: every window is continued by zero."""
        super().__init__()
        for name, value in (("size", size), ("window", window), ("horizon", horizon)):
            if value < 1:
                raise ValueError(f"Expected '{name}' to be at least 1 (got {value}).")
        self.window, self.horizon = window, horizon
        self.collective, self.neighbors = collective, neighbors
        self.steps = outlook_steps(horizon)
        # Lags of the mean of the neighbours, the last sample first.
        self.lags = np.unique(np.arange(INTERVALS) * window // INTERVALS)
        count = len(self.steps)
        course, around = count * collective, len(self.lags) * neighbors
        width = window + course + around + 1
        self.register_buffer("level", torch.zeros(()))
        self.register_buffer("spread", torch.ones(()))
        self.register_buffer("shared", torch.zeros(width, count))
        self.register_buffer("modes", torch.zeros(size, width, count))
        self.register_buffer("scale", torch.ones(count))
        self.register_buffer("fill_course", torch.zeros(window + 1, course))
        self.register_buffer("fill_neighbors", torch.zeros(window + course + 1, around))

    @classmethod
    def of(cls, data: DataConfig) -> NodeMemory:
        """The memory that some options ask for."""
        options = data.memory
        return cls(
            options.size,
            data.window,
            data.horizon,
            collective=options.collective > 0,
            neighbors=options.neighbors,
        )

    @property
    def size(self) -> int:
        """Number of modes M."""
        return len(self.modes)

    @torch.no_grad()
    def forward(
        self,
        window: Tensor,
        memory: Tensor,
        course: Tensor | None = None,
        neighbors: Tensor | None = None,
    ) -> Tensor:
        """Continue windows; O(n K M Q) time, O(n M Q) bytes.

        Args:
            window: Windows, shape ``(n, K)``.
            memory: Coefficients of their nodes, shape ``(n, M)``.
            course: What collective modes expect of them, shape ``(n, Q)``; rows of NaN where that
                is not known.
            neighbors: Mean windows of the neighbours of the first nodes, shape ``(c, K)``.

        Returns:
            Samples at ``steps`` ahead, shape ``(n, Q)``.
        """
        with torch.autocast(window.device.type, enabled=False):
            bank = torch.cat([self.shared[None], self.modes])
            joint = bank[:, :-1].movedim(1, 0).flatten(1)
            if neighbors is not None:
                neighbors = neighbors[:, self.window - 1 - self.lags]
            known = self._inputs(window, course, neighbors)
            parts = (known @ joint).unflatten(1, (len(bank), -1)) + bank[:, -1]
            weight = torch.cat([memory.new_ones(len(memory), 1), memory], dim=1)
            return self.level + self.spread * (weight.unsqueeze(1) @ parts).squeeze(1)

    def _inputs(self, window: Tensor, course: Tensor | None, neighbors: Tensor | None) -> Tensor:
        """All that is known, standardised, gaps filled; shape ``(n, ..., D)``."""
        known = (window - self.level) / self.spread
        if self.collective:
            filled = known @ self.fill_course[:-1] + self.fill_course[-1]
            if course is not None:
                course = (course - self.level) / self.spread
                filled = torch.where(course.isfinite(), course, filled)
            known = torch.cat([known, filled], dim=-1)
        if self.neighbors:
            count = 0 if neighbors is None else len(neighbors)
            filled = known[count:] @ self.fill_neighbors[:-1] + self.fill_neighbors[-1]
            if neighbors is not None:
                filled = torch.cat([(neighbors - self.level) / self.spread, filled])
            known = torch.cat([known, filled], dim=-1)
        return known

    @torch.no_grad()
    def fit(
        self,
        values: NDArray[np.floating],
        nodes: IntArray,
        times: range,
        noise: float = 0.0,
        seed: int = 0,
        around: Surroundings | None = None,
    ) -> None:
        """Find shared coefficients and modes from the ridge regressions of some nodes.

        The penalty, towards the shared coefficients, is the one of `PENALTIES` that does best in
        the last quarter of the times after a fit to the first three. As windows of a node overlap,
        `recall` would trust them too much if all counted: of `INFLATIONS` the smallest is taken
        whose memory of the first three quarters, at other nodes, errs hardly more in the last one
        than that of the best. It is part of ``scale``.

        Args:
            values: Series, shape ``(N, T)``, may be a memory map.
            nodes: Nodes to learn from, shape ``(n,)``; `FITTED_NODES` of them at most are read.
            times: Forecast times to learn from.
            noise: Variance of the multiplicative noise on the series.
            seed: Seed of nodes and noise.
            around: Surroundings of the nodes, for a memory that looks at them.

        Raises:
            ValueError: If there is no node or no time, or surroundings are missing.
        """
        if len(nodes) == 0 or len(times) == 0:
            raise ValueError(
                f"Expected nodes and times to fit the memory on (got {len(nodes)} and "
                f"{len(times)})."
            )
        rng = np.random.default_rng([0x3E, seed])
        chosen = np.sort(rng.choice(nodes, min(FITTED_NODES, len(nodes)), replace=False))
        others = np.setdiff1d(nodes, chosen)
        judged = np.sort(rng.choice(others, min(JUDGED_NODES, len(others)), replace=False))
        past = _Past(self, values, times, noise, seed, around)
        course = slice(self.window, self.window + self.fill_course.shape[1])
        trusted = past.modes is None or past.modes.least_times <= min(
            len(kept_times(row, times, past.modes.blocks, self.horizon))
            for row in range(past.modes.blocks + 1)
        )
        parts: tuple[list[_Moments], list[_Moments], list[_Moments]] = ([], [], [])
        for start in range(0, len(chosen), _NODES):
            known, target = past.read(chosen[start : start + _NODES])[:2]
            if start == 0:
                # Any level and spread near those of the data serve.
                finite = known[..., : self.window]
                finite = finite[finite.isfinite()].double()
                if len(finite) > 1:
                    self.level.copy_(finite.mean())
                    spread = finite.std()
                    self.spread.copy_(torch.where(spread > 1e-6, spread, 1.0))
            known, target = (known - self.level) / self.spread, (target - self.level) / self.spread
            if not trusted:
                # Weights of what is zero are zero.
                known[..., course] = 0
            cut = 3 * known.shape[1] // 4
            for some, rows in zip(parts, (slice(None), slice(cut), slice(cut, None)), strict=True):
                some.append(_Moments.of(known[:, rows], target[:, rows]))
        moments, early, late = (_Moments.join(some) for some in parts)
        gram = moments.gram.mean(0)
        for fill in (self.fill_course, self.fill_neighbors):
            count = len(fill) - 1
            given = [*range(count), len(gram) - 1]
            cross = gram[given, count : count + fill.shape[1]]
            fill.copy_(_solve(gram[given][:, given], cross, 1e-6))
        shared = _solve(gram, moments.cross.mean(0), 1e-6)
        self.shared.copy_(shared)
        if len(times) < least_times(self.horizon):
            self.modes.zero_()
            _LOGGER.warning(
                "Expected at least %d training times for a memory of the nodes with a horizon of "
                "%d samples (got %d): they get none.",
                least_times(self.horizon),
                self.horizon,
                len(times),
            )
            return
        penalty = _best_penalty(early, late, shared)
        effects = _solve(moments.gram, moments.cross - moments.gram @ shared, penalty)
        error = moments.error(shared + effects)
        self.scale.copy_(error.mean(0).clamp_min(1e-12).sqrt())
        self.modes.copy_(_components(effects, gram, self.scale, self.size))
        self.scale.mul_(self._inflation(past, judged if len(judged) else chosen) ** 0.5)

    @torch.no_grad()
    def recall(
        self,
        values: NDArray[np.floating],
        times: range,
        nodes: IntArray | None = None,
        *,
        around: Surroundings | None = None,
        blocks: int = 0,
        noise: float = 0.0,
        seed: int = 0,
        progress: bool = False,
    ) -> NDArray[np.float32]:
        """Memory of nodes from their past: posterior mean of their coefficients.

        For training and scoring at the very times that are remembered, the times are cut into
        ``blocks``, and row b of the result forgets block b and what overlaps with it
        (cross-fitting): with it, forecasts from block b are as good as those from unseen times.

        Ranks that work on parts of one thing (`roma_pyg.exchange.joint`) share the nodes, and get
        the memory of all.

        Args:
            values: Series, shape ``(N, T)``, may be a memory map; windows that are not finite are
                skipped.
            times: Forecast times to remember; none gives a memory of zero.
            nodes: Nodes, shape ``(n,)``; all if None.
            around: Surroundings of the nodes, for a memory that looks at them.
            blocks: Number of blocks, see :func:`block_of`; that of the collective modes, or 0.
            noise: Variance of the multiplicative noise on the series.
            seed: Seed of the noise.
            progress: Show a progress bar for more than `MANY_NODES` nodes.

        Returns:
            Coefficients, and behind them the loadings of collective modes, if it looks at them:
            shape ``(blocks + 1, n, M)`` or ``(blocks + 1, n, M + C + 1)``, float32; the last row
            remembers all times. Time O(n len(times) M (K + M)) at most, memory O(blocks n M).

        Raises:
            ValueError: If surroundings are missing, or their modes have another number of blocks.
        """
        wanted = np.arange(len(values)) if nodes is None else np.asarray(nodes, np.int64)
        past = _Past(self, values, times, noise, seed, around)
        if past.modes is not None and blocks not in (0, past.modes.blocks):
            raise ValueError(
                f"Expected 'blocks' of 0 or {past.modes.blocks}, those of the collective modes "
                f"(got {blocks})."
            )
        part, parts = exchange.place()
        # Whole pieces, so that rounding does not depend on the number of ranks.
        first, last = (_NODES * (p * -(-len(wanted) // _NODES) // parts) for p in (part, part + 1))
        own = range(first, min(last, len(wanted)), _NODES)
        result = np.zeros((blocks + 1, len(wanted), self.size + past.loadings), dtype=np.float32)
        steps = len(self.steps[RECALLED])
        one = torch.eye(self.size, dtype=torch.float64).expand(1, -1, -1)
        grid = past.grid
        forgotten = [_forgotten(grid, times, b, blocks, self.horizon) for b in range(blocks)]
        forgotten.append((len(grid), len(grid)))
        # Moments between two cuts are found once; a block sums those outside of it.
        cuts = sorted({0, len(grid), *(edge for pair in forgotten for edge in pair)})
        bar = tqdm(
            total=min(last, len(wanted)) - first,
            desc="Memory of the nodes",
            unit=" nodes",
            unit_scale=True,
            disable=None if progress and len(wanted) > MANY_NODES else True,
        )
        for start in own if len(grid) else ():
            place = slice(start, start + _NODES)
            known, target, loadings = past.read(wanted[place])
            effect, error = self._evidence(known, target)
            pieces = [
                (a, b, (part.mT @ part).double(), (part.mT @ error[:, rows]).double())
                for a, b in pairwise(cuts)
                for rows in [slice(a * steps, b * steps)]
                for part in [effect[:, rows]]
            ]
            for row, (begin, end) in enumerate(forgotten):
                kept = [piece for piece in pieces if piece[1] <= begin or piece[0] >= end]
                gram = one + sum(piece[2] for piece in kept)
                nothing = one.new_zeros(len(known), self.size, 1)
                cross = sum((piece[3] for piece in kept), nothing)
                memory = solve_normal(gram, cross).squeeze(-1).float().numpy()
                result[row, place, : self.size] = memory
            result[:, place, self.size :] = loadings[-1 - blocks :]
            bar.update(len(known))
        bar.close()
        if parts > 1:
            for row in torch.from_numpy(result):
                row.copy_(exchange.total(row))
        return result

    def _evidence(self, known: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Effect of the modes and error of what is shared, in units of ``scale``; zero at gaps.

        Args:
            known: What was known, shape ``(n, T', D)``.
            target: What came, shape ``(n, T', Q)``.

        Returns:
            Shapes ``(n, T' R, M)`` and ``(n, T' R, 1)``, a row for every window and recalled step.
        """
        joint = (self.modes / self.scale)[..., RECALLED].permute(1, 2, 0).flatten(1).cpu()
        shared, scale = self.shared[:, RECALLED].cpu(), self.scale[RECALLED].cpu()
        level, spread = self.level.cpu(), self.spread.cpu()
        target = target[..., RECALLED]
        good = (known.isfinite().all(-1) & target.isfinite().all(-1)).unsqueeze(-1)
        known = torch.where(good, (known - level) / spread, 0.0)
        common = known @ shared[:-1] + shared[-1]
        error = torch.where(good, ((target - level) / spread - common) / scale, 0.0)
        effect = (known @ joint[:-1] + joint[-1]) * good
        return effect.reshape(len(known), -1, self.size), error.flatten(1, 2).unsqueeze(-1)

    def _inflation(self, past: _Past, nodes: IntArray) -> float:
        """How many windows count as one: what forecasts the last quarter of the times best."""
        steps = len(self.steps[RECALLED])
        late = past.times.start + 3 * len(past.times) // 4
        # Targets of the first part end where the last one begins.
        early = slice(int(np.searchsorted(past.grid, late - self.horizon, side="right")) * steps)
        rest = slice(int(np.searchsorted(past.grid, late)) * steps, None)
        one = torch.eye(self.size, dtype=torch.float64)
        loss = torch.zeros(len(INFLATIONS), dtype=torch.float64)
        for start in range(0, len(nodes), _NODES):
            effect, error = self._evidence(*past.read(nodes[start : start + _NODES])[:2])
            seen, missed = effect[:, early], error[:, early]
            gram, cross = (seen.mT @ seen).double(), (seen.mT @ missed).double()
            for number, inflation in enumerate(INFLATIONS):
                memory = solve_normal(inflation * one + gram, cross).float()
                left = error[:, rest] - effect[:, rest] @ memory
                loss[number] += left.square().sum()
        return INFLATIONS[int((loss <= SLACK * loss.min()).nonzero()[0])]


class _Past:
    """Windows of nodes at past times, with what surrounded them.

    Attributes:
        grid: Times whose windows are read: at most `LARGEST_COUNT`, a sixteenth of a horizon apart.
        loadings: Number of loadings per node.
    """

    def __init__(
        self,
        memory: NodeMemory,
        values: NDArray[np.floating],
        times: range,
        noise: float,
        seed: int,
        around: Surroundings | None,
    ) -> None:
        stride = max(1, memory.horizon // 16, -(-len(times) // LARGEST_COUNT))
        self.grid = np.arange(times.start, times.stop, stride)
        self.memory, self.times = memory, times
        self.modes = around.modes if memory.collective and around is not None else None
        self.around = around if memory.neighbors else None
        self.loadings = 0 if self.modes is None else self.modes.size + 1
        if len(self.grid) == 0:
            return
        if memory.collective and self.modes is None:
            raise ValueError("Expected 'around' with modes for this memory (got none).")
        if memory.neighbors and self.around is None:
            raise ValueError("Expected 'around' for a memory that sees neighbours (got none).")
        first, stop = times.start - memory.window, times[-1] + memory.horizon
        self.history = History(values, stop, stop - first, noise, seed)
        if self.modes is not None:
            span, blocks = self.modes.span, self.modes.blocks
            if (span.start, span.stop) != (first, stop):
                raise ValueError(
                    f"Expected modes found from samples {first} to {stop}, those of the times to "
                    f"remember (got {span.start} to {span.stop})."
                )
            self.block = np.array([block_of(int(time), times, blocks) for time in self.grid])
            pairs = zip(self.grid.tolist(), self.block, strict=True)
            self.ahead = np.stack(
                [self.modes.forecast(self.modes.before(time), block) for time, block in pairs]
            )

    def read(self, nodes: IntArray) -> tuple[Tensor, Tensor, NDArray[np.float32]]:
        """What was known ``(n, T', D)``, targets ``(n, T', Q)`` and loadings ``(rows, n, C + 1)``.

        The course of the modes at a time comes from the other blocks.
        """
        memory, start = self.memory, self.times.start
        series = self.history[nodes]
        pieces = sliding_window_view(series, memory.window + memory.horizon, axis=1)
        pieces = pieces[:, self.grid - start]
        known = [pieces[..., : memory.window]]
        loadings = np.zeros((1, len(nodes), 0), dtype=np.float32)
        if self.modes is not None:
            loadings = self.modes.loadings(series)
            known.append(np.einsum("tnc,tcq->ntq", loadings[self.block], self.ahead))
        if self.around is not None:
            mean = self.around.neighbor_mean(self.history, nodes)
            last = self.grid - start + memory.window - 1
            known.append(mean[:, last[:, None] - memory.lags].astype(np.float32))
        target = pieces[..., memory.window - 1 + memory.steps]
        return (
            torch.from_numpy(np.concatenate(known, axis=-1)),
            torch.from_numpy(np.ascontiguousarray(target)),
            loadings,
        )


def find_modes(
    data: DataConfig,
    values: NDArray[np.floating],
    nodes: IntArray,
    times: range,
    noise: float = 0.0,
    seed: int = 0,
) -> CollectiveModes | None:
    """Collective modes that the memory of some options looks at.

    Args:
        data: The options.
        values: Series, shape ``(N, T)``, may be a memory map.
        nodes: Nodes to take probes from, shape ``(n,)``.
        times: Forecast times to learn from.
        noise: Variance of the multiplicative noise on the series.
        seed: Seed of probes and noise.

    Returns:
        The modes; None where it looks at none, or there are no times.
    """
    if data.memory.collective == 0 or len(times) == 0:
        return None
    return CollectiveModes.find(
        values,
        nodes,
        times,
        window=data.window,
        steps=outlook_steps(data.horizon),
        count=data.memory.collective,
        blocks=data.memory.blocks,
        noise=noise,
        seed=seed,
    )


def outlook_steps(horizon: int) -> IntArray:
    """Steps ahead at which windows are continued: the next, then `INTERVALS` equal steps.

    >>> outlook_steps(64).tolist()
    [1, 4, 8, 12, 16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60, 64]
    >>> outlook_steps(3).tolist()
    [1, 2, 3]
    """
    even = np.arange(1, INTERVALS + 1) * horizon // INTERVALS
    return np.unique(np.concatenate([[1], even.clip(1)]))


def least_times(horizon: int) -> int:
    """Fewest forecast times that nodes are remembered from.

    The first three quarters of fewer times, without those whose targets reach into the last one,
    would be shorter than the horizon; and forgetting a block would leave next to nothing.

    >>> least_times(64)
    171
    """
    return -(-8 * horizon // 3)


def _forgotten(
    grid: IntArray, times: range, block: int, blocks: int, horizon: int
) -> tuple[int, int]:
    """Part of the grid whose targets overlap with those of a block."""
    first, last = block_edges(block, times, blocks)
    begin = np.searchsorted(grid, first - horizon, side="right")
    end = np.searchsorted(grid, last - 1 + horizon, side="left")
    return int(begin), int(end)


@dataclass(frozen=True)
class _Moments:
    """Mean products per node: of lags and one, of these with targets, of targets with themselves.

    Attributes:
        gram: Shape ``(n, K + 1, K + 1)``.
        cross: Shape ``(n, K + 1, H)``.
        square: Shape ``(n, H)``.
    """

    gram: Tensor
    cross: Tensor
    square: Tensor

    @classmethod
    def of(cls, lags: Tensor, target: Tensor) -> _Moments:
        """Moments of windows ``(n, T, K)`` and targets ``(n, T, H)``, where both are finite."""
        good = (lags.isfinite().all(-1) & target.isfinite().all(-1)).unsqueeze(-1)
        joint = torch.where(good, torch.cat([lags, lags.new_ones(good.shape)], dim=-1), 0.0)
        target = torch.where(good, target, 0.0)
        count = good.sum(1, keepdim=True).clamp_min(1).double()
        return cls(
            (joint.mT @ joint).double() / count,
            (joint.mT @ target).double() / count,
            target.double().square().sum(1) / count.squeeze(-1),
        )

    @classmethod
    def join(cls, parts: Sequence[_Moments]) -> _Moments:
        """Moments of all nodes."""
        names = ("gram", "cross", "square")
        return cls(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def error(self, coefficients: Tensor) -> Tensor:
        """Mean squared error of linear forecasts, shape ``(n, Q)``."""
        half = self.gram @ coefficients - 2 * self.cross
        return (self.square + (coefficients * half).sum(1)).clamp_min(0)


def _solve(gram: Tensor, cross: Tensor, penalty: float) -> Tensor:
    """Ridge solution with a penalty relative to the mean variance of a lag."""
    unit = gram.diagonal(dim1=-2, dim2=-1)[..., :-1].mean()
    eye = torch.eye(gram.shape[-1], dtype=gram.dtype)
    return solve_normal(gram + (penalty * unit + 1e-14) * eye, cross)


def _best_penalty(early: _Moments, late: _Moments, shared: Tensor) -> float:
    """Penalty whose fit to the early windows errs least on the late ones."""
    errors = []
    for penalty in PENALTIES:
        effects = _solve(early.gram, early.cross - early.gram @ shared, penalty)
        errors.append(late.error(shared + effects).mean(0))
    table = torch.stack(errors)
    # Each step ahead counts the same.
    return PENALTIES[int((table / table.amin(0).clamp_min(1e-12)).mean(1).argmin())]


def _components(effects: Tensor, gram: Tensor, scale: Tensor, size: int) -> Tensor:
    """Principal components of the effects of n nodes, each times its deviation over the nodes.

    Two effects are near if their forecasts are near, in units of what is left unexplained: the
    metric is that of the mean second moments of the lags.

    Args:
        effects: Shape ``(n, K + 1, H)``.
        gram: Mean second moments, shape ``(K + 1, K + 1)``.
        scale: Error at each step ahead, shape ``(H,)``.
        size: Number of components M.

    Returns:
        Shape ``(M, K + 1, H)``; zero where there are fewer components.
    """
    count = len(effects)
    values, axes = torch.linalg.eigh(gram)
    root = axes * values.clamp_min(0).sqrt()
    seen = ((root.mT @ effects) / scale).flatten(1)
    _, vectors = torch.linalg.eigh(seen @ seen.mT)
    kept = vectors.flip(1)[:, :size]
    # An eigenvector has no sign of its own.
    peak = kept.gather(0, kept.abs().argmax(0, keepdim=True))
    kept = kept * torch.where(peak < 0, -1.0, 1.0)
    modes = torch.einsum("nm,nkh->mkh", kept, effects) / count**0.5
    result = torch.zeros(size, *effects.shape[1:], dtype=effects.dtype)
    result[: len(modes)] = modes
    return result
