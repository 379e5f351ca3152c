"""Keys and values that a decoder keeps, and which of them a query sees.

With a window, a query sees the keys of the last ``window`` positions, its own among them, and those
of the first ``num_sinks`` positions: attention puts much of its weight there and fails when they
are gone (Xiao et al., 2024). What no later query sees is forgotten.

A cache is a pair of tensors that grows, or one with room, (2, batch, num_kv_heads, size, d), that
is filled in place: sinks first, then the other positions, the oldest of which is overwritten when
num_sinks + window are there.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float, Int

from d2l_ext.caches import limit, room
from d2l_ext.torch.layers import Array


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
            that the next step sees, in order. Or a cache with room.
        new: keys and values of the next steps.
        position: of the first of them.

    Returns:
        Keys and values that the new steps may see, the positions of these keys, and the new cache.
    """
    rolling = window, num_sinks
    end = position + new[0].shape[2]
    if not isinstance(cache, tuple):
        return _fill(cache, new, position, end, *rolling)
    positions = torch.arange(end, device=new[0].device)
    if window is not None:
        past = visible(position, positions, *rolling)  # of the next step
        positions = positions[past | (positions >= position)]
    pair = [torch.cat(both, dim=2) for both in zip(cache, new, strict=True)]
    if window is None:
        return pair, positions, tuple(pair)
    remain = visible(end, positions, *rolling)
    return pair, positions, tuple(x[:, :, remain] for x in pair)


def _fill(cache, new, position, end, window, num_sinks):
    """`append` to a cache with room."""
    rolling, size = (window, num_sinks), cache.shape[3]
    if window is None or end == position + 1:  # overwrites nothing that is still to be seen
        first = position if window is None else int(slots(torch.tensor(position), *rolling))
        for filled, x in zip(cache, new, strict=True):
            filled[:, :, first : first + x.shape[2]] = x
        positions = held(end, size, *rolling, cache.device)
        return cache[:, :, :, : len(positions)], positions, cache
    past, steps = held(position, size, *rolling), torch.arange(position, end)
    pair = [
        torch.cat((old[:, :, : len(past)], x), dim=2) for old, x in zip(cache, new, strict=True)
    ]
    remain = steps[visible(end - 1, steps, *rolling)]
    for filled, x in zip(cache, new, strict=True):
        filled[:, :, slots(remain, *rolling)] = x[:, :, remain - position]
    return pair, torch.cat((past, steps)), cache


def slots(
    positions: Int[Array, "*shape"], window: int | None = None, num_sinks: int = 0
) -> Int[Array, "*shape"]:
    """Return where a cache with room keeps positions."""
    if window is None:
        return positions
    rolled = num_sinks + (positions - num_sinks) % window
    return torch.where(positions < num_sinks, positions, rolled)


def held(
    count: int, size: int, window: int | None = None, num_sinks: int = 0, device: Any = None
) -> Int[Array, " num_keys"]:
    """Return the positions that are in the slots of a cache with room after ``count`` steps."""
    places, last = torch.arange(min(count, size), device=device), count - 1
    if window is None:
        return places
    return torch.where(places < num_sinks, places, last - (last - places) % window)


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
    batch, heads, have, d = cache[0].shape
    grown = room([have], limit(size, window, num_sinks), least)
    if grown is None:
        return cache
    grown = limit(grown, window, num_sinks)
    if isinstance(cache, tuple):
        steps = torch.arange(position, device=cache[0].device)
        positions = steps[visible(position, steps, window, num_sinks)]
    else:
        positions = held(position, have, window, num_sinks, cache.device)
    # What is not filled may be read, with a weight of zero: NaN would stay NaN.
    new = cache[0].new_zeros(2, batch, heads, grown, d)
    for filled, old in zip(new, cache, strict=True):
        filled[:, :, slots(positions, window, num_sinks)] = old[:, :, : len(positions)]
    return new
