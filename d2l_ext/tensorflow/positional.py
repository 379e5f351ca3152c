"""Positional encodings: what tells attention where a token stands."""

import tensorflow as tf
from jaxtyping import Float, Int, Shaped

from d2l_ext import checks
from d2l_ext.tables import sinusoids
from d2l_ext.tensorflow.layers import Array, Dropout, Layer, embedding, spec


class PositionalEncoding(Layer):
    """Sinusoidal encoding, added to the input (Vaswani et al., 2017, section 3.5)."""

    def __init__(self, num_hiddens: int, dropout: float, max_len: int = 1000):
        super().__init__()
        self.max_len = max_len
        self.dropout = Dropout(dropout)
        self.P = sinusoids(max_len, num_hiddens)  # in float64, rounded to the input's dtype

    def check(
        self, X: Float[Array, "batch num_steps num_hiddens"], offset: int | Int[Array, ""] = 0
    ) -> None:
        """Raise a ValueError where the inputs do not fit."""
        checks.positions(spec(X), known(X, offset), **self.config)

    def call(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        offset: int | Int[Array, ""] = 0,
        training: bool = False,
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Add the encoding of positions offset, offset + 1, ...

        Args:
            offset: position of the first step, for token-by-token decoding.
            training: whether dropout acts.
        """
        self.check(X, offset)
        table = tf.constant(self.P, X.dtype)
        return self.dropout(X + tf.gather(table, positions(X, offset)), training=training)


class LearnedPositionalEncoding(Layer):
    """Encoding learned as an embedding of the position, added to the input."""

    def __init__(self, num_hiddens: int, dropout: float, max_len: int = 1000):
        super().__init__()
        self.max_len = max_len
        self.dropout = Dropout(dropout)
        self.embedding = embedding(max_len, num_hiddens)

    check = PositionalEncoding.check

    def call(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        offset: int | Int[Array, ""] = 0,
        training: bool = False,
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Add the encoding; as `PositionalEncoding`."""
        self.check(X, offset)
        return self.dropout(X + self.embedding(positions(X, offset)), training=training)


def positions(
    X: Shaped[Array, "batch num_steps ..."], offset: int | Int[Array, ""]
) -> Int[Array, " num_steps"]:
    """Return the positions (num_steps,) of the steps of X."""
    return tf.cast(offset, "int32") + tf.range(tf.shape(X)[1])


def known(X: Array, offset: int | Int[Array, ""]) -> int | None:
    """Return the offset of X as an integer, or None where it, or X's length, is being traced."""
    value = None if X.shape[1] is None else tf.get_static_value(offset)
    return None if value is None else int(value)
