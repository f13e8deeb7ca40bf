from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from roma_pyg.analysis.folder import ReportFolder


def test_page_with_figure_table_and_arrays(tmp_path):
    out = ReportFolder(tmp_path / "new" / "folder", "Title")
    out.section("Part", "What it says.")
    out.figure("plot", Figure(), "A plot")
    rows = [
        {"name": "a", "count": 12345, "error": 0.123456},
        {"name": "b", "count": 1, "error": 2.0},
    ]
    out.table("numbers", rows, "Some numbers", shown=1)
    out.arrays("data", x=np.arange(3))
    page = out.finish().read_text(encoding="utf-8")
    assert page.startswith("# Title\n\n## Part\n\nWhat it says.\n\n![A plot](plot.png)")
    assert "| name | count | error |\n| --- | ---: | ---: |\n| a | 12,345 | 0.123 |\n\n" in page
    assert (out.path / "numbers.csv").read_text() == "name,count,error\na,12345,0.123456\nb,1,2.0\n"
    assert np.load(out.path / "data.npz")["x"].tolist() == [0, 1, 2]
    names = {path.name for path in out.path.iterdir()}
    assert names == {"report.md", "plot.png", "numbers.csv", "data.npz"}
