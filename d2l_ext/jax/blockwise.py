"""Attention without its matrix: softmax over keys that arrive in blocks.

The trick is a running maximum m and a running sum l. When a block brings a larger maximum m', what
was summed before is rescaled by exp(m - m'), as if m' had been known from the start (Milakov and
Gimelshein, 2018; Dao et al., 2022: FlashAttention).

The loop is a `jax.lax.scan`, compiled once for all blocks. They must be of one size, so the last is
filled up with keys that nobody sees; and each meets all queries, also those before it that see none
of it causally, which PyTorch's column leaves out.
"""

import functools
import math

import jax
from jax import numpy as jnp
from jaxtyping import Bool, Float

from d2l_ext import checks
from d2l_ext.jax.layers import Array, widened
from d2l_ext.jax.linear import chunks, joined
from d2l_ext.jax.masking import check_masks


def online_softmax(blocks: list[Float[Array, "..."]]) -> list[Float[Array, "..."]]:
    """Softmax over the last axis of scores that arrive in blocks.

    Args:
        blocks: a list of scores (..., n), n of any size; -inf means masked.

    Returns:
        A list of weights like the blocks, parts of the softmax of them all. They are zero where
        every score is masked.
    """
    top = lowest(blocks[0])  # (..., 1)
    total = jnp.zeros_like(top)
    for X in blocks:
        higher = jnp.maximum(top, jax.lax.stop_gradient(X.max(axis=-1, keepdims=True)))
        sum_of_block = jnp.exp(X - higher).sum(axis=-1, keepdims=True)
        total = total * jnp.exp(top - higher) + sum_of_block
        top = higher
    return [jnp.exp(X - top) / nonzero(total) for X in blocks]


def lowest(X: Float[Array, "*batch n"]) -> Float[Array, "*batch 1"]:
    """Return the maxima (..., 1) before the first score: finite, so that no difference is NaN."""
    return jnp.full((*X.shape[:-1], 1), jnp.finfo(X.dtype).min, X.dtype)


def nonzero(total: Float[Array, "..."]) -> Float[Array, "..."]:
    """Replace the sums that are zero, of no weights, by one."""
    return jnp.where(total > 0, total, 1)


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
    batch = jnp.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    check_masks((*batch, query.shape[-2], key.shape[-2]), mask=mask)
    inputs = (jnp.broadcast_to(x, (*batch, *x.shape[-2:])) for x in (query, key, value))
    block_size = max(min(block_size, key.shape[-2]), 1)
    return _blockwise(*map(widened, inputs), mask, causal, block_size).astype(query.dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def _blockwise(query, key, value, mask, causal, block_size):
    """The loop over blocks; its gradient computes each block's weights again."""
    return _forward(query, key, value, mask, causal, block_size)[0]


def _forward(query, key, value, mask, causal, block_size):
    """Keep the running maximum, the running sum and the running output of every query."""
    scores, starts = _scores(query, key, mask, causal, block_size)

    def step(carry, block):
        top, total, output = carry
        keys, values, start = block
        X = scores(keys, start)
        higher = jnp.maximum(top, X.max(axis=-1, keepdims=True))
        scale, exps = jnp.exp(top - higher), jnp.exp(X - higher)
        total = total * scale + exps.sum(axis=-1, keepdims=True)
        return (higher, total, output * scale + exps @ values), None

    top = lowest(query)  # (..., num_queries, 1)
    output = jnp.zeros((*query.shape[:-1], value.shape[-1]), query.dtype)
    blocks = chunks(key, block_size), chunks(value, block_size), starts
    (top, total, output), _ = jax.lax.scan(step, (top, jnp.zeros_like(top), output), blocks)
    output = output / nonzero(total)
    log_sum = jnp.where(total > 0, top + jnp.log(total), jnp.inf)  # without a key, no weight
    return output, (query, key, value, mask, output, log_sum)


def _backward(causal, block_size, saved, by_output):
    """Weights are exp(score - log sum); each block's gradients are done when it is."""
    query, key, value, mask, output, log_sum = saved
    scores, starts = _scores(query, key, mask, causal, block_size)
    mean = (by_output * output).sum(axis=-1, keepdims=True)  # of the weights' gradients

    def step(by_query, block):
        keys, values, start = block
        weights = jnp.exp(scores(keys, start) - log_sum)
        by_scores = weights * (by_output @ values.mT - mean) / math.sqrt(query.shape[-1])
        by_query = by_query + by_scores @ keys
        return by_query, (by_scores.mT @ query, weights.mT @ by_output)

    blocks = chunks(key, block_size), chunks(value, block_size), starts
    by_query, by_blocks = jax.lax.scan(step, jnp.zeros_like(query), blocks)
    by_key, by_value = (joined(x)[..., : key.shape[-2], :] for x in by_blocks)
    return by_query, by_key, by_value, None


_blockwise.defvjp(_forward, _backward)


def _scores(query, key, mask, causal, block_size):
    """Return a function of a block and its start, and the starts of all blocks.

    The function returns scores (..., num_queries, block_size), -inf where a key is not seen.
    """
    num_queries, num_keys = query.shape[-2], key.shape[-2]
    positions = jnp.arange(num_keys - num_queries, num_keys)[:, None]  # of the queries

    def scores(keys, start):
        block = start + jnp.arange(block_size)
        seen = block < num_keys
        if causal:
            seen = seen & (positions >= block)
        if mask is not None:
            whole = mask.shape[-1] == 1
            seen = seen & (mask if whole else jnp.take(mask, block, axis=-1, mode="clip"))
        return jnp.where(seen, query @ keys.mT / math.sqrt(query.shape[-1]), -jnp.inf)

    return scores, jnp.arange(0, num_keys, block_size)
