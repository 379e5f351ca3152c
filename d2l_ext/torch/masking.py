"""Which positions may be attended to, and a softmax that attends to no others.

One polarity everywhere: True means attend.
"""

import torch
from jaxtyping import Bool, Float, Int, Shaped

from d2l_ext import checks
from d2l_ext.torch.layers import Array, Lengths, spec


def sequence_mask(
    X: Shaped[Array, "batch num_steps ..."], valid_lens: Shaped[Array, " batch"], value: float = 0
) -> Shaped[Array, "batch num_steps ..."]:
    """Replace what lies beyond the end of each sequence.

    Args:
        X: the sequences; not changed.
        valid_lens: each between 0 and num_steps.
        value: what to put there.

    Returns:
        A new tensor like X.
    """
    checks.sequence_mask_inputs(spec(X), spec(valid_lens))
    keep = torch.arange(X.shape[1], device=X.device) < valid_lens[:, None]  # (batch, num_steps)
    return torch.where(keep.reshape(keep.shape + (1,) * (X.dim() - 2)), X, value)


def padding_mask(tokens: Int[Array, "batch num_keys"], pad: int) -> Bool[Array, "batch 1 num_keys"]:
    """Mask of the real tokens of each sequence; True means attend.

    Args:
        pad: the id of the padding token.
    """
    checks.tokens("tokens", spec(tokens))
    return (tokens != pad)[:, None, :]


def causal_mask(num_steps: int) -> Bool[Array, "num_steps num_steps"]:
    """Mask that lets step i attend to the steps up to i; True means attend."""
    return torch.ones(num_steps, num_steps, dtype=torch.bool).tril()


def masked_softmax(
    X: Float[Array, "... num_keys"],
    valid_lens: Lengths | None = None,
    mask: Bool[Array, "..."] | None = None,
) -> Float[Array, "... num_keys"]:
    """Softmax over the last axis, of the positions that may be attended to; the others get 0.

    A row in which no position may be attended to is all zero, and so is its gradient.

    Args:
        X: scores (batch, num_queries, num_keys), or of any rank without ``valid_lens``; not
            changed.
        valid_lens: how many leading keys may be attended to.
        mask: broadcastable to X; True means attend. Both combine by "and".

    Returns:
        Weights like X.

    Raises:
        ValueError: lengths or a mask that do not fit.
    """
    check_masks(tuple(X.shape), valid_lens, mask)
    return unchecked_masked_softmax(X, combine_masks(X.shape[-1], valid_lens, mask))


def check_masks(
    shape: tuple, valid_lens: Lengths | None = None, mask: Bool[Array, "..."] | None = None
) -> None:
    """Check valid lengths and a mask for scores of a shape."""
    checks.masks(shape, spec(valid_lens), spec(mask))


def combine_masks(
    num_keys: int, valid_lens: Lengths | None = None, mask: Bool[Array, "..."] | None = None
) -> Bool[Array, "..."] | None:
    """Combine valid lengths and a mask, unchecked, into one mask that broadcasts, or None."""
    if valid_lens is None:
        return mask
    lens = valid_lens[:, None] if valid_lens.dim() == 1 else valid_lens
    valid = torch.arange(num_keys, device=lens.device) < lens[:, :, None]
    return valid if mask is None else valid & mask


def unchecked_masked_softmax(
    X: Float[Array, "... num_keys"], mask: Bool[Array, "..."] | None = None
) -> Float[Array, "... num_keys"]:
    """`masked_softmax` without checks."""
    if mask is None:
        return X.softmax(dim=-1)
    # A row of -inf alone would be NaN, so an empty row is made finite before and zero after.
    has_key = mask.any(dim=-1, keepdim=True)
    fill = torch.where(has_key, -torch.inf, 0.0).to(X.dtype)
    return torch.where(mask, X, fill).softmax(dim=-1) * has_key


def weights_in_place(
    X: Float[Array, "... num_keys"], mask: Bool[Array, "..."] | None = None
) -> Float[Array, "... num_keys"]:
    """`unchecked_masked_softmax` of many scores, written over them, with a shorter gradient."""
    if mask is None or torch.compiler.is_compiling():
        return unchecked_masked_softmax(X, mask)
    return _WeightsInPlace.apply(X, mask)


class _WeightsInPlace(torch.autograd.Function):
    """Where a weight is 0, the softmax's own gradient is 0: the mask needs none."""

    @staticmethod
    def forward(ctx, X, mask):
        torch.softmax(X.masked_fill_(~mask, -torch.inf), dim=-1, out=X)
        empty = ~mask.any(dim=-1, keepdim=True)
        if empty.any():
            X.masked_fill_(empty, 0)  # was NaN, the softmax of nothing
        ctx.mark_dirty(X)
        ctx.save_for_backward(X)
        return X

    @staticmethod
    def backward(ctx, gradient):
        (weights,) = ctx.saved_tensors
        return torch._softmax_backward_data(gradient, weights, -1, weights.dtype), None
