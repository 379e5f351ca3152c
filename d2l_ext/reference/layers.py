"""The few building blocks of the reference: a module with parameters, linear map, dropout.

The reference is the oracle: plain NumPy, written to be read against the formulas, and never fast.
Every function also takes a `tangent.Tangent`, which carries exact derivatives along, and complex
arrays, with branches on the real part only, for the complex step that checks them.
"""

import math
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from jaxtyping import AbstractDtype, Int, Shaped
from scipy import special

from d2l_ext import checks
from d2l_ext.config import Configured

# NumPy's arrays and numbers, and a `tangent.Tangent`: what has a shape and a dtype.
Array: TypeAlias = Any


if TYPE_CHECKING:
    from jaxtyping import Inexact as Float
else:

    class Float(AbstractDtype):
        """As jaxtyping's, also long double, and complex numbers, in which the complex step goes."""

        dtypes = (re.compile("float|complex|c?longdouble"),)


# Of any dtype: lengths may be integral floats.
Lengths: TypeAlias = Shaped[Array, " batch"] | Shaped[Array, "batch num_queries"]


def spec(x: Array | None) -> checks.Spec | None:
    """Describe an array to `checks`; None stays None."""
    if x is None:
        return None
    x = np.asarray(x)
    return checks.Spec(x.shape, x.dtype.name, lambda: x)


def sigmoid(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """1 / (1 + exp(-x)), written with tanh so that no exponential overflows."""
    return 0.5 * (1 + np.tanh(0.5 * x))


def relu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """max(x, 0), by the real part."""
    return np.where(x.real > 0, x, np.zeros_like(x))


def erf(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Error function; for complex x its first-order expansion around the real part.

    That is exact for a complex step, whose imaginary part is 1e-30.
    """
    if np.iscomplexobj(x):
        slope = 2 / math.sqrt(math.pi) * np.exp(-x.real * x.real)
        return (erf(x.real) + 1j * (x.imag * slope)).astype(x.dtype)
    long = isinstance(x, np.ndarray) and x.dtype == np.longdouble
    return _long_erf(x) if long else special.erf(x)


def _long_erf(x):
    """2 / sqrt(pi) exp(-x^2) sum_n 2^n x^(2n + 1) / (2n + 1)!!, for SciPy has no long double."""
    x = np.clip(x, -7, 7)  # beyond, erf is 1 to rounding
    term = total = x
    for n in range(1, 200):
        term = term * (2 * x * x) / (2 * n + 1)
        total = total + term
    return 2 / np.sqrt(np.arctan(np.longdouble(1)) * 4) * np.exp(-x * x) * total


def gelu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """X Phi(x), with the normal distribution function Phi exact, not its tanh approximation."""
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def gelu_tanh(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """GELU's approximation, x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 (in GPT-2)."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def silu(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """X sigmoid(x), also called swish (Elfwing et al., 2018)."""
    return x * sigmoid(x)


class Module(Configured):
    """An object with named parameters, whose attributes that are modules are its children."""

    training = False
    _names = ()

    def parameter(self, name: str, shape: tuple, dtype: type | np.dtype = np.float64) -> None:
        """Create a parameter as an attribute; its values come later."""
        setattr(self, name, np.zeros(shape, dtype))
        self._names = (*self._names, name)

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """Run ``forward``."""
        return self.forward(*inputs, **options)

    def children(self) -> Iterator[tuple[str, "Module"]]:
        """Yield ``(name, module)`` of the attributes that are modules, in order of assignment.

        A dictionary of modules counts as a child of its own, as `torch.nn.Sequential` would.
        """
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif isinstance(value, dict) and name != "config":
                yield from ((f"{name}.{key}", child) for key, child in value.items())

    def modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """Yield ``(path, module)`` for this module and all below it."""
        yield prefix, self
        for name, child in self.children():
            yield from child.modules(f"{prefix}.{name}" if prefix else name)

    def slots(self) -> Iterator[tuple[str, "Module", str]]:
        """Yield ``(canonical name, owner, attribute)`` of every parameter."""
        for path, module in self.modules():
            for name in module._names:
                yield f"{path}.{name}" if path else name, module, name

    def train(self, mode: bool = True) -> None:
        """Turn dropout on or off, here and below."""
        for _, module in self.modules():
            module.training = mode


class Linear(Module):
    """y = x W^T + b, with W (num_outputs, num_inputs) created on the first call."""

    def __init__(self, num_outputs: int, bias: bool = True):
        self.num_outputs = num_outputs
        self.weight = self.bias = None
        if bias:
            self.parameter("bias", (num_outputs,))

    def forward(self, X: Float[Array, "*batch num_inputs"]) -> Float[Array, "*batch num_outputs"]:
        """Map (..., num_inputs) to (..., num_outputs)."""
        if self.weight is None:
            self.parameter("weight", (self.num_outputs, X.shape[-1]), X.dtype)
        Y = X @ self.weight.T
        return Y if self.bias is None else Y + self.bias


class Embedding(Module):
    """Rows of a table (vocab_size, embed_size), by token id."""

    def __init__(self, vocab_size: int, embed_size: int):
        self.parameter("weight", (vocab_size, embed_size))

    def forward(self, X: Int[Array, "*batch"]) -> Float[Array, "*batch embed_size"]:
        """Map ids (...) to vectors (..., embed_size)."""
        return self.weight[X]


class Dropout(Module):
    """Inverted dropout: in training, units are zeroed at a rate and the rest is scaled up.

    The masks come from outside (`d2l_ext.randomness.dropout_masks`), one per forward pass, with
    time as an axis where the layer acts inside a loop. A layer that is called several times in one
    pass (a decoder that is fed its own tokens) uses the same mask each time, cut to the call's
    shape; the last call's shape is the largest.
    """

    def __init__(self, rate: float):
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
        if not self.training or self.rate == 0:
            return None
        self.asked = tuple(shape)
        if self.given is not None:
            return self.given[tuple(map(slice, shape))]
        return np.ones(shape, like.dtype)

    def forward(self, X: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return X times its mask."""
        mask = self.mask(X.shape, X)
        return X if mask is None else X * mask


def times(mask: Float[Array, "..."] | None) -> Callable[[Array], Array] | None:
    """Return the function that multiplies by a mask; None stays None."""
    return None if mask is None else lambda X: X * mask
