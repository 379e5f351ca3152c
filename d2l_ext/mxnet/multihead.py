"""Multi-head attention: several attentions in parallel, each on its own projection."""

from jaxtyping import Bool, Float
from mxnet import np as mnp
from mxnet.gluon import nn

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.mxnet.layers import Array, Lengths, spec
from d2l_ext.mxnet.masking import check_masks, combine_masks
from d2l_ext.mxnet.scoring import DotProductAttention, pool


class MultiHeadAttention(Configured, nn.Block):
    """Multi-head attention (Vaswani et al., 2017, section 3.2.2).

    head_i = softmax(Q_i K_i^T / sqrt(d)) V_i, with Q = queries W_q^T and so on cut into heads of
    size d = num_hiddens / num_heads; the heads side by side are projected by W_o.
    """

    def __init__(self, num_hiddens: int, num_heads: int, dropout: float, bias: bool = False):
        super().__init__()
        checks.multiple("num_hiddens", num_hiddens, num_heads)
        self.num_heads = num_heads
        self.attention = DotProductAttention(dropout)
        self.W_q = nn.Dense(num_hiddens, use_bias=bias, flatten=False)
        self.W_k = nn.Dense(num_hiddens, use_bias=bias, flatten=False)
        self.W_v = nn.Dense(num_hiddens, use_bias=bias, flatten=False)
        self.W_o = nn.Dense(num_hiddens, use_bias=bias, flatten=False)

    @property
    def attention_weights(self) -> Float[Array, "batch_heads num_queries num_keys"] | None:
        """Weights of the last call, (batch * num_heads, num_queries, num_keys)."""
        return self.attention.attention_weights

    def check(
        self,
        queries: Float[Array, "batch num_queries query_size"],
        keys: Float[Array, "batch num_keys key_size"],
        values: Float[Array, "batch num_keys value_size"],
        valid_lens: Lengths | None = None,
        mask: Bool[Array, "..."] | None = None,
    ) -> None:
        """Raise a ValueError where the inputs do not fit."""
        checks.attention_inputs(spec(queries), spec(keys), spec(values), same_size=False)
        check_masks((*queries.shape[:2], keys.shape[1]), valid_lens, mask)

    def forward(
        self,
        queries: Float[Array, "batch num_queries query_size"],
        keys: Float[Array, "batch num_keys key_size"],
        values: Float[Array, "batch num_keys value_size"],
        valid_lens: Lengths | None = None,
        mask: Bool[Array, "..."] | None = None,
    ) -> Float[Array, "batch num_queries num_hiddens"]:
        """Attend with all heads at once.

        Args:
            valid_lens: how many leading keys may be attended to.
            mask: broadcastable to (batch, num_queries, num_keys), the same for all heads; True
                means attend.
        """
        self.check(queries, keys, values, valid_lens, mask)
        mask = combine_masks(keys.shape[1], valid_lens, mask)
        return self.attend(queries, *self.project(keys, values), mask)

    def project(
        self,
        keys: Float[Array, "batch num_keys key_size"],
        values: Float[Array, "batch num_keys value_size"],
    ) -> tuple[
        Float[Array, "batch_heads num_keys size"], Float[Array, "batch_heads num_keys size"]
    ]:
        """Project keys and values and cut them into heads; decoders cache the result."""
        return self.transpose_qkv(self.W_k(keys)), self.transpose_qkv(self.W_v(values))

    def attend(
        self,
        queries: Float[Array, "batch num_queries query_size"],
        keys: Float[Array, "batch_heads num_keys size"],
        values: Float[Array, "batch_heads num_keys size"],
        mask: Bool[Array, "..."] | None,
    ) -> Float[Array, "batch num_queries num_hiddens"]:
        """Attend to projected keys and values; the mask is one for all heads, or None."""
        queries = self.transpose_qkv(self.W_q(queries))
        inner = self.attention
        scores = inner.score(queries, keys)
        output, weights = pool(scores, values, self.per_head(mask), inner.dropout)
        inner.attention_weights = weights.detach() if inner.keep_weights else None
        return self.W_o(self.transpose_output(output))

    def per_head(self, mask: Bool[Array, "..."] | None) -> Bool[Array, "..."] | None:
        """Repeat a mask with a batch axis for every head."""
        repeat = mask is not None and mask.ndim == 3 and mask.shape[0] > 1
        return mnp.repeat(mask, self.num_heads, axis=0) if repeat else mask

    def transpose_qkv(
        self, X: Float[Array, "batch n num_hiddens"]
    ) -> Float[Array, "batch_heads n size"]:
        """(batch, n, num_hiddens) to (batch * num_heads, n, num_hiddens / num_heads)."""
        batch, n, _ = X.shape
        if n > 1:  # a single step lies in memory as it should
            X = X.reshape(batch, n, self.num_heads, -1)
            X = X.swapaxes(1, 2)  # (batch, num_heads, n, d)
        return X.reshape(batch * self.num_heads, n, -1)

    def transpose_output(
        self, X: Float[Array, "batch_heads n size"]
    ) -> Float[Array, "batch n num_hiddens"]:
        """Undo `transpose_qkv`."""
        n, d = X.shape[1:]
        if n > 1:
            X = X.reshape(-1, self.num_heads, n, d)
            X = X.swapaxes(1, 2)  # (batch, n, num_heads, d)
        return X.reshape(-1, n, self.num_heads * d)
