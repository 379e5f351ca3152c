"""What stands between layers, and layers without parameters."""

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from d2l_ext.porting.known.formula import formula
from d2l_ext.porting.known.piece import Piece
from d2l_ext.reference.layers import gelu, relu, sigmoid
from d2l_ext.tables import sinusoids

ACTIVATIONS = {
    "identity": lambda x: x,
    "GELU (erf)": gelu,
    "GELU (tanh)": lambda x: (
        x * 0.5 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    ),
    "GELU (x sigmoid(1.702 x))": lambda x: x * sigmoid(1.702 * x),
    "ReLU": relu,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "SiLU": lambda x: x * sigmoid(x),
    "ELU": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "softplus": lambda x: np.logaddexp(x, 0),
    "leaky ReLU (0.01)": lambda x: np.where(x > 0, x, 0.01 * x),
    "leaky ReLU (0.2)": lambda x: np.where(x > 0, x, 0.2 * x),
    "leaky ReLU (0.3)": lambda x: np.where(x > 0, x, 0.3 * x),
}


def _same_shape(piece: Piece) -> Iterator[dict[str, Any]]:
    yield from ({"x": x} for x in piece.floats()[:4] if x.shape == piece.a.shape)


@formula(_same_shape, activation=tuple(ACTIVATIONS))
def activation(piece: Piece, x: np.ndarray, activation: str) -> np.ndarray:
    """A function of each number."""
    return ACTIVATIONS[activation](x)


def _gated(piece: Piece) -> Iterator[dict[str, Any]]:
    arrays = [x for x in piece.floats()[:4] if x.shape == piece.a.shape]
    yield from ({"x": x, "y": y} for x, y in itertools.permutations(arrays, 2))


@formula(_gated, activation=tuple(ACTIVATIONS), gate=("the first", "the second"))
def gated(piece: Piece, x: np.ndarray, y: np.ndarray, activation: str, gate: str) -> np.ndarray:
    """A function of one array, times another, as in SwiGLU."""
    x, y = (x, y) if gate == "the first" else (y, x)
    return ACTIVATIONS[activation](x) * y


@formula(_same_shape, softmax_axis=(-1, -2, -3))
def softmax(piece: Piece, x: np.ndarray, softmax_axis: int) -> np.ndarray | None:
    """exp(x), normalised along one axis."""
    return normalized(x, softmax_axis) if -softmax_axis <= x.ndim else None


def normalized(x: np.ndarray, axis: int) -> np.ndarray:
    """Return the softmax along an axis; NaN where all are -inf."""
    with np.errstate(invalid="ignore", divide="ignore"):
        largest = x.max(axis=axis, keepdims=True)
        e = np.exp(x - np.where(np.isfinite(largest), largest, 0))
        return e / e.sum(axis=axis, keepdims=True)


def _positions(piece: Piece) -> Iterator[dict[str, Any]]:
    for x in piece.floats()[:4]:
        if x.shape != piece.a.shape or x.ndim < 2:
            continue
        size = x.shape[-1]
        for axis in range(max(0, x.ndim - 3), x.ndim - 1):
            steps = x.shape[axis] + 2
            tables = [sinusoids(steps, size)]
            tables += [
                p
                for own in piece.parameters
                for p in own.values()
                if p.ndim == 2 and len(p) >= steps and p.shape[1] == size
            ]
            yield from ({"x": x, "axis": axis, "table": table} for table in tables)


@formula(
    _positions,
    position=("from 0", "from 1", "from 2"),
    embedding_scale=("1", "sqrt(d)"),
    sinusoids=("sine and cosine in turn", "sines, then cosines"),
    positions=("added", "missing"),
)
def positional(
    piece: Piece,
    x: np.ndarray,
    axis: int,
    table: np.ndarray,
    position: str,
    embedding_scale: str,
    sinusoids: str,
    positions: str,
) -> np.ndarray:
    """A scaled vector plus the encoding of its position."""
    y = x * math.sqrt(x.shape[-1]) if embedding_scale == "sqrt(d)" else x
    if sinusoids == "sines, then cosines":
        table = np.concatenate([table[:, 0::2], table[:, 1::2]], axis=1)
    start = int(position.split()[1])
    P = table[start : start + x.shape[axis]]
    P = P.reshape([n if i in (axis, x.ndim - 1) else 1 for i, n in enumerate(x.shape)])
    return y + P if positions == "added" else y


def _pooling(piece: Piece) -> Iterator[dict[str, Any]]:
    for x in piece.floats()[:4]:
        for axis in (0, 1):
            if x.ndim == 3 and piece.a.shape == (x.shape[1 - axis], x.shape[2]):
                steps = np.arange(x.shape[axis])
                x = x.swapaxes(0, 1) if axis == 0 else x  # (batch, steps, size)
                for lens in piece.lengths():
                    if len(lens) == len(x):
                        yield {"x": x, "real": steps < lens[:, None]}
                for ids in piece.integers(2):
                    for tokens in (ids, ids.T):
                        if tokens.shape == x.shape[:2]:
                            yield from ({"x": x, "real": tokens != pad} for pad in (0, 1))


@formula(_pooling, mean=("over the real steps", "over all steps", "real steps divided by all"))
def pooling(piece: Piece, x: np.ndarray, real: np.ndarray, mean: str) -> np.ndarray:
    """The mean over a sequence."""
    weights = np.ones(real.shape) if mean == "over all steps" else real.astype(float)
    count = weights.sum(axis=1, keepdims=True)
    total = (x * weights[:, :, None]).sum(axis=1)
    return total / (real.shape[1] if mean == "real steps divided by all" else np.maximum(count, 1))
