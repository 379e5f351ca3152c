"""Normalisations of the vectors at each position: layer norm and root mean square."""

import keras
import tensorflow as tf
from jaxtyping import Float

from d2l_ext.config import Configured
from d2l_ext.tensorflow.layers import Array, Layer, widened


class LayerNorm(Configured, keras.layers.LayerNormalization):
    """(x - mean) / sqrt(variance + eps) * weight + bias, over the last axis (Ba et al., 2016)."""

    def __init__(self, size: int, eps: float = 1e-05):
        super().__init__(epsilon=eps)  # Keras's own is 1e-3
        self.size, self.eps = size, eps

    def build(self, input_shape: tuple | tf.TensorShape) -> None:
        """Create weight and bias, which Keras calls gamma and beta."""
        super().build((*input_shape[:-1], self.size))

    def call(self, X: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """Normalise (..., size); statistics of half precision are taken in float32."""
        return super().call(X)


class RMSNorm(Layer):
    """x / sqrt(mean(x^2) + eps) * weight, over the last axis (Zhang and Sennrich, 2019)."""

    def __init__(self, size: int, eps: float = 1e-06):
        super().__init__()
        self.size, self.eps = size, eps

    def build(self) -> None:
        """Create the weight."""
        self.weight = self.add_weight((self.size,), "ones", name="weight")

    def call(self, X: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
        """Normalise (..., size); the mean square of half precision is taken in float32."""
        exact = widened(X)
        mean_square = tf.reduce_mean(exact * exact, axis=-1, keepdims=True)  # (..., 1)
        weight = tf.cast(self.weight, exact.dtype)
        return tf.cast(exact / tf.sqrt(mean_square + self.eps) * weight, X.dtype)
