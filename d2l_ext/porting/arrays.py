"""Arrays of two models that hold the same thing, in whatever layout, and how far they are apart."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from d2l_ext.agreement.judging.error import error

LOW = -1e3  # added to a score, it leaves a weight of less than the smallest number
LEFT_OUT = -1e8  # a score of this size can't be anything else


def reshaped(x: np.ndarray, shape: tuple[int, ...], like: np.ndarray | None = None) -> np.ndarray:
    """Return x in another layout that it fits.

    That is with the first two axes exchanged, with axes of size 1, or once for all of a batch:
    positions that are the same in all sequences may be (1, steps) or (batch, steps).

    Args:
        x: an array.
        shape: of the other layout.
        like: what x is a gradient of, if it is one: it has the same layouts.
    """
    found = _reshaped(x, shape, x if like is None else like)
    if found is None:
        raise ValueError(f"got an array of shape {x.shape}, which is no layout of {shape}")
    return found


def _reshaped(x: np.ndarray, shape: tuple[int, ...], like: np.ndarray) -> np.ndarray | None:
    if x.shape == shape:
        return x
    if x.ndim >= (2 if _whole(like) else 3) and x.swapaxes(0, 1).shape == shape:
        return x.swapaxes(0, 1)
    if [n for n in x.shape if n > 1] == [n for n in shape if n > 1]:
        return x.reshape(shape)
    if x.ndim == len(shape) > 1 and x.shape[1:] == shape[1:]:
        if len(x) == 1:
            return np.broadcast_to(x, shape)
        if shape[0] == 1 and (like == like[:1]).all():
            return x[:1]
    return None


def _whole(x: np.ndarray) -> bool:
    """Whether an array may hold token ids; Keras makes floats of them."""
    return x.dtype.kind != "f" or bool((x == np.round(x)).all())


def is_mask(x: np.ndarray) -> bool:
    """Whether an array says what counts: which sense it has is each model's own choice.

    That is a Boolean one, or one that is added to scores: zero, or so low that the softmax is zero.
    """
    if x.dtype.kind != "f":
        return x.dtype.kind == "b"
    low = x <= LOW
    return bool(low.any() and (low | (x == 0)).all())


def corresponding(one: Sequence[np.ndarray], other: Sequence[np.ndarray]) -> list[tuple[int, int]]:
    """Pair arrays that hold the same thing: ``[(index in one, index in other)]``, in order.

    Whole numbers are told apart by their values, since ids of tokens, positions and segments, and
    lengths of ones for what is no padding, have the same shapes; Keras makes floats of ids. What is
    left is paired in order, with the same kind of numbers.
    """
    found: dict[int, int] = {}  # by the index in other
    for same in (_same_whole, _same_kind):
        for j, y in enumerate(other):
            for i, x in enumerate(one):
                if i not in found.values() and j not in found and same(x, y):
                    found[j] = i
    return [(i, j) for j, i in sorted(found.items())]


def _same_whole(x: np.ndarray, y: np.ndarray) -> bool:
    if "b" in (x.dtype.kind, y.dtype.kind) or x.dtype.kind == y.dtype.kind == "f":
        return False
    same = _reshaped(x, y.shape, x)
    return same is not None and np.array_equal(same, y)


def _same_kind(x: np.ndarray, y: np.ndarray) -> bool:
    kinds = x.dtype.kind == y.dtype.kind and is_mask(x) == is_mask(y)
    return kinds and _reshaped(x, y.shape, x) is not None


def lowest_dtype(arrays: Iterable[np.ndarray]) -> str | None:
    """Return the lowest precision among floats, "float32" or "float64", or None."""
    sizes = [x.dtype.itemsize for x in arrays if x.dtype.kind == "f"]
    return ("float64" if min(sizes) >= 8 else "float32") if sizes else None


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    """Return the error of b, relative to the size of a; symmetric where it matters.

    What both leave out, as a mask that is added to other scores does, is equal.
    """
    if a.shape == b.shape and a.dtype.kind == b.dtype.kind == "f":
        out = (a <= LEFT_OUT) & (b <= LEFT_OUT)
        if out.any():
            a, b = np.where(out, 0, a), np.where(out, 0, b)
    return error(b, a)[0]


def differs(x: np.ndarray, y: np.ndarray, budget: float) -> bool:
    """Whether two arrays that correspond are further apart than a budget; masks never are."""
    return not is_mask(x) and relative_error(x, reshaped(y, x.shape)) > budget


def largest_error(wanted: Sequence[np.ndarray], given: Sequence[np.ndarray]) -> float:
    """Return the largest error of the arrays that correspond; infinite if none does."""
    matches = corresponding(wanted, given)
    if not matches and wanted and given:
        return math.inf
    sizes = [
        relative_error(wanted[i], reshaped(given[j], wanted[i].shape))
        for i, j in matches
        if not is_mask(wanted[i])
    ]
    return max(sizes, default=0.0)
