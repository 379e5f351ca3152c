"""Positional encodings: what tells attention where a token stands."""

import numpy as np
from jaxtyping import Int

from d2l_ext import checks
from d2l_ext.reference.layers import Array, Dropout, Embedding, Float, Module, spec
from d2l_ext.tables import sinusoids


class PositionalEncoding(Module):
    """Sinusoidal encoding, added to the input (Vaswani et al., 2017, section 3.5)."""

    def __init__(self, num_hiddens: int, dropout: float, max_len: int = 1000):
        self.max_len = max_len
        self.dropout = Dropout(dropout)
        self.P = sinusoids(max_len, num_hiddens)

    def check(
        self, X: Float[Array, "batch num_steps num_hiddens"], offset: int | Int[Array, ""] = 0
    ) -> None:
        """Raise a ValueError where the inputs do not fit."""
        checks.positions(spec(X), offset, **self.config)

    def forward(
        self, X: Float[Array, "batch num_steps num_hiddens"], offset: int | Int[Array, ""] = 0
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Add the encoding of positions offset, offset + 1, ...

        Args:
            offset: position of the first step, for token-by-token decoding.
        """
        self.check(X, offset)
        return self.dropout(X + self.P[offset : offset + X.shape[1]].astype(X.real.dtype))


class LearnedPositionalEncoding(Module):
    """Encoding learned as an embedding of the position, added to the input."""

    def __init__(self, num_hiddens: int, dropout: float, max_len: int = 1000):
        self.max_len = max_len
        self.dropout = Dropout(dropout)
        self.embedding = Embedding(max_len, num_hiddens)

    check = PositionalEncoding.check

    def forward(
        self, X: Float[Array, "batch num_steps num_hiddens"], offset: int | Int[Array, ""] = 0
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Add the encoding; as `PositionalEncoding`."""
        self.check(X, offset)
        return self.dropout(X + self.embedding(offset + np.arange(X.shape[1])))
