"""Residuals of effective laws, from the derivatives of a field.

Everywhere a field is a jet u(t, x) with values in R^C, carried to order 2 for *partial* or to
order 3 for *total* derivatives of the residual. A residual is a jet of order 1: ``value`` is R and
``gradient`` dR/d(t, x). Of order 2, what the law sees of u is held fixed, so that the gradient is
that in the explicit coordinates of the law (arXiv:2502.15913); of order 3 it is the whole one.
"""

from __future__ import annotations

from torch import Tensor

from roma_pyg.physics.jet import Jet


def field_inputs(field: Jet, spread: float = 1.0) -> list[Tensor | Jet]:
    """Value, spatial gradient and Laplacian of a field, as a law may see them.

    Args:
        field: u, shape ``(..., C)``, of order 2 or 3.
        spread: Typical ratio of a derivative to the field; derivatives are divided by its powers.

    Returns:
        Shapes ``(..., C)``, ``(..., C (D - 1))`` and ``(..., C)``: tensors, or of order 3 jets.
    """
    gradient = field.space_jet().flatten(-2)
    return [field.value_jet(), gradient / spread, field.laplacian_jet() / spread**2]


def emergent(field: Jet, source: Tensor | Jet) -> Tensor | Jet:
    r"""Residual of a law that is learned as a whole.

    .. math:: R = u_t - F(t, x, u, \nabla u, \Delta u)

    Args:
        field: u, shape ``(..., C)``, of order 2 or 3.
        source: F of what :func:`field_inputs` gives, shape ``(..., C)``; a jet of order 1 where it
            depends on the coordinates, also by u of order 3.

    Returns:
        R, shape ``(..., C)``.

    Example:
        The heat equation holds for exp(-t) sin(x):

        >>> import torch
        >>> points = torch.rand(5, 2, dtype=torch.float64)
        >>> t, x = (Jet.coordinates(points)[..., i : i + 1] for i in range(2))
        >>> field = torch.exp(-t) * torch.sin(x)
        >>> emergent(field, field.laplacian).abs().max().item() < 1e-12
        True
    """
    return field.time_jet() - source


def burgers(
    field: Jet, strength: Tensor | Jet | float, viscosity: Tensor | Jet | float
) -> Tensor | Jet:
    r"""Residual of a Burgers-like law.

    .. math:: R = u_t + F\,(u \cdot \nabla) u - \nu\, \Delta u

    Args:
        field: u, shape ``(..., D - 1)``: as many components as directions of space; order 2 or 3.
        strength: F, a number or of shape ``(..., 1)`` or ``(..., D - 1)``.
        viscosity: nu, likewise.

    Returns:
        R, shape ``(..., D - 1)``.

    Raises:
        ValueError: If the field has another number of components.

    Example:
        A wave that steepens, u = x / (1 + t), has no residual at F = 1:

        >>> import torch
        >>> points = torch.rand(5, 2, dtype=torch.float64)
        >>> t, x = (Jet.coordinates(points)[..., i : i + 1] for i in range(2))
        >>> burgers(x / (1 + t), 1.0, 0.1).abs().max().item() < 1e-12
        True
    """
    if field.shape[-1] != field.dim - 1:
        raise ValueError(
            f"Expected a field of {field.dim - 1} components, one per direction of space (got "
            f"{field.shape[-1]})."
        )
    value = field.value_jet()
    advection = (field.space_jet() * value.unsqueeze(-2)).sum(-1)
    rate = field.time_jet() + strength * advection
    return rate - viscosity * field.laplacian_jet()
