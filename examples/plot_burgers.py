"""Draw the Burgers-like social dynamics: shock, gelation, bursts of nodes, and the whole graph.

Four panels: the inviscid Burgers equation of aggregation steepens into a shock; the height of the
shock is the gel fraction, which the largest cluster of a random process follows; the observable of
a few nodes; and that of a sector of the graph, neighbours side by side.

Usage: python examples/plot_burgers.py [--nodes 6000] [--samples 300] [--output FILE.png]
"""

from __future__ import annotations

import argparse
import itertools
import logging
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from roma_pyg.config import BurgersConfig, GraphConfig
from roma_pyg.data.graph import Graph
from roma_pyg.data.hyperbolic import HyperbolicGraph, hyperbolic_graph
from roma_pyg.dynamics.burgers_simulation import BurgersSimulation
from roma_pyg.dynamics.bursts import Bursts
from roma_pyg.dynamics.gelation import gel_fraction, shock_profile
from roma_pyg.dynamics.kuramoto import coupling_matrix

# Nodes of the sector, few enough to be told apart.
SECTOR = 100
# Colours of Okabe & Ito (2008), which readers with colour-vision deficiency can tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
STYLES = ("-", "--", "-.", ":")
TIME = "time [time units]"


def draw_shock(axes: Axes) -> None:
    """Profiles v(x, t) before, at and after the onset."""
    x = np.linspace(-3, 0, 600)
    times = (0.0, 0.5, 1.0, 2.0)
    for time, colour, style in zip(times, COLOURS, STYLES, strict=True):
        profile = shock_profile(x, time)
        label = f"t = {time:g}" + (" (onset)" if time == 1 else "")
        axes.plot(x, profile, style, color=colour, label=label)
        # The gel lies between the profile and zero, at x = 0.
        axes.plot([0, 2], [0, 0], color="black", linewidth=1)
    height = float(gel_fraction(2.0))
    axes.plot([0, 0], [height, 0], STYLES[3], color=COLOURS[3])
    axes.annotate(
        "shock: its height\nis the gel fraction",
        (0, height / 2),
        (0.2, height / 2),
        va="center",
        arrowprops={"arrowstyle": "->"},
    )
    axes.set(xlabel="x", ylabel="v(x, t)", title="Burgers equation of aggregation")
    axes.legend(frameon=False, loc="lower left")


def largest_clusters(times: np.ndarray, members: int, rng: np.random.Generator) -> np.ndarray:
    """Share of the largest cluster when ``members * t / 2`` random pairs have met."""
    pairs = rng.integers(members, size=(2, round(members * times[-1] / 2)))
    shares = []
    for time in times:
        met = pairs[:, : round(members * time / 2)]
        graph = coo_array((np.ones(met.shape[1]), tuple(met)), shape=(members, members))
        label = connected_components(graph, directed=False)[1]
        shares.append(np.bincount(label).max() / members)
    return np.array(shares)


def draw_gelation(axes: Axes, rng: np.random.Generator) -> None:
    """Gel fraction against the largest cluster of a finite random process."""
    time = np.linspace(0, 4, 400)
    axes.plot(time, gel_fraction(time), color=COLOURS[0], label="1 - g = exp(-t g)")
    seen = np.linspace(0.1, 4, 40)
    shares = largest_clusters(seen, 20_000, rng)
    axes.plot(
        seen,
        shares,
        "o",
        color=COLOURS[1],
        markersize=4,
        fillstyle="none",
        label="largest cluster of\n20,000 members",
    )
    axes.axvline(1, color="grey", linewidth=0.8, linestyle=":")
    axes.set(xlabel="t [onset time]", ylabel="gel fraction g", title="Growth of a community")
    axes.legend(frameon=False, loc="lower right")


def draw_nodes(
    axes: Axes, values: np.ndarray, bursts: Bursts, nodes: np.ndarray, degree: np.ndarray
) -> None:
    """Observable of a few nodes, shifted, with the onsets of their own bursts."""
    samples = values.shape[1]
    index = np.stack([bursts.members(s * bursts.dt)[0][:, nodes] for s in range(samples)])
    begins = np.diff(index, axis=0, prepend=index[:1]).any(axis=1)
    scale = values[nodes].max()
    for row, (node, colour) in enumerate(zip(nodes, COLOURS, strict=True)):
        shift = 1.15 * row
        axes.plot(bursts.dt * np.arange(samples), values[node] / scale + shift, color=colour)
        onsets = bursts.dt * np.flatnonzero(begins[:, row])
        axes.plot(onsets, np.full(len(onsets), shift - 0.02), "^", color=colour, markersize=4)
        axes.text(
            1.02,
            shift + 0.15,
            f"degree {degree[node]}",
            color=colour,
            transform=axes.get_yaxis_transform(),
        )
    axes.set(xlabel=TIME, ylabel="observable u, shifted", title="Four nodes; ▲ own onset")
    axes.set_yticks([])
    axes.set_xlim(0, bursts.dt * samples)


def draw_sector(
    figure: Figure, axes: Axes, values: np.ndarray, drawn: HyperbolicGraph, dt: float
) -> None:
    """Observable of the nodes of a sector of the disk, in the order of their angle."""
    order = np.argsort(drawn.angle)[:SECTOR]
    shown = values[order]
    image = axes.imshow(
        shown,
        aspect="auto",
        origin="lower",
        cmap="cividis",
        interpolation="nearest",
        extent=(0, dt * shown.shape[1], 0, len(order)),
        norm=LogNorm(*np.quantile(shown, [0.02, 0.998])),
    )
    bar = figure.colorbar(image, ax=axes, label="observable u", extend="both")
    bar.ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    bar.ax.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel=TIME, ylabel="node, by angle in the disk", title="A sector of the graph")


def choose_nodes(values: np.ndarray, degree: np.ndarray) -> np.ndarray:
    """The node that varies most among those of each of four ranges of degree."""
    spread = values.std(axis=1)
    edges = (1, 2, 4, 16, degree.max() + 1)
    ranges = [(degree >= a) & (degree < b) for a, b in itertools.pairwise(edges)]
    # Not the very largest, of which one does not see how the others look.
    return np.array(
        [np.flatnonzero(r)[np.argsort(spread[r])[-max(2, r.sum() // 50)]] for r in ranges]
    )


def main() -> None:
    """Simulate, draw and write the figure."""
    parser = argparse.ArgumentParser(description="Draw the Burgers-like social dynamics.")
    parser.add_argument("--nodes", type=int, default=6000, help="nodes of the graph before pruning")
    parser.add_argument("--samples", type=int, default=300, help="samples shown")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("docs/images/burgers.png"))
    arguments = parser.parse_args()
    drawn = hyperbolic_graph(GraphConfig(nodes=arguments.nodes), arguments.seed)
    graph = Graph.from_matrix(coupling_matrix(drawn.adjacency))
    config = BurgersConfig()
    simulation = BurgersSimulation(graph, config, arguments.seed)
    burn_in, total = simulation.burn_in, simulation.burn_in + arguments.samples
    states = itertools.islice(
        simulation.states(simulation.initial(), -burn_in, total), burn_in, None
    )
    values = np.stack([simulation.observe(state, 0) for state in states], axis=1)
    values /= values.max()
    degree = np.diff(graph.rowptr)

    figure = Figure(figsize=(10, 7.2), layout="constrained")
    FigureCanvasAgg(figure)
    shock, gel, nodes, sector = figure.subplots(2, 2).ravel()
    draw_shock(shock)
    draw_gelation(gel, np.random.default_rng(arguments.seed))
    bursts = Bursts(simulation.sources, config.jitter, config.dt)
    draw_nodes(nodes, values, bursts, choose_nodes(values, degree), degree)
    draw_sector(figure, sector, values, drawn, config.dt)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    temporary = arguments.output.with_suffix(".tmp.png")
    figure.savefig(temporary, dpi=95)
    temporary.replace(arguments.output)
    logging.getLogger(__name__).info("Figure %s", arguments.output)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
