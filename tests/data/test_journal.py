from __future__ import annotations

import json

import numpy as np
import pytest

from roma_pyg.data.journal import LOG, PLAN, SAMPLES, STATES, Journal, JournalError

N = 6
VALUES = np.random.default_rng(0).random((9, N)).astype(np.float32)
STATE = np.random.default_rng(1).random((4, 2, N))
PLAN_OF = {"parameters": {"seed": 3, "graph": {"nodes": N}}}


def opened(folder):
    return Journal(folder / "j", PLAN_OF, N, (2, N))


def fill(journal, first=0, last=9):
    """Chunks of three samples and one state."""
    for sample in range(first, last):
        journal.append(VALUES[sample], {"order": sample / 7})
        if sample % 3 == 2:
            journal.append_state(STATE[sample // 3])
            journal.commit()


def test_what_is_committed_is_there(tmp_path):
    with opened(tmp_path) as journal:
        fill(journal)
        rows = list(journal.rows())
    np.testing.assert_array_equal(np.concatenate(rows), VALUES.T)
    with opened(tmp_path) as again:
        assert (again.samples, again.states) == (9, 3)
        np.testing.assert_array_equal(again.scalars()["order"], np.arange(9) / 7)
        np.testing.assert_array_equal(again.all_states(), STATE[:3])
        np.testing.assert_array_equal(again.state(1), STATE[1])
        with pytest.raises(IndexError, match=r"\[0, 3\)"):
            again.state(3)


@pytest.mark.parametrize("block", [1, 4 * 9 * 2, 4 * 9 * 4, 1 << 20])
def test_rows_come_in_blocks_of_nodes(tmp_path, block):
    with opened(tmp_path) as journal:
        fill(journal)
        blocks = list(journal.rows(block))
    assert len(blocks) == -(-N // max(1, block // 36))
    np.testing.assert_array_equal(np.concatenate(blocks), VALUES.T)


def test_what_is_not_committed_is_dropped_and_can_be_added_again(tmp_path):
    with opened(tmp_path) as journal:
        fill(journal, last=5)
    with opened(tmp_path) as journal:
        assert (journal.samples, journal.states) == (3, 1)
        fill(journal, first=3)
    with opened(tmp_path) as journal:
        np.testing.assert_array_equal(np.concatenate(list(journal.rows())), VALUES.T)


def truncate(name, count):
    def damage(folder):
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[:-count])

    return damage


def flip(name, place):
    def damage(folder):
        content = bytearray((folder / name).read_bytes())
        content[place] ^= 1
        (folder / name).write_bytes(content)

    return damage


@pytest.mark.parametrize(
    ("damage", "kept"),
    [
        (truncate(SAMPLES, 1), 6),
        (truncate(STATES, 8), 6),
        (truncate(LOG, 1), 6),
        (truncate(LOG, 300), 3),
        (flip(SAMPLES, -1), 6),
        (flip(SAMPLES, 4 * N * 4), 3),
        (flip(STATES, 0), 0),
        (flip(LOG, 5), 0),
        (flip(LOG, -5), 6),
        (lambda folder: (folder / SAMPLES).unlink(), 0),
    ],
)
def test_damage_costs_the_chunks_from_there_on(tmp_path, damage, kept, caplog):
    with opened(tmp_path) as journal:
        fill(journal)
    damage(tmp_path / "j")
    with opened(tmp_path) as journal:
        assert (journal.samples, journal.states) == (kept, kept // 3)
        assert f"damaged after sample {kept}" in caplog.text
        fill(journal, first=kept)
    with opened(tmp_path) as journal:
        np.testing.assert_array_equal(np.concatenate(list(journal.rows())), VALUES.T)
        np.testing.assert_array_equal(journal.scalars()["order"], np.arange(9) / 7)


def test_another_plan_is_refused(tmp_path):
    with opened(tmp_path):
        pass
    with pytest.raises(JournalError, match="to be of this data set"):
        Journal(tmp_path / "j", {"parameters": {"seed": 4}}, N, (2, N))
    assert json.loads((tmp_path / "j" / PLAN).read_text()) == PLAN_OF


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.ones(4, np.float32), r"shape \(6,\)"),
        (np.array([1, 1, np.nan, 1, 1, 1], np.float32), "nan at node 2 of sample 3"),
    ],
)
def test_impossible_samples(tmp_path, values, message):
    with opened(tmp_path) as journal:
        fill(journal, last=3)
        with pytest.raises(ValueError, match=message):
            journal.append(values, {})
        with pytest.raises(ValueError, match=r"state of shape \(2, 6\)"):
            journal.append_state(STATE[0, 0])
