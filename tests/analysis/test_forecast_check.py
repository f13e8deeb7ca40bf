from __future__ import annotations

import csv

import numpy as np
import pytest

from roma_pyg.analysis.forecast_check import check_forecast
from roma_pyg.analysis.metrics import r2, smspe
from roma_pyg.data.export import row_blocks
from roma_pyg.data.history import History

RNG = np.random.default_rng(0)
VALUES = RNG.uniform(0.1, 1, (50, 30)).astype(np.float32)
PAST = History(VALUES, 20, 6)
GUESS = RNG.uniform(0.1, 1, (50, 4)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 40, 10_000])
def test_equals_the_errors_of_the_whole(monkeypatch, block):
    monkeypatch.setattr(
        "roma_pyg.analysis.forecast_check.row_blocks", lambda shape: row_blocks(shape, block)
    )
    counts: list[int] = []
    check = check_forecast(GUESS, [1, 2, 5, 10], PAST, 0.1, report=counts.append)
    truth, last = VALUES[:, [20, 21, 24, 29]], VALUES[:, 19]
    for i in range(4):
        assert check.forecast.smspe[i] == pytest.approx(smspe(GUESS[:, i], truth[:, i]))
        assert check.forecast.r2[i] == pytest.approx(r2(GUESS[:, i], truth[:, i]))
        assert check.persistence.smspe[i] == pytest.approx(smspe(last, truth[:, i]))
    np.testing.assert_allclose(check.mean_truth, truth.mean(0), rtol=1e-6)
    np.testing.assert_allclose(check.mean_forecast, GUESS.mean(0), rtol=1e-6)
    assert check.forecast.count == sum(counts) == 50


def test_steps_beyond_the_end_are_left_out():
    check = check_forecast(GUESS, [1, 10, 11, 30], PAST, 0.1)
    assert check.steps.tolist() == [1, 10]
    assert len(check.forecast.r2) == 2


def test_persistence_sees_the_same_noise_as_the_model():
    past = History(VALUES, 20, 6, noise=0.1)
    noisy = check_forecast(GUESS, [1, 2, 3, 4], past, 0.1)
    expected = smspe(past[np.arange(50)][:, -1], VALUES[:, 20])
    assert noisy.persistence.smspe[0] == pytest.approx(expected)


def test_table_and_csv(tmp_path):
    order = np.linspace(0, 1, 30)
    check = check_forecast(GUESS, [1, 2, 3, 4], PAST, 0.1, order)
    np.testing.assert_allclose(check.order_parameter, order[20:24])
    table = check.table()
    assert len(table.splitlines()) == 7
    assert "50 nodes" in table
    assert "the observable shows its real part" in table
    check.to_csv(tmp_path / "e.csv")
    rows = list(csv.DictReader((tmp_path / "e.csv").read_text().splitlines()))
    assert [row["steps ahead"] for row in rows] == ["1", "2", "3", "4"]
    assert float(rows[2]["sMSPE"]) == pytest.approx(100 * check.forecast.smspe[2])
    assert [path.name for path in tmp_path.iterdir()] == ["e.csv"]
    assert float(rows[1]["Re Z truth"]) == pytest.approx(
        2.1 * VALUES[:, 21].mean() - 1.05, abs=1e-5
    )
    assert float(rows[1]["Re Z forecast"]) == pytest.approx(
        2.1 * GUESS[:, 1].mean() - 1.05, abs=1e-5
    )
    assert float(rows[1]["|Z| truth"]) == pytest.approx(order[21])


def test_long_tables_show_powers_of_two_and_the_last():
    values = RNG.uniform(0.1, 1, (5, 60)).astype(np.float32)
    check = check_forecast(values[:, :40], range(1, 41), History(values, 20, 6), 0.1)
    shown = [line.split()[0] for line in check.table().splitlines()[1:-1]]
    assert shown == ["1", "2", "4", "8", "16", "32", "40"]
    assert "Re Z" not in check.table()


def test_rejects_what_does_not_fit():
    with pytest.raises(ValueError, match=r"'forecast' of shape \(50, 3\) \(got \(50, 4\)\)"):
        check_forecast(GUESS, [1, 2, 3], PAST, 0.1)
    with pytest.raises(ValueError, match=r"goes on after sample 29.*\(got 30 samples\)"):
        check_forecast(GUESS, [1, 2, 3, 4], History(VALUES, 30, 6), 0.1)
