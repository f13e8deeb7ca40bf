"""A training step with the residual of an effective law, and three other ways to take derivatives.

    make bench-derivatives
    python benchmarks/derivatives.py --times 4 --kinds deeponet nomad

One step of the model of the published size (``published_size.py``): forward pass, data loss,
penalties, residual and its gradient, backward pass, AdamW. ``ours`` takes derivatives by jets;
``nested`` by nested forward mode of ``torch.func`` (``jacfwd`` of ``jacfwd`` in all coordinates,
for each token); ``lean`` by the same in space alone and one ``jvp`` in time; ``reverse`` by
reverse mode over reverse mode; ``none`` is the step without residual. ``ours, sampled`` and
``nested, sampled`` take the gradient of the residual along one random direction
(``model.effective.derivative: sampled``). Each method runs in a process of its own on the same
batch and weights, best of ``--repeats``; its memory is the peak resident memory of that process (on
a GPU, what was allocated there), and what of it came after model and batch were made. All methods
must give the same loss, and both sampled ones.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable

import torch
from published_size import Step, machine, make_batch, make_model, peak_gb
from torch import Tensor, nn
from torch.func import jacfwd, jvp, vmap

from roma_pyg.physics import Jet

METHODS = (
    "ours",
    "ours, sampled",
    "nested",
    "nested, sampled",
    "lean",
    "reverse",
    "none",
)


class PlainLayerNorm(nn.Module):
    """Layer normalisation from elementary operations, which any mode may differentiate twice."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        """Take the place of a layer without parameters."""
        assert not norm.elementwise_affine
        super().__init__()
        self.eps = norm.eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension."""
        centered = x - x.mean(-1, keepdim=True)
        scale = (centered.square().mean(-1, keepdim=True) + self.eps).rsqrt()
        return centered * scale


def use_plain_norms(operator: nn.Module) -> None:
    """Replace the layer normalisations of an operator network."""
    for module in list(operator.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.LayerNorm):
                setattr(module, name, PlainLayerNorm(child))


def nested_field(operator: nn.Module, points: Tensor, branch: Tensor, token: Tensor) -> Jet:
    """Value, gradient and Laplacian of every token by nested forward mode."""

    def value(point: Tensor, b: Tensor, z: Tensor) -> Tensor:
        return operator(point[None], b, z)[0]

    def first(point: Tensor, b: Tensor, z: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        slope, u = jacfwd(lambda p: (value(p, b, z),) * 2, has_aux=True)(point)
        return slope, (slope, u)

    def all_orders(point: Tensor, b: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        curve, (slope, u) = jacfwd(first, has_aux=True)(point, b, z)
        return u, slope, torch.einsum("cii->c", curve[:, 1:, 1:])

    over_points = vmap(all_orders, in_dims=(0, None, None))
    u, slope, laplacian = vmap(over_points, in_dims=(None, 0, 0))(points, branch[0], token[0])
    channels = torch.cat([slope.movedim(-1, 0), laplacian[None]])
    return Jet(u[None], channels[:, None], 4, 2)


def lean_field(operator: nn.Module, points: Tensor, branch: Tensor, token: Tensor) -> Jet:
    """As :func:`nested_field`, with second derivatives in space alone."""

    def value(t: Tensor, x: Tensor, b: Tensor, z: Tensor) -> Tensor:
        return operator(torch.cat([t, x])[None], b, z)[0]

    def first(t: Tensor, x: Tensor, b: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        slope = jacfwd(lambda x: value(t, x, b, z))(x)
        return slope, slope

    def all_orders(point: Tensor, b: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        t, x = point[:1], point[1:]
        u, rate = jvp(lambda t: value(t, x, b, z), (t,), (torch.ones_like(t),))
        curve, slope = jacfwd(first, argnums=1, has_aux=True)(t, x, b, z)
        return u, rate, slope, torch.einsum("cii->c", curve)

    over_points = vmap(all_orders, in_dims=(0, None, None))
    parts = vmap(over_points, in_dims=(None, 0, 0))(points, branch[0], token[0])
    u, rate, slope, laplacian = parts
    channels = torch.cat([rate[None], slope.movedim(-1, 0), laplacian[None]])
    return Jet(u[None], channels[:, None], 4, 2)


def nested_law(
    operator: nn.Module, coordinates: Jet, branch: Tensor, token: Tensor, field: Tensor
) -> Jet:
    """Value of a law and its derivatives along those of the coordinates, by forward mode."""
    directions = coordinates.derivatives.flatten(0, 1)

    def value(point: Tensor, b: Tensor, z: Tensor, f: Tensor) -> tuple[Tensor, Tensor]:
        def along(direction: Tensor) -> tuple[Tensor, Tensor]:
            return jvp(lambda p: operator(p[None], b, z, f[None])[0], (point,), (direction,))

        u, slope = vmap(along)(directions)
        return u[0], slope

    over_points = vmap(value, in_dims=(0, None, None, 0))
    over_tokens = vmap(over_points, in_dims=(None, 0, 0, 0))
    u, slope = over_tokens(coordinates.value, branch[0], token[0], field[0])
    return Jet(u[None], slope.movedim(2, 0)[:, None], coordinates.dim, 1)


def reverse_field(operator: nn.Module, points: Tensor, branch: Tensor, token: Tensor) -> Jet:
    """Value, gradient and Laplacian of every token by reverse over reverse mode."""
    own = points.expand(*branch.shape[:2], *points.shape).clone().requires_grad_()
    u = operator(own, branch, token)
    slopes, laplacians = [], []
    for c in range(u.shape[-1]):
        (slope,) = torch.autograd.grad(u[..., c].sum(), own, create_graph=True)
        curve = [
            torch.autograd.grad(slope[..., i].sum(), own, create_graph=True)[0][..., i]
            for i in range(1, 4)
        ]
        slopes.append(slope)
        laplacians.append(torch.stack(curve).sum(0))
    slope = torch.stack(slopes, dim=-1).movedim(-2, 0)
    return Jet(u, torch.cat([slope, torch.stack(laplacians, dim=-1)[None]]), 4, 2)


def reverse_law(
    operator: nn.Module, coordinates: Jet, branch: Tensor, token: Tensor, field: Tensor
) -> Jet:
    """Value and explicit gradient of a law by reverse mode."""
    points = coordinates.value
    own = points.expand(*branch.shape[:2], *points.shape).clone().requires_grad_()
    u = operator(own, branch, token, field)
    slopes = [
        torch.autograd.grad(u[..., c].sum(), own, create_graph=True)[0] for c in range(u.shape[-1])
    ]
    return Jet(u, torch.stack(slopes, dim=-1).movedim(-2, 0), 4, 1)


class Other(nn.Module):
    """An operator network whose derivatives are taken by other means, where jets are asked for.

    Args:
        operator: The network, without an onset; its layer normalisations are replaced.
        field_of: Value, gradient and Laplacian.
        law_of: Value and gradient of a law that sees a field.
    """

    def __init__(
        self, operator: nn.Module, field_of: Callable[..., Jet], law_of: Callable[..., Jet]
    ) -> None:
        """Take the place of a network."""
        super().__init__()
        use_plain_norms(operator)
        self.onset = None
        self.operator, self.field_of, self.law_of = operator, field_of, law_of

    def forward(
        self,
        coordinates: Tensor | Jet,
        branch: Tensor,
        token: Tensor,
        field: Tensor | None = None,
        start: None = None,
    ) -> Tensor | Jet:
        """Evaluate as the network does."""
        if not isinstance(coordinates, Jet):
            return self.operator(coordinates, branch, token)
        if field is None:
            return self.field_of(self.operator, coordinates.value, branch, token)
        return self.law_of(self.operator, coordinates, branch, token, field)


OTHERS = {
    "nested": (nested_field, nested_law),
    "lean": (lean_field, nested_law),
    "reverse": (reverse_field, reverse_law),
}


def measure(
    method: str, kind: str, times: int, steps_ahead: int, repeats: int, device: str
) -> dict:
    """Run one method in this process."""
    way, _, gradient = method.partition(", ")
    model = make_model(kind, 0 if way == "none" else times, derivative=gradient or "partial")
    batch = make_batch(steps_ahead)
    if way in OTHERS:
        assert model.effective is not None
        model.operator = Other(model.operator, *OTHERS[way])  # type: ignore[assignment]
        model.effective.operator = Other(model.effective.operator, *OTHERS[way])  # type: ignore[assignment]
    step = Step(model, device=device)
    before = peak_gb(device)
    losses, seconds = step.repeat(batch, repeats)
    return {
        "seconds": min(seconds[1:]),
        "peak_gb": peak_gb(device),
        "step_gb": peak_gb(device) - before,
        "loss": losses[0],
        "parameters": model.num_parameters,
        "edges": int((batch.edge_index[0] < batch.num_core).sum()),
    }


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kinds", nargs="+", default=["deeponet"])
    parser.add_argument("--times", nargs="+", type=int, default=[1, 4, 8])
    parser.add_argument("--steps-ahead", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--one", choices=METHODS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        row = measure(
            options.one,
            options.kinds[0],
            options.times[0],
            options.steps_ahead,
            options.repeats,
            options.device,
        )
        print(json.dumps(row))
        return
    print(f"{machine(options.device)}, torch {torch.__version__}")
    print(
        "| trunk | times | method | seconds | over ours | over ours, sampled | over none "
        "| peak GB | of the step GB | over ours |"
    )
    print("| --- | ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for kind in options.kinds:
        for times in options.times:
            rows = {}
            for method in METHODS:
                words = [sys.executable, __file__, "--one", method, "--kinds", kind]
                words += ["--times", str(times), "--steps-ahead", str(options.steps_ahead)]
                words += ["--repeats", str(options.repeats), "--device", options.device]
                done = subprocess.run(words, check=True, capture_output=True, text=True)
                rows[method] = json.loads(done.stdout.splitlines()[-1])
            ours = rows["ours"]
            for method, row in rows.items():
                same = rows["ours, sampled" if method.endswith("sampled") else "ours"]
                if method != "none" and abs(row["loss"] / same["loss"] - 1) > 1e-3:
                    raise RuntimeError(f"{method} differs: loss {row['loss']}, {same['loss']}")
                over = " | ".join(
                    f"{row['seconds'] / rows[name]['seconds']:.2f}"
                    for name in ("ours", "ours, sampled", "none")
                )
                print(
                    f"| {kind} | {times} | {method} | {row['seconds']:.3f} | {over} "
                    f"| {row['peak_gb']:.2f} | {row['step_gb']:.2f} "
                    f"| {row['step_gb'] / ours['step_gb']:.2f} |",
                    flush=True,
                )
    print(f"\n{ours['parameters']:,} parameters, {ours['edges']:,} edges between core nodes")


if __name__ == "__main__":
    main()
