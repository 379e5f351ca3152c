"""Where the graph of a module is cut, so that each piece of it has gradients of its own."""

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from d2l_ext.interface import Arrays, Tensor

# ``pull(cotangents)``: of what came up at the cuts, NumPy or None for zero. Gives the gradients by
# what was put in, framework arrays or None, and those by parameters as `Probe._read` finds them.
Pull: TypeAlias = Callable[[Sequence[np.ndarray | None]], tuple[Sequence[Any], Any]]
# The same, in NumPy: the gradients by what was put in, and ``{name of a parameter: gradient}``.
Pullback: TypeAlias = Callable[[Sequence[np.ndarray | None]], tuple[list[np.ndarray], Arrays]]


class Cuts:
    """The cuts of one run, in order.

    Args:
        starts: what is put in; by default what each cut proposes.

    Attributes:
        starts: what was put in.
        ends: what had come up.
    """

    def __init__(self, starts: Sequence[Tensor] | None = None):
        self._given = None if starts is None else iter(starts)
        self.starts: list[Tensor] = []
        self.ends: list[Tensor] = []

    def at(self, end: Tensor, proposal: Tensor) -> Tensor:
        """Cut here: note what came up, and return what is put in."""
        start = proposal if self._given is None else next(self._given)
        self.ends.append(end)
        self.starts.append(start)
        return start
