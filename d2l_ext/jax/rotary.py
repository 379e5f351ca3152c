"""Relative positions: rotary embedding of queries and keys, and linear biases of scores."""

import jax
import numpy as np
from jax import numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from d2l_ext import checks
from d2l_ext.jax.layers import Array, spec
from d2l_ext.tables import alibi_slopes, rotations

BITS, DIGITS = 6, 6  # of traced positions: any that int32 holds


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
    return turn(X, *rotations_at(positions, X.shape[-1], base), layout)


def rotations_at(
    positions: Int[ArrayLike, "*shape"], size: int, base: float
) -> tuple[Float[ArrayLike, "*shape half"], Float[ArrayLike, "*shape half"]]:
    """`d2l_ext.tables.rotations`, also of positions that are traced.

    Angles must be computed in float64, which JAX may not have (``jax_enable_x64``). So the digits
    of a position are looked up in tables, and the rotations by them follow one another: as complex
    numbers, cos + i sin, they multiply.
    """
    if not isinstance(positions, jax.core.Tracer):
        return rotations(np.asarray(positions), size, base)
    places = BITS * np.arange(DIGITS)
    cos, sin = rotations(np.arange(2**BITS) << places[:, None], size, base)
    digits = (jnp.abs(positions)[..., None] >> places) % 2**BITS  # (..., DIGITS)
    rotation = jnp.asarray(cos + 1j * sin)[np.arange(DIGITS), digits].prod(axis=-2)
    return rotation.real, rotation.imag * jnp.sign(positions)[..., None]


def turn(
    X: Float[Array, "*batch num_steps size"],
    cos: Float[ArrayLike, "..."],
    sin: Float[ArrayLike, "..."],
    layout: str = "halves",
) -> Float[Array, "*batch num_steps size"]:
    """Turn (..., num_steps, size) by angles whose cosines and sines are (..., size / 2)."""
    cos, sin = jnp.asarray(cos, X.dtype), jnp.asarray(sin, X.dtype)
    halves = layout == "halves"
    x, y = jnp.split(X, 2, axis=-1) if halves else (X[..., 0::2], X[..., 1::2])
    turned = x * cos - y * sin, x * sin + y * cos  # (..., size / 2)
    if halves:
        return jnp.concatenate(turned, axis=-1)
    return jnp.stack(turned, axis=-1).reshape(X.shape)


def permutation(size: int) -> Int[Array, " size"]:
    """Order of a vector's numbers in which the layout "pairs" becomes "halves".

    With p the permutation, ``rotate(X[..., p], positions, layout="halves")`` is
    ``rotate(X, positions, layout="pairs")[..., p]``. So the rows of W_q and W_k, within each head
    in this order, give the same scores in the other layout.

    Returns:
        Integers (size,): 0, 2, 4, ..., 1, 3, 5, ...
    """
    checks.multiple("size", size, 2)
    return jnp.concatenate((jnp.arange(0, size, 2), jnp.arange(1, size, 2)))


def alibi(
    num_heads: int, num_queries: int, num_keys: int
) -> Float[Array, "num_heads num_queries num_keys"]:
    """Biases of scores, -slope (i - j) for query i and key j: ALiBi (Press et al., 2022).

    The queries are the last ones of the keys: query q stands at num_keys - num_queries + q.

    Returns:
        (num_heads, num_queries, num_keys); head h of n has slope 2^(-8 h / n) if n is a power of
        two, otherwise as in `d2l_ext.tables.alibi_slopes`.
    """
    queries, keys = np.arange(num_keys - num_queries, num_keys), np.arange(num_keys)
    return jnp.asarray(biases(num_heads, queries[:, None] - keys))


def biases(num_heads: int, distances: Int[ArrayLike, "..."]) -> Float[ArrayLike, "num_heads ..."]:
    """Return the heads' biases (num_heads, ...) at distances (...), in NumPy's float64 or JAX's."""
    slopes = alibi_slopes(num_heads)
    return -slopes.reshape(-1, *(1,) * distances.ndim) * distances
