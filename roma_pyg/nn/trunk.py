"""Trunk networks: the forecast as a function of time ahead and latent position."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.overrides import handle_torch_function, has_torch_function_unary

LATENT = 3


class FourierFeatures(nn.Module):
    r"""Random Fourier features of the coordinates (Tancik et al. 2020, arXiv:2006.10739).

    .. math::
        (z, \cos 2 \pi B z, \sin 2 \pi B z), \qquad z = (t, x) \in R^4, \quad B_{ij} \sim N(0, s^2)

    Under autocast they stay in the precision of the coordinates: half precision would blur
    neighbouring times.

    Args:
        num_features: Number of cosines and sines together; an odd number is rounded up.
        std: Standard deviation s of the frequencies, in cycles per unit of a coordinate.

    Raises:
        ValueError: If ``num_features`` or ``std`` is not positive.

    Example:
        >>> features = FourierFeatures(num_features=6, std=1.0)
        >>> features(torch.zeros(1, 4)).tolist()
        [[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0]]
    """

    frequency: Tensor

    def __init__(self, num_features: int, std: float) -> None:
        """Draw the frequencies from torch's current random state."""
        super().__init__()
        if num_features < 1:
            raise ValueError(f"Expected 'num_features' to be at least 1 (got {num_features}).")
        if not std > 0:
            raise ValueError(f"Expected 'std' to be positive (got {std}).")
        frequency = std * torch.randn(1 + LATENT, (num_features + 1) // 2)
        self.register_buffer("frequency", frequency)
        self.out_features = 2 * frequency.shape[1] + 1 + LATENT

    def forward(self, coordinates: Tensor) -> Tensor:
        """Map ``(Q, 4)`` to ``(Q, out_features)``; the coordinates themselves come first."""
        with torch.autocast(coordinates.device.type, enabled=False):
            phase = 2 * math.pi * coordinates @ self.frequency
            return torch.cat([coordinates, phase.cos(), phase.sin()], dim=-1)


def norm_linear(
    hidden: Tensor, norm: nn.LayerNorm, weight: Tensor, bias: Tensor | None = None
) -> Tensor:
    """Normalise, then apply a linear layer: two steps for tensors, one for jets.

    Args:
        hidden: Shape ``(..., C)``; or a jet (`roma_pyg.physics.Jet`) in its place.
        norm: Normalisation of the channels.
        weight: Shape ``(P, C)``; or ``(..., P, C)``, one for each of the rows ``(..., Q, C)``.
        bias: Is added, shape ``(P,)`` or such that it can be.

    Returns:
        Shape ``(..., P)``.
    """
    if has_torch_function_unary(hidden):
        return handle_torch_function(norm_linear, (hidden,), hidden, norm, weight, bias)
    if weight.ndim == 2:
        return nn.functional.linear(norm(hidden), weight, bias)
    product = norm(hidden) @ weight.mT
    return product if bias is None else product + bias


class ResidualBlock(nn.Module):
    """``h + W2 silu(W1 norm(h))``; scale and shift of the norm are left to W1.

    Args:
        width: Channels.
    """

    def __init__(self, width: int) -> None:
        """Create the block."""
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.inner = nn.Linear(width, width)
        self.outer = nn.Linear(width, width)

    def forward(self, hidden: Tensor) -> Tensor:
        """Update ``(..., width)``."""
        inner = norm_linear(hidden, self.norm, self.inner.weight, self.inner.bias)
        return hidden + self.outer(nn.functional.silu(inner))


class Onset(nn.Module):
    r"""Share that what other tokens do has in the forecast, as time goes.

    Neighbours act on the rate of change, so that a forecast is that of the own history at first,
    and theirs comes in with time:

    .. math:: s(t) = (1 + d) \frac{t}{t + d}, \qquad s(0) = 0, \quad s(1) = 1

    with a learned time d in units of the horizon.

    Args:
        time: Initial value of d, positive.

    Example:
        >>> Onset(0.25)(torch.tensor([[0.0, 0, 0, 0], [0.25, 0, 0, 0], [1.0, 0, 0, 0]])).tolist()
        [[0.0], [0.625], [1.0]]
    """

    def __init__(self, time: float) -> None:
        """Keep the logarithm of the time."""
        super().__init__()
        self.log_time = nn.Parameter(torch.tensor(math.log(time)))

    def forward(self, coordinates: Tensor) -> Tensor:
        """Share at coordinates (t, x), shape ``(Q, 4)`` to ``(Q, 1)``; or jets of both."""
        delay = self.log_time.exp()
        time = coordinates[..., :1]
        return (1 + delay) * (time / (time + delay))


class Trunk(nn.Module):
    """Residual network on the Fourier features of (t, x) and on what is known of a token.

    The first layer, linear on the concatenation of both, is a sum of a coordinate part, computed
    once for all tokens, and a token part, computed once for all times. Every operation is smooth,
    so that derivatives with respect to (t, x) of any order exist; called with jets in the place of
    coordinates it gives them (``roma_pyg.physics``). Memory is O(n Q width) for n tokens at Q
    coordinates.

    Args:
        in_channels: Channels of the token features.
        out_channels: Output channels.
        width: Channels of the residual blocks.
        layers: Number of residual blocks.
        features: Fourier features of the coordinates.
        field_channels: Channels of a field that is known of each token at each time; 0 for none.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        width: int,
        layers: int,
        features: FourierFeatures,
        field_channels: int = 0,
    ) -> None:
        """Create the network."""
        super().__init__()
        self.features = features
        self.from_coordinates = nn.Linear(features.out_features, width)
        self.from_token = nn.Linear(in_channels, width, bias=False)
        self.from_field = nn.Linear(field_channels, width, bias=False) if field_channels else None
        self.blocks = nn.ModuleList(ResidualBlock(width) for _ in range(layers))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.output = nn.Linear(width, out_channels)

    def forward(self, coordinates: Tensor, token: Tensor, field: Tensor | None = None) -> Tensor:
        """Evaluate all tokens at all coordinates.

        Args:
            coordinates: Times ahead in units of the horizon and latent positions, ``(Q, 4)``.
            token: Token features, shape ``(..., C)``.
            field: Values of the field, shape ``(..., Q, field_channels)``.

        Returns:
            Shape ``(..., Q, out_channels)``.
        """
        return self.read(self.hidden(coordinates, token, field))

    def hidden(
        self,
        coordinates: Tensor,
        token: Tensor,
        field: Tensor | None = None,
        change: tuple[Tensor, Tensor] | None = None,
    ) -> Tensor:
        """Evaluate all but the last normalisation and layer, shape ``(..., Q, width)``.

        ``change`` is added to the token features as time goes: the share of it at each coordinate,
        shape ``(Q, 1)``, and the whole, shape ``(..., C)``.
        """
        hidden = self.from_coordinates(self.features(coordinates))
        hidden = hidden + self.from_token(token).unsqueeze(-2)
        if change is not None:
            share, whole = change
            hidden = hidden + share * self.from_token(whole).unsqueeze(-2)
        if self.from_field is not None:
            hidden = hidden + self.from_field(field)
        for block in self.blocks:
            hidden = block(hidden)
        return hidden

    def read(self, hidden: Tensor) -> Tensor:
        """Last normalisation and layer, shape ``(..., Q, out_channels)``."""
        return norm_linear(hidden, self.norm, self.output.weight, self.output.bias)

    def combine(self, hidden: Tensor, coefficients: Tensor) -> Tensor:
        """Combine the output channels, ``output(norm(hidden)) @ coefficients``.

        The coefficients are taken through the output layer first: for n tokens at Q points
        O(n width (P k + Q k)) instead of O(n Q width P), and no ``(n, Q, P)`` is ever there.

        Args:
            hidden: Shape ``(..., Q, width)``.
            coefficients: Shape ``(..., P, k)`` for P output channels.

        Returns:
            Shape ``(..., Q, k)``.
        """
        mixed = coefficients.mT @ self.output.weight
        offset = self.output.bias @ coefficients
        return norm_linear(hidden, self.norm, mixed, offset.unsqueeze(-2))


class OperatorNetwork(ABC, nn.Module):
    """Branch head and trunk: a function of the time ahead for each token.

    The branch is an affine map of the branch tokens to 3 P numbers, of which a subclass and its
    trunk make a vector field.

    Args:
        branch_channels: Channels of the branch tokens.
        token_channels: Channels of the graph features z.
        basis: Number P of coefficient vectors.
        width: Channels of the trunk.
        layers: Residual blocks of the trunk.
        features: Fourier features of the coordinates.
        field_channels: Channels of a field that the trunk sees besides; 0 for none.
        onset: Initial time of an `Onset`, with which the branch passes from the tokens ``start`` to
            the others; 0 for none.
    """

    def __init__(
        self,
        branch_channels: int,
        token_channels: int,
        basis: int,
        width: int,
        layers: int,
        features: FourierFeatures,
        field_channels: int = 0,
        onset: float = 0.0,
    ) -> None:
        """Create branch head and trunk."""
        super().__init__()
        self.basis = basis
        self.branch = nn.Linear(branch_channels, basis * LATENT)
        channels = self.trunk_channels(token_channels)
        self.trunk = Trunk(*channels, width, layers, features, field_channels)
        self.onset = Onset(onset) if onset else None

    @abstractmethod
    def trunk_channels(self, token_channels: int) -> tuple[int, int]:
        """Input and output channels of the trunk."""

    @abstractmethod
    def evaluate(
        self,
        coordinates: Tensor,
        numbers: Tensor,
        token: Tensor,
        field: Tensor | None,
        change: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """Evaluate the vector field from the numbers of the branch, shape ``(..., 3 P)``.

        The ``change`` of the numbers is their share at each coordinate, shape ``(Q, 1)``, and the
        whole.
        """

    def forward(
        self,
        coordinates: Tensor,
        branch: Tensor,
        token: Tensor,
        field: Tensor | None = None,
        start: Tensor | None = None,
    ) -> Tensor:
        """Evaluate the vector field.

        Args:
            coordinates: Times ahead in units of the horizon and latent positions, ``(Q, 4)``.
            branch: Branch tokens, shape ``(..., C)``.
            token: Graph features z, shape ``(..., C_z)``.
            field: Values of the field, shape ``(..., Q, field_channels)``.
            start: Branch tokens at time zero, shape ``(..., C)``; needed with an onset.

        Returns:
            Shape ``(..., Q, 3)``.

        Raises:
            ValueError: If there is an onset, and no ``start``.
        """
        late = self.branch(branch)
        if self.onset is None:
            return self.evaluate(coordinates, late, token, field, None)
        if start is None:
            raise ValueError(
                "Expected 'start', the branch tokens at time zero, for an operator network with an "
                "onset (got None)."
            )
        early = self.branch(start)
        change = self.onset(coordinates), late - early
        return self.evaluate(coordinates, early, token, field, change)


class DeepONet(OperatorNetwork):
    r"""Operator that is linear in the branch (Lu et al. 2021, doi:10.1038/s42256-021-00302-5).

    .. math:: u(t, x) = \frac{1}{\sqrt{P}} \sum_p b_p T_p(t, x, z) \in R^3

    The sum has the size of one of its terms at the start of training. (Published is 1 / P, which
    the coefficients have to make up for: they learn slower.)

    Example:
        >>> operator = DeepONet(8, 4, basis=2, width=8, layers=1, features=FourierFeatures(6, 1.0))
        >>> operator(torch.zeros(3, 4), branch=torch.randn(5, 8), token=torch.randn(5, 4)).shape
        torch.Size([5, 3, 3])
    """

    def trunk_channels(self, token_channels: int) -> tuple[int, int]:
        """The trunk sees the token, and gives the basis functions."""
        return token_channels, self.basis

    def evaluate(
        self,
        coordinates: Tensor,
        numbers: Tensor,
        token: Tensor,
        field: Tensor | None,
        change: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """Combine the basis functions, once for the numbers and their change together."""
        hidden = self.trunk.hidden(coordinates, token, field)
        early = self._coefficients(numbers)
        if change is None:
            return self.trunk.combine(hidden, early)
        share, whole = change
        both = self.trunk.combine(hidden, torch.cat([early, self._coefficients(whole)], dim=-1))
        return both[..., :LATENT] + share * both[..., LATENT:]

    def _coefficients(self, numbers: Tensor) -> Tensor:
        """Coefficients of the basis functions, shape ``(..., P, 3)``."""
        return numbers.unflatten(-1, (self.basis, LATENT)) * self.basis**-0.5


class Nomad(OperatorNetwork):
    r"""Operator that is nonlinear in the branch (Seidman et al. 2022, arXiv:2206.03551).

    .. math:: u(t, x) = T(t, x, z, b) \in R^3

    The trunk sees the 3 P numbers b.
    """

    def trunk_channels(self, token_channels: int) -> tuple[int, int]:
        """The trunk sees token and branch, and gives the field."""
        return token_channels + self.basis * LATENT, LATENT

    def evaluate(
        self,
        coordinates: Tensor,
        numbers: Tensor,
        token: Tensor,
        field: Tensor | None,
        change: tuple[Tensor, Tensor] | None,
    ) -> Tensor:
        """Let the trunk read the numbers; the token itself does not change."""
        if change is not None:
            share, whole = change
            change = share, nn.functional.pad(whole, (token.shape[-1], 0))
        known = torch.cat([token, numbers], dim=-1)
        return self.trunk.read(self.trunk.hidden(coordinates, known, field, change))
