"""Arrays of two models that hold the same thing, in whatever layout, and how far they are apart."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from d2l_ext.agreement.judging.error import error


def reshaped(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return x in another layout that it fits (first two axes exchanged, axes of size 1)."""
    found = _reshaped(x, shape)
    if found is None:
        raise ValueError(f"got an array of shape {x.shape}, which is no layout of {shape}")
    return found


def _reshaped(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    if x.shape == shape:
        return x
    if x.ndim >= (2 if _whole(x) else 3) and x.swapaxes(0, 1).shape == shape:
        return x.swapaxes(0, 1)
    if [n for n in x.shape if n > 1] == [n for n in shape if n > 1]:
        return x.reshape(shape)
    return None


def _whole(x: np.ndarray) -> bool:
    """Whether an array may hold token ids; Keras makes floats of them."""
    return x.dtype.kind != "f" or bool((x == np.round(x)).all())


def corresponding(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Pair arrays that hold the same thing: ``[(index in one, index in other)]``, in order."""
    found, used = [], set()
    for j, y in enumerate(other):
        for i, x in enumerate(one):
            same = (x.dtype.kind == "b") == (y.dtype.kind == "b") and (
                x.dtype.kind == y.dtype.kind or (_whole(x) and _whole(y))
            )
            if i not in used and same and _reshaped(x, y.shape) is not None:
                found.append((i, j))
                used.add(i)
                break
    return found


def lowest_dtype(arrays: Iterable[np.ndarray]) -> str | None:
    """Return the lowest precision among floats, "float32" or "float64", or None."""
    sizes = [x.dtype.itemsize for x in arrays if x.dtype.kind == "f"]
    return ("float64" if min(sizes) >= 8 else "float32") if sizes else None


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """Return the error of b, relative to the size of a; symmetric where it matters."""
    return error(b, a)[0]


def differs(x: np.ndarray, y: np.ndarray, budget: float) -> bool:
    """Whether two arrays that correspond are further apart than a budget; masks never are."""
    return x.dtype.kind != "b" and relative_error(x, reshaped(y, x.shape)) > budget


def largest_error(wanted: Sequence[np.ndarray], given: Sequence[np.ndarray]) -> float:
    """Return the largest error of the arrays that correspond; infinite if none does."""
    matches = corresponding(wanted, given)
    if not matches and wanted and given:
        return math.inf
    sizes = [
        relative_error(wanted[i], reshaped(given[j], wanted[i].shape))
        for i, j in matches
        if wanted[i].dtype.kind != "b"
    ]
    return max(sizes, default=0.0)
