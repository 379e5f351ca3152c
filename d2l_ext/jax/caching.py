"""Keys and values that a decoder keeps, and which of them a query sees.

With a window, a query sees the keys of the last ``window`` positions, its own among them, and those
of the first ``num_sinks`` positions: attention puts much of its weight there and fails when they
are gone (Xiao et al., 2024). What no later query sees is forgotten.

A cache is a pair of arrays that grows, or one with room, (2, batch, num_kv_heads, size, d): sinks
first, then the other positions, the oldest of which is overwritten when num_sinks + window are
there. JAX's arrays don't change, so filling one makes another, in the same memory where a compiled
function was given the old one for good (``donate_argnames``).

The position may be traced: one compiled function serves all steps, for shapes follow from shapes
alone. So of a cache with room, all slots are returned, where PyTorch's column cuts off those that
are not filled yet. These get a position that no query has come to, and `visible` masks them.
"""

from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Int

from d2l_ext import checks
from d2l_ext.caches import limit, room
from d2l_ext.jax.layers import Array
from d2l_ext.jax.positional import Offset

NEVER = np.iinfo(np.int32).max  # the position of a slot that is not filled


def visible(
    queries: Int[ArrayLike, "..."],
    keys: Int[ArrayLike, "..."],
    window: int | None = None,
    num_sinks: int = 0,
) -> Bool[ArrayLike, "..."]:
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
    position: Offset,
    window: int | None = None,
    num_sinks: int = 0,
) -> tuple[Any, Int[Array, " num_keys"], tuple[Array, Array] | Array]:
    """Append the next steps to a cache.

    Args:
        cache: keys and values (batch, num_kv_heads, n, d): those, of the ``position`` steps so far,
            that the next step sees, in order. Or a cache with room.
        new: keys and values of the next steps.
        position: of the first of them.

    Returns:
        Keys and values that the new steps may see, the positions of these keys, and the new cache.
    """
    if not isinstance(cache, tuple):
        return _fill(cache, jnp.stack(new), position, window, num_sinks)
    have = cache[0].shape[2]
    pair = tuple(jnp.concatenate(both, axis=2) for both in zip(cache, new, strict=True))
    positions = _in_order(position - have, pair[0].shape[2], num_sinks)
    if window is None:
        return pair, positions, pair
    return pair, positions, tuple(_remaining(x, window, num_sinks) for x in pair)


def _in_order(forgotten, n, num_sinks):
    """Return the positions of n keys of a pair, which has forgotten some after the sinks."""
    places = jnp.arange(n)
    return jnp.where(places < num_sinks, places, places + forgotten)


def _remaining(x, window, num_sinks):
    """Cut what the next step does not see out of (batch, num_kv_heads, n, d)."""
    too_many = x.shape[2] - (num_sinks + window - 1)
    if too_many <= 0:
        return x
    return jnp.concatenate((x[:, :, :num_sinks], x[:, :, num_sinks + too_many :]), axis=2)


def _fill(cache, new, position, window, num_sinks):
    """`append` to a cache with room; ``new`` is (2, batch, num_kv_heads, num_steps, d)."""
    rolling, size, num_steps = (window, num_sinks), cache.shape[3], new.shape[3]
    end = position + num_steps
    if window is None or num_steps == 1:  # overwrites nothing that is still to be seen
        first = slots(position, *rolling)
        cache = jax.lax.dynamic_update_slice_in_dim(cache, new, first, axis=3)
        return cache, held(end, size, *rolling), cache
    steps = position + jnp.arange(num_steps)
    positions = jnp.concatenate((held(position, size, *rolling), steps))
    # How many of the steps remain depends on the position. JAX drops what is put beyond the end.
    places = jnp.where(visible(end - 1, steps, *rolling), slots(steps, *rolling), size)
    filled = cache.at[:, :, :, places].set(new, mode="drop")
    return jnp.concatenate((cache, new), axis=3), positions, filled


def slots(
    positions: Int[ArrayLike, "*n"], window: int | None = None, num_sinks: int = 0
) -> Int[ArrayLike, "*n"]:
    """Return where a cache with room keeps positions."""
    if window is None:
        return positions
    rolled = num_sinks + (positions - num_sinks) % window
    return jnp.where(positions < num_sinks, positions, rolled)


def held(
    count: Offset, size: int, window: int | None = None, num_sinks: int = 0
) -> Int[Array, " size"]:
    """Return the positions that are in the slots of a cache with room after ``count`` steps.

    Slots are filled in order, so that those from ``count`` on are not filled; they get `NEVER`.
    """
    places, last = jnp.arange(size), count - 1
    positions = places
    if window is not None:
        positions = jnp.where(places < num_sinks, places, last - (last - places) % window)
    return jnp.where(places < count, positions, NEVER)


def reserved(
    cache: tuple[Array, Array] | Array,
    position: int,
    size: int,
    least: int = 0,
    window: int | None = None,
    num_sinks: int = 0,
) -> tuple[Array, Array] | Array:
    """Return a cache of ``position`` steps with room for ``size`` steps, or as it is if it has.

    One that must grow at least doubles, and gets room for ``least`` steps at least; with a window
    it never exceeds num_sinks + window.
    """
    batch, heads, have, d = shape(cache)
    grown = room([have], limit(size, window, num_sinks), least)
    if grown is None:
        return cache
    grown = limit(grown, window, num_sinks)
    places, old = jnp.arange(have), jnp.stack(cache)
    if isinstance(cache, tuple):  # one with room, as long as it can grow, has nothing overwritten
        places = slots(_in_order(position - have, have, num_sinks), window, num_sinks)
    return jnp.zeros((2, batch, heads, grown, d), old.dtype).at[:, :, :, places].set(old)


def shape(cache: tuple[Array, Array] | Array) -> tuple[int, int, int, int]:
    """Return the size (batch, num_kv_heads, n, d) of a cache's keys."""
    return cache[0].shape if isinstance(cache, tuple) else cache.shape[1:]


def check_room(
    cache: tuple[Array, Array] | Array, size: int, window: int | None = None, num_sinks: int = 0
) -> None:
    """Raise a ValueError where a cache has room, but not for ``size`` steps."""
    if not isinstance(cache, tuple):
        checks.room(shape(cache)[2], limit(size, window, num_sinks))
