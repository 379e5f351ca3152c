"""What every file of this column uses: the base class, how checks see an array, and layers.

Linear maps and embeddings are written out: Flax's own want to know the number of their inputs, and
draw their weights with JAX, which compiles a function for each shape. Here NumPy draws them.
"""

import contextlib
import math
from collections.abc import Callable
from typing import Any, TypeAlias

import jax
import numpy as np
from flax import errors, nnx
from jax import numpy as jnp
from jaxtyping import Float, Int, Shaped

from d2l_ext import checks
from d2l_ext.config import Configured

Array: TypeAlias = jax.Array
# Of any dtype: lengths may be integral floats.
Lengths: TypeAlias = Shaped[Array, " batch"] | Shaped[Array, "batch num_queries"]

GENERATOR = np.random.default_rng(0)  # of the weights of modules that are used on their own


def spec(x: Array | None) -> checks.Spec | None:
    """Describe an array to `checks`; None stays None."""
    if x is None:
        return None
    traced = isinstance(x, jax.core.Tracer)
    dtype = jnp.result_type(x).name
    return checks.Spec(jnp.shape(x), dtype, None if traced else lambda: np.asarray(x))


def widened(X: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return half precision as float32, in which its sums are taken, and other dtypes as is."""
    return X.astype(jnp.promote_types(X.dtype, jnp.float32))


class Module(Configured, nnx.Module):
    """An NNX module that knows its constructor arguments."""

    @property
    def config(self) -> dict[str, Any]:
        """The constructor arguments, by name."""
        return {k: getattr(self, k, None) if v is None else v for k, v in self._config}

    @config.setter
    def config(self, arguments: dict[str, Any]) -> None:
        # Compiled functions are found by what is static in a module, so that it must be hashable;
        # modules among the arguments are attributes anyway.
        pairs = arguments.items()
        self._config = tuple((k, None if isinstance(v, nnx.Module) else v) for k, v in pairs)

    def keep(self, name: str, value: Any) -> None:
        """Set an attribute that tells of the last call.

        In the trace of another function (`jax.jit`, `jax.grad`, the body of a loop) nothing is
        kept: the value would outlive its trace.
        """
        with contextlib.suppress(errors.TraceContextError):
            setattr(self, name, value)


def parameter(values: np.ndarray) -> nnx.Param:
    """Return a parameter of NumPy values."""
    return nnx.Param(jnp.asarray(values, jnp.float32))


def matrix(rows: int, columns: int, *window: int) -> nnx.Param:
    """Return a new matrix, or one per place of a window, Xavier-uniform (Glorot and Bengio, 2010).

    A convolution sums over its window's places, height times width, as a matrix over its inputs.
    """
    shape = rows, columns, *window
    bound = math.sqrt(6 / ((rows + columns) * math.prod(window)))
    return parameter(bound * (2 * GENERATOR.random(shape, np.float32) - 1))


def create(module: nnx.Module, name: str, *shape: int) -> None:
    """Give a module its matrix at its first call, which knows the shape.

    The matrix is no part of a trace that may be running, and stays when that ends; therefore it is
    put past NNX's own ``__setattr__``, which refuses to change a module while a trace runs.
    """
    if getattr(module, name) is None:
        with jax.core.eval_context():
            object.__setattr__(module, name, matrix(*shape))


def numbered(modules: nnx.Dict) -> list[nnx.Module]:
    """List the modules "0", "1", ... by number; NNX orders the names like words: "10" before "2".

    An `nnx.List` would do so by itself, but the paths of its modules are those of named blocks.
    """
    return [modules[name] for name in sorted(modules, key=int)]


def product(
    X: Float[Array, "*batch num_inputs"], weight: Float[Array, "num_inputs num_outputs"]
) -> Float[Array, "*batch num_outputs"]:
    """Return X W as a product of two matrices; XLA takes longer over one with further axes."""
    *batch, num_inputs = X.shape
    return (X.reshape(math.prod(batch), num_inputs) @ weight).reshape(*batch, weight.shape[1])


class Linear(nnx.Module):
    """X W + b, with W (num_inputs, num_outputs)."""

    def __init__(self, num_inputs: int, num_outputs: int, bias: bool = True):
        self.kernel = matrix(num_inputs, num_outputs)
        self.bias = parameter(np.zeros(num_outputs)) if bias else None

    def __call__(self, X: Float[Array, "*batch num_inputs"]) -> Float[Array, "*batch num_outputs"]:
        """Map (..., num_inputs) to (..., num_outputs)."""
        Y = product(X, self.kernel[...])
        return Y if self.bias is None else Y + self.bias[...]


class LazyLinear(Linear):
    """A `Linear` that learns the number of its inputs from its first call."""

    def __init__(self, num_outputs: int, bias: bool = True):
        self.num_outputs = num_outputs
        self.kernel = nnx.data(None)
        self.bias = parameter(np.zeros(num_outputs)) if bias else None

    def __call__(self, X: Float[Array, "*batch num_inputs"]) -> Float[Array, "*batch num_outputs"]:
        """Map (..., num_inputs) to (..., num_outputs)."""
        create(self, "kernel", X.shape[-1], self.num_outputs)
        return super().__call__(X)


class Embedding(nnx.Module):
    """A vector for each token."""

    def __init__(self, vocab_size: int, size: int):
        self.embedding = parameter(GENERATOR.standard_normal((vocab_size, size), np.float32))

    def __call__(self, X: Int[Array, "*batch"]) -> Float[Array, "*batch size"]:
        """Map ids (...) to (..., size)."""
        return jnp.take(self.embedding[...], X, axis=0)


class Dropout(Module):
    """Inverted dropout: in training, units are zeroed at a rate and the rest is scaled up.

    Masks may come from outside (`d2l_ext.randomness.dropout_masks`), one per forward pass, with
    time as an axis where the layer acts inside a loop, so that all frameworks drop the same units.
    A layer that is called several times in one pass (a decoder that is fed its own tokens) uses the
    same mask each time, cut to the call's shape; the last call's shape is the largest. Without a
    given mask, JAX's generator draws one with ``key``, or where that is None with a new key at each
    call (compiled code then keeps the key that it was compiled with).
    """

    def __init__(self, rate: float):
        checks.rate(rate)
        self.rate = rate
        self.given = nnx.data(None)  # the mask of the next forward pass
        self.key = nnx.data(None)
        self.asked = None  # the shape that the last forward pass wanted

    def mask(
        self, shape: tuple, like: Float[Array, "..."], training: bool
    ) -> Float[Array, "..."] | None:
        """Return the mask of this forward pass, or None where dropout does not act.

        Args:
            shape: the mask's shape.
            like: an array whose dtype the mask gets.
            training: whether dropout acts.
        """
        if not training or self.rate == 0:
            return None
        self.keep("asked", tuple(shape))
        if self.given is not None:
            return self.given[tuple(map(slice, shape))].astype(like.dtype)
        key = jax.random.key(GENERATOR.integers(2**32)) if self.key is None else self.key
        kept = jax.random.bernoulli(key, 1 - self.rate, shape)
        return kept.astype(like.dtype) / (1 - self.rate)

    def __call__(self, X: Float[Array, "..."], training: bool = False) -> Float[Array, "..."]:
        """Return X times its mask."""
        mask = self.mask(X.shape, X, training)
        return X if mask is None else X * mask


def times(mask: Float[Array, "..."] | None) -> Callable[[Array], Array] | None:
    """Return the function that multiplies by a mask; None stays None."""
    return None if mask is None else lambda X: X * mask
