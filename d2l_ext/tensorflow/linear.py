"""Linear attention: a kernel instead of the softmax, and so a sum that can be carried along.

With features phi, the weight of key j for query i is phi(q_i) . phi(k_j), divided by the sum over
all keys that i sees. Since phi(q_i) does not depend on j, it can be taken out of the sum over keys
(Katharopoulos et al., 2020, "Transformers are RNNs"):

    S_i = sum_(j <= i) phi(k_j) [v_j, 1]^T        output_i = phi(q_i) S_i, divided by its last entry

The three forms below compute the same: (..., num_steps, value_size + 1), not yet divided, and the
state S (..., d, value_size + 1) after the last step.
"""

import keras
import tensorflow as tf
from jaxtyping import Float, Int

from d2l_ext import checks
from d2l_ext.tensorflow.blockwise import blocks, nonzero, whole
from d2l_ext.tensorflow.layers import Array, Layer, dense, spec, widened


def feature_map(X: Float[Array, "..."]) -> Float[Array, "..."]:
    """elu(x) + 1: x + 1 where x is positive, exp(x) elsewhere."""
    return tf.where(X > 0, X + 1, tf.exp(tf.minimum(X, 0)))


def parallel(
    query: Float[Array, "*batch num_steps d"],
    key: Float[Array, "*batch num_steps d"],
    value: Float[Array, "*batch num_steps size"],
    state: Float[Array, "*batch d size"],
) -> tuple[Float[Array, "*batch num_steps size"], Float[Array, "*batch d size"]]:
    """All steps at once, by the matrix of products: the fastest for short texts."""
    products = tf.linalg.band_part(tf.matmul(query, key, transpose_b=True), -1, 0)
    output = products @ value + query @ state
    return output, state + tf.matmul(key, value, transpose_a=True)


def recurrent(
    query: Float[Array, "*batch num_steps d"],
    key: Float[Array, "*batch num_steps d"],
    value: Float[Array, "*batch num_steps size"],
    state: Float[Array, "*batch d size"],
) -> tuple[Float[Array, "*batch num_steps size"], Float[Array, "*batch d size"]]:
    """One step after the other, each at the same cost: for decoding."""

    def step(state, q, k, v):  # (..., 1, d), (..., 1, d) and (..., 1, size)
        state = state + tf.matmul(k, v, transpose_a=True)
        return q @ state, state

    return _scan(step, 1, query, key, value, state)


def chunked(
    query: Float[Array, "*batch num_steps d"],
    key: Float[Array, "*batch num_steps d"],
    value: Float[Array, "*batch num_steps size"],
    state: Float[Array, "*batch d size"],
    chunk_size: int = 64,
) -> tuple[Float[Array, "*batch num_steps size"], Float[Array, "*batch d size"]]:
    """Chunks in parallel, one after the other: linear in the number of steps, in large products."""
    return _scan(
        lambda state, *chunk: parallel(*chunk, state), chunk_size, query, key, value, state
    )


def _scan(step, size, query, key, value, state):
    """Do steps over chunks of a size, of which the last is padded: zeros do not change the sum."""
    chunks = tuple(blocks(x, size) for x in (query, key, value))
    start = tf.zeros_like(chunks[2][0]), state

    def inner(carried, chunk):
        return step(carried[1], *chunk)

    outputs, states = tf.scan(inner, chunks, start)
    return whole(outputs, keras.ops.shape(query)[-2]), states[-1]


class LinearAttention(Layer):
    """Causal multi-head linear attention, with the features elu(x) + 1.

    ``form`` is "parallel", "recurrent" or "chunked", which differ in cost and not in result.
    """

    def __init__(
        self,
        num_hiddens: int,
        num_heads: int,
        form: str = "parallel",
        chunk_size: int = 64,
        use_bias: bool = False,
    ):
        super().__init__()
        checks.multiple("num_hiddens", num_hiddens, num_heads)
        checks.choice("form", form, ("parallel", "recurrent", "chunked"))
        checks.positive("chunk_size", chunk_size)
        self.num_heads, self.form, self.chunk_size = num_heads, form, chunk_size
        self.W_q = dense(num_hiddens, use_bias)
        self.W_k = dense(num_hiddens, use_bias)
        self.W_v = dense(num_hiddens, use_bias)
        self.W_o = dense(num_hiddens, use_bias)

    def check(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        state: Float[Array, "batch num_heads d d_and_1"] | None = None,
    ) -> None:
        """Raise a ValueError where the input does not fit."""
        checks.sequence(spec(X), self.config["num_hiddens"])

    def init_state(
        self, batch_size: int | Int[Array, ""]
    ) -> Float[Array, "batch_size num_heads d d_and_1"]:
        """Return the state before the first step, (batch, num_heads, d, d + 1)."""
        d = self.config["num_hiddens"] // self.num_heads
        return widened(tf.zeros((batch_size, self.num_heads, d, d + 1), self.W_q.compute_dtype))

    def call(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        state: Float[Array, "batch num_heads d d_and_1"] | None = None,
    ) -> (
        Float[Array, "batch num_steps num_hiddens"]
        | tuple[
            Float[Array, "batch num_steps num_hiddens"], Float[Array, "batch num_heads d d_and_1"]
        ]
    ):
        """Attend causally.

        Args:
            X: (batch, num_steps, num_hiddens).
            state: None, or as returned by `init_state` or by the last call.

        Returns:
            Like X; with a state, also the new one.
        """
        self.check(X)
        # Sums over all steps are float32, the state too.
        query, key, value = (widened(self.split(W(X))) for W in (self.W_q, self.W_k, self.W_v))
        query, key = feature_map(query), feature_map(key)
        value = tf.concat((value, tf.ones_like(value[..., :1])), axis=-1)
        start = self.init_state(keras.ops.shape(X)[0]) if state is None else widened(state)
        output, new = self.run(query, key, value, start)
        output = output[..., :-1] / nonzero(output[..., -1:])
        output = tf.reshape(tf.transpose(output, (0, 2, 1, 3)), keras.ops.shape(X))
        output = self.W_o(tf.cast(output, X.dtype))
        return output if state is None else (output, new)

    def run(
        self,
        query: Float[Array, "*batch num_steps d"],
        key: Float[Array, "*batch num_steps d"],
        value: Float[Array, "*batch num_steps size"],
        state: Float[Array, "*batch d size"],
    ) -> tuple[Float[Array, "*batch num_steps size"], Float[Array, "*batch d size"]]:
        """Compute in the form that was chosen."""
        if self.form == "chunked":
            return chunked(query, key, value, state, self.chunk_size)
        return {"parallel": parallel, "recurrent": recurrent}[self.form](query, key, value, state)

    def split(
        self, X: Float[Array, "batch num_steps num_hiddens"]
    ) -> Float[Array, "batch num_heads num_steps d"]:
        """(batch, num_steps, num_hiddens) to (batch, num_heads, num_steps, d)."""
        batch, num_steps, size = keras.ops.shape(X)
        X = tf.reshape(X, (batch, num_steps, self.num_heads, size // self.num_heads))
        return tf.transpose(X, (0, 2, 1, 3))
