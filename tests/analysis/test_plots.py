from __future__ import annotations

import gc
import weakref

import matplotlib
import numpy as np
import pytest

from roma_pyg.analysis.plots import (
    error_by_horizon_figure,
    figure_to_image,
    forecast_figure,
    order_parameter_figure,
    similarity_order,
    spacetime_figure,
)

STEPS = np.array([1, 2, 4, 8])


def waves(count, times):
    phase = np.linspace(0, 3, count)[:, None]
    return 0.5 + 0.4 * np.sin(0.3 * np.asarray(times) + phase)


def lines(axis):
    return {line.get_label(): line.get_xydata().T for line in axis.get_lines()}


def is_legible(figure):
    """Every visible text lies inside the image and has a readable size."""
    image = figure_to_image(figure)
    height, width = image.shape[:2]
    texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text()]
    shown = [t for axis in figure.axes for t in [axis.title, axis.xaxis.label, axis.yaxis.label]]
    shown += [t for legend in figure.legends for t in legend.get_texts()]
    shown = [t for t in shown if t.get_text()]
    for text in shown:
        box = text.get_window_extent()
        assert box.x0 >= 0, text
        assert box.y0 >= 0, text
        assert box.x1 <= width, text
        assert box.y1 <= height, text
    assert min(text.get_fontsize() for text in texts) >= 8
    return True


def test_forecast_figure_draws_the_numbers_it_was_given():
    history, truth, forecast = waves(3, range(-4, 1)), waves(3, STEPS), waves(3, STEPS + 0.1)
    figure = forecast_figure(history, STEPS, truth, forecast, 0.5, ["hub", "middle", "leaf"])
    panels = [axis for axis in figure.axes if axis.get_visible()]
    assert [axis.get_title(loc="left") for axis in panels] == ["hub", "middle", "leaf"]
    drawn = lines(panels[1])
    assert np.allclose(drawn["History (model input)"], [[-2, -1.5, -1, -0.5, 0], history[1]])
    assert np.allclose(drawn["Truth"], [0.5 * STEPS, truth[1]])
    assert np.allclose(drawn["Forecast"], [0.5 * STEPS, forecast[1]])
    assert "time units" in figure.get_supxlabel()
    assert is_legible(figure)


def test_order_parameter_figure():
    truth = waves(1, STEPS)[0]
    figure = order_parameter_figure(waves(1, range(-9, 1))[0], STEPS, truth, truth + 0.1, 0.1)
    drawn = lines(figure.axes[0])
    assert np.allclose(drawn["Forecast"][1] - drawn["Truth"][1], 0.1)
    assert is_legible(figure)


def test_spacetime_figure_shows_the_error_in_the_order_of_the_nodes():
    truth = waves(5, STEPS)
    forecast = truth + np.arange(5)[:, None] * 0.01
    figure = spacetime_figure(STEPS, truth, forecast, 0.1, order=np.array([4, 3, 2, 1, 0]))
    truth_image, _, error_image = (axis.collections[0] for axis in figure.axes[:3])
    assert np.allclose(truth_image.get_array(), truth[::-1])
    assert np.allclose(error_image.get_array()[:, 0], [0.04, 0.03, 0.02, 0.01, 0.0])
    low, high = error_image.get_clim()
    assert low == -high  # zero error is the neutral colour
    assert is_legible(figure)


def test_spacetime_cells_enclose_unequal_steps():
    figure = spacetime_figure(STEPS, waves(2, STEPS), waves(2, STEPS))
    edges = figure.axes[0].collections[0].get_coordinates()[0, :, 0]
    assert (edges[:-1] < STEPS).all()
    assert (edges[1:] > STEPS).all()


def test_error_by_horizon_figure():
    errors = {f"method {i}": np.array([1e-3, 1e-2, 3e-2, 0.1]) * (i + 1) for i in range(6)}
    figure = error_by_horizon_figure(STEPS, errors, dt=0.1)
    axis = figure.axes[0]
    drawn = lines(axis)
    assert np.allclose(drawn["method 2"], [0.1 * STEPS, errors["method 2"]])
    assert (axis.get_xscale(), axis.get_yscale()) == ("log", "log")
    assert len({line.get_color() for line in axis.get_lines()}) == 6
    assert is_legible(figure)


def test_zero_errors_are_drawn_on_a_linear_axis():
    figure = error_by_horizon_figure(STEPS, {"exact": np.zeros(4)})
    assert figure.axes[0].get_yscale() == "linear"


def test_single_step_and_single_node():
    one = np.array([3])
    values = np.array([[0.5]])
    for figure in (
        forecast_figure(waves(1, range(3)), one, values, values),
        spacetime_figure(one, values, values),
        error_by_horizon_figure(one, {"ROMA": np.array([0.1])}),
    ):
        assert figure_to_image(figure).std() > 0


def test_similar_series_lie_together():
    times = np.linspace(0, 6, 20)
    phase = np.random.default_rng(0).permutation(np.arange(12)) * np.pi / 6
    order = similarity_order(np.cos(times + phase[:, None]))
    steps = np.diff(np.concatenate([phase[order], phase[order][:1]])) % (2 * np.pi)
    # Going round once, each neighbour is the next phase: all steps are +30 or all -30 degrees.
    assert np.allclose(steps, np.pi / 6) or np.allclose(steps, 2 * np.pi - np.pi / 6)


def test_order_is_cut_where_series_differ_most():
    # Phases in an arc around +-pi, where the angle itself jumps, and two alike.
    phase = np.array([2.9, -2.5, -2.9, 2.5, 3.0])
    order = similarity_order(np.cos(np.linspace(0, 6, 20) + phase[:, None])).tolist()
    assert order in ([3, 0, 4, 2, 1], [1, 2, 4, 0, 3])


def test_image_has_the_size_of_the_figure():
    figure = order_parameter_figure(np.ones(3), STEPS, np.ones(4), np.ones(4))
    width, height = (figure.get_size_inches() * figure.dpi).astype(int)
    image = figure_to_image(figure)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert (image[0, 0] == 255).all()


def test_figures_leave_no_pyplot_state_and_are_freed():
    import matplotlib.pyplot as plt

    figure = order_parameter_figure(np.ones(3), STEPS, np.ones(4), np.ones(4))
    figure_to_image(figure)
    assert plt.get_fignums() == []
    gone = weakref.ref(figure)
    del figure
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda x: forecast_figure(x, STEPS, x, x[:, :3]), r"'forecast' with 4 steps.*\(2, 3\)"),
        (lambda x: spacetime_figure(STEPS[:2], x, x), r"'truth' with 2 steps.*\(2, 4\)"),
        (lambda x: error_by_horizon_figure(STEPS, {}), r"1 to 6 methods \(got 0\)"),
        (lambda x: error_by_horizon_figure(STEPS, {"MLP": x[0, :2]}), r"'MLP' with 4 steps"),
    ],
)
def test_errors(draw, message):
    with pytest.raises(ValueError, match=message):
        draw(np.ones((2, 4)))
