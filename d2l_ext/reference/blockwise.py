"""Attention without its matrix: softmax over keys that arrive in blocks.

The trick is a running maximum m and a running sum l. When a block brings a larger maximum m', what
was summed before is rescaled by exp(m - m'), as if m' had been known from the start (Milakov and
Gimelshein, 2018; Dao et al., 2022: FlashAttention).
"""

import math

import numpy as np
from jaxtyping import Bool

from d2l_ext import checks
from d2l_ext.reference.layers import Array, Float
from d2l_ext.reference.masking import check_masks


def online_softmax(blocks: list[Float[Array, "..."]]) -> list[Float[Array, "..."]]:
    """Softmax over the last axis of scores that arrive in blocks.

    Args:
        blocks: a list of scores (..., n), n of any size; -inf means masked.

    Returns:
        A list of weights like the blocks, parts of the softmax of them all. They are zero where
        every score is masked.
    """
    top = lowest(blocks[0])  # (..., 1)
    total = np.zeros_like(top)
    for X in blocks:
        higher = np.maximum(top, X.real.max(axis=-1, keepdims=True))
        total = total * np.exp(top - higher) + np.exp(X - higher).sum(axis=-1, keepdims=True)
        top = higher
    return [np.exp(X - top) / nonzero(total) for X in blocks]


def lowest(X: Float[Array, "*batch n"]) -> Float[Array, "*batch 1"]:
    """Return the maxima (..., 1) before the first score: finite, so that no difference is NaN."""
    return np.full_like(X.real[..., :1], np.finfo(X.real.dtype).min)


def nonzero(total: Float[Array, "..."]) -> Float[Array, "..."]:
    """Replace the sums that are zero, of no weights, by one."""
    return np.where(total.real > 0, total, np.ones_like(total))


def blockwise_attention(
    query: Float[Array, "*#batch num_queries d"],
    key: Float[Array, "*#batch num_keys d"],
    value: Float[Array, "*#batch num_keys value_size"],
    mask: Bool[Array, "..."] | None = None,
    causal: bool = False,
    block_size: int = 64,
) -> Float[Array, "... num_queries value_size"]:
    """Scaled dot-product attention that holds a block of each query's weights at a time.

    The output is that of `attention`; the memory is linear in the number of keys, not quadratic.

    Args:
        query: (..., num_queries, d).
        key: (..., num_keys, d).
        value: (..., num_keys, value_size).
        mask: boolean, broadcastable to (..., num_queries, num_keys); True means attend.
        causal: whether a query sees no key after itself; the queries are the last of the keys.
        block_size: how many keys are taken at a time.

    Returns:
        (..., num_queries, value_size); zero, with a zero gradient, where a query has no key.
    """
    checks.positive("block_size", block_size)
    num_queries, num_keys, d = query.shape[-2], key.shape[-2], query.shape[-1]
    batch = np.broadcast_shapes(query.shape[:-2], key.shape[:-2])
    check_masks((*batch, num_queries, num_keys), mask=mask)
    steps = np.arange(num_keys - num_queries, num_keys)[:, None]  # the queries' positions
    top, total = lowest(query), np.zeros_like(lowest(query))  # (..., num_queries, 1)
    output = np.zeros((*top.shape[:-1], value.shape[-1]), top.dtype)
    for start in range(0, num_keys, block_size):
        block = slice(start, min(start + block_size, num_keys))
        scores = query @ np.swapaxes(key[..., block, :], -2, -1) / math.sqrt(d)
        positions = np.arange(block.start, block.stop)
        seen = steps >= positions if causal else np.ones((num_queries, len(positions)), bool)
        if mask is not None:
            seen = seen & (mask[..., block] if mask.shape[-1] > 1 else mask)
        seen = np.broadcast_to(seen, scores.shape)
        best = np.max(scores.real, axis=-1, keepdims=True, where=seen, initial=-np.inf)
        higher = np.maximum(top, best)
        zeros = np.zeros_like(scores)
        exps = np.where(seen, np.exp(np.where(seen, scores - higher, zeros)), zeros)
        total = total * np.exp(top - higher) + exps.sum(axis=-1, keepdims=True)
        output = output * np.exp(top - higher) + exps @ value[..., block, :]
        top = higher
    return output / nonzero(total)
