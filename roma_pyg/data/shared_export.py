"""A matrix that several ranks write together."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import numpy as np
import torch

from roma_pyg import exchange, ranks
from roma_pyg.data.export import Convert, Header, RowWriter


class SharedRowWriter(RowWriter):
    """A `RowWriter` of which every rank writes other rows; alone it is an ordinary one.

    Rank 0 makes the hidden file, and brings it to its format and place when all ranks have left the
    block; the others write into the same file through memory maps of their own. On several machines
    the file system must keep such maps coherent, as Lustre does and NFS does not.

    Args:
        path: Output, see `RowWriter`.
        num_nodes: Number of rows N.
        header: Names of the columns and rows.
        convert: Applied to each block as it is written for good.
        overwrite: Replace an output that exists.

    Raises:
        RankFailed: If another rank failed; nothing is left behind.
    """

    def __init__(
        self,
        path: Path,
        num_nodes: int,
        header: Header,
        convert: Convert | None = None,
        *,
        overwrite: bool = False,
    ) -> None:
        """Check what can be checked, and agree on the name of the hidden file."""
        super().__init__(path, num_nodes, header, convert, overwrite=overwrite)
        self._staged, self._made = exchange.tell(lambda: (self._staged, self._made))

    def __enter__(self) -> SharedRowWriter:
        """Take the space on disk."""
        with exchange.first():
            if ranks.rank() == 0:
                super().__enter__()
            else:
                self._rows = np.lib.format.open_memmap(self._staged, "r+")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Bring the rows to their format and place, or remove them after an error at any rank."""
        leads = ranks.rank() == 0
        try:
            if kind is None:
                # Rank 0 may have had more to do, such as to evaluate the rows.
                with exchange.first():
                    pass
                with exchange.joint():
                    self._filled = exchange.total(torch.from_numpy(self._filled)).numpy()
                with exchange.first():
                    if leads:
                        self._finish()
        finally:
            self._rows = None
            if leads:
                self._discard()
