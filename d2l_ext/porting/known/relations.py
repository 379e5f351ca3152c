"""How the second array follows from the first, without a formula.

A relation ``relate(piece, a, b)`` yields ``(detail, what b would be)``.
"""

import itertools
import math
from collections.abc import Iterator

import numpy as np

from d2l_ext.porting.known.piece import Piece

FEW = 4  # so many numbers may have one factor by chance


def dropped(piece: Piece, a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Some numbers are zero and the rest is larger by one factor."""
    kept = (b != 0) & (a != 0)
    if kept.any() and not kept.all():
        factor = np.median(b[kept] / a[kept])
        if factor > 1:
            yield f"the rate is about {1 - 1 / factor:.2g}", np.where(b == 0, 0, a * factor)


def scaled(piece: Piece, a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """A constant factor: one that comes from a size, or any."""
    for size in sorted({n for x in (*piece.sources, a) for n in x.shape if n > 1}):
        for word, factor in ((f"sqrt({size})", math.sqrt(size)), (f"{size}", size)):
            yield f"times {word}", a * factor
    if a.dtype.kind == "f" and np.count_nonzero(a) > FEW:
        factor = float((a * b).sum() / (a * a).sum())
        yield f"times {factor:.6g}", a * factor


def not_zeroed(piece: Piece, a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Zero after the end of each sequence on one side only."""
    for lens in piece.lengths():
        for axis in (0, 1):
            if a.ndim < 2 or len(lens) != a.shape[1 - axis]:
                continue
            steps = np.arange(a.shape[axis])
            real = steps < lens[:, None] if axis else (steps < lens[:, None]).T
            real = real.reshape(*real.shape, *(1,) * (a.ndim - 2))
            if not real.all() and (np.where(real, 0, b) == 0).all():
                yield "after the valid lengths", np.where(real, a, 0)


def transposed(piece: Piece, a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The same numbers with two axes exchanged, or read in another order."""
    for i, j in itertools.combinations(range(a.ndim), 2):
        swapped = a.swapaxes(i, j)
        yield f"axes {i} and {j} exchanged", swapped.reshape(a.shape)


def shifted(piece: Piece, a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Whole numbers, such as positions or token ids, off by one."""
    if a.dtype.kind in "iu":
        yield "off by one", a + 1


RELATIONS = {
    "dropout": dropped,
    "scale": scaled,
    "padding": not_zeroed,
    "layout": transposed,
    "position": shifted,
}
