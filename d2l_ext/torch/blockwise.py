"""Attention without its matrix: softmax over keys that arrive in blocks.

The trick is a running maximum m and a running sum l. When a block brings a larger maximum m', what
was summed before is rescaled by exp(m - m'), as if m' had been known from the start (Milakov and
Gimelshein, 2018; Dao et al., 2022: FlashAttention).
"""

import math
from collections.abc import Iterator

import torch
from jaxtyping import Bool, Float
from torch.autograd.function import once_differentiable

from d2l_ext import checks
from d2l_ext.torch.layers import Array
from d2l_ext.torch.masking import check_masks


def online_softmax(blocks: list[Float[Array, "..."]]) -> list[Float[Array, "..."]]:
    """Softmax over the last axis of scores that arrive in blocks.

    Args:
        blocks: a list of scores (..., n), n of any size; -inf means masked.

    Returns:
        A list of weights like the blocks, parts of the softmax of them all. They are zero where
        every score is masked.
    """
    top = lowest(blocks[0])  # (..., 1)
    total = torch.zeros_like(top)
    for X in blocks:
        higher = torch.maximum(top, X.detach().amax(dim=-1, keepdim=True))
        total = total * (top - higher).exp() + (X - higher).exp().sum(dim=-1, keepdim=True)
        top = higher
    return [(X - top).exp() / nonzero(total) for X in blocks]


def lowest(X: Float[Array, "*batch n"]) -> Float[Array, "*batch 1"]:
    """Return the maxima (..., 1) before the first score: finite, so that no difference is NaN."""
    return torch.full_like(X.detach()[..., :1], torch.finfo(X.dtype).min)


def nonzero(total: Float[Array, "..."]) -> Float[Array, "..."]:
    """Replace the sums that are zero, of no weights, by one."""
    return torch.where(total > 0, total, 1)


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
    batch = torch.broadcast_shapes(query.shape[:-2], key.shape[:-2], value.shape[:-2])
    check_masks((*batch, query.shape[-2], key.shape[-2]), mask=mask)
    wide = torch.promote_types(query.dtype, torch.float32)  # sums of half precision are float32
    inputs = (x.expand(*batch, -1, -1).to(wide) for x in (query, key, value))
    return _Blockwise.apply(*inputs, mask, causal, block_size).to(query.dtype)


class _Blockwise(torch.autograd.Function):
    """The loop over blocks; its gradient computes each block's weights again."""

    @staticmethod
    def forward(ctx, query, key, value, mask, causal, block_size):
        """Keep the running maximum, the running sum and the running output of every query."""
        query = query / math.sqrt(query.shape[-1])
        top = lowest(query)  # (..., num_queries, 1)
        total, output = torch.zeros_like(top), query.new_zeros(*query.shape[:-1], value.shape[-1])
        for rows, block, seen in key_blocks(query, key, mask, causal, block_size):
            X = masked_scores(query[..., rows, :], key[..., block, :], seen)
            old = top[..., rows, :]
            higher = torch.maximum(old, X.amax(dim=-1, keepdim=True))
            scale, exps = (old - higher).exp(), X.sub_(higher).exp_()
            total[..., rows, :] *= scale
            total[..., rows, :] += exps.sum(dim=-1, keepdim=True)
            output[..., rows, :] *= scale
            output[..., rows, :] += exps @ value[..., block, :]
            top[..., rows, :] = higher
        output /= nonzero(total)
        ctx.options = causal, block_size
        ctx.save_for_backward(query, key, value, mask, output, top + total.log())
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx, by_output):
        """Weights are exp(score - log sum); each block's gradients are done when it is."""
        query, key, value, mask, output, log_sum = ctx.saved_tensors
        log_sum = log_sum.masked_fill(log_sum == -torch.inf, torch.inf)  # no key: no weight
        by_query, by_key, by_value = (torch.zeros_like(x) for x in (query, key, value))
        mean = (by_output * output).sum(dim=-1, keepdim=True)  # of the weights' gradients
        for rows, block, seen in key_blocks(query, key, mask, *ctx.options):
            queries, keys, by_rows = (
                query[..., rows, :],
                key[..., block, :],
                by_output[..., rows, :],
            )
            weights = masked_scores(queries, keys, seen).sub_(log_sum[..., rows, :]).exp_()
            by_value[..., block, :] = weights.mT @ by_rows
            by_weights = by_rows @ value[..., block, :].mT
            by_scores = by_weights.sub_(mean[..., rows, :]).mul_(weights)
            by_query[..., rows, :] += by_scores @ keys
            by_key[..., block, :] = by_scores.mT @ queries
        return by_query / math.sqrt(query.shape[-1]), by_key, by_value, None, None, None


def key_blocks(
    query: Float[Array, "*batch num_queries d"],
    key: Float[Array, "*batch num_keys d"],
    mask: Bool[Array, "..."] | None,
    causal: bool,
    block_size: int,
) -> Iterator[tuple[slice, slice, Bool[Array, "..."] | None]]:
    """Yield the queries that see anything of a block, the block, and what they see, or None."""
    num_queries, num_keys = query.shape[-2], key.shape[-2]
    offset = num_keys - num_queries  # position of the first query
    for start in range(0, num_keys, block_size):
        block = slice(start, min(start + block_size, num_keys))
        rows, seen = slice(max(start - offset, 0) if causal else 0, num_queries), None
        if causal:
            steps = torch.arange(rows.start + offset, num_keys, device=query.device)
            seen = steps[:, None] >= torch.arange(start, block.stop, device=query.device)
        if mask is not None:
            part = mask[..., block] if mask.shape[-1] > 1 else mask
            part = part[..., rows, :] if mask.dim() > 1 and mask.shape[-2] > 1 else part
            seen = part if seen is None else seen & part
        yield rows, block, seen


def masked_scores(
    query: Float[Array, "*batch num_queries d"],
    key: Float[Array, "*batch n d"],
    seen: Bool[Array, "..."] | None,
) -> Float[Array, "*batch num_queries n"]:
    """Return scores of scaled queries; -inf where a key is not seen."""
    X = query @ key.mT
    return X if seen is None else X.masked_fill_(~seen, -torch.inf)
