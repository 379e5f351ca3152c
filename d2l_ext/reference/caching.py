"""Keys and values that a decoder keeps, and which of them a query sees.

With a window, a query sees the keys of the last ``window`` positions, its own among them, and those
of the first ``num_sinks`` positions: attention puts much of its weight there and fails when they
are gone (Xiao et al., 2024). What no later query sees is forgotten.
"""

from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from d2l_ext.reference.layers import Array, Float


def visible(
    queries: int | Int[Array, "..."],
    keys: Int[Array, "..."],
    window: int | None = None,
    num_sinks: int = 0,
) -> Bool[Array, "..."]:
    """Return which keys a query sees, by their positions, as a mask that broadcasts from both."""
    distances = queries - keys
    if window is None:
        return distances >= 0
    return (distances >= 0) & ((distances < window) | (keys < num_sinks))


def append(
    cache: tuple[Array, Array] | Array,
    new: tuple[
        Float[Array, "batch num_kv_heads num_steps size"],
        Float[Array, "batch num_kv_heads num_steps size"],
    ],
    position: int,
    window: int | None = None,
    num_sinks: int = 0,
) -> tuple[Any, Int[Array, " num_keys"], tuple[Array, Array] | Array]:
    """Append the next steps to a cache.

    Args:
        cache: keys and values (batch, num_kv_heads, n, d): those, of the ``position`` steps so far,
            that the next step sees, in order.
        new: keys and values of the next steps.
        position: of the first of them.

    Returns:
        Keys and values that the new steps may see, the positions of these keys, and the new cache.
    """
    end = position + new[0].shape[2]
    positions = np.arange(end)
    past = visible(position, positions, window, num_sinks)  # of the next step
    positions = positions[past | (positions >= position)]
    pair = [np.concatenate(both, axis=2) for both in zip(cache, new, strict=True)]
    remain = visible(end, positions, window, num_sinks)
    return pair, positions, tuple(x[:, :, remain] for x in pair)
