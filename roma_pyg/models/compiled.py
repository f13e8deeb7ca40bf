"""Functions compiled by torch, which go on uncompiled where that fails."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch


class Compiled:
    """A function through ``torch.compile``; without a compiler it runs as it is, with one warning.

    Compilation happens at the first call, and takes some seconds.

    Args:
        function: Works on tensors; it is called uncompiled from the first failure on.

    Example:
        >>> double = Compiled(lambda x: 2 * x)
        >>> double.works
        True
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        """Nothing is compiled yet."""
        self.function = function
        self.works = True
        self._compiled: Callable[..., Any] | None = None

    def __call__(self, *arguments: Any) -> Any:  # noqa: ANN401
        """Call the function."""
        if not self.works:
            return self.function(*arguments)
        try:
            if self._compiled is None:
                self._compiled = torch.compile(self.function)
            return self._compiled(*arguments)
        except Exception as error:
            result = self.function(*arguments)  # what fails here too is not the compiler's fault
            self.works = False
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            warnings.warn(
                f"torch.compile failed ({reason}); going on without. A C++ compiler is needed on "
                "the CPU; set training.compile to false to silence this.",
                stacklevel=2,
            )
            return result
