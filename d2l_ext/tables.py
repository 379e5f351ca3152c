"""Constant tables that need no framework."""

import numpy as np
from jaxtyping import Float64


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
