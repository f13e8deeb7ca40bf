from __future__ import annotations

import pytest
import torch

from roma_pyg.cli import doctor
from roma_pyg.nn import segment


def test_reports_versions_kernels_and_the_check(capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main([]) == 0
    rows = dict(
        line.split(maxsplit=1) for line in capsys.readouterr().out.split("\n\n")[0].splitlines()
    )
    # The build, as in 2.4.0+cu121, is not in all metadata.
    assert torch.__version__.startswith(rows["torch"])
    assert {"python", "networkit", "cpu", "memory", "torch-scatter", "torch-sparse"} <= set(rows)
    assert rows["self-check"].startswith("reductions are right by torch")


def test_says_how_to_install_missing_kernels(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "kernel_versions", lambda: {"torch-scatter": None})
    doctor.main([])
    assert "make kernels" in capsys.readouterr().out
    monkeypatch.setattr(doctor, "kernel_versions", lambda: {"torch-scatter": "2.1.2"})
    doctor.main([])
    assert "make kernels" not in capsys.readouterr().out


def test_a_wrong_reduction_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(segment, "segment_aggregate", lambda *_: torch.zeros(4, 2))
    assert doctor.main([]) == 1
    assert "FAILED: the reduction by torch" in capsys.readouterr().out
