from __future__ import annotations

import pytest

from roma_pyg.writing import replacing, write_text


def test_a_file_is_replaced_when_all_is_written(tmp_path):
    path = tmp_path / "new" / "a.txt"
    write_text(path, "before\n")
    with replacing(path) as stream:
        stream.write(b"after\n")
        stream.flush()
        assert path.read_text() == "before\n"
    assert path.read_bytes() == b"after\n"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError, ValueError, KeyboardInterrupt])
def test_what_was_there_survives_a_failure(tmp_path, error):
    path = tmp_path / "a.txt"
    write_text(path, "before\n")

    def fail() -> None:
        with replacing(path) as stream:
            stream.write(b"half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "before\n"
    assert list(tmp_path.iterdir()) == [path]


def test_two_writers_do_not_mix(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as slow:
        slow.write(b"slow ")
        write_text(path, "quick")
        slow.write(b"one")
    assert path.read_text() == "slow one"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_the_same_on_every_system(tmp_path):
    write_text(tmp_path / "a.txt", "θ\nR²\n")
    assert (tmp_path / "a.txt").read_bytes() == "θ\nR²\n".encode()
