"""Normalisations of the vectors at each position: layer norm and root mean square."""

import math

import numpy
from jaxtyping import Float
from mxnet import autograd, npx
from mxnet import np as mnp
from mxnet.gluon import nn

from d2l_ext.config import Configured
from d2l_ext.mxnet.layers import Array, linear


class LayerNorm(Configured, nn.Block):
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the last axis (Ba et al., 2016)."""

    def __init__(self, size: int, eps: float = 1e-05):
        super().__init__()
        self.eps = eps
        self.weight = self.params.get("weight", shape=(size,), init="ones")
        self.bias = self.params.get("bias", shape=(size,), init="zeros")

    def forward(self, X: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """Normalise (..., size)."""
        if X.dtype == numpy.float64 and self.eps:
            # MXNet rounds epsilon to float32: what is scaled is X.
            X = X * math.sqrt(float(numpy.float32(self.eps)) / self.eps)
        return npx.layer_norm(X, self.weight.data(), self.bias.data(), axis=-1, eps=self.eps)


class RMSNorm(Configured, nn.Block):
    """x / sqrt(mean(x^2) + eps) * weight, over the last axis (Zhang and Sennrich, 2019)."""

    def __init__(self, size: int, eps: float = 1e-06):
        super().__init__()
        self.eps = eps
        self.weight = self.params.get("weight", shape=(size,), init="ones")

    def forward(self, X: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """Normalise (..., size).

        A product with ones takes the sum. Where there will be a gradient, others repeat what would
        be broadcast, of which the backward pass is slow.
        """
        size, weight = X.shape[-1], self.weight.data()
        ones = mnp.ones((1, size), dtype=X.dtype)
        root = mnp.sqrt(linear(X * X, ones) / size + self.eps)  # (..., 1)
        if autograd.is_recording():
            weight = linear(mnp.ones_like(root), weight.reshape(size, 1))
            root = linear(root, ones.T)
        return X / root * weight
