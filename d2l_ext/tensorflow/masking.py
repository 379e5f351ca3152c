"""Which positions may be attended to, and a softmax that attends to no others.

One polarity everywhere: True means attend.
"""

import tensorflow as tf
from jaxtyping import Bool, Float, Int, Shaped

from d2l_ext import checks
from d2l_ext.tensorflow.layers import Array, Lengths, spec, widened


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
    X = tf.convert_to_tensor(X)
    checks.sequence_mask_inputs(spec(X), spec(valid_lens))
    keep = tf.sequence_mask(valid_lens, tf.shape(X)[1])  # (batch, num_steps)
    for _ in X.shape[2:]:
        keep = keep[..., None]
    return tf.where(keep, X, tf.constant(value, X.dtype))


def padding_mask(tokens: Int[Array, "batch num_keys"], pad: int) -> Bool[Array, "batch 1 num_keys"]:
    """Mask of the real tokens of each sequence; True means attend.

    Args:
        pad: the id of the padding token.
    """
    checks.tokens("tokens", spec(tokens))
    return tf.not_equal(tokens, pad)[:, None, :]


def causal_mask(num_steps: int) -> Bool[Array, "num_steps num_steps"]:
    """Mask that lets step i attend to the steps up to i; True means attend."""
    return tf.linalg.band_part(tf.ones((num_steps, num_steps), tf.bool), -1, 0)


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
    X = tf.convert_to_tensor(X)
    check_masks(spec(X).shape, valid_lens, mask)
    return unchecked_masked_softmax(X, combine_masks(tf.shape(X)[-1], valid_lens, mask))


def check_masks(
    shape: tuple, valid_lens: Lengths | None = None, mask: Bool[Array, "..."] | None = None
) -> None:
    """Check valid lengths and a mask for scores of a shape."""
    checks.masks(shape, spec(valid_lens), spec(mask))


def combine_masks(
    num_keys: int | Int[Array, ""],
    valid_lens: Lengths | None = None,
    mask: Bool[Array, "..."] | None = None,
) -> Bool[Array, "..."] | None:
    """Combine valid lengths and a mask, unchecked, into one mask that broadcasts, or None."""
    if valid_lens is None:
        return mask
    valid = tf.sequence_mask(valid_lens, num_keys)  # (batch, num_keys) or with queries between
    if len(valid.shape) == 2:
        valid = valid[:, None]
    return valid if mask is None else valid & mask


def unchecked_masked_softmax(
    X: Float[Array, "... num_keys"], mask: Bool[Array, "..."] | None = None
) -> Float[Array, "... num_keys"]:
    """`masked_softmax` without checks."""
    if mask is None:
        return softmax(X)
    # A row of -inf alone would be NaN, so an empty row is made finite before and zero after.
    minus_inf, zero = tf.constant(float("-inf"), X.dtype), tf.zeros((), X.dtype)
    has_key = tf.reduce_any(mask, axis=-1, keepdims=True)
    fill = tf.where(has_key, minus_inf, zero)
    return tf.where(mask, softmax(tf.where(mask, X, fill)), zero)


def softmax(X: Float[Array, "... num_keys"]) -> Float[Array, "... num_keys"]:
    """Softmax over the last axis; compiled, half precision would be summed as it is.

    TensorFlow's own kernel gives a single key 0.99999994 in float32. Its gradient is then not quite
    zero, and Adam, which divides a gradient by its size, makes a step of that.
    """
    exp = widened(X)
    exp = tf.exp(exp - tf.stop_gradient(tf.reduce_max(exp, axis=-1, keepdims=True)))
    return tf.cast(exp / tf.reduce_sum(exp, axis=-1, keepdims=True), X.dtype)
