"""Which positions may be attended to, and a softmax that attends to no others.

One polarity everywhere: True means attend.
"""

import jax
from jax import numpy as jnp
from jaxtyping import Bool, Float, Int, Shaped

from d2l_ext import checks
from d2l_ext.jax.layers import Array, Lengths, spec, widened


def sequence_mask(
    X: Shaped[Array, "batch num_steps ..."], valid_lens: Shaped[Array, " batch"], value: float = 0
) -> Shaped[Array, "batch num_steps ..."]:
    """Replace what lies beyond the end of each sequence.

    Args:
        X: the sequences; not changed.
        valid_lens: each between 0 and num_steps.
        value: what to put there.

    Returns:
        A new array like X.
    """
    checks.sequence_mask_inputs(spec(X), spec(valid_lens))
    keep = jnp.arange(X.shape[1]) < valid_lens[:, None]  # (batch, num_steps)
    keep = keep.reshape(keep.shape + (1,) * (X.ndim - 2))
    return jnp.where(keep, X, jnp.asarray(value, X.dtype))


def padding_mask(tokens: Int[Array, "batch num_keys"], pad: int) -> Bool[Array, "batch 1 num_keys"]:
    """Mask of the real tokens of each sequence; True means attend.

    Args:
        pad: the id of the padding token.
    """
    checks.tokens("tokens", spec(tokens))
    return (tokens != pad)[:, None, :]


def causal_mask(num_steps: int) -> Bool[Array, "num_steps num_steps"]:
    """Mask that lets step i attend to the steps up to i; True means attend."""
    return jnp.tri(num_steps, dtype=bool)


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
    check_masks(X.shape, valid_lens, mask)
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
    lens = valid_lens[:, None] if valid_lens.ndim == 1 else valid_lens
    valid = jnp.arange(num_keys) < lens[:, :, None]
    return valid if mask is None else valid & mask


def unchecked_masked_softmax(
    X: Float[Array, "... num_keys"], mask: Bool[Array, "..."] | None = None
) -> Float[Array, "... num_keys"]:
    """`masked_softmax` without checks."""
    if mask is None:
        return softmax(X)
    # A row of -inf alone would be NaN, so an empty row is made finite before and zero after.
    has_key = mask.any(axis=-1, keepdims=True)
    fill = jnp.where(has_key, -jnp.inf, 0).astype(X.dtype)
    return jnp.where(mask, softmax(jnp.where(mask, X, fill)), 0)


def softmax(X: Float[Array, "... num_keys"]) -> Float[Array, "... num_keys"]:
    """Softmax over the last axis; half precision is summed in float32."""
    return jax.nn.softmax(widened(X)).astype(X.dtype)
