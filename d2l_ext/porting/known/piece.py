"""A piece of a model that two sides compute differently."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from d2l_ext.interface import Arrays


@dataclasses.dataclass
class Piece:
    """A piece of a model that the two sides compute differently.

    Attributes:
        kind: of the layer, as in `probe.Layer`, or "" for what stands between layers.
        sources: the arrays that it is computed from: a layer's inputs, or what the layers before
            gave, the latest first.
        context: the inputs of the model and of the layers around, where masks and lengths are.
        parameters: the layer's parameters on each side, ``[{name: array}, ...]``.
        a, b: what the two sides computed.
    """

    kind: str
    sources: list[np.ndarray]
    context: list[np.ndarray]
    parameters: list[Arrays]
    a: np.ndarray
    b: np.ndarray

    def floats(self) -> list[np.ndarray]:
        """List the sources that are floats, as float64."""
        return [x.astype(np.float64) for x in self.sources if x.dtype.kind == "f"]

    def integers(self, ndim: int) -> list[np.ndarray]:
        """List the integer arrays of so many axes, among sources and context."""
        found = [x for x in self.sources + self.context if x.dtype.kind in "iu" and x.ndim == ndim]
        return distinct(found)

    def lengths(self) -> list[np.ndarray]:
        """List the arrays that may be valid lengths (batch,); floats with whole numbers too."""
        arrays = [x for x in self.sources + self.context if x.ndim == 1 and x.dtype.kind in "iuf"]
        return distinct([x for x in arrays if (x >= 0).all() and (x == x.astype(int)).all()])


def distinct(arrays: Iterable[np.ndarray]) -> list[np.ndarray]:
    """List arrays without repetition."""
    found = []
    for x in arrays:
        if not any(x.shape == y.shape and (x == y).all() for y in found):
            found.append(x)
    return found
