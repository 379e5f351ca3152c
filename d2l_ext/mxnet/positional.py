"""Positional encodings: what tells attention where a token stands."""

from jaxtyping import Float, Int
from mxnet import np as mnp
from mxnet import npx
from mxnet.gluon import nn

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.mxnet.layers import Array, Dropout, spec
from d2l_ext.tables import sinusoids


class PositionalEncoding(Configured, nn.Block):
    """Sinusoidal encoding, added to the input (Vaswani et al., 2017, section 3.5)."""

    def __init__(self, num_hiddens: int, dropout: float, max_len: int = 1000):
        super().__init__()
        self.max_len = max_len
        self.dropout = Dropout(dropout)
        self.P = mnp.array(sinusoids(max_len, num_hiddens), dtype="float64")
        self.P.attach_grad("null")  # no gradient, but a name in a graph

    def check(
        self, X: Float[Array, "batch num_steps num_hiddens"], offset: int | Int[Array, ""] = 0
    ) -> None:
        """Raise a ValueError where the inputs do not fit."""
        checks.positions(spec(X), int(offset), **self.config)

    def forward(
        self, X: Float[Array, "batch num_steps num_hiddens"], offset: int | Int[Array, ""] = 0
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Add the encoding of positions offset, offset + 1, ...

        Args:
            offset: position of the first step, for token-by-token decoding.
        """
        self.check(X, offset)
        P = mnp.take(self.P, positions(X.shape[1], offset), axis=0)
        return self.dropout(X + npx.cast(P, dtype=X.dtype))


class LearnedPositionalEncoding(Configured, nn.Block):
    """Encoding learned as an embedding of the position, added to the input."""

    def __init__(self, num_hiddens: int, dropout: float, max_len: int = 1000):
        super().__init__()
        self.max_len = max_len
        self.dropout = Dropout(dropout)
        self.embedding = nn.Embedding(max_len, num_hiddens)

    check = PositionalEncoding.check

    def forward(
        self, X: Float[Array, "batch num_steps num_hiddens"], offset: int | Int[Array, ""] = 0
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Add the encoding; as `PositionalEncoding`."""
        self.check(X, offset)
        return self.dropout(X + self.embedding(positions(X.shape[1], offset)))


def positions(num_steps: int, offset: int | Int[Array, ""]) -> Int[Array, " num_steps"]:
    """Return offset, offset + 1, ..., (num_steps,); of an array's one step, nothing but itself."""
    if num_steps == 1 and not isinstance(offset, int):
        return offset.reshape(1)
    return mnp.arange(num_steps, dtype="int64") + offset
