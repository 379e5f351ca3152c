"""What every file of this column uses: how checks see an array, fast operators, and dropout.

MXNet offers most operations several times, and which is taken decides over its speed: `mnp.tanh`
takes five times as long as `npx.activation`, and indexing a sequence step by step has a backward
pass that is linear in the square of its length. The choices are made here, once.
"""

import math
import os
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TypeAlias

import numpy
from jaxtyping import Float, Shaped

from d2l_ext import checks, heap, quiet
from d2l_ext.config import Configured
from d2l_ext.mxnet import numpy2

# MXNet takes half of the processors, as if two always shared a core. Where they do not, all of them
# are offered; what the environment says, also by OMP_NUM_THREADS, has the last word.
SHARED_CORES = Path("/sys/devices/system/cpu/smt/active")
if not (SHARED_CORES.exists() and SHARED_CORES.read_text().strip() == "1"):
    os.environ.setdefault("MXNET_OMP_MAX_THREADS", str(len(os.sched_getaffinity(0))))

# An operator runs where it is called. By itself, MXNet hands it to other threads, which takes as
# long as most operators here: decoding a token with a Transformer takes twice the time.
os.environ.setdefault("MXNET_ENGINE_TYPE", "NaiveEngine")

with warnings.catch_warnings(), numpy2.at_hand():
    warnings.simplefilter("ignore", DeprecationWarning)  # of distutils, and of NumPy's own
    import mxnet as mx
    from mxnet import autograd, npx
    from mxnet import np as mnp
    from mxnet.gluon import nn

heap.keep()
npx.set_np()
with quiet.without(rb".*MXNet start using engine"):  # it says so the first time it is used
    npx.waitall()

Array: TypeAlias = mnp.ndarray
# Of any dtype: lengths may be integral floats.
Lengths: TypeAlias = Shaped[Array, " batch"] | Shaped[Array, "batch num_queries"]


def spec(x: Array | None) -> checks.Spec | None:
    """Describe an array to `checks`; None stays None.

    Raises:
        ValueError: an empty array; MXNet's operators fail on them, or end the process.
    """
    if x is None:
        return None
    if 0 in x.shape:
        raise ValueError(f"got an empty array, of shape {x.shape}, with which MXNet cannot compute")
    return checks.Spec(x.shape, numpy.dtype(x.dtype).name, x.asnumpy)


def linear(
    X: Float[Array, "*batch num_inputs"],
    weight: Float[Array, "num_outputs num_inputs"],
    bias: Float[Array, " num_outputs"] | None = None,
) -> Float[Array, "*batch num_outputs"]:
    """Return X W^T + b, (..., num_outputs), with W (num_outputs, num_inputs)."""
    arrays = (X, weight) if bias is None else (X, weight, bias)
    return npx.fully_connected(
        *arrays, num_hidden=weight.shape[0], no_bias=bias is None, flatten=False
    )


def sigmoid(X: Float[Array, "..."]) -> Float[Array, "..."]:
    """1 / (1 + exp(-x))."""
    return npx.activation(X, act_type="sigmoid")


def silu(X: Float[Array, "..."]) -> Float[Array, "..."]:
    """X sigmoid(x), also called swish (Elfwing et al., 2018)."""
    return X * sigmoid(X)


def tanh(X: Float[Array, "..."]) -> Float[Array, "..."]:
    """Hyperbolic tangent."""
    return npx.activation(X, act_type="tanh")


def gelu(X: Float[Array, "..."]) -> Float[Array, "..."]:
    """X P(Z < x) for a standard normal Z, with the error function.

    MXNet has no exact one: the derivative of `npx.erf` is off by 3e-8, in float64 too. So P is
    taken along its tangent at x, which has its value and its derivative.
    """
    value = 0.5 * (1 + npx.erf(X / math.sqrt(2)))
    density = mnp.exp(-0.5 * X * X) / math.sqrt(2 * math.pi)
    value, density, x = (without_gradient(Y) for Y in (value, density, X))
    return X * (value + density * (X - x))


def without_gradient(X: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return X as a constant; other than by `detach`, also where a graph is recorded."""
    return mx.nd.BlockGrad(X.as_nd_ndarray()).as_np_ndarray()


def gelu_tanh(X: Float[Array, "..."]) -> Float[Array, "..."]:
    """GELU's approximation, x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x^3).

    As sigmoid(2 u) is (1 + tanh(u)) / 2, one operator does.
    """
    return X * sigmoid(math.sqrt(8 / math.pi) * (X + 0.044715 * X * X * X))


def where(
    condition: Shaped[Array, "..."], X: Float[Array, "..."], Y: Float[Array, "..."]
) -> Float[Array, "..."]:
    """Choose from X or Y; the condition holds 0 and 1, and all three have one shape and dtype."""
    chosen = mx.nd.where(*(array.as_nd_ndarray() for array in (condition, X, Y)))
    return chosen.as_np_ndarray()


def repeat(X: Float[Array, "batch 1 size"], times: int) -> Float[Array, "batch _ size"]:
    """Repeat (batch, 1, size) to (batch, times, size): a product with ones, fast both ways.

    Outside of training X is left to broadcasting, of which only the backward pass is slow.
    """
    if not autograd.is_training():
        return X
    return npx.batch_dot(mnp.ones((len(X), times, 1), dtype=X.dtype), X)


def constant(C: Shaped[Array, "..."], like: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return an array without a gradient as it is broadcast to another one's shape.

    What is broadcast by an operator makes the backward pass slow, also that of the other operand.
    Where nothing is recorded, C is left to broadcasting.
    """
    if not autograd.is_recording():
        return C
    with autograd.pause():
        return mnp.zeros_like(like) + C


def matmul(
    X: Float[Array, "*#batch _ _"],
    Y: Float[Array, "*#batch _ _"],
    transpose_a: bool = False,
    transpose_b: bool = False,
) -> Float[Array, "... _ _"]:
    """Return the products of matrices, either of them transposed.

    `mnp.matmul` is slower, and where an operand is broadcast, its gradient is wrong.
    """
    batch = numpy.broadcast_shapes(X.shape[:-2], Y.shape[:-2])
    X, Y = (expand(A, batch or (1,)) for A in (X, Y))
    product = npx.batch_dot(X, Y, transpose_a=transpose_a, transpose_b=transpose_b)
    return product if batch else mnp.squeeze(product, 0)


def expand(X: Float[Array, "*#batch _ _"], batch: tuple) -> Float[Array, "*batch _ _"]:
    """Broadcast the axes of an array before the last two to a shape."""
    shape = (*batch, *X.shape[-2:])
    return X if X.shape == shape else mnp.broadcast_to(X, shape)


def pieces(
    X: Shaped[Array, "..."], number: int, axis: int = 0, squeeze: bool = False
) -> list[Shaped[Array, "..."]]:
    """Cut an array into equal pieces along an axis, which is left out of them if ``squeeze``.

    One operator cuts them all, and its backward pass joins them again, while each indexing makes a
    gradient as large as X. Where nothing is recorded, the pieces along the first axis are views.
    """
    if number == 1:
        return [mnp.squeeze(X, axis) if squeeze else X]
    if axis == 0 and not autograd.is_recording():
        size = len(X) // number
        return list(X) if squeeze else [X[i : i + size] for i in range(0, len(X), size)]
    parts = mx.nd.SliceChannel(
        X.as_nd_ndarray(), num_outputs=number, axis=axis, squeeze_axis=squeeze
    )
    return [part.as_np_ndarray() for part in parts]


def unstack(X: Shaped[Array, "..."]) -> list[Shaped[Array, "..."]]:
    """List the entries of an array along its first axis; undoes `mnp.stack`."""
    return pieces(X, len(X), squeeze=True)


class Dropout(Configured, nn.Block):
    """Inverted dropout: in training, units are zeroed at a rate and the rest is scaled up.

    It acts in `autograd.train_mode()`, which `autograd.record()` includes. Masks may come from
    outside (`d2l_ext.randomness.dropout_masks`), one per forward pass, with time as an axis where
    the layer acts inside a loop, so that all frameworks drop the same units. A layer that is called
    several times in one pass (a decoder that is fed its own tokens) uses the same mask each time,
    cut to the call's shape; the last call's shape is the largest. Without a given mask, MXNet's
    generator draws one.
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
            like: an array whose dtype the mask gets.
        """
        if not autograd.is_training() or self.rate == 0:
            return None
        self.asked = tuple(shape)
        if self.given is not None:
            fits = self.given.shape == self.asked
            return self.given if fits else self.given[tuple(map(slice, shape))]
        return npx.dropout(mnp.ones(shape, dtype=like.dtype), p=self.rate)

    def forward(self, X: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return X times its mask."""
        mask = self.mask(X.shape, X)
        return X if mask is None else X * mask


def blocks(items: Iterable[nn.Block], name: str = "block") -> nn.Sequential:
    """Return blocks as one, its children called block0, block1 and so on, or by another name."""
    sequence = nn.Sequential()
    for i, item in enumerate(items):
        sequence.register_child(item, f"{name}{i}")
    return sequence


def times(mask: Float[Array, "..."] | None) -> Callable[[Array], Array] | None:
    """Return the function that multiplies by a mask; None stays None."""
    return None if mask is None else lambda X: X * mask
