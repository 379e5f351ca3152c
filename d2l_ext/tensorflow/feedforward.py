"""The position-wise network of a block, plain or gated."""

import math

import tensorflow as tf
from jaxtyping import Float

from d2l_ext import checks
from d2l_ext.tensorflow.layers import Array, Layer, dense
from d2l_ext.tensorflow.transformer import gelu


def gelu_tanh(X: Float[Array, "..."]) -> Float[Array, "..."]:
    """Approximate `gelu` by tanh, as in GPT-2; `tf.nn.gelu` rounds a factor to float32."""
    return 0.5 * X * (1 + tf.tanh(math.sqrt(2 / math.pi) * (X + 0.044715 * X * X * X)))


GATES = {"swiglu": tf.nn.silu, "geglu": gelu}
ACTIVATIONS = {**GATES, "gelu": gelu, "gelu_tanh": gelu_tanh, "relu": tf.nn.relu}


class FeedForward(Layer):
    """The same network at every position: down(f(gate(x)) * up(x)), or down(f(up(x))).

    "swiglu" and "geglu" are gated, by f = SiLU or GELU, and without biases (Shazeer, 2020). "gelu"
    with the error function, "gelu_tanh", its approximation, and "relu" are not; they have biases.
    """

    def __init__(self, num_hiddens: int, ffn_num_hiddens: int, activation: str = "swiglu"):
        super().__init__()
        checks.choice("activation", activation, tuple(ACTIVATIONS))
        gated = activation in GATES
        self.activation = ACTIVATIONS[activation]
        self.gate = dense(ffn_num_hiddens, bias=False) if gated else None
        self.up = dense(ffn_num_hiddens, bias=not gated)
        self.down = dense(num_hiddens, bias=not gated)

    def call(self, X: Float[Array, "*batch num_hiddens"]) -> Float[Array, "*batch num_hiddens"]:
        """Map (..., num_hiddens) to the same shape."""
        if self.gate is None:
            return self.down(self.activation(self.up(X)))
        return self.down(self.activation(self.gate(X)) * self.up(X))
