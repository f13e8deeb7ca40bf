from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest
import torch

from roma_pyg.config import RunConfig
from roma_pyg.training.module import NonFiniteLossError
from roma_pyg.training.resuming import find_checkpoint, last_good, naming_last_good

LAST, PREVIOUS, BEST = "last.ckpt", "previous.ckpt", "best.ckpt"


@pytest.fixture
def write(tmp_path):
    def write(name: str, step: int, damaged: bool = False) -> Path:
        path = tmp_path / name
        content = {
            "hyper_parameters": RunConfig().to_dict(),
            "state_dict": {"model.weight": torch.arange(1000.0)},
            "global_step": step,
        }
        torch.save(content, path)
        if damaged:
            whole = bytearray(path.read_bytes())
            whole[len(whole) // 2] ^= 1
            path.write_bytes(whole)
        return path

    return write


def test_false_resumes_nothing(tmp_path, write):
    write(LAST, 3)
    assert find_checkpoint(tmp_path, False) is None


@pytest.mark.parametrize("resume", [True, "auto"])
def test_the_last_checkpoint_is_taken(tmp_path, write, resume):
    write(PREVIOUS, 2)
    write(LAST, 3)
    write(BEST, 3)
    found = find_checkpoint(tmp_path, resume)
    assert (found.path, found.step) == (tmp_path / LAST, 3)
    assert torch.equal(found.weights["weight"], torch.arange(1000.0))


def test_nothing_to_resume(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        assert find_checkpoint(folder, "auto") is None
        with pytest.raises(FileNotFoundError, match=r"last.ckpt' to resume from \(got none\)\. Th"):
            find_checkpoint(folder, True)


@pytest.mark.parametrize("damaged", [True, False])
def test_the_error_names_the_last_good_one(tmp_path, write, damaged):
    # One bit of a weight, of which torch would know nothing.
    if damaged:
        write(LAST, 4, damaged=True)
    write(PREVIOUS, 2)
    write(BEST, 3)
    kind, problem = (ValueError, "it is damaged") if damaged else (FileNotFoundError, "got none")
    with pytest.raises(kind) as error:
        find_checkpoint(tmp_path, True)
    message = str(error.value)
    assert f"'{tmp_path / LAST}'" in message
    assert problem in message
    assert f"The last good checkpoint is '{tmp_path / BEST}', step 3." in message
    assert message.endswith("The same command with --resume auto goes on from there.")


def test_auto_falls_back_and_keeps_the_good_one(tmp_path, write):
    write(LAST, 4, damaged=True)
    previous = write(PREVIOUS, 3)
    write(BEST, 2)
    with pytest.warns(UserWarning, match=r"last.ckpt'.*damaged.*from '.*previous.ckpt', step 3"):
        found = find_checkpoint(tmp_path, "auto")
    assert (found.path, found.step) == (previous, 3)
    # The next checkpoint shall not put the damaged one in its place.
    assert not (tmp_path / LAST).exists()
    with pytest.warns(UserWarning, match=r"got none\)\. Going on from '.*previous.ckpt'"):
        assert find_checkpoint(tmp_path, "auto").step == 3


def test_auto_does_not_throw_a_damaged_run_away(tmp_path, write):
    for name in (LAST, PREVIOUS):
        write(name, 4, damaged=True)
    assert last_good(tmp_path) is None
    with pytest.raises(ValueError, match=r"No checkpoint in .* can be read; remove the folder"):
        find_checkpoint(tmp_path, "auto")
    assert (tmp_path / LAST).exists()


def test_a_full_disk_is_told_with_the_last_good_checkpoint(tmp_path, write, capsys):
    write(LAST, 4)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def fail():
        raise full

    def train():
        with naming_last_good(tmp_path):
            thread = threading.Thread(target=fail)
            thread.start()
            thread.join()
            fail()

    with pytest.raises(OSError, match=r"No space left .*last.ckpt', step 4\. The same command"):
        train()
    assert capsys.readouterr().err == ""


def test_other_errors_stay_as_they_are(tmp_path, write):
    write(LAST, 4)
    missing = FileNotFoundError("Expected a file.")
    with pytest.raises(FileNotFoundError) as error, naming_last_good(tmp_path):
        raise missing
    assert error.value is missing
    message = pytest.raises(NonFiniteLossError, match=r"^nan The last good .* step 4\.$")
    with message, naming_last_good(tmp_path):
        raise NonFiniteLossError("nan")
