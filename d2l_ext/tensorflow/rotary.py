"""Relative positions: rotary embedding of queries and keys, and linear biases of scores.

Cosines and sines are those of `d2l_ext.tables`, in float64. Positions that are being traced, those
of compiled decoding, have no values to look up: the graph computes theirs, in float64 too.
"""

import keras
import numpy as np
import tensorflow as tf
from jaxtyping import Float, Int

from d2l_ext import checks, tables
from d2l_ext.tensorflow.layers import Array, spec
from d2l_ext.tensorflow.positional import known, positions


def rotate(
    X: Float[Array, "*batch num_steps size"],
    positions: Int[Array, "..."],
    base: float = 10000.0,
    layout: str = "halves",
) -> Float[Array, "*batch num_steps size"]:
    """Turn queries or keys by their positions: rotary embedding (Su et al., 2021).

    The two numbers of pair j at position i are turned by the angle a = i / base^(2j / size):

        (x, y) to (x cos a - y sin a, x sin a + y cos a)

    so that the product of a query and a key depends on the distance of their positions alone.

    Args:
        X: (..., num_steps, size), size even.
        positions: integers, broadcastable to (..., num_steps).
        base: of the wavelengths.
        layout: which numbers are a pair: "pairs", 2j and 2j + 1, as in the paper; "halves", j and
            j + size / 2, as in Llama.

    Returns:
        Like X.
    """
    checks.rotary_inputs(spec(X), spec(positions), layout)
    return turn(X, *rotations(positions, X.shape[-1], base), layout)


def rotations(
    at: Int[Array, "..."], size: int, base: float
) -> tuple[Float[Array | np.ndarray, "..."], Float[Array | np.ndarray, "..."]]:
    """Return cosines and sines at positions (...), float64 (..., size / 2)."""
    values = tf.get_static_value(at)
    if values is not None:
        return tables.rotations(values, size, base)
    angles = tf.cast(at, "float64")[..., None] * tables.frequencies(size, base)
    return tf.cos(angles), tf.sin(angles)


def rotations_from(
    X: Float[Array, "batch num_steps ..."], position: int | Int[Array, ""], size: int, base: float
) -> tuple[Float[Array | np.ndarray, "..."], Float[Array | np.ndarray, "..."]]:
    """Return `rotations` of the steps of X, the first of which has a position."""
    first = known(X, position)
    if first is None:
        return rotations(positions(X, position), size, base)
    return tables.consecutive_rotations(first, X.shape[1], size, base)


def turn(
    X: Float[Array, "*batch num_steps size"],
    cos: Float[Array | np.ndarray, "..."],
    sin: Float[Array | np.ndarray, "..."],
    layout: str = "halves",
) -> Float[Array, "*batch num_steps size"]:
    """Turn (..., num_steps, size) by angles whose cosines and sines are (..., size / 2)."""
    cos, sin = tf.cast(cos, X.dtype), tf.cast(sin, X.dtype)
    halves = layout == "halves"
    x, y = tf.split(X, 2, axis=-1) if halves else (X[..., 0::2], X[..., 1::2])
    turned = x * cos - y * sin, x * sin + y * cos  # (..., size / 2)
    if halves:
        return tf.concat(turned, axis=-1)
    return tf.reshape(tf.stack(turned, axis=-1), keras.ops.shape(X))


def permutation(size: int) -> Int[Array, " size"]:
    """Order of a vector's numbers in which the layout "pairs" becomes "halves".

    With p the permutation, ``rotate(tf.gather(X, p, axis=-1), positions, layout="halves")`` is
    ``tf.gather(rotate(X, positions, layout="pairs"), p, axis=-1)``. So the rows of W_q and W_k,
    within each head in this order, give the same scores in the other layout.

    Returns:
        Integers (size,): 0, 2, 4, ..., 1, 3, 5, ...
    """
    checks.multiple("size", size, 2)
    return tf.concat((tf.range(0, size, 2), tf.range(1, size, 2)), axis=0)


def alibi(
    num_heads: int, num_queries: int, num_keys: int
) -> Float[Array, "num_heads num_queries num_keys"]:
    """Biases of scores, -slope (i - j) for query i and key j: ALiBi (Press et al., 2022).

    The queries are the last ones of the keys: query q stands at num_keys - num_queries + q.

    Returns:
        (num_heads, num_queries, num_keys); head h of n has slope 2^(-8 h / n) if n is a power of
        two, otherwise as in `d2l_ext.tables.alibi_slopes`.
    """
    queries, keys = tf.range(num_keys - num_queries, num_keys), tf.range(num_keys)
    return biases(num_heads, queries[:, None] - keys)


def biases(num_heads: int, distances: Int[Array, "..."]) -> Float[Array, "num_heads ..."]:
    """Return the heads' biases (num_heads, ...) at distances (...), float64."""
    slopes = tables.alibi_slopes(num_heads).reshape(-1, *(1,) * len(distances.shape))
    return -slopes * tf.cast(distances, "float64")
