"""Attention, with any number of heads and any mask."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from d2l_ext.interface import Arrays
from d2l_ext.porting.arrays import LOW, is_mask
from d2l_ext.porting.known.between import normalized
from d2l_ext.porting.known.formula import formula
from d2l_ext.porting.known.layers import of_kind
from d2l_ext.porting.known.piece import Piece, distinct
from d2l_ext.porting.known.relative import DIRECTIONS, buckets, tables_of_buckets

WINDOWS = {f"the last {n}": n for n in range(1, 9)}  # what a token attends to, itself included


def _attention(piece: Piece) -> Iterator[dict[str, Any]]:
    for q, k, v in _triples([x for x in piece.floats() if x.ndim in (3, 4)], piece.a.shape):
        sizes = (1,) if q.ndim == 4 else range(1, min(q.shape[-1], 16) + 1)
        for heads in sizes:
            size = q.shape[-1] // heads
            if q.shape[-1] % heads or k.shape[-1] % size or v.shape[-1] % (k.shape[-1] // size):
                continue
            if q.ndim == 3 and heads % (k.shape[-1] // size):
                continue
            if not _may_be_mixed(piece.a, v, heads):
                continue
            count = q.shape[1] if q.ndim == 4 else heads
            masks = list(_masks(piece, q.shape[0], count, q.shape[-2], k.shape[-2]))
            for bias in _biases(piece, heads, q.shape[-2], k.shape[-2]):
                given = {"q": q, "k": k, "v": v, "heads": heads, "bias": bias, "past": None}
                yield from (given | {"real": real} for real in masks)
    yield from _with_cache(piece)
    yield from _weights(piece)


def _with_cache(piece: Piece) -> Iterator[dict[str, Any]]:
    """Yield one step's queries, keys and values, and the cached keys and values before them."""
    arrays = [x for x in piece.context if x.dtype.kind == "f" and x.ndim == 4]
    cached = [*map(_filled, arrays), *(_filled(x.swapaxes(1, 2)) for x in arrays)]
    steps = [x for x in piece.floats() if x.shape[:-1] == piece.a.shape[:-1] and x.ndim == 3]
    for q, k, v in _triples(steps, piece.a.shape):
        for keys, values in itertools.pairwise(cached) if q.shape[1] == 1 else ():
            batch, groups, num_past, size = keys.shape
            same = keys.shape == values.shape and k.shape == v.shape == (batch, 1, groups * size)
            if not same or q.shape[-1] % size or q.shape[-1] // size % groups:
                continue
            heads = q.shape[-1] // size
            past = keys.astype(np.float64), values.astype(np.float64)
            masks = list(_masks(piece, batch, heads, 1, num_past + 1))
            for bias in _biases(piece, heads, 1, num_past + 1):
                given = {"q": q, "k": k, "v": v, "heads": heads, "bias": bias, "past": past}
                yield from (given | {"real": real} for real in masks)


def _filled(cache: np.ndarray) -> np.ndarray:
    """Return the steps of a cache (batch, heads, steps, size) that are there; others are zero."""
    there = np.flatnonzero(cache.any(axis=(0, 1, 3)))
    return cache[:, :, : there[-1] + 1 if len(there) else 0]


def _weights(piece: Piece) -> Iterator[dict[str, Any]]:
    """Yield what weights alone may come from: dropout, say, sees them before the values."""
    if piece.a.ndim != 4:
        return
    batch, heads, num_queries, num_keys = piece.a.shape
    arrays = [x for x in piece.floats()[:4] if x.ndim == 3 and x.shape[-1] % heads == 0]
    thirds = [np.split(x, 3, axis=-1)[:2] for x in arrays if x.shape[-1] % (3 * heads) == 0]
    for q, k in itertools.chain(thirds, itertools.permutations(arrays, 2)):
        if q.shape == (batch, num_queries, k.shape[-1]) and k.shape[:2] == (batch, num_keys):
            for real in _masks(piece, batch, heads, num_queries, num_keys):
                given = {"q": q, "k": k, "v": None, "heads": heads, "real": real}
                yield given | {"bias": None, "past": None}


def _triples(arrays: list[np.ndarray], shape: tuple[int, ...]) -> Iterator[list[np.ndarray]]:
    """Yield what may be queries, keys and values: three arrays, or the thirds of one."""
    for x in arrays[:4]:
        if x.ndim == 3 and x.shape == (*shape[:-1], 3 * shape[-1]):
            yield np.split(x, 3, axis=-1)
    for q, k, v in itertools.permutations(arrays[:4], 3):
        if q.shape[0] != k.shape[0] or k.shape[:-1] != v.shape[:-1] or q.ndim != k.ndim:
            continue
        if q.ndim == 4:
            fit = q.shape[-1] == k.shape[-1] and shape == (*q.shape[:-1], v.shape[-1])
        else:  # groups of heads may have their keys and values in common
            grouped = k.shape[-1] and q.shape[-1] * v.shape[-1] == shape[-1] * k.shape[-1]
            fit = grouped and shape[:-1] == q.shape[:-1]
        if fit:
            yield [q, k, v]


def _may_be_mixed(a: np.ndarray, values: np.ndarray, heads: int) -> bool:
    """Whether an array lies among values, as what attention gives does: it is a mean of them, or 0.

    This is quick, and most other pieces are told by it.
    """
    if values.ndim == 3:
        groups = values.shape[-1] * heads // a.shape[-1]
        values, a = (
            x.reshape(*x.shape[:2], count, -1).swapaxes(1, 2)
            for x, count in ((values, groups), (a, heads))
        )
        values = np.repeat(values, heads // groups, axis=1)
    least, most = values.min(axis=-2, initial=0), values.max(axis=-2, initial=0)
    room = 1e-3 * (most - least)
    inside = (a.min(axis=-2) >= least - room) & (a.max(axis=-2) <= most + room)
    return bool(inside.all())


def _masks(
    piece: Piece, batch: int, heads: int, num_queries: int, num_keys: int
) -> Iterator[np.ndarray | None]:
    """Yield what may be a mask, True where a key counts; it fits (batch, heads, queries, keys)."""
    yield None
    seen = set()
    for mask in _all_masks(piece, batch, num_keys):
        try:
            whole = np.broadcast_to(mask, (batch, heads, num_queries, num_keys))
        except ValueError:  # it belongs to other queries
            continue
        if whole.tobytes() not in seen:
            # Its opposite too: what is made of a mask for the scores has the other sense.
            seen |= {whole.tobytes(), (~whole).tobytes()}
            yield _padding_alone(mask)


def _padding_alone(mask: np.ndarray) -> np.ndarray:
    """Return the keys that count for any query, where a causal mask or a window is the rest."""
    keys = np.asarray(mask.any(axis=-2, keepdims=True))
    whole = np.broadcast_to(keys, mask.shape)
    rest = any((_without_later(whole, causal) == mask).all() for causal in ("yes", *WINDOWS))
    return keys if rest else mask


def _without_later(allowed: np.ndarray, causal: str) -> np.ndarray:
    """Leave out keys after a query, and those before its window."""
    past = allowed.shape[-1] - 1 if allowed.shape[-2] == 1 else 0  # steps in a cache
    if causal != "no":
        allowed = np.tril(allowed, past)
    return np.triu(allowed, past + 1 - WINDOWS[causal]) if causal in WINDOWS else allowed


def _all_masks(piece: Piece, batch: int, num_keys: int) -> Iterator[np.ndarray]:
    """Yield the same, whatever has the shape, and again and again; what is given comes first."""
    for lens in piece.lengths():
        if len(lens) == batch:
            yield np.arange(num_keys) < lens[:, None, None, None]
    given = [x for x in piece.sources + piece.context if x.ndim and x.shape[-1] == num_keys]
    for x in given:
        if x.dtype.kind == "b":
            yield _four_axes(x, batch)
    for x in given:
        if x.dtype.kind == "f" and x.ndim > 1 and is_mask(x):
            yield _four_axes(x > LOW, batch)  # it may be added to the scores
    for ids in piece.integers(2):
        if ids.shape == (batch, num_keys):
            yield from ((ids != pad)[:, None, None] for pad in (0, 1) if (ids == pad).any())


def _four_axes(mask: np.ndarray, batch: int) -> np.ndarray:
    """Return a mask with axes for batch, heads, queries and keys."""
    if mask.ndim == 2:
        return mask[:, None, None] if len(mask) == batch else mask[None, None]
    return {1: mask[None, None, None], 3: mask[:, None]}.get(mask.ndim, mask)


def _biases(
    piece: Piece, heads: int, num_queries: int, num_keys: int
) -> Iterator[np.ndarray | None]:
    """Yield what may be added to scores, (batch or 1, heads, queries, keys), or tables of it."""
    yield None
    if heads == 1:
        return
    square = num_queries, num_keys
    for x in distinct([x for x in piece.sources + piece.context if x.dtype.kind == "f"]):
        if x.ndim == 4 and x.shape[1:] == (heads, *square) and not is_mask(x):
            yield x.astype(np.float64)
        if x.shape == (*square, heads):
            yield x.astype(np.float64).transpose(2, 0, 1)[None]
    yield from tables_of_buckets(piece, heads)


@formula(
    _attention,
    mask=("used", "not used"),
    polarity=("True attends", "True is left out"),
    causal=("no", "yes", *WINDOWS),
    rotary=("no", "in halves", "in pairs"),
    attention_scale=("1 / sqrt(d)", "none", "1 / d", "1 / sqrt(size of all heads)"),
    attention_axis=("keys", "queries", "heads", "batch"),
    masking=("before the softmax", "after the softmax"),
    empty_row=("zero", "NaN", "uniform"),
    position=("from 0", "from 1", "from -1"),
    position_bias=("added", "missing"),
    direction_of_bias=DIRECTIONS,
)
def attention(
    piece: Piece,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray | None,
    heads: int,
    real: np.ndarray | None,
    bias: np.ndarray | None,
    past: tuple[np.ndarray, np.ndarray] | None,
    mask: str,
    polarity: str,
    causal: str,
    rotary: str,
    attention_scale: str,
    attention_axis: str,
    masking: str,
    empty_row: str,
    position: str,
    position_bias: str,
    direction_of_bias: str,
) -> np.ndarray | None:
    """softmax(Q K^T / sqrt(d) + bias) V, with heads side by side; the weights alone without V.

    Keys that the bias leaves out are left out by the mask. Positions from 1 are the keys'; with a
    cache, whose keys are turned already, those of the step.
    """
    size = q.shape[-1] // heads
    groups = k.shape[-1] // size if q.ndim == 3 else 1  # heads of keys and values
    # Choices that change nothing here are left out: each would be another one's double.
    has_table = bias is not None and bias.ndim == 2
    if bias is None and ((real is None and mask != "used") or position_bias != "added"):
        return None
    num_keys = k.shape[-2] + (past[0].shape[2] if past else 0)
    if (real is None and polarity != "True attends") or WINDOWS.get(causal, 0) >= num_keys:
        return None
    if not has_table and direction_of_bias != DIRECTIONS[0]:
        return None
    if not has_table and rotary == "no" and position != "from 0":
        return None
    if past is None and position == "from -1":
        return None
    if past is not None and has_table and direction_of_bias != "those before":  # a decoder's
        return None

    def split(x, count):  # (batch, heads, steps, size of a head)
        return x if x.ndim == 4 else x.reshape(*x.shape[:2], count, -1).swapaxes(1, 2)

    q, k = split(q, heads), split(k, groups)
    v = None if v is None else split(v, groups)
    if rotary != "no":
        if size % 2:
            return None
        layout = "halves" if rotary == "in halves" else "pairs"
        start = int(position.split()[1])
        if past is None:
            q, k = rotated(q, layout), rotated(k, layout, start)
        else:
            start += past[0].shape[2]
            q, k = rotated(q, layout, start), rotated(k, layout, start)
    if past is not None and v is not None:
        k, v = (np.concatenate(pair, axis=2) for pair in zip(past, (k, v), strict=True))
    if q.shape[1] != k.shape[1]:
        k = np.repeat(k, heads // groups, axis=1)
        v = None if v is None else np.repeat(v, heads // groups, axis=1)
    scores = (
        q
        @ k.swapaxes(-2, -1)
        * {
            "1 / sqrt(d)": 1 / math.sqrt(size),
            "none": 1,
            "1 / d": 1 / size,
            "1 / sqrt(size of all heads)": 1 / math.sqrt(size * heads),
        }[attention_scale]
    )
    allowed = np.ones(scores.shape, bool)
    if bias is not None:
        if bias.ndim == 2:
            ids = buckets(scores.shape[-2:], len(bias), position, direction_of_bias)
            bias = bias[ids].transpose(2, 0, 1)
        if position_bias == "added":
            scores = scores + np.where(bias > LOW, bias, 0)
        if mask == "used":
            allowed = allowed & (bias > LOW)
    if real is not None and mask == "used":
        allowed = allowed & (real if polarity == "True attends" else ~real)
    allowed = _without_later(allowed, causal)
    axis = {"keys": -1, "queries": -2, "heads": 1, "batch": 0}[attention_axis]
    if masking != "before the softmax" and (empty_row != "zero" or allowed.all()):
        return None
    if empty_row != "zero" and allowed.any(axis=axis).all():
        return None
    if masking == "before the softmax":
        weights = normalized(np.where(allowed, scores, -np.inf), axis)
        if empty_row != "NaN":
            fill = 0 if empty_row == "zero" else 1 / scores.shape[axis]
            weights = np.where(np.isnan(weights), fill, weights)
    else:
        weights = normalized(scores, axis) * allowed
    if v is None:
        return weights
    y = weights @ v
    return y if piece.a.ndim == 4 else y.swapaxes(1, 2).reshape(len(y), y.shape[2], -1)


def _multihead(piece: Piece) -> Iterator[dict[str, Any]]:
    arrays = distinct([x for x in piece.floats() if x.ndim == 3])
    for given in of_kind("attention")(piece) if arrays else ():
        if "query.weight" not in (own := given["own"]):
            continue
        for time_first in (False, True):
            q, *rest = (x.swapaxes(0, 1) if time_first else x for x in arrays)
            k, v = (rest[0], rest[-1]) if rest else (q, q)
            pairs = ((q, "query"), (k, "key"), (v, "value"))
            fit = all(x.shape[2] == own[f"{name}.weight"].shape[1] for x, name in pairs)
            if not fit or len(q) != len(k) or k.shape[:2] != v.shape[:2]:
                continue
            width = len(own["query.weight"])
            for heads in (n for n in range(1, min(width, 16) + 1) if width % n == 0):
                for real in _masks(piece, len(q), heads, q.shape[1], k.shape[1]):
                    common = {"own": own, "q": q, "k": k, "v": v, "heads": heads, "real": real}
                    yield common | {"time_first": time_first}


@formula(
    _multihead,
    **{
        name: attention.options[name]
        for name in (
            *("mask", "polarity", "causal", "attention_scale", "attention_axis"),
            *("masking", "empty_row"),
        )
    },
)
def multihead(
    piece: Piece,
    own: Arrays,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    heads: int,
    real: np.ndarray | None,
    time_first: bool,
    **choice: Any,
) -> np.ndarray | None:
    """Attention between a dense layer each for queries, keys and values, and one after it."""

    def dense(x, name):
        return x @ own[f"{name}.weight"].T + own.get(f"{name}.bias", 0)

    usual = {name: values[0] for name, values in attention.options.items()}
    q, k, v = dense(q, "query"), dense(k, "key"), dense(v, "value")
    given = {"q": q, "k": k, "v": v, "heads": heads, "real": real, "bias": None, "past": None}
    y = attention.compute(piece, **given, **(usual | choice))
    if y is None:
        return None
    y = dense(y, "out")
    return y.swapaxes(0, 1) if time_first else y


def rotated(x: np.ndarray, layout: str, start: int = 0) -> np.ndarray:
    """Turn each pair of numbers by the angle of its position, in the base of 10000."""
    half = x.shape[-1] // 2
    angles = (start + np.arange(x.shape[-2]))[:, None] * 10000.0 ** (-np.arange(half) / half)
    cos, sin = np.cos(angles), np.sin(angles)
    if layout == "halves":
        one, two = x[..., :half], x[..., half:]
        return np.concatenate([one * cos - two * sin, two * cos + one * sin], axis=-1)
    one, two = x[..., 0::2], x[..., 1::2]
    return np.stack([one * cos - two * sin, two * cos + one * sin], axis=-1).reshape(x.shape)
