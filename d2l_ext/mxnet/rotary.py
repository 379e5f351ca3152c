"""Relative positions: rotary embedding of queries and keys, and linear biases of scores."""

import numpy
from jaxtyping import Float, Int
from mxnet import np as mnp

from d2l_ext import checks
from d2l_ext.mxnet.layers import Array, constant, spec
from d2l_ext.tables import alibi_slopes, rotations


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
    return turn(X, *rotations(positions.asnumpy(), X.shape[-1], base), layout)


def turn(
    X: Float[Array, "*batch num_steps size"],
    cos: Float[numpy.ndarray, "..."],
    sin: Float[numpy.ndarray, "..."],
    layout: str = "halves",
) -> Float[Array, "*batch num_steps size"]:
    """Turn (..., num_steps, size) by angles whose cosines and sines are (..., size / 2).

    Cutting into x and y and joining again is slow; (x, y) cos + (y, x) (-sin, sin) needs neither.
    """
    axis = -2 if layout == "halves" else -1  # of the two numbers of a pair
    tables = numpy.stack((cos, cos), axis), numpy.stack((-sin, sin), axis)
    pairs = X.reshape(*X.shape[:-1], *tables[0].shape[-2:])
    cos, sin = (constant(mnp.array(table, dtype=X.dtype), pairs) for table in tables)
    return (pairs * cos + mnp.flip(pairs, pairs.ndim + axis) * sin).reshape(X.shape)


def permutation(size: int) -> Int[Array, " size"]:
    """Order of a vector's numbers in which the layout "pairs" becomes "halves".

    With p the permutation, ``rotate(X[..., p], positions, layout="halves")`` is
    ``rotate(X, positions, layout="pairs")[..., p]``. So the rows of W_q and W_k, within each head
    in this order, give the same scores in the other layout.

    Returns:
        Integers (size,): 0, 2, 4, ..., 1, 3, 5, ...
    """
    checks.multiple("size", size, 2)
    return mnp.concatenate([mnp.arange(first, size, 2, dtype="int64") for first in (0, 1)])


def alibi(
    num_heads: int, num_queries: int, num_keys: int
) -> Float[Array, "num_heads num_queries num_keys"]:
    """Biases of scores, -slope (i - j) for query i and key j: ALiBi (Press et al., 2022).

    The queries are the last ones of the keys: query q stands at num_keys - num_queries + q.

    Returns:
        (num_heads, num_queries, num_keys); head h of n has slope 2^(-8 h / n) if n is a power of
        two, otherwise as in `d2l_ext.tables.alibi_slopes`.
    """
    queries, keys = numpy.arange(num_keys - num_queries, num_keys), numpy.arange(num_keys)
    return mnp.array(biases(num_heads, queries[:, None] - keys), dtype="float64")


def biases(
    num_heads: int, distances: Int[numpy.ndarray, "..."]
) -> Float[numpy.ndarray, "num_heads ..."]:
    """Return the heads' biases (num_heads, ...) at distances (...)."""
    return -alibi_slopes(num_heads).reshape(-1, *(1,) * distances.ndim) * distances
