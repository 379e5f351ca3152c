"""Positional encodings: what tells attention where a token stands."""

import jax
from jax import numpy as jnp

from d2l_ext import checks
from d2l_ext.jax.layers import Dropout, Embedding, Module, spec
from d2l_ext.tables import sinusoids


class PositionalEncoding(Module):
    """Sinusoidal encoding, added to the input (Vaswani et al., 2017, section 3.5)."""

    def __init__(self, num_hiddens, dropout, max_len=1000):
        self.num_hiddens, self.max_len = num_hiddens, max_len
        self.dropout = Dropout(dropout)

    @property
    def P(self):
        """The table (max_len, num_hiddens); an array as an attribute would be part of a trace."""
        return sinusoids(self.max_len, self.num_hiddens)

    def check(self, X, offset=0):
        """Raise a ValueError where the inputs do not fit."""
        traced = isinstance(offset, jax.core.Tracer)
        checks.positions(spec(X), None if traced else int(offset), **self.config)

    def __call__(self, X, offset=0, training=False):
        """Add the encoding of positions offset, offset + 1, ...

        Args:
            X: (batch, num_steps, num_hiddens).
            offset: position of the first step, for token-by-token decoding: an integer or an
                array ().
            training: whether dropout acts.

        Returns:
            Like X.
        """
        self.check(X, offset)
        P = jnp.asarray(self.P, X.dtype)
        P = jax.lax.dynamic_slice_in_dim(P, offset, X.shape[1])
        return self.dropout(X + P, training=training)


class LearnedPositionalEncoding(Module):
    """Encoding learned as an embedding of the position, added to the input."""

    def __init__(self, num_hiddens, dropout, max_len=1000):
        self.max_len = max_len
        self.dropout = Dropout(dropout)
        self.embedding = Embedding(max_len, num_hiddens)

    check = PositionalEncoding.check

    def __call__(self, X, offset=0, training=False):
        """Add the encoding; as `PositionalEncoding`."""
        self.check(X, offset)
        P = self.embedding(offset + jnp.arange(X.shape[1]))
        return self.dropout(X + P, training=training)
