"""Attention pooling: score each key against each query, normalise, and average the values.

Every class differs from the others in its score alone. Weights are sown as ``attention_weights``:
``apply(..., mutable="intermediates")`` returns them.
"""

import functools
import math

from flax import linen as nn
from jax import numpy as jnp

from d2l_ext import checks
from d2l_ext.jax.layers import Dropout, Module, seen
from d2l_ext.jax.masking import attend, check_masks, softmax


def attention(query, key, value, mask=None, dropout=None):
    """Scaled dot-product attention, softmax(Q K^T / sqrt(d)) V (Vaswani et al., 2017, eq. 1).

    Args:
        query: (..., num_queries, d).
        key: (..., num_keys, d).
        value: (..., num_keys, value_size).
        mask: boolean, broadcastable to (..., num_queries, num_keys); True means attend.
        dropout: a function applied to the weights before the values are averaged.

    Returns:
        Output (..., num_queries, value_size) and weights (..., num_queries, num_keys).
    """
    scores = query @ key.swapaxes(-2, -1) / math.sqrt(query.shape[-1])
    check_masks(scores.shape, mask=mask)
    return pool(scores, value, mask, dropout)


def pool(scores, value, mask, dropout):
    """Normalise scores and average the values with them; return output and weights."""
    weights = softmax(scores, mask)
    return (weights if dropout is None else dropout(weights)) @ value, weights


class Attention(Module):
    """Attention pooling; subclasses give the score."""

    same_size = True  # whether queries and keys must be vectors of one size

    def setup(self):
        self.drop = Dropout(self.dropout, name="dropout")

    def check(self, queries, keys, values, valid_lens=None, mask=None):
        """Raise a ValueError where the inputs do not fit."""
        checks.attention_inputs(seen(queries), seen(keys), seen(values), self.same_size)
        check_masks((*queries.shape[:2], keys.shape[1]), valid_lens, mask)

    def prepare_keys(self, keys):
        """Do what depends on the keys only; decoders do it once per sentence."""
        return keys

    def score(self, queries, keys):
        """Return scores (batch, num_queries, num_keys) of prepared keys."""
        raise NotImplementedError

    def __call__(self, queries, keys, values, valid_lens=None, mask=None, training=False):
        """Average the values by the weights of their keys.

        Args:
            queries: (batch, num_queries, query_size).
            keys: (batch, num_keys, key_size).
            values: (batch, num_keys, value_size).
            valid_lens: (batch,) or (batch, num_queries).
            mask: boolean, broadcastable to (batch, num_queries, num_keys); True means attend.
            training: whether dropout acts.

        Returns:
            (batch, num_queries, value_size).
        """
        self.check(queries, keys, values, valid_lens, mask)
        scores = self.score(queries, self.prepare_keys(keys))
        dropout = functools.partial(self.drop, training=training)
        output, weights = pool(scores, values, attend(keys.shape[1], valid_lens, mask), dropout)
        self.sow("intermediates", "attention_weights", weights)
        return output


class DotProductAttention(Attention):
    """Score q . k, divided by sqrt(d) if ``scaled``."""

    dropout: float
    scaled: bool = True

    def score(self, queries, keys):
        """Return q . k / sqrt(d)."""
        scores = queries @ keys.swapaxes(1, 2)
        return scores / math.sqrt(queries.shape[-1]) if self.scaled else scores


class AdditiveAttention(Attention):
    """Score w_v . tanh(W_q q + W_k k) (Bahdanau et al., 2015)."""

    num_hiddens: int
    dropout: float

    same_size = False

    def setup(self):
        super().setup()
        self.W_k = nn.Dense(self.num_hiddens, use_bias=False)
        self.W_q = nn.Dense(self.num_hiddens, use_bias=False)
        self.w_v = nn.Dense(1, use_bias=False)

    def prepare_keys(self, keys):
        """Project the keys to (batch, num_keys, num_hiddens)."""
        return self.W_k(keys)

    def score(self, queries, keys):
        """Return w_v . tanh(W_q q + projected k)."""
        features = jnp.tanh(self.W_q(queries)[:, :, None] + keys[:, None])
        return self.w_v(features).squeeze(-1)


class CosineAttention(Attention):
    """Score q . k / (|q| |k|); a zero vector scores 0."""

    dropout: float

    def prepare_keys(self, keys):
        """Scale the keys to length 1."""
        return unit(keys)

    def score(self, queries, keys):
        """Return the cosine of the angle between q and k."""
        return unit(queries) @ keys.swapaxes(1, 2)


def unit(X):
    """Divide vectors by their length; a zero vector is left as it is."""
    squares = (X * X).sum(axis=-1, keepdims=True)
    return X / jnp.sqrt(jnp.where(squares > 0, squares, 1))


class BilinearAttention(Attention):
    """Score q^T W k (Luong et al., 2015, "general"), W (query_size, key_size)."""

    dropout: float

    same_size = False

    @nn.compact  # the sizes of W are those of the first inputs
    def score(self, queries, keys):
        """Return q^T W k."""
        shape = (queries.shape[-1], keys.shape[-1])
        W = self.param("W", nn.initializers.xavier_uniform(), shape, jnp.float32)
        return queries @ W @ keys.swapaxes(1, 2)


class GaussianAttention(Attention):
    """Score -|q - k|^2 / (2 width^2): Nadaraya-Watson regression with a Gaussian kernel."""

    dropout: float
    width: float = 1.0

    def __post_init__(self):
        checks.positive("width", self.width)
        super().__post_init__()

    def score(self, queries, keys):
        """Return the logarithm of the kernel."""
        difference = queries[:, :, None] - keys[:, None]  # (batch, queries, keys, size)
        return (difference * difference).sum(axis=-1) / (-2 * self.width**2)


SCORING = {
    "dot": lambda size, dropout, **name: DotProductAttention(dropout, scaled=False, **name),
    "scaled_dot": lambda size, dropout, **name: DotProductAttention(dropout, **name),
    "cosine": lambda size, dropout, **name: CosineAttention(dropout, **name),
    "bilinear": lambda size, dropout, **name: BilinearAttention(dropout, **name),
    "gaussian": lambda size, dropout, **name: GaussianAttention(dropout, **name),
    "additive": AdditiveAttention,
}


def scoring(attention, num_hiddens, dropout, **name):
    """Build an attention by the name of its score; only "additive" uses ``num_hiddens``."""
    checks.choice("attention", attention, tuple(SCORING))
    return SCORING[attention](num_hiddens, dropout, **name)
