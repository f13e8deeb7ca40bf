"""Every option of a run, with its meaning, unit and default.

The dataclasses here are the only place where options are declared: the command line, the YAML
files, the checkpoints and the library all use them. Values are checked on construction.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from functools import cache
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from roma_pyg.reading import WrongTypeError, shorten

MOST_LAYERS = 1000
"""Layers, levels and blocks are made one by one: more would look like a program that hangs."""

MOST_FEATURES = 10_000
"""Positional features of a kind: each is a vector over all nodes."""

PRECISIONS = (
    *("32-true", "64-true", "16-true", "bf16-true", "16-mixed", "bf16-mixed"),
    *("64", "32", "16", "bf16"),
)
"""Names that Lightning knows without a further library."""

MOST_ROUNDS = 10_000
"""Steps that are done one by one between two samples."""

MOST_SAMPLES = 1e9
"""Samples that a burn-in may last."""

LARGEST = 2**53
"""Largest size of an integer: no option is that large, and numpy holds what is added to it."""


def check(condition: bool, key: str, expected: str, got: object) -> None:
    """Raise a uniform error for an impossible value.

    Raises:
        ValueError: If ``condition`` is false; the message names key, expectation and value.
    """
    if not condition:
        raise ValueError(f"Expected '{key}' to be {expected} (got {shorten(got)}).")


def is_plain_name(name: str) -> bool:
    """Whether a name can be that of a folder: printable, of one part, and no way out.

    >>> [is_plain_name(name) for name in ("km 5k", "", "..", "a/b")]
    [True, False, False, False]
    """
    return 0 < len(name) <= 200 and name.isprintable() and "/" not in name and name[0] != "."


def check_fields(options: Any, section: str) -> None:  # noqa: ANN401 - any dataclass
    """Check the types of all fields of a dataclass of options, and that numbers are usable.

    Args:
        options: The dataclass.
        section: Name of its section, for the message.

    Raises:
        WrongTypeError: If a value is not of the type of its field.
        ValueError: If a number is not finite, or an integer larger than any option can be.
    """
    for name, hint in _hints(options.__class__).items():
        value = getattr(options, name)
        key = f"{section}.{name}" if section else name
        if not has_type(value, hint):
            raise WrongTypeError(
                f"Expected '{key}' to be {describe_type(hint)} (got {shorten(value)})."
            )
        for number in value if isinstance(value, list | tuple) else [value]:
            if isinstance(number, Integral) and abs(int(number)) > LARGEST:
                raise ValueError(f"Expected '{key}' to be at most 2^53 (got {shorten(number)}).")
            if isinstance(number, float) and not math.isfinite(number):
                raise ValueError(f"Expected '{key}' to be a finite number (got {number}).")


@cache
def _hints(kind: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass
    return get_type_hints(kind)


def has_type(value: object, hint: Any) -> bool:  # noqa: ANN401 - any annotation
    """Whether a value has the type of an annotation, as far as options use them."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in arguments)
    if origin in (Union, UnionType):
        return any(has_type(value, argument) for argument in arguments)
    if origin in (list, tuple):
        return isinstance(value, list | tuple) and all(has_type(v, arguments[0]) for v in value)
    if origin is dict:
        return isinstance(value, dict) and all(
            has_type(key, arguments[0]) and has_type(item, arguments[1])
            for key, item in value.items()
        )
    if hint in (int, float):
        number = Integral if hint is int else Real
        return isinstance(value, number) and not isinstance(value, bool)
    return hint is Any or isinstance(value, hint)


def describe_type(hint: object) -> str:
    """Describe a type in words, as it stands after "Expected 'key' to be ...".

    >>> describe_type(int | None)
    'an integer or null'
    >>> describe_type(Literal["cpu", "gpu"])
    "one of 'cpu', 'gpu'"
    >>> describe_type(bool | Literal["auto"])
    "true or false or 'auto'"
    """
    words = {
        int: "an integer",
        float: "a number",
        bool: "true or false",
        str: "text",
        type(None): "null",
    }
    if hint in words:
        return words[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        choices = ", ".join(repr(value) for value in args)
        return f"one of {choices}" if len(args) > 1 else choices
    if origin in (Union, UnionType):
        return " or ".join(describe_type(arg) for arg in args)
    if origin is dict:
        inner = "" if args[1] is Any else f", each {describe_type(args[1])}"
        return f"a section{inner}"
    if origin in (list, tuple):
        plural = {int: "integers, such as [64, 16]", float: "numbers", str: "texts"}
        return f"a list of {plural.get(args[0], 'sections')}"
    raise TypeError(f"Expected a type that can be described (got {hint!r}); add it here.")


@dataclass
class GraphConfig:
    """Random graph; its largest connected component is kept.

    Args:
        kind: ``hyperbolic`` (power-law degrees and clustering) or ``blocks`` (communities within
            communities, planted: a hierarchical stochastic block model).
        nodes: Nodes generated before the largest component is taken.
        average_degree: Expected mean degree of the whole graph.
        exponent: Exponent of the power-law degree distribution of a hyperbolic graph, above 2.
        temperature: Randomness of the edges of a hyperbolic graph in [0, 1); 0 is a sharp
            threshold.
        blocks: Large blocks, blocks within each of them, and so on.
        mixing: Share of the edges that leave the smallest blocks, of these the share that leave
            the next larger ones, and so on, in [0, 1].
    """

    kind: Literal["hyperbolic", "blocks"] = "hyperbolic"

    nodes: int = 6000
    average_degree: float = 6.0
    exponent: float = 2.5
    temperature: float = 0.0
    blocks: list[int] = field(default_factory=lambda: [8, 4])
    mixing: float = 0.1

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "graph")
        check(self.nodes >= 10, "graph.nodes", "at least 10", self.nodes)
        check(
            len(self.blocks) > 0
            and min(self.blocks) > 0
            and (self.kind != "blocks" or math.prod(self.blocks) <= self.nodes),
            "graph.blocks",
            "positive numbers whose product is at most graph.nodes",
            self.blocks,
        )
        check(0 <= self.mixing <= 1, "graph.mixing", "in [0, 1]", self.mixing)
        check(
            0 < self.average_degree < self.nodes,
            "graph.average_degree",
            f"positive and below graph.nodes = {self.nodes}",
            self.average_degree,
        )
        check(self.exponent > 2, "graph.exponent", "above 2", self.exponent)
        check(0 <= self.temperature < 1, "graph.temperature", "in [0, 1)", self.temperature)


@dataclass
class KuramotoConfig:
    """Kuramoto oscillators, ``theta_i' = omega_i + K(t) sum_j w_ij sin(theta_j - theta_i)``.

    Args:
        coupling: Coupling strength K, in inverse time units.
        frequency_std: Standard deviation of the natural frequencies, in inverse time units.
        frequency_clip: Frequencies are clipped to this many standard deviations, then centred.
        modulation: Relative amplitude of K(t) = K (1 + modulation sin(2 pi t / period)).
        modulation_period: Period of the modulation, in time units.
        dt: Time between stored samples, in time units.
        substeps: Runge-Kutta steps (order 4) between two samples.
        burn_in: Time simulated before the first sample, in time units.
    """

    coupling: float = 1.7
    frequency_std: float = 1.0
    frequency_clip: float = 3.0
    modulation: float = 0.0
    modulation_period: float = 10.0
    dt: float = 0.1
    substeps: int = 5
    burn_in: float = 20.0

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "kuramoto")
        check(self.coupling >= 0, "kuramoto.coupling", "non-negative", self.coupling)
        check(self.frequency_std >= 0, "kuramoto.frequency_std", "non-negative", self.frequency_std)
        check(self.frequency_clip > 0, "kuramoto.frequency_clip", "positive", self.frequency_clip)
        check(0 <= self.modulation <= 1, "kuramoto.modulation", "in [0, 1]", self.modulation)
        check(
            self.modulation_period > 0,
            "kuramoto.modulation_period",
            "positive",
            self.modulation_period,
        )
        check(self.dt > 0, "kuramoto.dt", "positive", self.dt)
        check(
            1 <= self.substeps <= MOST_ROUNDS, "kuramoto.substeps", "in [1, 10000]", self.substeps
        )
        check(
            0 <= self.burn_in <= MOST_SAMPLES * self.dt,
            "kuramoto.burn_in",
            "non-negative, and at most 10^9 samples of kuramoto.dt",
            self.burn_in,
        )


@dataclass
class BurgersConfig:
    """Burgers-like social dynamics: bursts of aggregation, passed on along edges, accumulated.

    Args:
        sources: Sources of bursts per node; each is a community that gels again and again.
        interval: Median time between two bursts of a source, in time units.
        interval_spread: Standard deviation of the logarithm of the interval, between sources.
        jitter: Irregularity of the onsets, in intervals, in [0, 1]; 0 is periodic.
        growth_rate: Median aggregation rate, in inverse time units: a burst goes from 10 to 90 %
            of its size within 1.5 / growth_rate.
        growth_spread: Standard deviation of the logarithm of the rate, between sources.
        size_spread: Standard deviation of the logarithm of the size, whose median is 1.
        background: Activity of each node between bursts, in members per time unit.
        coupling: Share of the neighbours in the activity of a node, in [0, 1).
        rounds: Rounds of message passing between two samples.
        response: Time in which a node takes up the activity of its neighbours, in time units.
        memory: Time in which accumulated activity is forgotten, in time units; 0 for never.
        dt: Time between stored samples, in time units.
        burn_in: Time simulated before the first sample, in time units.
    """

    sources: int = 2
    interval: float = 50.0
    interval_spread: float = 0.4
    jitter: float = 0.1
    growth_rate: float = 0.3
    growth_spread: float = 0.5
    size_spread: float = 0.7
    background: float = 0.01
    coupling: float = 0.4
    rounds: int = 2
    response: float = 2.0
    memory: float = 10.0
    dt: float = 1.0
    burn_in: float = 100.0

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "burgers")
        for key in ("sources", "rounds"):
            value = getattr(self, key)
            check(1 <= value <= MOST_ROUNDS, f"burgers.{key}", "in [1, 10000]", value)
        for key in ("interval", "growth_rate", "background", "response", "dt"):
            value = getattr(self, key)
            check(value > 0, f"burgers.{key}", "positive", value)
        for key in ("interval_spread", "growth_spread", "size_spread", "memory", "burn_in"):
            value = getattr(self, key)
            check(value >= 0, f"burgers.{key}", "non-negative", value)
        check(
            self.burn_in <= MOST_SAMPLES * self.dt,
            "burgers.burn_in",
            "at most 10^9 samples of burgers.dt",
            self.burn_in,
        )
        check(0 <= self.jitter <= 1, "burgers.jitter", "in [0, 1]", self.jitter)
        check(0 <= self.coupling < 1, "burgers.coupling", "in [0, 1)", self.coupling)


@dataclass
class PositionalConfig:
    """Structural features of each node, computed once per graph and cached.

    Args:
        eigenmaps: Number of Laplacian eigenvectors; 0 for none.
        walk_embedding: Channels of the random-walk embedding; 0 for none.
        walk_method: ``factorised`` (in the manner of ProNE, minutes for millions of nodes) or
            ``node2vec`` (sampled walks, about 1 ms per node).
        walk_window: Longest walk, in steps, that the embedding counts.
        degree: Also give the logarithm of the degree.
        stored: Channels of the features that an imported data set brings with it
            (``pe_dimP_*.parquet``), used as they are; 0 leaves them unused.
    """

    eigenmaps: int = 16
    walk_embedding: int = 16
    walk_method: Literal["factorised", "node2vec"] = "factorised"
    walk_window: int = 5
    degree: bool = True
    stored: int = 0

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "positional")
        for key in ("eigenmaps", "walk_embedding"):
            value = getattr(self, key)
            check(0 <= value <= MOST_FEATURES, f"positional.{key}", "in [0, 10000]", value)
        check(self.walk_window >= 1, "positional.walk_window", "at least 1", self.walk_window)
        check(self.stored >= 0, "positional.stored", "non-negative", self.stored)
        check(self.num_features >= 1, "positional", "at least one feature", self.num_features)

    @property
    def num_features(self) -> int:
        """Number of features P of a node."""
        return self.num_computed + self.stored

    @property
    def num_computed(self) -> int:
        """Number of features that are computed from the graph."""
        return self.eigenmaps + self.walk_embedding + int(self.degree)


@dataclass
class MemoryConfig:
    """What a model knows of each node from its whole past, besides the recent window.

    A linear forecast that differs from node to node, in ``size`` modes; its coefficients are found
    in closed form from the past of the node, of held-out nodes too. It continues the window, and
    its coefficients are features of the node.

    Args:
        size: Numbers per node M; 0 for no memory.
        collective: Modes C of the motion of the whole graph, whose forecast the memory looks at; 0
            for none.
        neighbors: Whether it looks at the mean window of the neighbours.
        blocks: Parts of the training times. In training, the memory at a time comes from the other
            parts, so that the model meets errors as large as at new times. Each
            costs 4 (M + C + 1) N bytes.
    """

    size: int = 64
    collective: int = 16
    neighbors: bool = True
    blocks: int = 4

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "memory")
        check(
            0 <= self.collective <= MOST_FEATURES,
            "memory.collective",
            "in [0, 10000]",
            self.collective,
        )
        check(0 <= self.size <= MOST_FEATURES, "memory.size", "in [0, 10000]", self.size)
        check(2 <= self.blocks <= MOST_LAYERS, "memory.blocks", "in [2, 1000]", self.blocks)


@dataclass
class SplitConfig:
    """What is held out. Test nodes are a region of the graph, test times the end of the series.

    Args:
        test_nodes: Fraction of nodes removed from the training graph for testing.
        val_nodes: Fraction of nodes removed from the training graph for choosing checkpoints.
        test_time: Last fraction of the samples, kept for testing.
        val_time: Fraction of the samples before those, kept for choosing checkpoints. Between
            two parts lies a gap of window + horizon samples, which no part uses.
        train_time: Last fraction of the training samples that is used; less than 1 shows what
            more data is worth.
    """

    test_nodes: float = 0.2
    val_nodes: float = 0.05
    test_time: float = 0.2
    val_time: float = 0.1
    train_time: float = 1.0

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "split")
        check(0 < self.train_time <= 1, "split.train_time", "in (0, 1]", self.train_time)
        for key in ("test_nodes", "val_nodes", "test_time", "val_time"):
            value = getattr(self, key)
            check(0 < value < 0.9, f"split.{key}", "in (0, 0.9)", value)
        check(
            self.test_nodes + self.val_nodes < 0.9,
            "split.test_nodes + split.val_nodes",
            "below 0.9",
            self.test_nodes + self.val_nodes,
        )


@dataclass
class DataConfig:
    """Data set, split and sampling.

    Args:
        name: Name of the data set; it lives in ``root/name``.
        root: Folder of the data sets.
        system: ``kuramoto`` and ``burgers`` generate the data set if it is missing, ``files``
            reads ``edges`` and ``series``.
        edges: For ``files``: edge list, .csv, .parquet or .npz.
        series: For ``files``: node series (nodes x samples), .npy, .parquet, .csv or .zarr; or
            the folder of a data set made by ``roma-data import``, which has edges of its own.
        dt: For ``files``: time between two samples, in your time unit.
        seed: Seed of graph, dynamics and split.
        steps: Number of samples T of a generated data set.
        graph: Options of the generated graph.
        kuramoto: Options of the Kuramoto system.
        burgers: Options of the Burgers-like social dynamics.
        positional: Options of the positional features.
        memory: Options of the memory of each node.
        split: Held-out nodes and times.
        window: Samples of history given to the model (K).
        horizon: Samples ahead that the model is trained to forecast directly.
        nodes_per_graph: Nodes B of a sampled subgraph.
        graphs_per_batch: Subgraphs per training step, of each process.
        walk_length: Steps of the random walks that draw a subgraph (published: 16). Shorter
            walks meet more leaves and fewer hubs.
        max_neighbors: Neighbours of a node that its first layer sees; sampled above this.
        noise: Variance of the multiplicative log-normal noise on inputs and training targets.
    """

    name: str = "km5k"
    root: str = "data"
    system: Literal["kuramoto", "burgers", "files"] = "kuramoto"
    edges: str | None = None
    series: str | None = None
    dt: float = 1.0
    seed: int = 0
    steps: int = 4800
    graph: GraphConfig = field(default_factory=GraphConfig)
    kuramoto: KuramotoConfig = field(default_factory=KuramotoConfig)
    burgers: BurgersConfig = field(default_factory=BurgersConfig)
    positional: PositionalConfig = field(default_factory=PositionalConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    split: SplitConfig = field(default_factory=SplitConfig)
    window: int = 64
    horizon: int = 64
    nodes_per_graph: int = 256
    graphs_per_batch: int = 2
    walk_length: int = 4
    max_neighbors: int = 64
    noise: float = 4e-4

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "data")
        check(is_plain_name(self.name), "data.name", "a plain folder name", self.name)
        check(self.dt > 0, "data.dt", "positive", self.dt)
        check(self.seed >= 0, "data.seed", "at least 0", self.seed)
        check(self.steps >= 2, "data.steps", "at least 2", self.steps)
        check(self.window >= 2, "data.window", "at least 2", self.window)
        check(self.horizon >= 1, "data.horizon", "at least 1", self.horizon)
        check(self.nodes_per_graph >= 2, "data.nodes_per_graph", "at least 2", self.nodes_per_graph)
        check(
            self.graphs_per_batch >= 1, "data.graphs_per_batch", "at least 1", self.graphs_per_batch
        )
        check(self.walk_length >= 1, "data.walk_length", "at least 1", self.walk_length)
        check(self.max_neighbors >= 1, "data.max_neighbors", "at least 1", self.max_neighbors)
        check(self.noise >= 0, "data.noise", "non-negative", self.noise)
        if self.system == "files":
            # The folder of a data set, which holds its edges too, has no suffix.
            needed = ("edges", "series") if "." in str(self.series)[1:] else ("series",)
            for key in needed:
                value = getattr(self, key)
                check(bool(value), f"data.{key}", "a file when data.system is 'files'", value)

    @property
    def num_features(self) -> int:
        """Number of features of a node: positional ones and memory."""
        return self.positional.num_features + self.memory.size

    @property
    def reported_steps(self) -> tuple[int, ...]:
        """Steps ahead of tables: the first, a quarter of the horizon, and the horizon."""
        return tuple(sorted({1, max(1, self.horizon // 4), self.horizon}))


@dataclass
class EncoderConfig:
    """Graph encoder of the fine level.

    Args:
        geometry: ``hyperbolic`` (Poincare ball) or ``euclidean`` (the ablation).
        width: Channels C.
        layers: Number of graph layers.
        curvature: The ball has sectional curvature ``-curvature``; positive.
    """

    geometry: Literal["hyperbolic", "euclidean"] = "hyperbolic"
    width: int = 48
    layers: int = 3
    curvature: float = 0.125

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "encoder")
        check(self.width >= 1, "encoder.width", "at least 1", self.width)
        check(1 <= self.layers <= MOST_LAYERS, "encoder.layers", "in [1, 1000]", self.layers)
        check(self.curvature > 0, "encoder.curvature", "positive", self.curvature)


@dataclass
class PoolConfig:
    """Learned renormalization: one coarse level per entry of ``sizes``.

    Args:
        sizes: Supernodes of every coarse level, from fine to coarse; empty for no pooling.
        select: Which nodes make up a supernode: ``learned``, or ``louvain``, the fixed communities
            of each subgraph (an ablation).
        width: Channels of the assignment layers.
        entropy: Weight of the assignment entropy.
        edge_entropy: Weight of the entropy of the coarse adjacency.
        link: Weight of the Fermi-Dirac link prediction.
        modularity: Weight of one less the modularity of the supernodes; makes them communities of
            the graph.
        link_radius: Radius r of the Fermi-Dirac decoder: squared distance, in units of the
            squared radius of curvature, at which a link is as likely as not.
        link_temperature: Temperature t of the Fermi-Dirac decoder, in the same unit.
    """

    sizes: list[int] = field(default_factory=lambda: [64, 16])
    select: Literal["learned", "louvain"] = "learned"
    width: int = 32
    entropy: float = 1e-3
    edge_entropy: float = 1e-3
    link: float = 1e-2
    modularity: float = 0.0
    link_radius: float = 4.0
    link_temperature: float = 1.0

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "pool")
        check(len(self.sizes) <= MOST_LAYERS, "pool.sizes", "at most 1000 levels", self.sizes)
        check(all(m >= 1 for m in self.sizes), "pool.sizes", "positive", self.sizes)
        check(
            all(a > b for a, b in zip(self.sizes, self.sizes[1:], strict=False)),
            "pool.sizes",
            "decreasing",
            self.sizes,
        )
        check(self.width >= 1, "pool.width", "at least 1", self.width)
        check(self.link_temperature > 0, "pool.link_temperature", "positive", self.link_temperature)
        for key in ("entropy", "edge_entropy", "link", "modularity"):
            value = getattr(self, key)
            check(value >= 0, f"pool.{key}", "non-negative", value)


@dataclass
class OperatorConfig:
    """Multiscale attention (branch) over the tokens of all levels.

    Args:
        width: Channels of a token.
        layers: Transformer blocks.
        heads: Attention heads; must divide ``width``.
        neighbors: The feed-forward network of a block also sees the coupling-weighted mean of the
            neighbours of a token on its level.
        num_functions: Gaussian random functions that lift each window value.
        history: Residual blocks of a network of the own history of each token, of twice the
            width; 0 for no such network (as published).
        onset: Above 0, the branch starts from the token of the own history, and passes with the
            time ahead to that after attention, about half of the way in this time, in units of
            the horizon; learned, this is the initial value. 0 for the token after attention at
            all times (as published).
        context: Positional embedding from the graph features of the token.
        level_embedding: Learned embedding of the level.
        fine_index: Scale of the learned index embedding on the fine level; 0 turns it off.
        coarse_index: Scale of the learned index embedding on the coarse levels.
        dropout: Dropout probability.
    """

    width: int = 64
    layers: int = 2
    heads: int = 4
    neighbors: bool = True
    num_functions: int = 4
    history: int = 2
    onset: float = 0.0
    context: bool = True
    level_embedding: bool = True
    fine_index: float = 0.25
    coarse_index: float = 1.0
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "operator")
        check(self.width >= 1, "operator.width", "at least 1", self.width)
        check(1 <= self.layers <= MOST_LAYERS, "operator.layers", "in [1, 1000]", self.layers)
        check(
            self.heads >= 1 and self.width % self.heads == 0,
            "operator.heads",
            f"a divisor of operator.width = {self.width}",
            self.heads,
        )
        check(0 <= self.history <= MOST_LAYERS, "operator.history", "in [0, 1000]", self.history)
        check(self.onset >= 0, "operator.onset", "non-negative", self.onset)
        check(self.num_functions >= 1, "operator.num_functions", "at least 1", self.num_functions)
        check(0 <= self.dropout < 1, "operator.dropout", "in [0, 1)", self.dropout)


@dataclass
class TrunkConfig:
    """Trunk: the forecast as a function of time ahead and latent position.

    Args:
        kind: ``deeponet`` (linear in the branch) or ``nomad`` (nonlinear in the branch).
        basis: Number of basis functions P.
        width: Channels of the trunk network.
        layers: Residual blocks of the trunk network.
        fourier_features: Random Fourier features of (t, x).
        fourier_std: Standard deviation of their frequencies, in cycles per horizon.
    """

    kind: Literal["deeponet", "nomad"] = "deeponet"
    basis: int = 64
    width: int = 48
    layers: int = 2
    fourier_features: int = 64
    fourier_std: float = 1.0

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "trunk")
        for key in ("basis", "width", "layers", "fourier_features"):
            value = getattr(self, key)
            check(value >= 1, f"trunk.{key}", "at least 1", value)
        check(self.layers <= MOST_LAYERS, "trunk.layers", "at most 1000", self.layers)
        check(self.fourier_std > 0, "trunk.fourier_std", "positive", self.fourier_std)


LAW_INPUTS = (
    "coordinates",
    "features",
    "branch",
    "field",
    "gradient",
    "laplacian",
    "neighbors",
)


@dataclass
class EffectiveConfig:
    """Residual operator: an effective law that the forecast obeys, learned along with it.

    Args:
        kind: ``emergent`` learns the whole right-hand side, ``u_t = F(...)``; ``burgers`` learns
            F and nu of ``u_t = -F (u . grad) u + nu lap u``; ``none`` learns no law.
        inputs: What F sees: ``coordinates`` (t, x), ``features`` (graph features of the token),
            ``branch`` (its token after attention), and, of an emergent law, ``field`` (u),
            ``gradient`` and ``laplacian`` in the latent space, and ``neighbors`` (mean of u over
            the neighbours, less u; such a law is asked only of nodes whose neighbours are all in
            the subgraph). A law can be told from its inputs only if they do not determine the
            future by themselves, as ``branch`` does.
        derivative: Gradient of the residual that is punished: ``partial``, with u and its
            derivatives held fixed (as published); ``sampled``, in training the partial one along
            a direction that each step draws anew, which has the same mean square and costs less;
            or ``total``.
        times: Steps ahead, out of those of the training step, at which the residual is taken.
        residual: Weight of the mean of ``|R|^2``.
        residual_gradient: Weight of the mean of ``|dR/d(t, x)|^2``; 1e8 as published, with a
            ``fourier_std`` of .01.
        weighting: ``fixed`` takes the weights as they are; ``balanced`` takes them as the norm of
            the gradient of a term in units of that of the data loss (Wang et al. 2021,
            doi:10.1137/20M1318043), measured at each log entry.
    """

    kind: Literal["none", "emergent", "burgers"] = "none"
    inputs: list[str] = field(default_factory=lambda: list(LAW_INPUTS[:-1]))
    derivative: Literal["partial", "sampled", "total"] = "partial"
    times: int = 2
    residual: float = 0.1
    residual_gradient: float = 0.01
    weighting: Literal["fixed", "balanced"] = "balanced"

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "effective")
        unknown = [name for name in self.inputs if name not in LAW_INPUTS]
        known = ", ".join(LAW_INPUTS)
        check(not unknown, "effective.inputs", f"some of {known}", self.inputs)
        check(self.times >= 1, "effective.times", "at least 1", self.times)
        for key in ("residual", "residual_gradient"):
            value = getattr(self, key)
            check(value >= 0, f"effective.{key}", "non-negative", value)


@dataclass
class ModelConfig:
    """ROMA, or another model with the same base forecast, operator network and training.

    Args:
        kind: How the tokens of the operator network are made. ``roma``: graph encoder,
            renormalization and multiscale attention. The others see one level only, have
            ``operator.width`` channels and ``operator.layers`` layers: ``tokenwise`` (a network per
            node, the plain DeepONet or NOMAD), ``message_passing`` (the graph encoder before it),
            ``recurrent`` (a GRU per node), ``mesh`` (MeshGraphNet-like), ``gps`` (GraphGPS-like) or
            ``slices`` (Transolver-like).
        features: Channels of the embedded positional features.
        encoder: Options of the fine graph encoder.
        pool: Options of the renormalization.
        operator: Options of the multiscale attention.
        trunk: Options of the trunk.
        effective: Options of the residual operator.
        base: What the network corrects: ``linear`` is a linear forecast from own and neighbour
            lags, fitted on the training part by least squares relative to the value,
            ``persistence`` the last value, ``none`` nothing (as published).
        correction: Unit of what the network adds to it: the root mean square error at each step
            ahead (``absolute``), or the error that goes with the value of the forecast
            (``relative``), with which small values are more precise.
        compand: Above 0, windows are also given as ``asinh(w / compand)``, in which values from
            about this one on, in units of the observable, differ by their ratio: to ROMA's network
            of the own history, and to the input layers of other models. 0 as published.
        initialization: Weights of linear layers at the start: ``default`` (uniform, as in torch)
            or ``orthogonal`` (as published).
    """

    kind: Literal["roma", "tokenwise", "message_passing", "recurrent", "mesh", "gps", "slices"] = (
        "roma"
    )
    features: int = 32
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    pool: PoolConfig = field(default_factory=PoolConfig)
    operator: OperatorConfig = field(default_factory=OperatorConfig)
    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    effective: EffectiveConfig = field(default_factory=EffectiveConfig)
    base: Literal["linear", "persistence", "none"] = "linear"
    correction: Literal["absolute", "relative"] = "absolute"
    compand: float = 0.05
    initialization: Literal["default", "orthogonal"] = "default"

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "model")
        check(self.features >= 1, "model.features", "at least 1", self.features)
        check(0 <= self.compand < math.inf, "model.compand", "finite, at least 0", self.compand)


@dataclass
class TrainingConfig:
    """Optimisation and logging.

    Args:
        output: Folder of the runs.
        name: Name of the run; it lives in ``output/name``.
        seed: Seed of initialisation, sampling and noise.
        max_steps: Optimiser steps.
        optimizer: ``muon`` orthogonalises the updates of matrices; ``adamw`` as published.
        learning_rate: Peak learning rate.
        weight_decay: Decoupled weight decay.
        schedule: How the learning rate falls after the warm-up: ``cosine``, or ``linear`` until
            nine tenths of the steps and constant then (as published).
        warmup: Fraction of the steps with a rising learning rate.
        clip: Largest gradient norm.
        average: Decay of the exponential moving average of the weights, which is what is
            validated and saved as the model; 0 turns it off.
        steps_ahead: Times ahead, out of the horizon, that one training step evaluates.
        rollout: Largest number of rounds (tau_max) that a training step rolls over: a step draws a
            number of rounds from 1 on, forecasts, shifts the window by the forecast, and learns
            from the last round. 1 trains direct forecasts only.
        coarse_weight: Weight of the data loss of each coarse level.
        horizon_weights: Divide the sMSPE at each step ahead by that of the base forecast, so that
            near and far count the same; false weighs the plain errors equally (as published).
        squared_error: Share of the data loss that is the squared error in units of what the base
            forecast leaves, the rest being the sMSPE; 0 as published.
        val_interval: Steps between two validations, about: the last one ends the run.
        val_batches: Batches of a validation.
        checkpoint_interval: Steps between two checkpoints, beside those of validations; a run that
            is killed loses that many steps at most, or the work since the last validation if that
            is less. 0 for none.
        log_interval: Steps between two log entries.
        figures: Draw forecasts, supernodes and attention for TensorBoard at a few validations, and
            embed nodes for its projector at the end.
        workers: Processes that sample batches ahead; 0 samples in the main process.
        accelerator: ``cpu``, ``gpu``, or ``auto``: a CUDA GPU where there is one.
        compile: Compile the operator network by ``torch.compile``: some 20 s at the start, for
            steps that are a tenth faster; needs a C++ compiler on the CPU.
        precision: Lightning precision, such as ``32-true`` or ``bf16-mixed``.
        timeout: Seconds that one of several processes waits for the others before it ends the run;
            more than rank 0 takes for the figures of a validation, or a checkpoint.
        resume: Continue the run in ``output/name`` from its last checkpoint, which must be there;
            with ``auto`` from the last good one, or from the start where there is none.
    """

    output: str = "runs"
    name: str = "roma"
    seed: int = 0
    max_steps: int = 3000
    optimizer: Literal["muon", "adamw"] = "muon"
    learning_rate: float = 4e-3
    weight_decay: float = 5e-3
    schedule: Literal["cosine", "linear"] = "cosine"
    warmup: float = 0.05
    clip: float = 1.0
    average: float = 0.999
    steps_ahead: int = 16
    rollout: int = 1
    coarse_weight: float = 0.1
    horizon_weights: bool = True
    squared_error: float = 0.5
    val_interval: int = 500
    val_batches: int = 16
    checkpoint_interval: int = 200
    log_interval: int = 20
    figures: bool = True
    workers: int = 1
    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    compile: bool = False
    precision: str = "32-true"
    timeout: float = 600.0
    resume: bool | Literal["auto"] = False

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "training")
        for key in (
            "max_steps",
            "steps_ahead",
            "rollout",
            "val_interval",
            "val_batches",
            "log_interval",
        ):
            value = getattr(self, key)
            check(value >= 1, f"training.{key}", "at least 1", value)
        check(self.learning_rate > 0, "training.learning_rate", "positive", self.learning_rate)
        check(0 <= self.warmup < 1, "training.warmup", "in [0, 1)", self.warmup)
        check(self.clip > 0, "training.clip", "positive", self.clip)
        check(
            0 <= self.squared_error <= 1, "training.squared_error", "in [0, 1]", self.squared_error
        )
        check(self.coarse_weight >= 0, "training.coarse_weight", "non-negative", self.coarse_weight)
        check(0 <= self.average < 1, "training.average", "in [0, 1)", self.average)
        check(is_plain_name(self.name), "training.name", "a plain folder name", self.name)
        check(0 <= self.seed < 2**32, "training.seed", "in [0, 2^32)", self.seed)
        check(0 <= self.workers <= 1000, "training.workers", "in [0, 1000]", self.workers)
        check(self.timeout > 0, "training.timeout", "positive", self.timeout)
        check(
            self.checkpoint_interval >= 0,
            "training.checkpoint_interval",
            "non-negative",
            self.checkpoint_interval,
        )
        check(
            self.precision in PRECISIONS,
            "training.precision",
            f"one of {', '.join(PRECISIONS)}",
            self.precision,
        )
        check(
            self.resume in (True, False, "auto"),
            "training.resume",
            "true, false or 'auto'",
            self.resume,
        )


@dataclass
class RunConfig:
    """A whole run: data, model and training.

    Args:
        recipe: ``published`` sets the options of objective, optimiser and schedule as in
            arXiv:2502.15913, ``roma`` leaves them as they are. It stands for these options where
            it is written, in a file or on the command line: later files and options beside it win.

    Example:
        >>> config = RunConfig(data=DataConfig(window=32), training=TrainingConfig(max_steps=100))
        >>> config.data.window, config.data.horizon, config.training.max_steps
        (32, 64, 100)
    """

    recipe: Literal["roma", "published"] = "roma"
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Check the values."""
        check_fields(self, "")

    def to_dict(self) -> dict[str, Any]:
        """Return plain nested dictionaries, as stored in checkpoints and YAML files."""
        return asdict(self)
