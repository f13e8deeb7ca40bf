"""Exact derivatives of a field with respect to its coordinates, in one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import torch
from torch import Tensor

from roma_pyg.physics.fused import Pointwise
from roma_pyg.physics.pointwise import Rule, rule

Operand: TypeAlias = "Jet | Tensor | float"
_HANDLERS: dict[str, Callable[..., Any]] = {}


def handles(*names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Decorate what a torch function does with jets; ``names`` are its names in torch."""

    def keep(function: Callable[..., Any]) -> Callable[..., Any]:
        _HANDLERS.update(dict.fromkeys(names, function))
        return function

    return keep


@lru_cache
def _pairs(dim: int) -> tuple[list[int], list[int]]:
    """Pairs a <= b of coordinates, in the order in which second derivatives are stored."""
    pairs = [(a, b) for a in range(dim) for b in range(a, dim)]
    return [a for a, _ in pairs], [b for _, b in pairs]


@lru_cache
def _pair(dim: int, a: int, b: int) -> int:
    pairs = list(zip(*_pairs(dim), strict=True))
    return pairs.index((min(a, b), max(a, b)))


class Jet:
    r"""A field and its derivatives with respect to D coordinates, the first of which is time.

    A truncated Taylor expansion that is carried forward through every operation (the forward
    Laplacian of Li et al. 2023, arXiv:2307.08214; Taylor mode of Bettencourt et al. 2019), so that
    one pass of a network gives what nested automatic differentiation needs several for:

    =========  ====================================================  =====================
    ``order``  channels besides the value                            number for D = 4
    =========  ====================================================  =====================
    1          :math:`u_a` (a is time or a direction of space)       4
    2          and the Laplacian :math:`\Delta u` over space         5
    3          :math:`u_a,\ u_{ab},\ (\Delta u)_a`                   18
    =========  ====================================================  =====================

    A linear layer maps every channel by the same weights; a pointwise function f maps
    :math:`u_a \to f' u_a` and :math:`\Delta u \to f' \Delta u + f'' \sum_i u_i^2`, and so on.

    Jets take the place of tensors in torch functions and modules (``__torch_function__``):
    arithmetic, linear layers, products with constant matrices, smooth activations, layer
    normalisation, norms, sums, means, concatenations. Whatever network is made of these is
    differentiated by being called with ``Jet.coordinates(...)``; a function that is not known
    raises NotImplementedError instead of returning something wrong. Everything is differentiable
    in reverse mode, with respect to parameters and inputs.

    Attributes:
        value: The field, shape ``(..., C)``.
        derivatives: Channels of the table, shape ``(channels, ..., C)``; sizes of one stand for
            derivatives that are the same along that dimension, as those of coordinates that all
            tokens share.
        dim: Number of coordinates D.
        order: 1, 2 or 3.

    Example:
        >>> t = Jet.coordinates(torch.tensor([[2.0, 3.0]]))   # one point (t, x)
        >>> field = torch.exp(t[..., :1]) * torch.square(t[..., 1:])
        >>> field.time / field.value, field.space[0] / field.value, field.laplacian / field.value
        (tensor([[1.]]), tensor([[0.6667]]), tensor([[0.2222]]))
    """

    __slots__ = ("derivatives", "dim", "order", "value")

    def __init__(self, value: Tensor, derivatives: Tensor, dim: int, order: int) -> None:
        """Bind the channels; see the class."""
        if derivatives.ndim != value.ndim + 1 or len(derivatives) != channels(dim, order):
            raise ValueError(
                f"Expected 'derivatives' of shape ({channels(dim, order)}, ...) with one dimension "
                f"more than the value {tuple(value.shape)} (got {tuple(derivatives.shape)})."
            )
        self.value = value
        self.derivatives = derivatives
        self.dim = dim
        self.order = order

    @classmethod
    def coordinates(cls, points: Tensor, order: int = 2) -> Jet:
        """Return the coordinates themselves: derivative one along their own direction.

        Args:
            points: Time, then space, shape ``(..., D)``.
            order: 1, 2 or 3: what is carried, see the class.

        Raises:
            ValueError: If ``order`` is something else.
        """
        dim = points.shape[-1]
        unit = torch.eye(dim, dtype=points.dtype, device=points.device)
        rest = unit.new_zeros(channels(dim, order) - dim, dim)
        shape = (-1, *(1,) * (points.ndim - 1), dim)
        return cls(points, torch.cat([unit, rest]).reshape(shape), dim, order)

    @classmethod
    def of_time(cls, parts: Sequence[Tensor], dim: int, order: int = 2) -> Jet:
        """Return a function of time alone.

        Args:
            parts: Value, first and (of order 3) second derivative, all of one shape.
            dim: Number of coordinates D.
            order: What is carried, see the class.
        """
        derivatives = parts[0].new_zeros(channels(dim, order), *parts[0].shape)
        derivatives[0] = parts[1]
        if order == 3:
            derivatives[dim] = parts[2]
        return cls(parts[0], derivatives, dim, order)

    @property
    def gradient(self) -> Tensor:
        """First derivatives, time first, shape ``(D, ..., C)``."""
        return self.full(self.derivatives[: self.dim])

    @property
    def time(self) -> Tensor:
        """Derivative with respect to time, shape ``(..., C)``."""
        return self.gradient[0]

    @property
    def space(self) -> Tensor:
        """First derivatives in space, shape ``(D - 1, ..., C)``."""
        return self.gradient[1:]

    @property
    def laplacian(self) -> Tensor:
        """Sum of the second derivatives in space, shape ``(..., C)``.

        Raises:
            ValueError: If the order is 1.
        """
        return self.full(self._laplacian(), lead=0)

    @property
    def second(self) -> Tensor:
        """Second derivatives, a symmetric matrix, shape ``(D, D, ..., C)``.

        Raises:
            ValueError: If the order is below 3.
        """
        self._need(3, "second derivatives")
        index = [[_pair(self.dim, a, b) for b in range(self.dim)] for a in range(self.dim)]
        return self.full(self._second()[torch.tensor(index, device=self.value.device)], lead=2)

    def time_jet(self) -> Tensor | Jet:
        """Time derivative; with its own first derivatives where the order is 3."""
        if self.order < 3:
            return self.time
        return Jet(self.time, self.second[0], self.dim, 1)

    def space_jet(self) -> Tensor | Jet:
        """Spatial derivatives ``(..., C, D - 1)``; with first derivatives where the order is 3."""
        value = self.space.movedim(0, -1)
        if self.order < 3:
            return value
        return Jet(value, self.second[:, 1:].movedim(1, -1), self.dim, 1)

    def laplacian_jet(self) -> Tensor | Jet:
        """Laplacian; with its first derivatives where the order is 3."""
        if self.order < 3:
            return self.laplacian
        return Jet(self.laplacian, self.full(self._laplacian_gradient()), self.dim, 1)

    def value_jet(self) -> Tensor | Jet:
        """Value; with its first derivatives where the order is 3."""
        return self.value if self.order < 3 else Jet(self.value, self.gradient, self.dim, 1)

    @property
    def shape(self) -> torch.Size:
        """Shape of the value."""
        return self.value.shape

    @property
    def ndim(self) -> int:
        """Dimensions of the value."""
        return self.value.ndim

    @property
    def dtype(self) -> torch.dtype:
        """Type of the value."""
        return self.value.dtype

    @property
    def device(self) -> torch.device:
        """Device of the value."""
        return self.value.device

    def map(self, linear: Callable[[Tensor], Tensor], shift: Tensor | None = None) -> Jet:
        """Apply a linear function, the same to every channel.

        Args:
            linear: Acts on the last dimensions, whatever leads.
            shift: Constant that is added to the value alone.
        """
        value = linear(self.value)
        if shift is not None:
            value = value + shift
        return Jet(value, linear(self.derivatives), self.dim, self.order)

    def apply(self, function: Rule) -> Jet:
        """Apply a smooth function to every element.

        Args:
            function: Gives f, f', f'' and f''' at some points.
        """
        if self.order < 3:
            value, derivatives = Pointwise.apply(
                self.value, self.derivatives, self.dim, self.order, function
            )
            return Jet(value, derivatives, self.dim, self.order)
        f0, f1, f2, f3 = function(self.value)
        first, second = self.derivatives[: self.dim], self._second()
        space = first[1:]
        spread = space.square().sum(0)
        spread_gradient = 2 * self._along_space(space)
        out = torch.cat(
            [
                f1 * first,
                f1 * second + f2 * self._outer(first, first),
                f1 * self._laplacian_gradient()
                + f2 * (first * self._laplacian() + spread_gradient)
                + f3 * first * spread,
            ]
        )
        return Jet(f0, out, self.dim, self.order)

    def _along_space(self, direction: Tensor) -> Tensor:
        """``sum_i v_i u_ia`` over spatial i, for every a."""
        second = self._second()
        return torch.stack(
            [
                sum(
                    (direction[i - 1] * second[_pair(self.dim, a, i)] for i in range(1, self.dim)),
                    start=torch.zeros_like(direction[0]),
                )
                for a in range(self.dim)
            ]
        )

    def _outer(self, left: Tensor, right: Tensor) -> Tensor:
        """``v_a w_b`` in the order of second derivatives."""
        a, b = _pairs(self.dim)
        return left[a] * right[b]

    def _second(self) -> Tensor:
        return self.derivatives[self.dim : self.dim + len(_pairs(self.dim)[0])]

    def _laplacian(self) -> Tensor:
        self._need(2, "the Laplacian")
        if self.order == 2:
            return self.derivatives[self.dim]
        second = self._second()
        return torch.stack([second[_pair(self.dim, i, i)] for i in range(1, self.dim)]).sum(0)

    def _laplacian_gradient(self) -> Tensor:
        return self.derivatives[-self.dim :]

    def full(self, derivatives: Tensor, lead: int = 1) -> Tensor:
        """Derivatives in the shape of the value."""
        return derivatives.expand(*derivatives.shape[:lead], *self.value.shape)

    def _need(self, order: int, what: str) -> None:
        if self.order < order:
            raise ValueError(
                f"Expected a jet of order {order} or more for {what} (got order {self.order})."
            )

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        """Find what a torch function does with jets."""
        name = func.__name__
        if name in _HANDLERS:
            return _HANDLERS[name](*args, **(kwargs or {}))
        pointwise = rule(name)
        if pointwise is not None and args and isinstance(args[0], Jet):
            if name == "gelu" and (kwargs or {}).get("approximate", "none") != "none":
                raise NotImplementedError("Expected gelu with approximate='none' on a jet.")
            if name == "softplus" and (len(args) > 1 or kwargs):
                # torch switches to the identity above a threshold, which the rule does not.
                raise NotImplementedError("Expected softplus with its defaults on a jet.")
            return args[0].apply(pointwise)
        raise NotImplementedError(
            f"Expected a function whose derivatives are known on a jet (got {name}). Register "
            "pointwise functions with roma_pyg.physics.pointwise.register, or write it with known "
            "ones."
        )

    def __repr__(self) -> str:
        """Shape and order."""
        return f"Jet(shape={tuple(self.shape)}, dim={self.dim}, order={self.order})"

    def __add__(self, other: Operand) -> Jet:
        """Sum."""
        return _HANDLERS["add"](self, other)

    def __radd__(self, other: Operand) -> Jet:
        """Sum."""
        return _HANDLERS["add"](self, other)

    def __sub__(self, other: Operand) -> Jet:
        """Difference."""
        return _HANDLERS["sub"](self, other)

    def __rsub__(self, other: Operand) -> Jet:
        """Difference."""
        return _HANDLERS["sub"](other, self)

    def __neg__(self) -> Jet:
        """Negative."""
        return self.map(torch.neg)

    def __mul__(self, other: Operand) -> Jet:
        """Product, element by element."""
        return _HANDLERS["mul"](self, other)

    def __rmul__(self, other: Operand) -> Jet:
        """Product, element by element."""
        return _HANDLERS["mul"](self, other)

    def __truediv__(self, other: Operand) -> Jet:
        """Quotient."""
        return _HANDLERS["div"](self, other)

    def __rtruediv__(self, other: Operand) -> Jet:
        """Quotient."""
        return _HANDLERS["div"](other, self)

    def __pow__(self, exponent: float) -> Jet:
        """Constant power."""
        return _HANDLERS["pow"](self, exponent)

    def __matmul__(self, other: Tensor) -> Jet:
        """Product with a constant matrix."""
        return _HANDLERS["matmul"](self, other)

    def __getitem__(self, index: Any) -> Jet:  # noqa: ANN401
        """Index behind an ellipsis, so that it means the same for value and derivatives."""
        if not (isinstance(index, tuple) and index and index[0] is Ellipsis):
            raise IndexError(f"Expected an index of a jet to start with '...' (got {index!r}).")
        return self.map(lambda x: x[index])

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        """Methods of tensors that are known functions of jets: ``jet.sin()``, ``jet.sum(-1)``."""
        if name.startswith("_") or not (name in _HANDLERS or rule(name)):
            raise AttributeError(f"Expected an attribute of a jet (got {name!r}).")
        known = _HANDLERS.get(name)
        if known is not None:
            return lambda *args, **kwargs: known(self, *args, **kwargs)
        pointwise = rule(name)
        assert pointwise is not None
        return lambda: self.apply(pointwise)


def channels(dim: int, order: int) -> int:
    """Number of derivative channels of a jet.

    Raises:
        ValueError: If ``order`` is not 1, 2 or 3.

    >>> [channels(4, order) for order in (1, 2, 3)]
    [4, 5, 18]
    """
    counts = {1: dim, 2: dim + 1, 3: 2 * dim + dim * (dim + 1) // 2}
    if order not in counts:
        raise ValueError(f"Expected 'order' to be 1, 2 or 3 (got {order}).")
    return counts[order]
