"""Normalisations of the vectors at each position: layer norm and root mean square."""

import torch
from jaxtyping import Float
from torch import nn
from torch.nn import functional as F

from d2l_ext.config import Configured
from d2l_ext.torch.layers import Array


class LayerNorm(Configured, nn.LayerNorm):
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the last axis (Ba et al., 2016)."""

    def __init__(self, size: int, eps: float = 1e-05):
        super().__init__(size, eps)

    def forward(self, X: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """Normalise (..., size)."""
        return super().forward(X)


class RMSNorm(Configured, nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight, over the last axis (Zhang and Sennrich, 2019)."""

    def __init__(self, size: int, eps: float = 1e-06):
        super().__init__()
        self.eps = eps  # PyTorch's own layer takes the dtype's rounding unit unless told
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, X: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """Normalise (..., size); the mean square of half precision is taken in float32."""
        return F.rms_norm(X, self.weight.shape, self.weight, self.eps)
