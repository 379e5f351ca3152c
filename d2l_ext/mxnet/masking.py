"""Which positions may be attended to, and a softmax that attends to no others.

One polarity everywhere: True means attend.
"""

from jaxtyping import Bool, Float, Int, Shaped
from mxnet import np as mnp
from mxnet import npx

from d2l_ext import checks
from d2l_ext.mxnet.layers import Array, Lengths, spec


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
    keep = steps_below(valid_lens, X.shape[1])  # (batch, num_steps)
    return choose(keep.reshape(keep.shape + (1,) * (X.ndim - 2)), X, value)


def padding_mask(tokens: Int[Array, "batch num_keys"], pad: int) -> Bool[Array, "batch 1 num_keys"]:
    """Mask of the real tokens of each sequence; True means attend.

    Args:
        pad: the id of the padding token.
    """
    checks.tokens("tokens", spec(tokens))
    return mnp.expand_dims(npx.cast(tokens, dtype="int64") != pad, 1)


def causal_mask(num_steps: int) -> Bool[Array, "num_steps num_steps"]:
    """Mask that lets step i attend to the steps up to i; True means attend."""
    return steps_below(mnp.arange(1, num_steps + 1, dtype="int64"), num_steps)


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
    valid = steps_below(valid_lens, num_keys)
    valid = mnp.expand_dims(valid, 1) if valid.ndim == 2 else valid
    return valid if mask is None else valid * mask  # MXNet has no & of booleans


def unchecked_masked_softmax(
    X: Float[Array, "... num_keys"], mask: Bool[Array, "..."] | None = None
) -> Float[Array, "... num_keys"]:
    """`masked_softmax` without checks."""
    if mask is None:
        return npx.softmax(X, axis=-1)
    # A row of -inf alone would be NaN, so an empty row is made finite before and zero after.
    has_key = npx.cast(mask.any(axis=-1, keepdims=True), dtype=X.dtype)
    fill = mnp.log(1 - has_key)  # -inf, and 0 in an empty row
    return npx.softmax(mnp.where(mask, X, fill), axis=-1) * has_key


def choose(keep: Bool[Array, "..."], X: Shaped[Array, "..."], value: float) -> Shaped[Array, "..."]:
    """Return X where ``keep`` is True and a number elsewhere.

    The number is made an array: a scalar sends the gradient of `mnp.where` to the wrong branch.
    """
    return mnp.where(keep, X, mnp.full((1,) * X.ndim, value, dtype=X.dtype))


def steps_below(lens: Shaped[Array, "..."], num_steps: int) -> Bool[Array, "... num_steps"]:
    """Return which of ``num_steps`` steps come before each length, boolean (*lens, num_steps)."""
    lens = npx.cast(lens, dtype="int64")  # MXNet compares arrays of one dtype only
    return mnp.arange(num_steps, dtype="int64") < mnp.expand_dims(lens, -1)
