"""A network per node: DeepONet and NOMAD without a graph encoder."""

from __future__ import annotations

from torch import Tensor, nn

from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.rivals.single_level import SingleLevel
from roma_pyg.nn.trunk import ResidualBlock


class TokenwiseOperator(SingleLevel):
    """DON: a residual network on the window and the position of each node alone.

    With ``trunk.kind = deeponet`` this is a DeepONet (Lu et al. 2021,
    doi:10.1038/s42256-021-00302-5), with ``nomad`` a NOMAD (Seidman et al. 2022,
    arXiv:2206.03551). The neighbours enter through the base forecast only.
    """

    def make_layers(self, width: int, layers: int) -> None:
        """Create an input layer and residual blocks."""
        self.enter = nn.Linear(self.num_seen + self.config.features, width)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(layers)))

    def tokens_of(self, batch: SubgraphBatch, lags: Tensor) -> Tensor:
        """Apply the network to each node."""
        return self.blocks(self.enter(self._inputs(batch)[: batch.num_core]))
