"""Ranks that are forked from one process, in the environment that ``torchrun`` would give them."""

from __future__ import annotations

import os
import socket
import sys
import traceback
from collections.abc import Callable


def fork(count: int, work: Callable[[], None]) -> list[int]:
    """Let some ranks do something.

    Args:
        count: Number of ranks.
        work: What each of them does.

    Returns:
        Their exit codes: 0, that of a `SystemExit`, or 1 after another error, which is printed;
        negative after a signal.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    children = []
    for rank in range(count):
        child = os.fork()
        if child == 0:
            os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_PORT": port}
            os.environ |= {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count)}
            os.environ["MASTER_ADDR"] = "127.0.0.1"
            code = 1
            try:
                work()
                code = 0
            except SystemExit as stop:
                code = int(stop.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        children.append(child)
    return [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
