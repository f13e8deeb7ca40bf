"""TensorBoard in a headless Chromium: every tab of the dashboard shows what a run has written."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from roma_pyg.data.datamodule import GraphSeriesData
from roma_pyg.training.charts import FIGURES, layout
from roma_pyg.training.run import train

from .test_run import make_config, make_series

pytest.importorskip("selenium", reason="needs selenium: pip install selenium")
pytestmark = pytest.mark.slow

SCRIPT = Path(__file__).parents[2] / "docs" / "make_screenshots.py"


@pytest.fixture(scope="module")
def board() -> ModuleType:
    """The script that takes the screenshots of the documentation; skips without a browser."""
    spec = importlib.util.spec_from_file_location("make_screenshots", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if reason := module.missing():
        pytest.skip(f"needs a browser: {reason}")
    return module


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, board: ModuleType) -> Iterator[str]:
    """TensorBoard over two runs with different learning rates."""
    output, series = tmp_path_factory.mktemp("runs"), make_series()
    for name, rate in (("slow", 1e-3), ("fast", 4e-3)):
        config = make_config(output)
        config.training.name = name
        config.training.learning_rate = rate
        config.training.figures = True
        train(
            config,
            data=GraphSeriesData(config.data, config.training, series, progress=False),
            progress=False,
        )
    with board.serve(output) as found:
        yield found


@pytest.fixture(scope="module")
def browser(board: ModuleType) -> Iterator[Any]:
    with board.browse() as driver:
        yield driver


@pytest.fixture
def tab(board: ModuleType, browser: Any, address: str) -> Any:
    """Opens a tab; returns how to ask its elements."""

    def show(name: str, tags: str = "", runs: str = "") -> Any:
        board.show(browser, address, name, tags, runs)
        return lambda selector, script: board.ask(browser, selector, script)

    return show


def test_time_series_has_cards_of_scalars_and_images(tab: Any) -> None:
    ask = tab("timeseries")
    assert ask("image-card", "return found.length") > 0
    ask = tab("timeseries", "val/loss")
    lines = "return found.length && found.map(card => card.innerText).join()"
    assert "loss" in ask("scalar-card", lines)
    # A line is drawn as a path of more than one point.
    assert ask("scalar-card svg path, scalar-card canvas", "return found.length") > 0


def test_scalars_have_names_for_people(tab: Any) -> None:
    ask = tab("scalars", "val/")
    script = "const t = found.map(text).join('|'); return t.includes('{}') && t"
    text = ask("tf-card-heading, tf-scalar-card", script.format("Validation loss"))
    assert "sMSPE, steps ahead: 1" in text
    assert "tag: val/loss" in text


def test_custom_scalars_show_every_group_with_lines(tab: Any) -> None:
    ask = tab("custom_scalars")
    charts = layout(law=False)
    script = f"return found.length >= {len(charts)} && found.map(x => x.innerText)"
    headings = ask("button.heading", script)
    assert [heading.split("\n")[0] for heading in headings] == list(charts)
    # Each open chart tells how many lines of the two runs it has found.
    script = """
    const counts = found.map(x => text(x).match(/Matches .(\\d+)/)).filter(Boolean);
    return counts.length >= 5 && counts.every(x => x[1] > 0) && counts.map(x => Number(x[1]));
    """
    counts = ask("tf-custom-scalar-multi-line-chart-card", script)
    assert counts[0] == 2


def test_images_show_every_figure(tab: Any) -> None:
    shown: set[str] = set()
    for group in sorted({tag.split("/")[0] for tag in FIGURES}):
        ask = tab("images", f"^{group}/", "fast")
        wanted = {tag for tag in FIGURES if tag.startswith(f"{group}/")}
        # The pixels have come, and there is one picture per figure and run.
        script = f"""
        const here = found.filter(x => x.naturalWidth > 100 && x.naturalHeight > 100);
        return here.length >= {len(wanted)} && here.length == found.length && here.length;
        """
        assert ask("tf-image-loader img, #main-image-container img, img", script) >= len(wanted)
        text = ask("tf-image-loader", "return found.map(text).join('|')")
        shown |= {tag for tag in wanted if FIGURES[tag].name in text}
    assert shown == set(FIGURES)


def test_table_of_runs_compares_both(tab: Any) -> None:
    ask = tab("hparams")
    script = "const t = found.map(x => text(x).trim()); return t.includes('{}') && t"
    cells = ask("vaadin-grid-cell-content", script.format("fast/tensorboard"))
    assert {"slow/tensorboard", "learning rate", "Validation loss"} <= set(cells)
    # The learning rates of the two runs.
    assert {float(cell) for cell in cells if cell.startswith("0.00")} >= {1e-3, 4e-3}


def test_projector_has_points_with_supernodes(tab: Any, board: ModuleType, browser: Any) -> None:
    ask = tab("projector")
    board.enter_projector(browser)
    panel = "vz-projector-data-panel"
    columns = ask(panel, "const o = found[0].labelOptions; return o && o.length > 1 && o")
    assert columns == ["node", "degree", "supernode_1", "supernode_2"]
    assert int(ask(".numDataPoints", "return found[0].innerText")) > 40
    assert ask("canvas", "return found.some(x => x.width > 100 && x.height > 100)")


@pytest.mark.parametrize(
    ("tag", "words"),
    [
        ("config", "nodes_per_graph: 24"),
        ("data", "time between samples"),
        ("guide", "Validation sMSPE by steps ahead"),
    ],
)
def test_text_shows_configuration_data_card_and_guide(tab: Any, tag: str, words: str) -> None:
    ask = tab("text", tag)
    script = f"const t = found.map(text).join('|'); return t.includes('{words}') && t"
    assert words in ask("tf-markdown-view", script)
