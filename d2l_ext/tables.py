"""Constant tables that need no framework."""

import functools

import numpy as np
from jaxtyping import Float64, Int


def sinusoids(max_len: int, num_hiddens: int) -> Float64[np.ndarray, "max_len num_hiddens"]:
    """Sinusoidal positional encoding (Vaswani et al., 2017, section 3.5).

    P[i, 2j] = sin(i / 10000^(2j / num_hiddens))    P[i, 2j + 1] = cos(same)

    Args:
        max_len: number of positions.
        num_hiddens: size of each position's vector, even or odd.

    Returns:
        float64 (max_len, num_hiddens). Angles are computed in float64, for in float32 the sine of
        position 10,000 would be off by 5e-4; a column rounds the result to its own dtype.
    """
    columns = np.arange(0, num_hiddens, 2)
    angles = np.arange(max_len)[:, None] / np.power(10000.0, columns / num_hiddens)
    P = np.empty((max_len, num_hiddens))
    P[:, 0::2] = np.sin(angles)
    P[:, 1::2] = np.cos(angles[:, : num_hiddens // 2])
    return P


def rotations(
    positions: Int[np.ndarray, "*shape"], size: int, base: float = 10000.0
) -> tuple[Float64[np.ndarray, "*shape half"], Float64[np.ndarray, "*shape half"]]:
    """Cosines and sines of rotary positions (Su et al., 2021): angle i / base^(2j / size).

    Args:
        positions: integers (...).
        size: of the vectors that are rotated, even; j runs from 0 to size / 2 - 1.
        base: of the wavelengths.

    Returns:
        Two float64 arrays (..., size / 2). As for `sinusoids`, float32 would not do for the angles.
    """
    angles = np.asarray(positions)[..., None] * frequencies(size, base)
    return np.cos(angles), np.sin(angles)


def frequencies(size: int, base: float = 10000.0) -> Float64[np.ndarray, " half"]:
    """Angles of position 1, float64 (size / 2,), for code whose positions have no values yet."""
    return np.power(float(base), -np.arange(0, size, 2) / size)


@functools.lru_cache(maxsize=32)
def consecutive_rotations(
    first: int, num_steps: int, size: int, base: float = 10000.0
) -> tuple[Float64[np.ndarray, "num_steps half"], Float64[np.ndarray, "num_steps half"]]:
    """`rotations` of the positions first, first + 1, ...; all blocks of a model share them."""
    return rotations(np.arange(first, first + num_steps), size, base)


def alibi_slopes(num_heads: int) -> Float64[np.ndarray, " num_heads"]:
    """Slopes of the heads' linear biases (Press et al., 2022).

    Of n heads, n a power of two, head h = 1, ..., n has 2^(-8 h / n). Otherwise the first heads
    have the slopes of the next lower power of two, and the rest every other one of its double.

    Returns:
        float64 (num_heads,).
    """
    n = 2 ** (num_heads.bit_length() - 1)
    slopes = 2.0 ** (-8 * np.arange(1, n + 1) / n)
    between = 2.0 ** (-8 * np.arange(1, 2 * n + 1, 2) / (2 * n))
    return np.concatenate((slopes, between[: num_heads - n]))
