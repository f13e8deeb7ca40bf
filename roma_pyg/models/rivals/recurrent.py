"""A recurrent network per node."""

from __future__ import annotations

from torch import Tensor, nn

from roma_pyg.data.sampling import SubgraphBatch
from roma_pyg.models.rivals.single_level import SingleLevel
from roma_pyg.nn.trunk import ResidualBlock


class RecurrentOperator(SingleLevel):
    """A GRU per node with shared weights, then a residual network.

    The gated recurrent unit (Cho et al. 2014, arXiv:1406.1078) reads the values of a node and the
    mean values of its neighbours sample by sample, from a state that its position gives.
    """

    def make_layers(self, width: int, layers: int) -> None:
        """Create the recurrent unit and residual blocks."""
        self.start = nn.Linear(self.config.features, width)
        self.unit = nn.GRU(2 * self.views.count, width, batch_first=True)
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(layers)))

    def tokens_of(self, batch: SubgraphBatch, lags: Tensor) -> Tensor:
        """Read the windows, and take the last state on."""
        position = self.embed_features(batch.features[: batch.num_core])
        series = self.views(lags).unflatten(-1, (-1, self.num_inputs)).mT
        _, last = self.unit(series, self.start(position).unsqueeze(0))
        return self.blocks(last[0])
