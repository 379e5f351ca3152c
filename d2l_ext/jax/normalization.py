"""Normalisations of the vectors at each position: layer norm and root mean square.

Statistics of half precision are taken in float32.
"""

import numpy as np
from jax import numpy as jnp
from jaxtyping import Float

from d2l_ext.jax.layers import Array, Module, parameter, widened


class LayerNorm(Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the last axis (Ba et al., 2016).

    Flax's own has by default another epsilon and a variance that cancels, and multiplies by the
    inverse root: a product so cheap that XLA computes it anew wherever the result is used, block
    after block, so that compile time grows with the square of a Transformer's depth.
    """

    def __init__(self, size: int, eps: float = 1e-05):
        self.eps = eps
        self.weight = parameter(np.ones(size))
        self.bias = parameter(np.zeros(size))

    def __call__(
        self, X: Float[Array, "*batch size"], training: bool = False
    ) -> Float[Array, "*batch size"]:
        """Normalise (..., size); nothing depends on ``training``."""
        wide = widened(X)
        centred = wide - wide.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        normal = (centred / jnp.sqrt(variance + self.eps)).astype(X.dtype)
        return normal * self.weight[...] + self.bias[...]


class RMSNorm(Module):
    """x / sqrt(mean(x^2) + eps) * weight, over the last axis (Zhang and Sennrich, 2019)."""

    def __init__(self, size: int, eps: float = 1e-06):
        self.eps = eps
        self.weight = parameter(np.ones(size))

    def __call__(
        self, X: Float[Array, "*batch size"], training: bool = False
    ) -> Float[Array, "*batch size"]:
        """Normalise (..., size); nothing depends on ``training``."""
        wide = widened(X)
        mean_square = (wide * wide).mean(axis=-1, keepdims=True)
        return (wide / jnp.sqrt(mean_square + self.eps)).astype(X.dtype) * self.weight[...]
