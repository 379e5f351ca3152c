"""What every file of this column uses: the base class, how checks see a tensor, and dropout.

This file is the first of the column to be imported, because it loads TensorFlow.
"""

import contextlib
import os
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

from jaxtyping import Float, Shaped

from d2l_ext import checks, quiet
from d2l_ext.config import Configured

# Errors are exceptions all the same.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
LOG = rb"[IWE]\d{4} |WARNING: All log messages before"


@contextlib.contextmanager
def _without(name):
    """Let a package seem not to be installed; TensorFlow's converter would load all of JAX."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None
    try:
        yield
    finally:
        del sys.modules[name]


with quiet.without(LOG), _without("jax"):
    import tensorflow as tf

import keras  # noqa: E402 - Keras loads TensorFlow too

if keras.config.backend() != "tensorflow":
    raise ImportError(
        f"d2l_ext.tensorflow needs Keras on TensorFlow, but it runs on {keras.config.backend()}:"
        " set the environment variable KERAS_BACKEND=tensorflow before Keras is imported"
    )

Array: TypeAlias = tf.Tensor
# Of any dtype: lengths may be integral floats.
Lengths: TypeAlias = Shaped[Array, " batch"] | Shaped[Array, "batch num_queries"]


class _Unknown:
    """A size that is not known while tracing: it may be any."""

    def __eq__(self, other):
        return True

    def __gt__(self, other):
        return False  # no limit is known to be exceeded

    __hash__ = None


def spec(x: Array | None) -> checks.Spec | None:
    """Describe a tensor to `checks`; None stays None."""
    if x is None:
        return None
    x = tf.convert_to_tensor(x)
    shape = tuple(_Unknown() if size is None else size for size in x.shape)
    return checks.Spec(shape, x.dtype.name, None if tf.is_symbolic_tensor(x) else x.numpy)


def kept(weights: Float[Array, "..."]) -> Float[Array, "..."] | None:
    """Return attention weights as they may be kept: detached; None where code is being traced."""
    return tf.stop_gradient(weights) if tf.executing_eagerly() else None


def widened(X: Float[Array, "..."]) -> Float[Array, "..."]:
    """Return half precision as float32, in which its sums are taken, and other dtypes as is."""
    return tf.cast(X, "float32") if X.dtype.size < 4 else X


class Layer(Configured, keras.Layer):
    """A Keras layer that takes its inputs as they are and has no weights of its own.

    Keras would cast floating inputs to the layer's dtype without a word. Layers below create their
    weights on their own first call.
    """

    def __init__(self):
        super().__init__(autocast=False)
        self._allow_non_tensor_positional_args = True  # such as the offset of a position

    def build(self) -> None:
        """Create this layer's own weights."""

    def __call__(self, *inputs: Any, **options: Any) -> Any:
        """As Keras's own, but a ValueError keeps its message; Keras would write a page about it."""
        try:
            return super().__call__(*inputs, **options)
        except ValueError as error:
            original = error.__context__ if isinstance(error.__context__, ValueError) else error
        raise original


def linear(
    X: Float[Array, "*batch num_inputs"],
    weight: Float[Array, "num_outputs num_inputs"],
    bias: Float[Array, " num_outputs"],
) -> Float[Array, "*batch num_outputs"]:
    """Return X W^T + b, (..., num_outputs), with W (num_outputs, num_inputs)."""
    return tf.tensordot(X, weight, [[-1], [1]]) + bias


def dense(num_outputs: int, bias: bool = True) -> keras.layers.Dense:
    """Return a layer y = x W + b, with W created on the first call."""
    return keras.layers.Dense(num_outputs, use_bias=bias, autocast=False)


def embedding(vocab_size: int, embed_size: int) -> keras.layers.Embedding:
    """Return a table of vectors, N(0, 1) at the start."""
    return keras.layers.Embedding(vocab_size, embed_size, keras.initializers.RandomNormal(stddev=1))


class Dropout(Layer):
    """Inverted dropout: in training, units are zeroed at a rate and the rest is scaled up.

    Masks may come from outside (`d2l_ext.randomness.dropout_masks`), one per forward pass, with
    time as an axis where the layer acts inside a loop, so that all frameworks drop the same units.
    A layer that is called several times in one pass (a decoder that is fed its own tokens) uses the
    same mask each time, cut to the call's shape; the last call's shape is the largest. Without a
    given mask, Keras's generator draws one.
    """

    def __init__(self, rate: float):
        super().__init__()
        checks.rate(rate)
        self.rate = rate
        self.given = None  # the mask of the next forward pass
        self.asked = None  # the shape that the last forward pass wanted
        self.generator = keras.random.SeedGenerator()

    def mask(
        self, shape: tuple, like: Float[Array, "..."], training: bool
    ) -> Float[Array, "..."] | None:
        """Return the mask of this forward pass, or None where dropout does not act.

        Args:
            shape: the mask's shape.
            like: a tensor whose dtype the mask gets.
            training: whether dropout acts.
        """
        if not training or self.rate == 0:
            return None
        self.asked = tuple(shape) if tf.executing_eagerly() else None
        if self.given is not None:
            return tf.slice(self.given, [0] * len(shape), shape)
        return keras.random.dropout(tf.ones(shape, like.dtype), self.rate, seed=self.generator)

    def call(self, X: Float[Array, "..."], training: bool = False) -> Float[Array, "..."]:
        """Return X times its mask."""
        mask = self.mask(keras.ops.shape(X), X, training)
        return X if mask is None else X * mask


def times(mask: Float[Array, "..."] | None) -> Callable[[Array], Array] | None:
    """Return the function that multiplies by a mask; None stays None."""
    return None if mask is None else lambda X: X * mask
