"""Keys and values that a decoder keeps, and which of them a query sees.

With a window, a query sees the keys of the last ``window`` positions, its own among them, and those
of the first ``num_sinks`` positions: attention puts much of its weight there and fails when they
are gone (Xiao et al., 2024). What no later query sees is forgotten.
"""

import numpy as np


def visible(queries, keys, window=None, num_sinks=0):
    """Return which keys a query sees, by their positions, as a mask that broadcasts from both."""
    distances = queries - keys
    if window is None:
        return distances >= 0
    return (distances >= 0) & ((distances < window) | (keys < num_sinks))


def append(cache, new, position, window=None, num_sinks=0):
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
