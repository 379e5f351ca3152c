"""Attention without its matrix: softmax over keys that arrive in blocks.

The trick is a running maximum m and a running sum l. When a block brings a larger maximum m', what
was summed before is rescaled by exp(m - m'), as if m' had been known from the start (Milakov and
Gimelshein, 2018; Dao et al., 2022: FlashAttention).
"""

import math
from collections.abc import Iterator

import mxnet as mx
import numpy
from jaxtyping import Bool, Float
from mxnet import autograd
from mxnet import np as mnp

from d2l_ext import checks
from d2l_ext.mxnet.layers import Array, expand, matmul
from d2l_ext.mxnet.masking import check_masks


def online_softmax(blocks: list[Float[Array, "..."]]) -> list[Float[Array, "..."]]:
    """Softmax over the last axis of scores that arrive in blocks.

    Args:
        blocks: a list of scores (..., n), n of any size; -inf means masked.

    Returns:
        A list of weights like the blocks, parts of the softmax of them all. They are zero where
        every score is masked.
    """
    top = lowest(blocks[0])  # (..., 1)
    total = mnp.zeros_like(top)
    for X in blocks:
        higher = mnp.maximum(top, X.detach().max(axis=-1, keepdims=True))
        total = total * mnp.exp(top - higher) + mnp.exp(X - higher).sum(axis=-1, keepdims=True)
        top = higher
    return [mnp.exp(X - top) / nonzero(total) for X in blocks]


def lowest(X: Float[Array, "*batch n"]) -> Float[Array, "*batch 1"]:
    """Return the maxima (..., 1) before the first score: finite, so that no difference is NaN."""
    return mnp.full((*X.shape[:-1], 1), numpy.finfo(X.dtype).min, dtype=X.dtype)


def nonzero(total: Float[Array, "..."]) -> Float[Array, "..."]:
    """Replace the sums that are zero, of no weights, by one."""
    return mnp.where(total > 0, total, mnp.ones_like(total))


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
    batch = numpy.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    check_masks((*batch, query.shape[-2], key.shape[-2]), mask=mask)
    inputs = [expand(x, batch) for x in (query, key, value)]
    mask = None if mask is None else mask.asnumpy()
    return _Blockwise([x.shape for x in inputs], mask, causal, block_size)(pack(inputs))


def pack(inputs: list[Float[Array, "..."]]) -> Float[Array, " total"]:
    """Put arrays into one.

    A function of several arrays is wrong in MXNet where one has no gradient: none after it gets its
    own.
    """
    return mnp.concatenate([x.reshape(-1) for x in inputs])


class _Blockwise(autograd.Function):
    """The loop over blocks; its gradient computes each block's weights again.

    Masks are NumPy's, which can combine and cut them. Values have a last column of ones, of which
    the weighted sum is the sum of the weights.
    """

    def __init__(
        self,
        shapes: list[tuple],
        mask: Bool[numpy.ndarray, "*mask"] | None,
        causal: bool,
        block_size: int,
    ):
        super().__init__()
        self.shapes, self.mask, self.causal, self.block_size = shapes, mask, causal, block_size

    def _unpack(self, packed: Float[Array, " total"]) -> list[Float[Array, "..."]]:
        """Undo `pack`, and return scaled queries, keys, and values with ones."""
        ends = numpy.cumsum([math.prod(shape) for shape in self.shapes])
        parts = zip([0, *ends[:-1]], ends, self.shapes, strict=True)
        query, key, value = (packed[start:end].reshape(shape) for start, end, shape in parts)
        value = mnp.concatenate((value, mnp.ones_like(value[..., :1])), axis=-1)
        return [query / math.sqrt(query.shape[-1]), key, value]

    def forward(self, packed: Float[Array, " total"]) -> Float[Array, "... num_queries value_size"]:
        """Keep the running maximum, and the running output and sum of every query."""
        query, key, value = self._unpack(packed)
        top = lowest(query)  # (..., num_queries, 1)
        sums = mnp.zeros((*query.shape[:-1], value.shape[-1]), dtype=query.dtype)
        for rows, block, seen in self._key_blocks():
            X = scores(query[..., rows, :], key[..., block, :], seen)
            old = top[..., rows, :]
            higher = mnp.maximum(old, X.max(axis=-1, keepdims=True))
            new = matmul(mnp.exp(X - higher), value[..., block, :])
            sums[..., rows, :] = sums[..., rows, :] * mnp.exp(old - higher) + new
            top[..., rows, :] = higher
        total = sums[..., -1:]
        output = sums[..., :-1] / nonzero(total)
        # Of no key: the largest number, beside which no weight is left.
        log_sum = mnp.where(total > 0, top + mnp.log(nonzero(total)), -top)
        self.save_for_backward(packed, output, log_sum)
        return output

    def backward(self, by_output: mx.nd.NDArray) -> mx.nd.NDArray:
        """Weights are exp(score - log sum); each block's gradients are done when it is."""
        packed, output, log_sum = self.saved_tensors
        query, key, value = self._unpack(packed)
        by_output = by_output.as_np_ndarray()
        mean = (by_output * output).sum(axis=-1, keepdims=True)  # of the weights' gradients
        by_sums = mnp.concatenate((by_output, -mean), axis=-1)  # so that it is subtracted
        by_query, by_key, by_value = (mnp.zeros_like(x) for x in (query, key, value))
        for rows, block, seen in self._key_blocks():
            queries, keys, by_rows = query[..., rows, :], key[..., block, :], by_sums[..., rows, :]
            weights = mnp.exp(scores(queries, keys, seen) - log_sum[..., rows, :])
            by_scores = matmul(by_rows, value[..., block, :], transpose_b=True) * weights
            by_query[..., rows, :] += matmul(by_scores, keys)
            by_key[..., block, :] = matmul(by_scores, queries, transpose_a=True)
            by_value[..., block, :] = matmul(weights, by_rows, transpose_a=True)
        by_query /= math.sqrt(query.shape[-1])
        return pack([by_query, by_key, by_value[..., :-1]]).as_nd_ndarray()

    def _key_blocks(self) -> Iterator[tuple[slice, slice, Bool[numpy.ndarray, "*mask"] | None]]:
        """Yield the queries that see anything of a block, the block, and what they see, or None."""
        num_queries, num_keys = self.shapes[0][-2], self.shapes[1][-2]
        offset = num_keys - num_queries  # position of the first query
        for start in range(0, num_keys, self.block_size):
            block = slice(start, min(start + self.block_size, num_keys))
            rows, seen = slice(max(start - offset, 0) if self.causal else 0, num_queries), None
            if self.causal:
                steps = numpy.arange(rows.start + offset, num_keys)
                seen = steps[:, None] >= numpy.arange(start, block.stop)
            if (mask := self.mask) is not None:
                part = mask[..., block] if mask.shape[-1] > 1 else mask
                part = part[..., rows, :] if mask.ndim > 1 and mask.shape[-2] > 1 else part
                seen = part if seen is None else seen & part
            yield rows, block, seen


def scores(
    query: Float[Array, "*batch num_queries d"],
    key: Float[Array, "*batch n d"],
    seen: Bool[numpy.ndarray, "*mask"] | None,
) -> Float[Array, "*batch num_queries n"]:
    """Return scores of scaled queries; -inf where a key is not seen."""
    X = matmul(query, key, transpose_b=True)
    return X if seen is None else X + mnp.array(numpy.where(seen, 0, -numpy.inf), dtype=X.dtype)
