"""Linear attention: a kernel instead of the softmax, and so a sum that can be carried along.

With features phi, the weight of key j for query i is phi(q_i) . phi(k_j), divided by the sum over
all keys that i sees. Since phi(q_i) does not depend on j, it can be taken out of the sum over keys
(Katharopoulos et al., 2020, "Transformers are RNNs"):

    S_i = sum_(j <= i) phi(k_j) [v_j, 1]^T        output_i = phi(q_i) S_i, divided by its last entry

The three forms below compute the same: (..., num_steps, value_size + 1), not yet divided, and the
state S (..., d, value_size + 1) after the last step.
"""

import numpy as np
from jaxtyping import Int

from d2l_ext import checks
from d2l_ext.reference.layers import Array, Float, Linear, Module, spec
from d2l_ext.reference.masking import causal_mask


def feature_map(X: Float[Array, "..."]) -> Float[Array, "..."]:
    """elu(x) + 1: x + 1 where x is positive, exp(x) elsewhere."""
    positive = X.real > 0
    return np.where(positive, X + 1, np.exp(np.where(positive, np.zeros_like(X), X)))


def parallel(
    query: Float[Array, "*batch num_steps d"],
    key: Float[Array, "*batch num_steps d"],
    value: Float[Array, "*batch num_steps size"],
    state: Float[Array, "*batch d size"],
) -> tuple[Float[Array, "*batch num_steps size"], Float[Array, "*batch d size"]]:
    """All steps at once, by the matrix of products: the fastest for short texts."""
    products = query @ np.swapaxes(key, -2, -1)  # (..., num_steps, num_steps)
    products = np.where(causal_mask(products.shape[-1]), products, np.zeros_like(products))
    output = products @ value + query @ state
    return output, state + np.swapaxes(key, -2, -1) @ value


def recurrent(
    query: Float[Array, "*batch num_steps d"],
    key: Float[Array, "*batch num_steps d"],
    value: Float[Array, "*batch num_steps size"],
    state: Float[Array, "*batch d size"],
) -> tuple[Float[Array, "*batch num_steps size"], Float[Array, "*batch d size"]]:
    """One step after the other, each at the same cost: for decoding."""
    outputs = []
    for t in range(query.shape[-2]):
        state = state + key[..., t, :, None] * value[..., t, None, :]
        outputs.append(query[..., t, None, :] @ state)
    return np.concatenate(outputs, axis=-2), state


def chunked(
    query: Float[Array, "*batch num_steps d"],
    key: Float[Array, "*batch num_steps d"],
    value: Float[Array, "*batch num_steps size"],
    state: Float[Array, "*batch d size"],
    chunk_size: int = 64,
) -> tuple[Float[Array, "*batch num_steps size"], Float[Array, "*batch d size"]]:
    """Chunks in parallel, one after the other: linear in the number of steps, in large products."""
    outputs = []
    for start in range(0, query.shape[-2], chunk_size):
        chunk = (x[..., start : start + chunk_size, :] for x in (query, key, value))
        output, state = parallel(*chunk, state)
        outputs.append(output)
    return np.concatenate(outputs, axis=-2), state


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
        self.W_q = Linear(num_hiddens, use_bias)
        self.W_k = Linear(num_hiddens, use_bias)
        self.W_v = Linear(num_hiddens, use_bias)
        self.W_o = Linear(num_hiddens, use_bias)

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
        return np.zeros((int(batch_size), self.num_heads, d, d + 1), self.W_q.weight.dtype)

    def forward(
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
        query, key, value = (self.split(W(X)) for W in (self.W_q, self.W_k, self.W_v))
        query, key = feature_map(query), feature_map(key)
        value = np.concatenate((value, np.ones_like(value[..., :1])), axis=-1)
        start = self.init_state(len(X)) if state is None else state
        output, new = self.run(query, key, value, start)
        total = output[..., -1:]
        output = output[..., :-1] / np.where(total.real > 0, total, np.ones_like(total))
        output = self.W_o(output.transpose(0, 2, 1, 3).reshape(*X.shape))
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
        return X.reshape(*X.shape[:2], self.num_heads, -1).transpose(0, 2, 1, 3)
