"""What every file of this column uses: the base class, how checks see an array, and dropout."""

import dataclasses

import jax
import numpy as np
from flax import linen as nn
from jax import numpy as jnp

from d2l_ext import checks


def seen(x):
    """Describe an array to `checks`; None stays None."""
    if x is None:
        return None
    traced = isinstance(x, jax.core.Tracer)
    dtype = jnp.result_type(x).name
    return checks.Seen(jnp.shape(x), dtype, None if traced else lambda: np.asarray(x))


class Module(nn.Module):
    """A linen module that knows its constructor arguments and finds its attention weights."""

    def __post_init__(self):
        checks.rate(self.config.get("dropout", 0))  # `setup` would notice on the first call only
        super().__post_init__()

    @property
    def config(self):
        """The constructor arguments, by name."""
        names = [field.name for field in dataclasses.fields(self)]
        return {name: getattr(self, name) for name in names if name not in ("parent", "name")}

    @nn.nowrap
    def attention_weights(self, sown):
        """Return the attention weights of the last call.

        Args:
            sown: the collection "intermediates" that ``apply(..., mutable="intermediates")``
                returned.

        Returns:
            An array, or None for a module without attention.
        """
        return sown["attention_weights"][-1] if "attention_weights" in sown else None


class Dropout(nn.Module):
    """Inverted dropout: in training, units are zeroed at a rate and the rest is scaled up.

    Masks may come from outside (`d2l_ext.randomness.dropout_masks`), one per forward pass, with
    time as an axis where the layer acts inside a loop, so that all frameworks drop the same units.
    A layer that is called several times in one pass (a decoder that is fed its own tokens) uses the
    same mask each time, cut to the call's shape; the last call's shape is the largest. Masks are
    variables of the collection "masks"; without one, JAX's generator draws it with the key
    "dropout".
    """

    rate: float

    def __post_init__(self):
        checks.rate(self.rate)
        super().__post_init__()

    def mask(self, shape, dtype, training):
        """Return the mask of this forward pass, or None where dropout does not act.

        Args:
            shape: the mask's shape.
            dtype: the mask's dtype.
            training: whether dropout acts.
        """
        if not training or self.rate == 0:
            return None
        if self.has_variable("masks", "mask"):
            given = self.get_variable("masks", "mask")
            return given[tuple(map(slice, shape))].astype(dtype)
        keep = jax.random.bernoulli(self.make_rng("dropout"), 1 - self.rate, shape)
        return keep.astype(dtype) / (1 - self.rate)

    def __call__(self, X, training=False):
        """Return X times its mask."""
        mask = self.mask(X.shape, X.dtype, training)
        return X if mask is None else X * mask


class LayerNorm(nn.Module):
    """(x - mean) / sqrt(variance + eps) * scale + bias, over the last axis (Ba et al., 2016).

    Flax's own has by default another epsilon and a variance that cancels, and multiplies by the
    inverse root: a product so cheap that XLA computes it anew wherever the result is used, block
    after block, so that compile time grows with the square of a Transformer's depth.
    """

    eps: float = 1e-5

    @nn.compact
    def __call__(self, X):
        """Normalise (..., size)."""
        scale = self.param("scale", nn.initializers.ones, X.shape[-1:], jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, X.shape[-1:], jnp.float32)
        wide = X.astype(jnp.promote_types(X.dtype, jnp.float32))
        centred = wide - wide.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        return (centred / jnp.sqrt(variance + self.eps)).astype(X.dtype) * scale + bias
