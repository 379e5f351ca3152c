"""Linear attention: a kernel instead of the softmax, and so a sum that can be carried along.

With features phi, the weight of key j for query i is phi(q_i) . phi(k_j), divided by the sum over
all keys that i sees. Since phi(q_i) does not depend on j, it can be taken out of the sum over keys
(Katharopoulos et al., 2020, "Transformers are RNNs"):

    S_i = sum_(j <= i) phi(k_j) [v_j, 1]^T        output_i = phi(q_i) S_i, divided by its last entry

The three forms below compute the same: (..., num_steps, value_size + 1), not yet divided, and the
state S (..., d, value_size + 1) after the last step.
"""

from jaxtyping import Float, Int
from mxnet import np as mnp
from mxnet import npx
from mxnet.gluon import nn

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.mxnet.layers import Array, matmul, pieces, spec, without_gradient


def feature_map(X: Float[Array, "..."]) -> Float[Array, "..."]:
    """elu(x) + 1: x + 1 where x is positive, exp(x) elsewhere."""
    return npx.relu(X) + mnp.exp(mnp.minimum(X, 0))


def parallel(
    query: Float[Array, "*batch num_steps d"],
    key: Float[Array, "*batch num_steps d"],
    value: Float[Array, "*batch num_steps size"],
    state: Float[Array, "*batch d size"],
) -> tuple[Float[Array, "*batch num_steps size"], Float[Array, "*batch d size"]]:
    """All steps at once, by the matrix of products: the fastest for short texts."""
    products = mnp.tril(matmul(query, key, transpose_b=True))  # (..., num_steps, num_steps)
    output = matmul(products, value) + matmul(query, state)
    return output, state + matmul(key, value, transpose_a=True)


def recurrent(
    query: Float[Array, "*batch num_steps d"],
    key: Float[Array, "*batch num_steps d"],
    value: Float[Array, "*batch num_steps size"],
    state: Float[Array, "*batch d size"],
) -> tuple[Float[Array, "*batch num_steps size"], Float[Array, "*batch d size"]]:
    """One step after the other, each at the same cost: for decoding."""
    axis, outputs = query.ndim - 2, []
    steps = (pieces(X, query.shape[axis], axis) for X in (query, key, value))
    for q, k, v in zip(*steps, strict=True):  # (..., 1, size)
        state = state + matmul(k, v, transpose_a=True)
        outputs.append(matmul(q, state))
    return mnp.concatenate(outputs, axis=axis), state


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
        chunk = (X[..., start : start + chunk_size, :] for X in (query, key, value))
        output, state = parallel(*chunk, state)
        outputs.append(output)
    return mnp.concatenate(outputs, axis=-2), state


class LinearAttention(Configured, nn.Block):
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
        options = dict(use_bias=use_bias, flatten=False, in_units=num_hiddens)
        self.W_q = nn.Dense(num_hiddens, **options)
        self.W_k = nn.Dense(num_hiddens, **options)
        self.W_v = nn.Dense(num_hiddens, **options)
        self.W_o = nn.Dense(num_hiddens, **options)

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
        shape = int(batch_size), self.num_heads, d, d + 1
        return mnp.zeros(shape, dtype=self.W_q.weight.dtype)

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
        value = mnp.concatenate((value, mnp.ones_like(value[..., :1])), axis=-1)
        start = self.init_state(len(X)) if state is None else state
        output, new = self.run(query, key, value, start)
        total = output[..., -1:]
        total = mnp.where(total > 0, total, mnp.ones_like(total))
        # A quotient's gradient divides by the square of what is small: that is taken out before.
        scale = without_gradient(total)
        output = output[..., :-1] / scale / (total / scale)
        output = self.W_o(output.swapaxes(1, 2).reshape(X.shape))
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
