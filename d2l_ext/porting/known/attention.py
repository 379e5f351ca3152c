"""Attention, with any number of heads and any mask."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from d2l_ext.porting.known.between import normalized
from d2l_ext.porting.known.formula import formula
from d2l_ext.porting.known.piece import Piece


def _attention(piece: Piece) -> Iterator[dict[str, Any]]:
    arrays = [x for x in piece.floats() if x.ndim in (3, 4)]
    triples = itertools.permutations(arrays[:4], 3)
    if len(arrays) >= 3:
        triples = itertools.chain([tuple(arrays[:3])], triples)
    for q, k, v in triples:
        if not (q.shape[0] == k.shape[0] == v.shape[0] and q.shape[-1] == k.shape[-1]):
            continue
        if k.shape[:-1] != v.shape[:-1] or piece.a.shape != (*q.shape[:-1], v.shape[-1]):
            continue
        sizes = (1,) if q.ndim == 4 else range(1, min(q.shape[-1], 16) + 1)
        for heads in sizes:
            if q.shape[-1] % heads == 0 and v.shape[-1] % heads == 0:
                for real in _masks(piece, q.shape[0], q.shape[-2], k.shape[-2]):
                    yield {"q": q, "k": k, "v": v, "heads": heads, "real": real}


def _masks(
    piece: Piece, batch: int, num_queries: int, num_keys: int
) -> Iterator[np.ndarray | None]:
    """Yield what may be a mask, True where a key counts, (batch or 1, 1, queries or 1, keys)."""
    yield None
    for lens in piece.lengths():
        if len(lens) == batch:
            yield np.arange(num_keys) < lens[:, None, None, None]
    for x in piece.sources + piece.context:
        if x.dtype.kind == "b" and x.shape[-1] == num_keys:
            yield {
                1: lambda x: x[None, None, None],
                2: lambda x: x[:, None, None] if len(x) == batch else x[None, None],
                3: lambda x: x[:, None],
            }.get(x.ndim, lambda x: x)(x)
    for ids in piece.integers(2):
        if ids.shape == (batch, num_keys):
            yield from ((ids != pad)[:, None, None] for pad in (0, 1) if (ids == pad).any())


@formula(
    _attention,
    mask=("used", "not used"),
    polarity=("True attends", "True is left out"),
    causal=("no", "yes"),
    attention_scale=("1 / sqrt(d)", "none", "1 / d", "1 / sqrt(size of all heads)"),
    attention_axis=("keys", "queries", "heads", "batch"),
    masking=("before the softmax", "after the softmax"),
    empty_row=("zero", "NaN", "uniform"),
)
def attention(
    piece: Piece,
    q: np.ndarray,
    k: np.ndarray,
    v: np.ndarray,
    heads: int,
    real: np.ndarray | None,
    mask: str,
    polarity: str,
    causal: str,
    attention_scale: str,
    attention_axis: str,
    masking: str,
    empty_row: str,
) -> np.ndarray:
    """softmax(Q K^T / sqrt(d)) V, with heads side by side in the last axis."""

    def split(x):  # (batch, heads, steps, size of a head)
        return x if x.ndim == 4 else x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)

    q, k, v = split(q), split(k), split(v)
    size = q.shape[-1]
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
    if real is not None and mask == "used":
        allowed = allowed & (real if polarity == "True attends" else ~real)
    if causal == "yes":
        allowed = np.tril(allowed)
    axis = {"keys": -1, "queries": -2, "heads": 1, "batch": 0}[attention_axis]
    if masking == "before the softmax":
        weights = normalized(np.where(allowed, scores, -np.inf), axis)
        if empty_row != "NaN":
            fill = 0 if empty_row == "zero" else 1 / scores.shape[axis]
            weights = np.where(np.isnan(weights), fill, weights)
    else:
        weights = normalized(scores, axis) * allowed
    y = weights @ v
    return y if piece.a.ndim == 4 else y.swapaxes(1, 2).reshape(piece.a.shape)
