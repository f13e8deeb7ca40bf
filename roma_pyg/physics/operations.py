"""What torch functions do with jets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from roma_pyg.physics.fused import NormLinear
from roma_pyg.physics.jet import Jet, Operand, channels, handles
from roma_pyg.physics.pointwise import power, rule


def _operands(*parts: Operand) -> Jet:
    """Return the first jet; all of them must agree in dim and order.

    Raises:
        ValueError: If they do not.
    """
    jets = [part for part in parts if isinstance(part, Jet)]
    kinds = {(jet.dim, jet.order) for jet in jets}
    if len(kinds) > 1:
        raise ValueError(f"Expected jets of the same dim and order (got {sorted(kinds)}).")
    return jets[0]


def _lead(derivatives: Tensor, ndim: int) -> Tensor:
    """Insert dimensions behind the channels until ``ndim`` follow them."""
    missing = ndim - (derivatives.ndim - 1)
    if missing <= 0:
        return derivatives
    return derivatives.reshape(len(derivatives), *(1,) * missing, *derivatives.shape[1:])


@handles("add", "__add__", "__radd__")
def _add(left: Operand, right: Operand) -> Jet:
    kind = _operands(left, right)
    if isinstance(left, Jet) and isinstance(right, Jet):
        value = left.value + right.value
        derivatives = _lead(left.derivatives, value.ndim) + _lead(right.derivatives, value.ndim)
    else:
        other = right if kind is left else left
        assert not isinstance(other, Jet)
        value = kind.value + other
        derivatives = _lead(kind.derivatives, value.ndim)
    return Jet(value, derivatives, kind.dim, kind.order)


@handles("sub", "__sub__")
def _sub(left: Operand, right: Operand) -> Jet:
    return _add(left, -right)


@handles("rsub", "__rsub__")
def _rsub(left: Operand, right: Operand) -> Jet:
    return _add(-left, right)


@handles("neg")
def _neg(jet: Jet) -> Jet:
    return -jet


@handles("mul", "__mul__", "__rmul__", "multiply")
def _mul(left: Operand, right: Operand) -> Jet:
    kind = _operands(left, right)
    if isinstance(left, Jet) and isinstance(right, Jet):
        return _product(left, right)
    other = right if kind is left else left
    assert not isinstance(other, Jet)
    value = kind.value * other
    return Jet(value, _lead(kind.derivatives, value.ndim) * other, kind.dim, kind.order)


def _product(left: Jet, right: Jet) -> Jet:
    """Product rule."""
    value = left.value * right.value
    dim, order = left.dim, left.order
    left, right = (
        Jet(part.value.expand_as(value), _lead(part.derivatives, value.ndim), dim, order)
        for part in (left, right)
    )
    out = left.derivatives * right.value + right.derivatives * left.value
    first_a, first_b = left.derivatives[:dim], right.derivatives[:dim]
    if order == 2:
        cross = 2 * (first_a[1:] * first_b[1:]).sum(0)
        out = torch.cat([out[:dim], (out[dim] + cross).unsqueeze(0)])
    elif order == 3:
        second = left._outer(first_a, first_b) + left._outer(first_b, first_a)
        third = (
            first_a * right._laplacian()
            + first_b * left._laplacian()
            + 2 * (left._along_space(first_b[1:]) + right._along_space(first_a[1:]))
        )
        # ``out`` has the shape of the value; what is added may be shared by tokens.
        out = torch.cat([out[:dim], out[dim:-dim] + second, out[-dim:] + third])
    return Jet(value, out, dim, order)


@handles("div", "__truediv__", "true_divide", "divide")
def _div(left: Operand, right: Operand) -> Jet:
    if not isinstance(right, Jet):
        return _mul(left, 1 / right)
    inverse = rule("reciprocal")
    assert inverse is not None
    return _mul(left, right.apply(inverse))


@handles("rdiv", "__rdiv__", "__rtruediv__")
def _rdiv(left: Operand, right: Operand) -> Jet:
    return _div(right, left)


@handles("pow", "__pow__")
def _pow(jet: Jet, exponent: float) -> Jet:
    if not isinstance(jet, Jet) or not isinstance(exponent, int | float):
        raise NotImplementedError(f"Expected a jet to a constant power (got {exponent!r}).")
    return jet.apply(power(exponent))


@handles("linear")
def _linear(input: Jet, weight: Tensor, bias: Tensor | None = None) -> Jet:
    if not isinstance(input, Jet):
        raise NotImplementedError("Expected constant weights of a linear layer (got a jet).")
    return input.map(lambda x: torch.nn.functional.linear(x, weight), bias)


@handles("matmul", "__matmul__")
def _matmul(left: Jet | Tensor, right: Jet | Tensor) -> Jet:
    if isinstance(left, Jet):
        if isinstance(right, Jet):
            raise NotImplementedError("Expected one factor of a matrix product to be constant.")
        value = left.value @ right
        derivatives = _lead(left.derivatives, value.ndim)
        if right.ndim > 2:
            # Channels become rows: a product per channel would copy or reread each matrix.
            rows = derivatives.movedim(0, -3)
            product = rows.flatten(-3, -2) @ right
            derivatives = product.unflatten(-2, rows.shape[-3:-1]).movedim(-3, 0)
        else:
            derivatives = derivatives @ right
        return Jet(value, derivatives, left.dim, left.order)
    assert isinstance(right, Jet)
    value = left @ right.value
    return Jet(value, left @ _lead(right.derivatives, value.ndim), right.dim, right.order)


@handles("__rmatmul__")
def _rmatmul(left: Jet | Tensor, right: Jet | Tensor) -> Jet:
    return _matmul(right, left)


@handles("cat", "concat")
def _cat(tensors: Sequence[Jet | Tensor], dim: int = 0) -> Jet:
    kind = _operands(*tensors)
    ndim = kind.ndim
    axis = dim if dim < 0 else dim - ndim
    value = torch.cat([x.value if isinstance(x, Jet) else x for x in tensors], dim=axis)
    parts = []
    # All parts in the largest shape that one of them has, but for the joined dimension.
    shapes = [x.derivatives.shape[1:] for x in tensors if isinstance(x, Jet)]
    shape = [max(sizes) for sizes in zip(*shapes, strict=True)]
    for part in tensors:
        shape[axis] = part.shape[axis]
        if isinstance(part, Jet):
            parts.append(part.derivatives.expand(-1, *shape))
        else:
            parts.append(value.new_zeros(1).expand(channels(kind.dim, kind.order), *shape))
    return Jet(value, torch.cat(parts, dim=axis), kind.dim, kind.order)


def _trailing(dim: int | Sequence[int], ndim: int) -> tuple[int, ...]:
    """Dimensions counted from the end."""
    dims = (dim,) if isinstance(dim, int) else tuple(dim)
    return tuple(d if d < 0 else d - ndim for d in dims)


def _expanded(jet: Jet) -> Jet:
    """Give shared derivatives the shape of the value, before dimensions are merged or summed."""
    return Jet(jet.value, jet.full(jet.derivatives), jet.dim, jet.order)


@handles("sum")
def _sum(jet: Jet, dim: int | Sequence[int], keepdim: bool = False) -> Jet:
    dims = _trailing(dim, jet.ndim)
    return _expanded(jet).map(lambda x: x.sum(dims, keepdim=keepdim))


@handles("mean")
def _mean(jet: Jet, dim: int | Sequence[int], keepdim: bool = False) -> Jet:
    count = math.prod(jet.shape[d] for d in _trailing(dim, jet.ndim))
    return _sum(jet, dim, keepdim) / count


@handles("unsqueeze")
def _unsqueeze(jet: Jet, dim: int) -> Jet:
    axis = dim if dim < 0 else dim - jet.ndim - 1
    return jet.map(lambda x: x.unsqueeze(axis))


@handles("flatten")
def _flatten(jet: Jet, start_dim: int, end_dim: int = -1) -> Jet:
    start, end = _trailing((start_dim, end_dim), jet.ndim)
    return _expanded(jet).map(lambda x: x.flatten(start, end))


@handles("squeeze")
def _squeeze(jet: Jet, dim: int) -> Jet:
    (axis,) = _trailing(dim, jet.ndim)
    return _expanded(jet).map(lambda x: x.squeeze(axis))


@handles("vector_norm", "linalg_vector_norm")
def _vector_norm(
    x: Jet,
    ord: float = 2,
    dim: int = -1,
    keepdim: bool = False,
) -> Jet:
    if ord != 2:
        raise NotImplementedError(f"Expected the 2-norm of a jet (got ord={ord}).")
    return (x * x).sum(dim, keepdim).sqrt()


@handles("dropout")
def _dropout(input: Jet, p: float = 0.5, training: bool = True, inplace: bool = False) -> Jet:
    if training and p > 0:
        raise NotImplementedError("Expected no dropout where derivatives are taken: set it to 0.")
    return input


@handles("layer_norm")
def _layer_norm(
    input: Jet,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Jet:
    """Normalise over the last dimension, from mean and reciprocal root.

    (Automatic differentiation through the fused kernel gave wrong second derivatives in some
    versions of torch.)
    """
    if len(normalized_shape) != 1:
        raise NotImplementedError(
            f"Expected layer normalisation over the last dimension (got {tuple(normalized_shape)})."
        )
    if input.order < 3:
        value, derivatives = NormLinear.apply(
            input.value, input.derivatives, None, input.dim, input.order, eps
        )
        jet = Jet(value, derivatives, input.dim, input.order)
    else:
        centered = input - input.mean(-1, keepdim=True)
        variance = centered.square().mean(-1, keepdim=True)
        jet = centered * (variance + eps).rsqrt()
    if weight is not None:
        jet = jet * weight
    return jet if bias is None else jet + bias


@handles("norm_linear")
def _norm_linear(
    hidden: Jet, norm: torch.nn.LayerNorm, weight: Tensor, bias: Tensor | None = None
) -> Jet:
    """A linear layer behind a normalisation, both at once."""
    if hidden.order == 3 or norm.elementwise_affine:
        jet = norm(hidden)
        jet = _linear(jet, weight) if weight.ndim == 2 else jet @ weight.mT
    else:
        shared = weight.ndim == 2
        value, derivatives = NormLinear.apply(
            hidden.value,
            hidden.derivatives if shared else hidden.full(hidden.derivatives),
            weight,
            hidden.dim,
            hidden.order,
            norm.eps,
        )
        jet = Jet(value, derivatives, hidden.dim, hidden.order)
    return jet if bias is None else jet + bias
