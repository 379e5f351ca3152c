"""Attention pooling: score each key against each query, normalise, and average the values.

Every class differs from the others in its score alone. Weights are kept in ``attention_weights``.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import nn

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.torch.layers import Array, Dropout, Lengths, spec, widened
from d2l_ext.torch.masking import check_masks, combine_masks, unchecked_masked_softmax


def attention(
    query: Float[Array, "*batch num_queries d"],
    key: Float[Array, "*batch num_keys d"],
    value: Float[Array, "*batch num_keys value_size"],
    mask: Bool[Array, "..."] | None = None,
    dropout: Callable[[Array], Array] | None = None,
) -> tuple[
    Float[Array, "*batch num_queries value_size"], Float[Array, "*batch num_queries num_keys"]
]:
    """Scaled dot-product attention, softmax(Q K^T / sqrt(d)) V (Vaswani et al., 2017, eq. 1).

    Args:
        mask: broadcastable to the scores; True means attend.
        dropout: a function applied to the weights before the values are averaged.

    Returns:
        The output, and the weights before dropout.
    """
    scores = query @ key.transpose(-2, -1) / math.sqrt(query.shape[-1])
    check_masks(tuple(scores.shape), mask=mask)
    return pool(scores, value, mask, dropout)


def pool(
    scores: Float[Array, "*batch num_queries num_keys"],
    value: Float[Array, "*batch num_keys value_size"],
    mask: Bool[Array, "..."] | None,
    dropout: Callable[[Array], Array] | None,
) -> tuple[
    Float[Array, "*batch num_queries value_size"], Float[Array, "*batch num_queries num_keys"]
]:
    """Normalise scores and average the values with them; return output and weights."""
    weights = unchecked_masked_softmax(scores, mask)
    return (weights if dropout is None else dropout(weights)) @ value, weights


class Attention(Configured, nn.Module):
    """Attention pooling; subclasses give the score."""

    same_size = True  # whether queries and keys must be vectors of one size
    keep_weights = True

    def __init__(self, dropout: float):
        super().__init__()
        self.dropout = Dropout(dropout)
        self.attention_weights = None

    def check(
        self,
        queries: Float[Array, "batch num_queries query_size"],
        keys: Float[Array, "batch num_keys key_size"],
        values: Float[Array, "batch num_keys value_size"],
        valid_lens: Lengths | None = None,
        mask: Bool[Array, "..."] | None = None,
    ) -> None:
        """Raise a ValueError where the inputs do not fit."""
        checks.attention_inputs(spec(queries), spec(keys), spec(values), self.same_size)
        check_masks((*queries.shape[:2], keys.shape[1]), valid_lens, mask)

    def prepare_keys(
        self, keys: Float[Array, "batch num_keys key_size"]
    ) -> Float[Array, "batch num_keys ..."]:
        """Do what depends on the keys only; decoders do it once per sentence."""
        return keys

    def score(
        self,
        queries: Float[Array, "batch num_queries query_size"],
        keys: Float[Array, "batch num_keys key_size"],
    ) -> Float[Array, "batch num_queries num_keys"]:
        """Return scores (batch, num_queries, num_keys) of prepared keys."""
        raise NotImplementedError

    def forward(
        self,
        queries: Float[Array, "batch num_queries query_size"],
        keys: Float[Array, "batch num_keys key_size"],
        values: Float[Array, "batch num_keys value_size"],
        valid_lens: Lengths | None = None,
        mask: Bool[Array, "..."] | None = None,
    ) -> Float[Array, "batch num_queries value_size"]:
        """Average the values by the weights of their keys.

        Args:
            valid_lens: how many leading keys may be attended to.
            mask: broadcastable to (batch, num_queries, num_keys); True means attend.
        """
        self.check(queries, keys, values, valid_lens, mask)
        scores = self.score(queries, self.prepare_keys(keys))
        output, weights = pool(
            scores, values, combine_masks(keys.shape[1], valid_lens, mask), self.dropout
        )
        self.attention_weights = weights.detach() if self.keep_weights else None
        return output


class DotProductAttention(Attention):
    """Score q . k, divided by sqrt(d) if ``scaled``."""

    def __init__(self, dropout: float, scaled: bool = True):
        super().__init__(dropout)
        self.scaled = scaled

    def score(
        self,
        queries: Float[Array, "batch num_queries size"],
        keys: Float[Array, "batch num_keys size"],
    ) -> Float[Array, "batch num_queries num_keys"]:
        """Return q . k / sqrt(d); queries are fewer numbers to divide than scores."""
        if self.scaled:
            queries = queries / math.sqrt(queries.shape[-1])
        return torch.bmm(queries, keys.transpose(1, 2))


class AdditiveAttention(Attention):
    """Score w_v . tanh(W_q q + W_k k) (Bahdanau et al., 2015)."""

    same_size = False

    def __init__(self, num_hiddens: int, dropout: float):
        super().__init__(dropout)
        self.W_k = nn.LazyLinear(num_hiddens, bias=False)
        self.W_q = nn.LazyLinear(num_hiddens, bias=False)
        self.w_v = nn.Linear(num_hiddens, 1, bias=False)

    def prepare_keys(
        self, keys: Float[Array, "batch num_keys key_size"]
    ) -> Float[Array, "batch num_keys num_hiddens"]:
        """Project the keys to (batch, num_keys, num_hiddens)."""
        return self.W_k(keys)

    def score(
        self,
        queries: Float[Array, "batch num_queries query_size"],
        keys: Float[Array, "batch num_keys num_hiddens"],
    ) -> Float[Array, "batch num_queries num_keys"]:
        """Return w_v . tanh(W_q q + projected k)."""
        features = self.W_q(queries)[:, :, None] + keys[:, None]
        return self.w_v(features.tanh_()).squeeze(-1)  # in place: no array of a step is larger


class CosineAttention(Attention):
    """Score q . k / (|q| |k|); a zero vector scores 0."""

    def prepare_keys(
        self, keys: Float[Array, "batch num_keys size"]
    ) -> Float[Array, "batch num_keys size"]:
        """Scale the keys to length 1."""
        return unit(keys)

    def score(
        self,
        queries: Float[Array, "batch num_queries size"],
        keys: Float[Array, "batch num_keys size"],
    ) -> Float[Array, "batch num_queries num_keys"]:
        """Return the cosine of the angle between q and k."""
        return torch.bmm(unit(queries), keys.transpose(1, 2))


def unit(X: Float[Array, "*batch size"]) -> Float[Array, "*batch size"]:
    """Divide vectors by their length; a zero vector is left as it is."""
    wide = widened(X)
    squares = (wide * wide).sum(dim=-1, keepdim=True)
    return (wide / torch.where(squares > 0, squares, 1).sqrt()).to(X.dtype)


class BilinearAttention(nn.modules.lazy.LazyModuleMixin, Attention):
    """Score q^T W k (Luong et al., 2015, "general"), W (query_size, key_size)."""

    same_size = False

    def __init__(self, dropout: float):
        super().__init__(dropout)
        self.W = nn.UninitializedParameter()

    def initialize_parameters(
        self,
        queries: Float[Array, "batch num_queries query_size"],
        keys: Float[Array, "batch num_keys key_size"],
        *_: Any,
    ) -> None:
        """Create W when the sizes are known; PyTorch calls this before the first forward pass."""
        if self.has_uninitialized_params():
            self.W.materialize((queries.shape[-1], keys.shape[-1]))
            nn.init.xavier_uniform_(self.W)

    def score(
        self,
        queries: Float[Array, "batch num_queries query_size"],
        keys: Float[Array, "batch num_keys key_size"],
    ) -> Float[Array, "batch num_queries num_keys"]:
        """Return q^T W k."""
        self.initialize_parameters(queries, keys)  # decoders call the score alone
        return torch.bmm(queries @ self.W, keys.transpose(1, 2))


class GaussianAttention(Attention):
    """Score -|q - k|^2 / (2 width^2): Nadaraya-Watson regression with a Gaussian kernel."""

    def __init__(self, dropout: float, width: float = 1.0):
        super().__init__(dropout)
        checks.positive("width", width)
        self.width = width

    def score(
        self,
        queries: Float[Array, "batch num_queries size"],
        keys: Float[Array, "batch num_keys size"],
    ) -> Float[Array, "batch num_queries num_keys"]:
        """Return the logarithm of the kernel."""
        difference = queries[:, :, None] - keys[:, None]  # (batch, queries, keys, size)
        return (difference * difference).sum(dim=-1) / (-2 * self.width**2)


SCORING = {
    "dot": lambda num_hiddens, dropout: DotProductAttention(dropout, scaled=False),
    "scaled_dot": lambda num_hiddens, dropout: DotProductAttention(dropout),
    "cosine": lambda num_hiddens, dropout: CosineAttention(dropout),
    "bilinear": lambda num_hiddens, dropout: BilinearAttention(dropout),
    "gaussian": lambda num_hiddens, dropout: GaussianAttention(dropout),
    "additive": AdditiveAttention,
}


def scoring(name: str, num_hiddens: int, dropout: float) -> Attention:
    """Build an attention by the name of its score; only "additive" uses ``num_hiddens``."""
    checks.choice("attention", name, tuple(SCORING))
    return SCORING[name](num_hiddens, dropout)
