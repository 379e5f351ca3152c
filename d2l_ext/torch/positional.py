"""Positional encodings: what tells attention where a token stands."""

import torch
from jaxtyping import Float, Int
from torch import nn

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.tables import sinusoids
from d2l_ext.torch.layers import Array, Dropout, spec


class PositionalEncoding(Configured, nn.Module):
    """Sinusoidal encoding, added to the input (Vaswani et al., 2017, section 3.5)."""

    def __init__(self, num_hiddens: int, dropout: float, max_len: int = 1000):
        super().__init__()
        self.max_len = max_len
        self.dropout = Dropout(dropout)
        # In float64, and no buffer: a buffer would lose digits when the module changes its dtype.
        self.P = torch.from_numpy(sinusoids(max_len, num_hiddens))

    def check(
        self, X: Float[Array, "batch num_steps num_hiddens"], offset: int | Int[Array, ""] = 0
    ) -> None:
        """Raise a ValueError where the inputs do not fit."""
        traced = torch.compiler.is_compiling()
        checks.positions(spec(X), None if traced else int(offset), **self.config)

    def forward(
        self, X: Float[Array, "batch num_steps num_hiddens"], offset: int | Int[Array, ""] = 0
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Add the encoding of positions offset, offset + 1, ...

        Args:
            offset: position of the first step, for token-by-token decoding.
        """
        self.check(X, offset)
        return self.dropout(X + consecutive(self.P, offset, X.shape[1]).to(X))


def consecutive(
    table: Float[Array, "max_len size"], first: int | Int[Array, ""], num_rows: int
) -> Float[Array, "num_rows size"]:
    """Return rows of a table, from the first on."""
    if isinstance(first, int):
        return table[first : first + num_rows]
    return table[first + torch.arange(num_rows)]  # may be traced


class LearnedPositionalEncoding(Configured, nn.Module):
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
        return self.dropout(X + self.embedding(offset + torch.arange(X.shape[1], device=X.device)))
