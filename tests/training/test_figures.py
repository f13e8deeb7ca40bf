from __future__ import annotations

import numpy as np
import pytest
import torch

from roma_pyg.training.figures import ForecastSample, draw_forecast


@pytest.fixture
def sample(model, make_batch):
    batch = make_batch(1, steps=(9, 1, 4), graphs=2)
    with torch.no_grad():
        return ForecastSample.from_batch(batch, model(batch)), batch


def test_sample_takes_the_first_subgraph_with_ascending_steps(sample):
    forecasts, batch = sample
    assert forecasts.steps.tolist() == [1, 4, 9]
    assert forecasts.history.shape == (6, 8)
    assert np.array_equal(forecasts.truth, batch.target[:6][:, [1, 2, 0]].numpy())
    assert forecasts.node_id.tolist() == list(range(100, 106))


def test_drawn_figures_show_the_sample(sample):
    forecasts, _ = sample
    figures = draw_forecast(forecasts, dt=0.5, num_nodes=4)
    panels = [axis for axis in figures["forecast/nodes"].axes if axis.get_visible()]
    assert [axis.get_title(loc="left") for axis in panels] == [
        f"node {node}" for node in (100, 101, 103, 105)
    ]
    persistence = figures["forecast/error_by_horizon"].axes[0].get_lines()[1]
    last, truth = forecasts.history[:, -1:], forecasts.truth
    expected = ((truth - last) / (truth + last + 1e-4)) ** 2
    assert np.allclose(persistence.get_ydata(), expected.mean(axis=0), rtol=1e-4)


def test_figures_need_a_target(model, batch):
    batch.target = None
    with pytest.raises(ValueError, match="with 'target'"):
        ForecastSample.from_batch(batch, model(batch))
