"""Normalisations of the vectors at each position: layer norm and root mean square."""

import numpy as np

from d2l_ext.reference.layers import Array, Float, Module


class LayerNorm(Module):
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the last axis (Ba et al., 2016)."""

    def __init__(self, size: int, eps: float = 1e-05):
        self.eps = eps
        self.parameter("weight", (size,))
        self.parameter("bias", (size,))

    def forward(self, X: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """Normalise (..., size)."""
        centred = X - X.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)  # (..., 1)
        return centred / np.sqrt(variance + self.eps) * self.weight + self.bias


class RMSNorm(Module):
    """x / sqrt(mean(x^2) + eps) * weight, over the last axis (Zhang and Sennrich, 2019)."""

    def __init__(self, size: int, eps: float = 1e-06):
        self.eps = eps
        self.parameter("weight", (size,))

    def forward(self, X: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """Normalise (..., size)."""
        mean_square = (X * X).mean(axis=-1, keepdims=True)  # (..., 1)
        return X / np.sqrt(mean_square + self.eps) * self.weight
