"""Layers with parameters: layer norm, RMS norm, dense, embedding."""

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from d2l_ext.interface import Arrays
from d2l_ext.porting.known.formula import formula
from d2l_ext.porting.known.piece import Piece


def of_kind(kind: str) -> Callable[[Piece], Iterator[dict[str, Any]]]:
    """Return `Formula.givens` of a layer: its input, and each side's parameters."""

    def givens(piece):
        for own in piece.parameters if piece.kind == kind else ():
            own = {name: value.astype(np.float64) for name, value in own.items()}
            yield {"x": piece.sources[0], "own": own}

    return givens


@formula(
    of_kind("norm"),
    epsilon=(1e-5, 1e-6, 1e-3, 1e-12, 1e-7, 1e-8, 0.0),
    variance=("divided by n", "divided by n - 1"),
    norm_bias=("added", "missing"),
)
def layer_norm(
    piece: Piece, x: np.ndarray, own: Arrays, epsilon: float, variance: str, norm_bias: str
) -> np.ndarray:
    """(x - mean) / sqrt(variance + epsilon) * weight + bias."""
    x = x.astype(np.float64)
    centred = x - x.mean(axis=-1, keepdims=True)
    count = x.shape[-1] - (variance == "divided by n - 1")
    deviation = np.sqrt((centred**2).sum(axis=-1, keepdims=True) / count + epsilon)
    y = centred / deviation * own.get("weight", 1)
    return y + own.get("bias", 0) if norm_bias == "added" else y


def _rms_norm(piece: Piece) -> Iterator[dict[str, Any]]:
    """Its class has another name in each library; what it has is one weight for each number."""
    for own in piece.parameters:
        weights = [p for p in own.values() if p.shape == piece.a.shape[-1:]]
        if len(own) == len(weights) == 1 and piece.kind:
            for x in piece.floats()[:1]:
                if x.shape == piece.a.shape:
                    yield {"x": x, "weight": weights[0].astype(np.float64)}


@formula(
    _rms_norm,
    rms_epsilon=(1e-6, 1e-5, 1e-8, 1e-3, 1e-12, 1e-7, 0.0),
    rms_weight=("weight", "1 + weight"),
)
def rms_norm(
    piece: Piece, x: np.ndarray, weight: np.ndarray, rms_epsilon: float, rms_weight: str
) -> np.ndarray:
    """Return x / sqrt(mean of the squares + epsilon) * weight."""
    y = x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + rms_epsilon)
    return y * (weight if rms_weight == "weight" else 1 + weight)


def _linear(piece: Piece) -> Iterator[dict[str, Any]]:
    for given in of_kind("linear")(piece):
        yield {"x": given["x"], "W": given["own"]["weight"], "b": given["own"].get("bias")}
    for own in piece.parameters if piece.kind != "linear" else ():
        matrices = [p for p in own.values() if p.ndim == 2]
        vectors = [p for p in own.values() if p.ndim == 1]
        if len(matrices) == 1 and len(vectors) <= 1:
            for x in piece.floats()[:1]:
                yield {"x": x, "W": matrices[0], "b": vectors[0] if vectors else None}


@formula(_linear, kernel=("x W^T", "x W"), bias=("added", "missing"))
def linear(
    piece: Piece, x: np.ndarray, W: np.ndarray, b: np.ndarray | None, kernel: str, bias: str
) -> np.ndarray | None:
    """Return x W^T + b."""
    W = W.T if kernel == "x W^T" else W
    if x.shape[-1] != len(W) or (b is not None and len(b) != W.shape[1]):
        return None
    y = x.astype(np.float64) @ W.astype(np.float64)
    return y if b is None or bias == "missing" else y + b


def _counted(piece: Piece) -> Iterator[dict[str, Any]]:
    """Yield the table of positions, if that is what ids that count up look up.

    With a cache there is one step, whose ids are the same in the whole batch, or one for it.
    """
    for given in of_kind("embedding")(piece):
        x = given["x"]
        if not x.size or not x.ndim or (x != x.flat[0] + np.arange(x.shape[-1])).any():
            continue
        if x.shape[-1] > 1 or x.size > 1 or any(y.ndim and len(y) > 1 for y in piece.context):
            yield given


@formula(_counted, position=("from 0", "from 1", "from 2", "from -1"))
def positions(piece: Piece, x: np.ndarray, own: Arrays, position: str) -> np.ndarray:
    """Rows of a table, one for each position."""
    table = own["weight"]
    return table[np.clip(x.astype(int) + int(position.split()[1]), 0, len(table) - 1)]


@formula(
    of_kind("embedding"),
    embedding_scale=("1", "sqrt(d)"),
    ids=("as they are", "plus one", "minus one"),
)
def embedding(
    piece: Piece, x: np.ndarray, own: Arrays, embedding_scale: str, ids: str
) -> np.ndarray:
    """Rows of a table."""
    table = own["weight"]
    shift = {"as they are": 0, "plus one": 1, "minus one": -1}[ids]
    y = table[np.clip(x.astype(int) + shift, 0, len(table) - 1)]
    return y * math.sqrt(table.shape[1]) if embedding_scale == "sqrt(d)" else y
