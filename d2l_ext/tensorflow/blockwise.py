"""Attention without its matrix: softmax over keys that arrive in blocks.

The trick is a running maximum m and a running sum l. When a block brings a larger maximum m', what
was summed before is rescaled by exp(m - m'), as if m' had been known from the start (Milakov and
Gimelshein, 2018; Dao et al., 2022: FlashAttention).

The loop over blocks is one of the graph, in which all blocks have one shape: keys are padded to
whole blocks, and a causal query computes the blocks that it does not see, too, as masked ones.
"""

import math
from collections.abc import Callable

import keras
import tensorflow as tf
from jaxtyping import Bool, Float, Int, Shaped

from d2l_ext import checks
from d2l_ext.tensorflow.layers import Array, spec, widened
from d2l_ext.tensorflow.masking import check_masks


def online_softmax(blocks: list[Float[Array, "..."]]) -> list[Float[Array, "..."]]:
    """Softmax over the last axis of scores that arrive in blocks.

    Args:
        blocks: a list of scores (..., n), n of any size; -inf means masked.

    Returns:
        A list of weights like the blocks, parts of the softmax of them all. They are zero where
        every score is masked.
    """
    top = lowest(blocks[0])  # (..., 1)
    total = tf.zeros_like(top)
    for X in blocks:
        higher = tf.maximum(top, tf.stop_gradient(tf.reduce_max(X, axis=-1, keepdims=True)))
        exps = tf.reduce_sum(tf.exp(X - higher), axis=-1, keepdims=True)
        total, top = total * tf.exp(top - higher) + exps, higher
    return [tf.exp(X - top) / nonzero(total) for X in blocks]


def lowest(X: Float[Array, "*batch n"]) -> Float[Array, "*batch 1"]:
    """Return the maxima (..., 1) before the first score: finite, so that no difference is NaN."""
    return tf.fill((*keras.ops.shape(X)[:-1], 1), tf.constant(X.dtype.min, X.dtype))


def nonzero(total: Float[Array, "..."]) -> Float[Array, "..."]:
    """Replace the sums that are zero, of no weights, by one."""
    return tf.where(total > 0, total, tf.ones_like(total))


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
    inputs = broadcast(query, key, value)
    check_masks((*spec(inputs[0]).shape[:-1], spec(key).shape[-2]), mask=mask)
    query, key, value = (widened(x) for x in inputs)  # sums of half precision are float32
    query = query / math.sqrt(query.shape[-1])
    seen = visibility(query, key, mask, causal, block_size)

    @tf.custom_gradient
    def pooled(query, key, value):
        output, log_sum = forward(query, key, value, seen, block_size)

        def gradient(by_output):
            return backward(query, key, value, seen, block_size, output, log_sum, by_output)

        return output, gradient

    return tf.cast(pooled(query, key, value), inputs[0].dtype)


def broadcast(*inputs: Float[Array, "..."]) -> list[Float[Array, "..."]]:
    """Give arrays (..., n, size) the same leading axes."""
    zero = sum(tf.zeros((*keras.ops.shape(x)[:-2], 1, 1), x.dtype) for x in inputs)
    return [x + zero for x in inputs]


def blocks(X: Shaped[Array, "*batch n size"], block_size: int) -> Shaped[Array, "..."]:
    """(..., n, size) to (num_blocks, ..., block_size, size), padded with zeros (False) at the end.

    Where n is known and less than the block size, there is one block of n.
    """
    *batch, n, size = keras.ops.shape(X)
    block_size = max(1, min(block_size, n)) if isinstance(n, int) else block_size
    X = tf.pad(X, [(0, 0)] * len(batch) + [(0, -n % block_size), (0, 0)])
    X = tf.reshape(X, (*batch, -(-n // block_size), block_size, size))
    return keras.ops.moveaxis(X, -3, 0)


def whole(X: Float[Array, "..."], n: int | Int[Array, ""]) -> Float[Array, "*batch n size"]:
    """Undo `blocks`."""
    X = keras.ops.moveaxis(X, 0, -3)
    *batch, num_blocks, block_size, size = keras.ops.shape(X)
    return tf.reshape(X, (*batch, num_blocks * block_size, size))[..., :n, :]


def visibility(
    query: Float[Array, "*batch num_queries d"],
    key: Float[Array, "*batch num_keys d"],
    mask: Bool[Array, "..."] | None,
    causal: bool,
    block_size: int,
) -> Callable[[Int[Array, ""]], Bool[Array, "..."]]:
    """Return a function of a block's number: which of its keys each query sees."""
    num_queries, num_keys = keras.ops.shape(query)[-2], keras.ops.shape(key)[-2]
    steps = tf.range(num_keys - num_queries, num_keys)[:, None]  # the queries' positions
    positions = blocks(tf.range(num_keys)[:, None] + 1, block_size)[..., 0] - 1  # padding: -1
    every_key = mask is None or mask.shape[-1] == 1  # has the same mask
    masks = None if every_key else blocks(mask[..., None], block_size)[..., 0]

    def seen(i):
        keys = positions[i]
        found = (keys >= 0) & (steps >= keys) if causal else keys >= 0
        if mask is None:
            return found
        return found & (mask if every_key else masks[i])

    return seen


def forward(
    query: Float[Array, "*batch num_queries d"],
    key: Float[Array, "*batch num_keys d"],
    value: Float[Array, "*batch num_keys size"],
    seen: Callable[[Int[Array, ""]], Bool[Array, "..."]],
    block_size: int,
) -> tuple[Float[Array, "*batch num_queries size"], Float[Array, "*batch num_queries 1"]]:
    """Keep the running maximum, the running sum and the running output of every query.

    Returns:
        Output, and the logarithms of the sums of exp(score); -inf where a query has no key.
    """
    keys, values = blocks(key, block_size), blocks(value, block_size)

    def step(i, top, total, output):
        X = masked_scores(query, keys[i], seen(i))
        higher = tf.maximum(top, tf.reduce_max(X, axis=-1, keepdims=True))
        scale, exps = tf.exp(top - higher), tf.exp(X - higher)
        total = total * scale + tf.reduce_sum(exps, axis=-1, keepdims=True)
        return i + 1, higher, total, output * scale + exps @ values[i]

    top = lowest(query)  # (..., num_queries, 1)
    output = tf.zeros((*keras.ops.shape(query)[:-1], value.shape[-1]), value.dtype)
    _, top, total, output = loop(step, keys, (top, tf.zeros_like(top), output))
    return output / nonzero(total), top + tf.math.log(total)


def backward(
    query: Float[Array, "*batch num_queries d"],
    key: Float[Array, "*batch num_keys d"],
    value: Float[Array, "*batch num_keys size"],
    seen: Callable[[Int[Array, ""]], Bool[Array, "..."]],
    block_size: int,
    output: Float[Array, "*batch num_queries size"],
    log_sum: Float[Array, "*batch num_queries 1"],
    by_output: Float[Array, "*batch num_queries size"],
) -> tuple[
    Float[Array, "*batch num_queries d"],
    Float[Array, "*batch num_keys d"],
    Float[Array, "*batch num_keys size"],
]:
    """Weights are exp(score - log sum); each block's gradients are done when it is."""
    keys, values = blocks(key, block_size), blocks(value, block_size)
    log_sum = tf.where(tf.math.is_inf(log_sum), tf.abs(log_sum), log_sum)  # no key: no weight
    mean = tf.reduce_sum(by_output * output, axis=-1, keepdims=True)  # of the weights' gradients

    def step(i, by_query, by_keys, by_values):
        weights = tf.exp(masked_scores(query, keys[i], seen(i)) - log_sum)
        by_weights = tf.matmul(by_output, values[i], transpose_b=True)
        by_scores = weights * (by_weights - mean)
        by_keys = by_keys.write(i, tf.matmul(by_scores, query, transpose_a=True))
        by_values = by_values.write(i, tf.matmul(weights, by_output, transpose_a=True))
        return i + 1, by_query + by_scores @ keys[i], by_keys, by_values

    by_keys, by_values = (
        tf.TensorArray(x.dtype, keras.ops.shape(x)[0], element_shape=x.shape[1:])
        for x in (keys, values)
    )
    _, by_query, by_keys, by_values = loop(step, keys, (tf.zeros_like(query), by_keys, by_values))
    num_keys = keras.ops.shape(key)[-2]
    return by_query, whole(by_keys.stack(), num_keys), whole(by_values.stack(), num_keys)


def loop(step: Callable, keys: Float[Array, "..."], start: tuple) -> tuple:
    """Do a step for each block of keys, one after the other: two at once would be held at once."""
    num_blocks = keras.ops.shape(keys)[0]
    return tf.while_loop(
        lambda i, *_: i < num_blocks, step, (tf.constant(0), *start), parallel_iterations=1
    )


def masked_scores(
    query: Float[Array, "*batch num_queries d"],
    key: Float[Array, "*batch n d"],
    seen: Bool[Array, "..."],
) -> Float[Array, "*batch num_queries n"]:
    """Return scores of scaled queries; -inf where a key is not seen."""
    X = tf.matmul(query, key, transpose_b=True)
    return tf.where(seen, X, tf.constant(-math.inf, X.dtype))
