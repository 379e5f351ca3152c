"""Keys and values that a decoder keeps, and which of them a query sees.

With a window, a query sees the keys of the last ``window`` positions, its own among them, and those
of the first ``num_sinks`` positions: attention puts much of its weight there and fails when they
are gone (Xiao et al., 2024). What no later query sees is forgotten.

A cache is a pair of tensors that grows, or one with room, (2, batch, num_kv_heads, size, d): sinks
first, then the other positions, the oldest of which is overwritten when num_sinks + window are
there.

A graph is traced once for all steps of decoding if its shapes stay the same. So a cache with room
always gives all its keys, ``size`` of them, and the number of steps so far may be a traced scalar.
A slot that is not filled yet has the position `NEVER`, which no query sees. And since tensors do
not change, a cache with room is filled by making a new one: the old one stays valid.
"""

from typing import Any

import keras
import tensorflow as tf
from jaxtyping import Bool, Float, Int

from d2l_ext import checks
from d2l_ext.caches import limit, room
from d2l_ext.tensorflow.layers import Array

NEVER = tf.int32.max


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
    position: int | Int[Array, ""],
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
    rolling = window, num_sinks
    position, num_steps = tf.cast(position, "int32"), keras.ops.shape(new[0])[2]
    end = position + num_steps
    if not isinstance(cache, tuple):
        return _fill(cache, new, position, num_steps, *rolling)
    positions = tf.range(end)
    if window is not None:
        past = visible(position, positions, *rolling)  # of the next step
        positions = positions[past | (positions >= position)]
    pair = tuple(tf.concat(both, axis=2) for both in zip(cache, new, strict=True))
    if window is None:
        return pair, positions, pair
    remain = visible(end, positions, *rolling)
    return pair, positions, tuple(tf.boolean_mask(x, remain, axis=2) for x in pair)


def _fill(cache, new, position, num_steps, window, num_sinks):
    """`append` to a cache with room."""
    rolling, size = (window, num_sinks), keras.ops.shape(cache)[3]
    steps = position + tf.range(num_steps)
    filled = _put(cache, new, slots(steps, *rolling))
    if window is None or new[0].shape[2] == 1:  # overwrites nothing that is still to be seen
        return tf.unstack(filled), held(position + num_steps, size, *rolling), filled
    pair = [tf.concat(both, axis=2) for both in zip(tf.unstack(cache), new, strict=True)]
    return pair, tf.concat((held(position, size, *rolling), steps), axis=0), filled


def _put(cache, new, places):
    """Put steps into slots; of several that have one slot, the last stays."""
    new = tf.stack(new)
    size, num_steps = keras.ops.shape(cache)[3], keras.ops.shape(new)[3]
    source = tf.range(size)  # where in `both` each slot's content is
    source = tf.tensor_scatter_nd_max(source, places[:, None], size + tf.range(num_steps))
    return tf.gather(tf.concat((cache, new), axis=3), source, axis=3)


def slots(
    positions: Int[Array, " n"], window: int | None = None, num_sinks: int = 0
) -> Int[Array, " n"]:
    """Return where a cache with room keeps positions."""
    if window is None:
        return positions
    rolled = num_sinks + (positions - num_sinks) % window
    return tf.where(positions < num_sinks, positions, rolled)


def held(
    count: int | Int[Array, ""], size: int, window: int | None = None, num_sinks: int = 0
) -> Int[Array, " size"]:
    """Return the positions in the slots of a cache with room after ``count`` steps, or `NEVER`."""
    places, last = tf.range(size), count - 1
    positions = places
    if window is not None:
        positions = tf.where(places < num_sinks, places, last - (last - places) % window)
    return tf.where(places < count, positions, NEVER)


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
    pair = isinstance(cache, tuple)
    batch, heads, have, d = cache[0].shape if pair else cache.shape[1:]
    grown = room([have], limit(size, window, num_sinks), least)
    if grown is None:
        return cache
    grown = limit(grown, window, num_sinks)
    if not pair:  # all steps are there, in order: it has not rolled yet
        return tf.pad(cache, [(0, 0), (0, 0), (0, 0), (0, grown - have), (0, 0)])
    steps = tf.range(position)
    positions = steps[visible(position, steps, window, num_sinks)]
    empty = tf.zeros((2, batch, heads, grown, d), cache[0].dtype)
    return _put(empty, cache, slots(positions, window, num_sinks))


def check_room(
    cache: tuple[Array, Array] | Array, size: int, window: int | None = None, num_sinks: int = 0
) -> None:
    """Raise a ValueError where a cache has room, but not for ``size`` steps."""
    if not isinstance(cache, tuple):
        checks.room(cache.shape[3], limit(size, window, num_sinks))
