"""Linear attention: a kernel instead of the softmax, and so a sum that can be carried along.

With features phi, the weight of key j for query i is phi(q_i) . phi(k_j), divided by the sum over
all keys that i sees. Since phi(q_i) does not depend on j, it can be taken out of the sum over keys
(Katharopoulos et al., 2020, "Transformers are RNNs"):

    S_i = sum_(j <= i) phi(k_j) [v_j, 1]^T        output_i = phi(q_i) S_i, divided by its last entry

The three forms below compute the same: (..., num_steps, value_size + 1), not yet divided, and the
state S (..., d, value_size + 1) after the last step.
"""

import jax
from jax import numpy as jnp
from jaxtyping import Float, Int, Shaped

from d2l_ext import checks
from d2l_ext.jax.layers import Array, Linear, Module, spec, widened


def feature_map(X: Float[Array, "..."]) -> Float[Array, "..."]:
    """elu(x) + 1: x + 1 where x is positive, exp(x) elsewhere."""
    positive = X > 0
    return jnp.where(positive, X + 1, jnp.exp(jnp.where(positive, 0, X)))


def parallel(
    query: Float[Array, "*batch num_steps d"],
    key: Float[Array, "*batch num_steps d"],
    value: Float[Array, "*batch num_steps size"],
    state: Float[Array, "*batch d size"],
) -> tuple[Float[Array, "*batch num_steps size"], Float[Array, "*batch d size"]]:
    """All steps at once, by the matrix of products: the fastest for short texts."""
    products = jnp.tril(query @ key.mT)  # (..., num_steps, num_steps)
    return products @ value + query @ state, state + key.mT @ value


def recurrent(
    query: Float[Array, "*batch num_steps d"],
    key: Float[Array, "*batch num_steps d"],
    value: Float[Array, "*batch num_steps size"],
    state: Float[Array, "*batch d size"],
) -> tuple[Float[Array, "*batch num_steps size"], Float[Array, "*batch d size"]]:
    """One step after the other, each at the same cost: for decoding."""

    def step(state, inputs):
        query, key, value = inputs
        state = state + key[..., :, None] * value[..., None, :]
        return state, (query[..., None, :] @ state)[..., 0, :]

    steps = tuple(jnp.moveaxis(x, -2, 0) for x in (query, key, value))
    state, outputs = jax.lax.scan(step, state, steps)
    return jnp.moveaxis(outputs, 0, -2), state


def chunked(
    query: Float[Array, "*batch num_steps d"],
    key: Float[Array, "*batch num_steps d"],
    value: Float[Array, "*batch num_steps size"],
    state: Float[Array, "*batch d size"],
    chunk_size: int = 64,
) -> tuple[Float[Array, "*batch num_steps size"], Float[Array, "*batch d size"]]:
    """Chunks in parallel, one after the other: linear in the number of steps, in large products."""

    def step(state, chunk):
        output, state = parallel(*chunk, state)
        return state, output

    num_steps = query.shape[-2]
    inputs = tuple(chunks(x, min(chunk_size, num_steps)) for x in (query, key, value))
    state, outputs = jax.lax.scan(step, state, inputs)
    return joined(outputs)[..., :num_steps, :], state


def chunks(
    X: Shaped[Array, "*batch num_steps size"], chunk_size: int
) -> Shaped[Array, "num_chunks *batch chunk_size size"]:
    """Cut (..., num_steps, size) into chunks; the last is filled up with zeros, which add none."""
    *batch, num_steps, size = X.shape
    X = jnp.pad(X, [*[(0, 0)] * len(batch), (0, -num_steps % chunk_size), (0, 0)])
    return jnp.moveaxis(X.reshape(*batch, -1, chunk_size, size), -3, 0)


def joined(
    X: Shaped[Array, "num_chunks *batch chunk_size size"],
) -> Shaped[Array, "*batch num_steps size"]:
    """Undo `chunks`, with the zeros at the end."""
    X = jnp.moveaxis(X, 0, -3)  # (..., num_chunks, chunk_size, size)
    return X.reshape(*X.shape[:-3], -1, X.shape[-1])


class LinearAttention(Module):
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
        checks.multiple("num_hiddens", num_hiddens, num_heads)
        checks.choice("form", form, ("parallel", "recurrent", "chunked"))
        checks.positive("chunk_size", chunk_size)
        self.num_heads, self.form, self.chunk_size = num_heads, form, chunk_size
        self.W_q = Linear(num_hiddens, num_hiddens, use_bias)
        self.W_k = Linear(num_hiddens, num_hiddens, use_bias)
        self.W_v = Linear(num_hiddens, num_hiddens, use_bias)
        self.W_o = Linear(num_hiddens, num_hiddens, use_bias)

    def check(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        state: Float[Array, "batch num_heads d d_and_1"] | None = None,
    ) -> None:
        """Raise a ValueError where the input does not fit; a state is taken as it is."""
        checks.sequence(spec(X), self.config["num_hiddens"])

    def init_state(
        self, batch_size: int | Int[Array, ""]
    ) -> Float[Array, "batch_size num_heads d d_and_1"]:
        """Return the state before the first step, (batch, num_heads, d, d + 1)."""
        d = self.config["num_hiddens"] // self.num_heads
        shape = int(batch_size), self.num_heads, d, d + 1
        return widened(jnp.zeros(shape, self.W_q.kernel[...].dtype))

    def __call__(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        state: Float[Array, "batch num_heads d d_and_1"] | None = None,
        training: bool = False,
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
            training: nothing depends on it.

        Returns:
            Like X; with a state, also the new one.
        """
        self.check(X)
        # Sums over all steps are float32, the state too.
        query, key, value = (widened(self.split(W(X))) for W in (self.W_q, self.W_k, self.W_v))
        query, key = feature_map(query), feature_map(key)
        value = jnp.concatenate((value, jnp.ones_like(value[..., :1])), axis=-1)
        start = self.init_state(len(X)).astype(query.dtype) if state is None else widened(state)
        output, new = self.run(query, key, value, start)
        total = output[..., -1:]
        output = output[..., :-1] / jnp.where(total > 0, total, 1)
        output = self.W_o(output.swapaxes(1, 2).reshape(X.shape).astype(X.dtype))
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
        return X.reshape(*X.shape[:2], self.num_heads, -1).swapaxes(1, 2)
