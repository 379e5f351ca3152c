"""What every file of this column uses: how checks see a tensor, and dropout with given masks."""

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float, Shaped
from torch import nn

from d2l_ext import checks, heap
from d2l_ext.config import Configured

heap.keep()

Array: TypeAlias = torch.Tensor
# Of any dtype: lengths may be integral floats.
Lengths: TypeAlias = Shaped[Array, " batch"] | Shaped[Array, "batch num_queries"]


def spec(x: Array | None) -> checks.Spec | None:
    """Describe a tensor to `checks`; None stays None."""
    if x is None:
        return None
    traced = torch.compiler.is_compiling()
    dtype = str(x.dtype).removeprefix("torch.")
    return checks.Spec(tuple(x.shape), dtype, None if traced else lambda: x.detach().cpu().numpy())


def widened(X: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return half precision as float32, in which its sums are taken, and other dtypes as is."""
    return X.to(torch.promote_types(X.dtype, torch.float32))


class Dropout(Configured, nn.Module):
    """Inverted dropout: in training, units are zeroed at a rate and the rest is scaled up.

    Masks may come from outside (`d2l_ext.randomness.dropout_masks`), one per forward pass, with
    time as an axis where the layer acts inside a loop, so that all frameworks drop the same units.
    A layer that is called several times in one pass (a decoder that is fed its own tokens) uses the
    same mask each time, cut to the call's shape; the last call's shape is the largest. Without a
    given mask, PyTorch's generator draws one.
    """

    def __init__(self, rate: float):
        super().__init__()
        checks.rate(rate)
        self.rate = rate
        self.given = None  # the mask of the next forward pass
        self.asked = None  # the shape that the last forward pass wanted

    def mask(self, shape: tuple, like: Float[Array, "..."]) -> Float[Array, "..."] | None:
        """Return the mask of this forward pass, or None where dropout does not act.

        Args:
            shape: the mask's shape.
            like: a tensor whose dtype and device the mask gets.
        """
        if not self.training or self.rate == 0:
            return None
        self.asked = tuple(shape)
        if self.given is not None:
            return self.given[tuple(map(slice, shape))]
        return torch.empty(shape, dtype=like.dtype, device=like.device).bernoulli_(
            1 - self.rate
        ) / (1 - self.rate)

    def forward(self, X: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return X times its mask."""
        mask = self.mask(X.shape, X)
        return X if mask is None else X * mask


def times(mask: Float[Array, "..."] | None) -> Callable[[Array], Array] | None:
    """Return the function that multiplies by a mask; None stays None."""
    return None if mask is None else lambda X: X * mask
