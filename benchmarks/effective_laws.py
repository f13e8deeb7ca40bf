"""Do residual operators find the law, where it is known?

    python benchmarks/effective_laws.py --seeds 0 1 2
    python benchmarks/effective_laws.py --systems heat burgers ring

Two kinds of systems. In *continuous* ones (``heat``, ``burgers``) the field and its derivatives
are exact solutions in closed form, evaluated as jets, and the law alone is trained on random
solutions. In systems on *graphs* (``ring``, ``grid``, ``large grid``, ``consensus``, ``clusters``)
the whole model is trained by ``roma_pyg.training.run.train`` on a series, law and forecast
together, and the law sees u and the difference to the mean of the neighbours.

For each the table tells the *unexplained share* |R|^2 / |u_t|^2 on solutions that were not seen,
the same of perturbed states (of twice the viscosity; on graphs with twice the rate of change; a law
that is right and linear leaves .25), on graphs also that of the model's own forecast, and the
coefficients of the law, with the truth and the spread over seeds. ``memory`` and ``one mode`` are
cases in which the law cannot be told from the data.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import roma_pyg
from roma_pyg.config import (
    DataConfig,
    EffectiveConfig,
    EncoderConfig,
    MemoryConfig,
    ModelConfig,
    OperatorConfig,
    PoolConfig,
    PositionalConfig,
    RunConfig,
    SplitConfig,
    TrainingConfig,
    TrunkConfig,
)
from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.data.windows import WindowStream
from roma_pyg.dynamics.integrators import Workspace, rk4_step
from roma_pyg.models.effective import EffectiveDynamics, Residual
from roma_pyg.nn.trunk import DeepONet, FourierFeatures
from roma_pyg.physics import Jet
from roma_pyg.physics.residuals import burgers as advection
from roma_pyg.training.run import train

NU, MODES, TOKENS = 0.1, 4, 8
Row = dict[str, float]


def unexplained(residual: Residual) -> float:
    """Share of the squared rate of change that a law leaves."""
    return float(residual.value.square().mean() / residual.rate.square().mean())


# --- Continuous systems ---------------------------------------------------------------------


class Solutions:
    """Random sums of modes: solutions of the heat equation, and of Burgers' by Cole and Hopf.

    Args:
        seed: Of amplitudes, phases and wave vectors.
        viscosity: nu of the solutions.
        modes: Number of modes.
        number: Wave number of all modes; drawn from 0.5 ... 2 if None.
    """

    def __init__(
        self, seed: int, viscosity: float = NU, modes: int = MODES, number: float | None = None
    ) -> None:
        """Draw the modes of one batch of solutions."""
        generator = torch.Generator().manual_seed(seed)
        direction = torch.randn(3, modes, generator=generator)
        length = 0.5 + 1.5 * torch.rand(modes, generator=generator)
        length = length if number is None else torch.full_like(length, number)
        self.wave = length * direction / direction.norm(dim=0)
        self.decay = -viscosity * self.wave.square().sum(0, keepdim=True)
        self.amplitude = torch.randn(3, TOKENS, 1, modes, generator=generator)
        self.phase = 6.3 * torch.rand(3, TOKENS, 1, modes, generator=generator)
        self.viscosity = viscosity

    def heat(self, points: Tensor, order: int) -> Jet:
        """Three independent scalar solutions, shape ``(1, tokens, Q, 3)``."""
        parts = []
        for amplitude, phase in zip(self.amplitude, self.phase, strict=True):
            angle, fading = self._waves(points, order, phase)
            parts.append((fading * amplitude * torch.cos(angle)).sum(-1, keepdim=True))
        return torch.cat(parts, dim=-1).unsqueeze(0)

    def burgers(self, points: Tensor, order: int) -> Jet:
        """Solution -2 nu grad log(phi) of Burgers' equation, shape ``(1, tokens, Q, 3)``."""
        # Amplitudes that add up to less than one keep phi positive.
        share = 0.8 * self.amplitude[0] / self.amplitude[0].abs().sum(-1, keepdim=True)
        angle, fading = self._waves(points, order, self.phase[0])
        fading = fading * share
        phi = (fading * torch.cos(angle)).sum(-1, keepdim=True) + 1.0
        slope = -(fading * torch.sin(angle)) @ self.wave.T
        return (-2 * self.viscosity * slope / phi).unsqueeze(0)

    def _waves(self, points: Tensor, order: int, phase: Tensor) -> tuple[Jet, Jet]:
        """Angle and decay of each mode, shapes ``(tokens, Q, modes)`` and ``(Q, modes)``."""
        jet = Jet.coordinates(points, order)
        return jet[..., 1:] @ self.wave + phase, torch.exp(jet[..., :1] @ self.decay)


def make_law(kind: str, inputs: list[str], seed: int) -> EffectiveDynamics:
    """A law with a small operator network; branch tokens are one-hot names of solutions."""
    torch.manual_seed(seed)
    config = EffectiveConfig(kind=kind, inputs=inputs)  # type: ignore[arg-type]

    def operator(field: int) -> DeepONet:
        return DeepONet(TOKENS, 1, 32, 64, 2, FourierFeatures(32, 0.3), field)

    return EffectiveDynamics(config, operator, spread=1.0)


def random_points(count: int, generator: torch.Generator) -> Tensor:
    """Times in [0, 1] and places in [-1, 1]^3."""
    points = torch.rand(count, 4, generator=generator)
    points[:, 1:] = 2 * points[:, 1:] - 1
    return points


def evaluate(law: EffectiveDynamics, field: Jet, points: Tensor) -> Residual:
    """Residual of a batch of solutions."""
    branch, features = torch.eye(TOKENS).unsqueeze(0), torch.zeros(1, TOKENS, 1)
    return law(points, field, branch, features)


def fit_law(
    law: EffectiveDynamics, solution: Callable[[int], Solutions], name: str, steps: int
) -> None:
    """Train a law on exact derivatives of random solutions."""
    # A Burgers-like law has a few numbers to find, from far away.
    rate = 5e-3 if law.raw_viscosity is None else 3e-2
    optimizer = torch.optim.AdamW(law.parameters(), rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps)
    generator = torch.Generator().manual_seed(0)
    for step in range(steps):
        points = random_points(48, generator)
        residual = evaluate(law, getattr(solution(step), name)(points, law.order), points)
        loss = residual.value.square().mean() / residual.rate.square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


@torch.no_grad()
def coefficients(law: EffectiveDynamics, name: str, field: Jet, points: Tensor) -> Row:
    """Coefficients of lap u and, in Burgers' equation, of -(u . grad) u in F, by least squares."""
    source = field.time - evaluate(law, field, points).value
    columns = [field.laplacian.flatten(), field.value.flatten()]
    if name == "burgers":
        # Without its rate of change, what is left of the residual is the advection.
        keep = torch.tensor([0.0, 1, 1, 1, 0]).view(-1, 1, 1, 1, 1)
        still = Jet(field.value, field.derivatives * keep, 4, 2)
        columns.append(-advection(still, 1.0, 0.0).flatten())
    design = torch.stack(columns, dim=1)
    found = torch.linalg.lstsq(design, source.flatten()[:, None]).solution.flatten().tolist()
    row = {"nu": found[0], "true nu": NU, "own": found[1], "true own": 0.0}
    return row | ({"F": found[2], "true F": 1.0} if name == "burgers" else {})


@torch.no_grad()
def score_law(law: EffectiveDynamics, name: str, unseen: int = 10**6) -> tuple[Row, Jet, Tensor]:
    """Unexplained share of solutions that were not seen, and of those with twice the viscosity."""
    points = random_points(200, torch.Generator().manual_seed(7))
    truth, other = Solutions(unseen), Solutions(unseen, 2 * NU)
    field, faster = (getattr(made, name)(points, law.order) for made in (truth, other))
    row = {
        "unexplained": unexplained(evaluate(law, field, points)),
        "perturbed": unexplained(evaluate(law, faster, points)),
    }
    return row, field, points


def emergent_law(name: str, seed: int, steps: int) -> Row:
    """Law that sees u, its gradient and its Laplacian; in Burgers' products have to be found."""
    law = make_law("emergent", ["field", "gradient", "laplacian"], seed)
    fit_law(law, lambda step: Solutions(1000 * seed + step), name, steps)
    row, field, points = score_law(law, name)
    return row | coefficients(law, name, field, points)


def burgers(seed: int, steps: int) -> Row:
    """Burgers-like law whose F sees nothing, so that it is one number per direction."""
    law = make_law("burgers", [], seed)
    fit_law(law, lambda step: Solutions(1000 * seed + step), "burgers", steps)
    row, _, points = score_law(law, "burgers")
    with torch.no_grad():
        nothing = torch.zeros(1, TOKENS, 1)
        strength = law.operator(0 * points, torch.zeros(1, TOKENS, TOKENS), nothing) / law.spread
        row |= {"F": float(strength.mean()), "true F": 1.0}
        row |= {"nu": float(law.viscosity), "true nu": NU}
    return row


def one_mode(seed: int, steps: int) -> Row:
    """Solutions of one wave number: -nu k^2 u and nu lap u are the same."""

    def solution(step: int) -> Solutions:
        return Solutions(1000 * seed + step, modes=1, number=1.5)

    law = make_law("emergent", ["field", "gradient", "laplacian"], seed)
    fit_law(law, solution, "heat", steps)
    row, field, points = score_law(law, "heat")
    return row | coefficients(law, "heat", field, points)


def memory(seed: int, steps: int) -> Row:
    """A law that sees where, when and which solution: it learns the solutions by heart."""
    law = make_law("emergent", ["coordinates", "branch"], seed)
    fit_law(law, lambda step: Solutions(seed), "heat", steps)
    row, _, points = score_law(law, "heat")
    with torch.no_grad():
        seen = Solutions(seed).heat(points, 2)
        row["seen"] = unexplained(evaluate(law, seen, points))
    return row


# --- Systems on graphs ----------------------------------------------------------------------

WINDOW, HORIZON, DT = 8, 8, 0.2


def relax(
    edges: np.ndarray, nodes: int, rng: np.random.Generator, samples: int
) -> tuple[np.ndarray, float]:
    """u_t = mean of the neighbours - u, exactly, from a random state of the modes 6 to 45.

    Slower and faster ones would leave the end of the series, which is tested, another system than
    its beginning.

    Returns:
        Series, and the sampling time, by which the typical mode decays by e over the series.
    """
    adjacency = np.zeros((nodes, nodes))
    adjacency[edges[0], edges[1]] = adjacency[edges[1], edges[0]] = 1
    degree = adjacency.sum(1)
    # The walk matrix by its symmetric twin, whose eigenvectors are well conditioned.
    twin = adjacency / np.sqrt(degree[:, None] * degree)
    value, vector = np.linalg.eigh(twin)
    rate = (1 - value)[::-1][6:46]
    mode = (vector / np.sqrt(degree)[:, None])[:, ::-1][:, 6:46]
    dt = 1 / (samples * float(np.median(rate)))
    fading = np.exp(-rate[:, None] * dt * np.arange(samples))
    values = mode @ (rng.normal(size=40)[:, None] * fading)
    values -= values.min()
    return (0.05 + 0.9 * values / values.max()).astype(np.float32), dt


def ring_edges(nodes: int) -> np.ndarray:
    """A cycle."""
    ring = np.arange(nodes)
    return np.stack([ring, (ring + 1) % nodes])


def grid_edges(side: int) -> np.ndarray:
    """A torus of squares."""
    place = np.arange(side * side).reshape(side, side)
    right = np.stack([place.ravel(), np.roll(place, -1, 1).ravel()])
    down = np.stack([place.ravel(), np.roll(place, -1, 0).ravel()])
    return np.concatenate([right, down], axis=1)


def random_edges(nodes: int, rng: np.random.Generator) -> np.ndarray:
    """A ring with as many random chords."""
    ring = ring_edges(nodes)
    return np.concatenate([ring, rng.integers(0, nodes, (2, nodes))], axis=1)


def clusters(copies: int, rng: np.random.Generator, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of Kuramoto clusters that fall into lock: theta = +-phi / 2 in the mean frame.

    phi' = delta - 2 kappa sin(phi), from phi in (.2, 2.6), integrated with 20 RK4 substeps.
    """
    phi = torch.from_numpy(rng.uniform(0.2, 2.6, copies))
    work = Workspace.like(phi)

    def rate(_: float, phi: Tensor, out: Tensor) -> None:
        torch.sin(phi, out=out).mul_(-2 * KAPPA).add_(DELTA)

    rows = []
    for _ in range(samples):
        rows.append(phi.numpy().copy())
        for _ in range(20):
            rk4_step(rate, 0.0, phi, DT / 20, work)
    observable = (1.05 + np.cos(np.stack(rows, axis=1) / 2)) / 2.1
    # Two clusters of three nodes, joined completely, per copy; all nodes of a copy show the same.
    base = 6 * np.arange(copies)
    inside = np.array([(a, b) for a in range(6) for b in range(a + 1, 6)]).T
    edges = (base[None, :, None] + inside[:, None, :]).reshape(2, -1)
    return edges, np.repeat(observable, 6, axis=0).astype(np.float32)


DELTA, KAPPA = 0.02, 0.02


def graph_config(
    folder: Path, subgraph: int, inputs: list[str], seed: int, steps: int
) -> RunConfig:
    """A small model that is trained on subgraphs of so many nodes."""
    return RunConfig(
        data=DataConfig(
            name="law",
            root=str(folder / "data"),
            system="files",
            edges="edges.csv",
            series="series.csv",
            positional=PositionalConfig(eigenmaps=4, walk_embedding=0),
            split=SplitConfig(test_nodes=0.02, val_nodes=0.02, test_time=0.2, val_time=0.1),
            window=WINDOW,
            horizon=HORIZON,
            nodes_per_graph=subgraph,
            # All nodes follow one law.
            memory=MemoryConfig(size=0),
            noise=0.0,
            seed=seed,
        ),
        model=ModelConfig(
            features=8,
            encoder=EncoderConfig(width=32),
            pool=PoolConfig(sizes=[], width=32),
            operator=OperatorConfig(width=32, layers=1, heads=2, num_functions=8, history=0),
            trunk=TrunkConfig(basis=16, width=64, layers=2, fourier_features=16, fourier_std=0.3),
            effective=EffectiveConfig(
                kind="emergent",
                inputs=inputs,
                residual=0.5,
                residual_gradient=0.0,
                times=4,
            ),
        ),
        training=TrainingConfig(
            output=str(folder),
            name="run",
            seed=seed,
            max_steps=steps,
            val_interval=steps,
            val_batches=1,
            steps_ahead=HORIZON,
            figures=False,
            workers=0,
            accelerator="cpu",
        ),
    )


def on_graph(
    edges: np.ndarray,
    values: np.ndarray,
    dt: float,
    inputs: list[str],
    rate: Callable[[Tensor, Tensor], Tensor],
    seed: int,
    steps: int,
    subgraph: int | None = None,
) -> tuple[Row, Tensor, Tensor, Tensor]:
    """Train forecast and law together; then hold the law against the true rate of change.

    Judged at the nodes that see all their neighbours.

    Args:
        edges: Shape ``(2, e)``.
        values: Series, shape ``(N, T)``.
        dt: Sampling time.
        inputs: What the law sees.
        rate: True rate of change per time unit, from the observable and its neighbour difference.
        seed: Of everything.
        steps: Training steps.
        subgraph: Nodes of a subgraph; the whole training graph if None.

    Returns:
        The row, and the observable, neighbour difference and F along the observable.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        series = roma_pyg.GraphSeries.from_arrays(edges, values, dt=dt, name="law")
        config = graph_config(folder, subgraph or len(values), inputs, seed, steps)
        data = GraphSeriesData(config.data, config.training, series, progress=False)
        model = roma_pyg.load(train(config, data=data, progress=False))
    # Training nodes at test times, when the state is another one than in training.
    stream = WindowStream(
        data.series.values,
        data.features,
        data.split.visible("train"),
        data.samplers["train"],
        data.split.times["test"],
        window=WINDOW,
        horizon=HORIZON,
        noise=0.0,
        steps_ahead=[1, HORIZON],
    )
    rows: list[tuple[Tensor, ...]] = []
    shares: dict[str, list[Tensor]] = {"unexplained": [], "perturbed": [], "forecast": []}
    with torch.no_grad():
        for index in range(8):
            batch = stream.batch(index)
            levels, _ = model.hierarchy(model.encode(batch))
            branch = model.attend(levels)
            fine = levels[0]
            assert batch.target is not None
            observable = batch.target.view(1, -1, 2, 1)
            difference = fine.neighbor_difference(observable)
            true = HORIZON * dt * rate(observable, difference)
            along = model.direction
            state = Jet.of_time([observable * along, true * along], 4)
            law = model.effective
            assert law is not None
            points = model._points(batch.steps)
            features = fine.features
            residual = law(points, state, branch, features, fine.neighbor_difference)
            double = Jet.of_time([observable * along, 2 * true * along], 4)
            wrong = law(points, double, branch, features, fine.neighbor_difference)
            own = model.residual(levels, branch, batch.steps)
            # Where a neighbour is not there, the difference to the neighbours is another.
            whole = fine.whole
            for key, part in (("unexplained", residual), ("perturbed", wrong), ("forecast", own)):
                value, speed = part.value[whole], part.rate[whole]
                shares[key].append(torch.stack([value.square().mean(), speed.square().mean()]))
            source = ((residual.rate - residual.value) * along).sum(-1, keepdim=True)
            found_here = (observable, difference, source / (HORIZON * dt))
            rows.append(tuple(part[whole] for part in found_here))
    row = {}
    for key, parts in shares.items():
        top, bottom = torch.stack(parts).sum(0)
        row[key] = float(top / bottom)
    found = [
        torch.cat([part.flatten() for part in parts]).double() for parts in zip(*rows, strict=True)
    ]
    return row, found[0], found[1], found[2]


def diffusion(
    edges: np.ndarray,
    nodes: int,
    seed: int,
    steps: int,
    inputs: list[str] | None = None,
    subgraph: int | None = None,
) -> Row:
    """u_t = kappa (mean of neighbours - u), kappa = 1; the law sees u too, by default."""
    values, dt = relax(edges, nodes, np.random.default_rng(seed), 400)
    inputs = ["field", "neighbors"] if inputs is None else inputs
    row, u, difference, found = on_graph(
        edges, values, dt, inputs, lambda u, d: d, seed, steps, subgraph
    )
    design = torch.stack([difference, u, torch.ones_like(u)], dim=1)
    weight = torch.linalg.lstsq(design, found[:, None]).solution.flatten()
    return row | {
        "kappa": float(weight[0]),
        "true kappa": 1.0,
        "own": float(weight[1]),
        "true own": 0.0,
    }


def two_clusters(seed: int, steps: int) -> Row:
    """Reduced Kuramoto equation in the observable: y' = -s (delta - 4 kappa s c) / 4.2."""
    edges, values = clusters(40, np.random.default_rng(seed), 400)

    def terms(u: Tensor) -> tuple[Tensor, Tensor]:
        c = 2.1 * u - 1.05
        s = (1 - c.square()).clamp_min(0).sqrt()
        return -s / 4.2, 4 * s.square() * c / 4.2

    def rate(u: Tensor, _: Tensor) -> Tensor:
        first, second = terms(u)
        return DELTA * first + KAPPA * second

    row, u, _, found = on_graph(edges, values, DT, ["field"], rate, seed, steps)
    design = torch.stack(terms(u), dim=1)
    weight = torch.linalg.lstsq(design, found[:, None]).solution.flatten()
    return row | {
        "delta": float(weight[0]),
        "true delta": DELTA,
        "kappa": float(weight[1]),
        "true kappa": KAPPA,
    }


def ring(seed: int, steps: int) -> Row:
    """Heat equation on a ring of 200 nodes."""
    return diffusion(ring_edges(200), 200, seed, steps)


def grid(seed: int, steps: int) -> Row:
    """Heat equation on a torus of 15 x 15 nodes."""
    return diffusion(grid_edges(15), 225, seed, steps)


def large_grid(seed: int, steps: int) -> Row:
    """Heat equation on a torus of 40 x 40 nodes, by subgraphs of 400, most of them cut."""
    return diffusion(grid_edges(40), 1600, seed, steps, subgraph=400)


def consensus(seed: int, steps: int) -> Row:
    """Linear consensus on a random graph of 200 nodes; the law sees differences alone."""
    edges = random_edges(200, np.random.default_rng(seed))
    return diffusion(edges[:, edges[0] != edges[1]], 200, seed, steps, ["neighbors"])


SYSTEMS: dict[str, Callable[[int, int], Row]] = {
    "heat": partial(emergent_law, "heat"),
    "burgers": burgers,
    "burgers, emergent": partial(emergent_law, "burgers"),
    "ring": ring,
    "grid": grid,
    "large grid": large_grid,
    "consensus": consensus,
    "clusters": two_clusters,
    "one mode": one_mode,
    "memory": memory,
}


def describe(rows: list[Row]) -> str:
    """Mean and spread over seeds of every number, the truth behind it."""
    cells = []
    for key in rows[0]:
        if key.startswith("true "):
            continue
        values = np.array([row[key] for row in rows])
        spread = f" ({values.std(ddof=1):.2g})" if len(values) > 1 else ""
        truth = f", truth {rows[0][f'true {key}']:g}" if f"true {key}" in rows[0] else ""
        cells.append(f"{key} {values.mean():.3g}{spread}{truth}")
    return "; ".join(cells)


def main() -> None:
    """Print one line per system."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--output", type=Path, help="JSON file for the numbers of each seed")
    options = parser.parse_args()
    print("| system | mean (standard deviation) over seeds |\n| --- | --- |")
    everything = {}
    for name in options.systems:
        rows = [SYSTEMS[name](seed, options.steps) for seed in options.seeds]
        everything[name] = rows
        print(f"| {name} | {describe(rows)} |", flush=True)
    if options.output:
        options.output.write_text(json.dumps(everything, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
