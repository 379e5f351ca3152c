"""Positional encodings: what tells attention where a token stands."""

from typing import TypeAlias

import jax
import numpy as np
from jax import numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Float, Int

from d2l_ext import checks
from d2l_ext.jax.layers import Array, Dropout, Embedding, Module, spec
from d2l_ext.tables import sinusoids

# What is known before anything is traced is a number or an array of NumPy.
Offset: TypeAlias = Int[ArrayLike, ""]


class PositionalEncoding(Module):
    """Sinusoidal encoding, added to the input (Vaswani et al., 2017, section 3.5)."""

    def __init__(self, num_hiddens: int, dropout: float, max_len: int = 1000):
        self.num_hiddens, self.max_len = num_hiddens, max_len
        self.dropout = Dropout(dropout)

    @property
    def P(self) -> np.ndarray:
        """The table (max_len, num_hiddens); an array as an attribute would be part of a trace."""
        return sinusoids(self.max_len, self.num_hiddens)

    def check(self, X: Float[Array, "batch num_steps num_hiddens"], offset: Offset = 0) -> None:
        """Raise a ValueError where the inputs do not fit."""
        traced = isinstance(offset, jax.core.Tracer)
        checks.positions(spec(X), None if traced else int(offset), **self.config)

    def __call__(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        offset: Offset = 0,
        training: bool = False,
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Add the encoding of positions offset, offset + 1, ...

        Args:
            offset: position of the first step, for token-by-token decoding.
            training: whether dropout acts.
        """
        self.check(X, offset)
        P = jnp.asarray(self.P, X.dtype)
        P = jax.lax.dynamic_slice_in_dim(P, offset, X.shape[1])
        return self.dropout(X + P, training=training)


class LearnedPositionalEncoding(Module):
    """Encoding learned as an embedding of the position, added to the input."""

    def __init__(self, num_hiddens: int, dropout: float, max_len: int = 1000):
        self.max_len = max_len
        self.dropout = Dropout(dropout)
        self.embedding = Embedding(max_len, num_hiddens)

    check = PositionalEncoding.check

    def __call__(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        offset: Offset = 0,
        training: bool = False,
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Add the encoding; as `PositionalEncoding`."""
        self.check(X, offset)
        P = self.embedding(offset + jnp.arange(X.shape[1]))
        return self.dropout(X + P, training=training)
