"""The Transformer: blocks of self-attention and position-wise networks."""

import math
from collections.abc import Callable

from jaxtyping import Bool, Float, Int, Shaped
from mxnet import np as mnp
from mxnet import npx
from mxnet.gluon import nn

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.mxnet.bahdanau import AttentionDecoder
from d2l_ext.mxnet.layers import Array, Dropout, blocks, gelu
from d2l_ext.mxnet.masking import check_masks, combine_masks, steps_below
from d2l_ext.mxnet.multihead import MultiHeadAttention
from d2l_ext.mxnet.normalization import LayerNorm
from d2l_ext.mxnet.positional import PositionalEncoding
from d2l_ext.mxnet.seq2seq import Encoder
from d2l_ext.nested import nest

ACTIVATIONS = {"relu": npx.relu, "gelu": gelu}


class PositionWiseFFN(Configured, nn.Block):
    """The same two-layer network at every position: dense2(activation(dense1(x))).

    ``activation`` is "relu" or "gelu", the exact one with the error function.
    """

    def __init__(self, ffn_num_hiddens: int, ffn_num_outputs: int, activation: str = "relu"):
        super().__init__()
        checks.choice("activation", activation, tuple(ACTIVATIONS))
        self.activation = ACTIVATIONS[activation]
        self.dense1 = nn.Dense(ffn_num_hiddens, flatten=False)
        self.dense2 = nn.Dense(ffn_num_outputs, flatten=False, in_units=ffn_num_hiddens)

    def forward(self, X: Float[Array, "*batch size"]) -> Float[Array, "*batch ffn_num_outputs"]:
        """Map (..., size) to (..., ffn_num_outputs)."""
        return self.dense2(self.activation(self.dense1(X)))


class AddNorm(Configured, nn.Block):
    """Residual connection, then layer normalisation: LayerNorm(X + dropout(Y))."""

    def __init__(self, norm_shape: int, dropout: float, eps: float = 1e-5):
        super().__init__()
        self.dropout = Dropout(dropout)
        self.ln = LayerNorm(norm_shape, eps)

    def forward(
        self, X: Float[Array, "*batch norm_shape"], Y: Float[Array, "*batch norm_shape"]
    ) -> Float[Array, "*batch norm_shape"]:
        """Add (..., norm_shape) and (..., norm_shape), and normalise."""
        return self.ln(self.dropout(Y) + X)

    def wrap(
        self, X: Float[Array, "*batch norm_shape"], sublayer: Callable[[Array], Array], norm: str
    ) -> Float[Array, "*batch norm_shape"]:
        """Put the connection around a sublayer.

        "post" (as in D2L) normalises the sum; "pre" (Xiong et al., 2020) the sublayer's input,
        X + dropout(sublayer(LayerNorm(X))).
        """
        if norm == "pre":
            return X + self.dropout(sublayer(self.ln(X)))
        return self(X, sublayer(X))


class TransformerEncoderBlock(Configured, nn.Block):
    """Self-attention and a position-wise network, each with its `AddNorm`."""

    def __init__(
        self,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_heads: int,
        dropout: float,
        use_bias: bool = False,
        norm: str = "post",
        activation: str = "relu",
        eps: float = 1e-5,
    ):
        super().__init__()
        checks.choice("norm", norm, ("post", "pre"))
        self.norm = norm
        self.attention = MultiHeadAttention(num_hiddens, num_heads, dropout, use_bias)
        self.addnorm1 = AddNorm(num_hiddens, dropout, eps)
        self.ffn = PositionWiseFFN(ffn_num_hiddens, num_hiddens, activation)
        self.addnorm2 = AddNorm(num_hiddens, dropout, eps)

    @property
    def attention_weights(self) -> Float[Array, "batch_heads num_steps num_steps"] | None:
        """Weights of the last call, (batch * num_heads, num_steps, num_steps)."""
        return self.attention.attention_weights

    def check(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        valid_lens: Shaped[Array, " batch"] | None = None,
    ) -> None:
        """Raise a ValueError where the inputs do not fit."""
        self.attention.check(X, X, X, valid_lens)

    def forward(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        valid_lens: Shaped[Array, " batch"] | None = None,
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Map (batch, num_steps, num_hiddens) to the same shape; ``valid_lens`` (batch,)."""
        self.check(X, valid_lens)
        X = self.addnorm1.wrap(X, lambda x: self.attention(x, x, x, valid_lens), self.norm)
        return self.addnorm2.wrap(X, self.ffn, self.norm)


class TransformerEncoder(Encoder):
    """Scaled embedding, positional encoding and blocks; with pre-norm, a last layer norm."""

    def __init__(
        self,
        vocab_size: int,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_heads: int,
        num_blks: int,
        dropout: float,
        use_bias: bool = False,
        norm: str = "post",
        activation: str = "relu",
        max_len: int = 1000,
    ):
        super().__init__()
        self.scale = math.sqrt(num_hiddens)
        self.embedding = nn.Embedding(vocab_size, num_hiddens)
        self.pos_encoding = PositionalEncoding(num_hiddens, dropout, max_len)
        self.blks = blocks(
            [
                TransformerEncoderBlock(
                    num_hiddens, ffn_num_hiddens, num_heads, dropout, use_bias, norm, activation
                )
                for i in range(num_blks)
            ]
        )
        self.ln = LayerNorm(num_hiddens) if norm == "pre" else None

    @property
    def attention_weights(self) -> list[Float[Array, "batch_heads num_steps num_steps"] | None]:
        """One (batch * num_heads, num_steps, num_steps) per block."""
        return [blk.attention_weights for blk in self.blks]

    def forward(
        self, X: Int[Array, "batch num_steps"], valid_lens: Shaped[Array, " batch"] | None = None
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Encode ids (batch, num_steps) to (batch, num_steps, num_hiddens)."""
        self.check(X, valid_lens)
        X = self.pos_encoding(self.embedding(X) * self.scale)
        for blk in self.blks:
            X = blk(X, valid_lens)
        return X if self.ln is None else self.ln(X)


class TransformerDecoderBlock(Configured, nn.Block):
    """Causal self-attention, attention to the encoder and a position-wise network.

    ``i`` is the block's index: where its caches stand in the state.
    """

    def __init__(
        self,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_heads: int,
        dropout: float,
        i: int,
        use_bias: bool = False,
        norm: str = "post",
        activation: str = "relu",
    ):
        super().__init__()
        checks.choice("norm", norm, ("post", "pre"))
        self.i, self.norm = i, norm
        self.attention1 = MultiHeadAttention(num_hiddens, num_heads, dropout, use_bias)
        self.addnorm1 = AddNorm(num_hiddens, dropout)
        self.attention2 = MultiHeadAttention(num_hiddens, num_heads, dropout, use_bias)
        self.addnorm2 = AddNorm(num_hiddens, dropout)
        self.ffn = PositionWiseFFN(ffn_num_hiddens, num_hiddens, activation)
        self.addnorm3 = AddNorm(num_hiddens, dropout)

    def project(
        self,
        enc_outputs: Float[Array, "batch num_keys num_hiddens"],
        enc_valid_lens: Shaped[Array, " batch"] | None,
    ) -> tuple[
        Float[Array, "batch_heads num_keys size"],
        Float[Array, "batch_heads num_keys size"],
        Bool[Array, "batch 1 num_keys"] | None,
    ]:
        """Prepare what does not change while a sentence is decoded.

        Returns:
            Projected keys and values, and a mask.
        """
        mask = combine_masks(enc_outputs.shape[1], enc_valid_lens)
        return *self.attention2.project(enc_outputs, enc_outputs), mask

    def forward(
        self, X: Float[Array, "batch num_steps num_hiddens"], state: list
    ) -> tuple[Float[Array, "batch num_steps num_hiddens"], list]:
        """Decode the next steps.

        Args:
            state: as in `TransformerDecoder.init_state`, or D2L's three entries.

        Returns:
            Like X, and the state, in which this block's cache is new.
        """
        if len(state) == 3:
            caches = state[2]
            state = [*state, [None] * len(caches), steps_in(caches[self.i])]
        enc_outputs, enc_valid_lens, caches, projected, position = state
        caches, projected = list(caches), list(projected)
        if projected[self.i] is None:
            projected[self.i] = self.project(enc_outputs, enc_valid_lens)

        def attend_to_past(x):
            caches[self.i] = append(caches[self.i], self.attention1.project(x, x))
            keys, values = caches[self.i]
            mask = up_to_itself(x, keys)
            return self.attention1.attend(x, keys, values, mask)

        def attend_to_encoder(x):
            return self.attention2.attend(x, *projected[self.i])

        X = self.addnorm1.wrap(X, attend_to_past, self.norm)
        X = self.addnorm2.wrap(X, attend_to_encoder, self.norm)
        X = self.addnorm3.wrap(X, self.ffn, self.norm)
        return X, [enc_outputs, enc_valid_lens, caches, projected, position]


def steps_in(cache: tuple | None) -> Int[Array, ""]:
    """Return how many steps a block's cached keys have, an array (); none at first."""
    return mnp.full((), 0 if cache is None else cache[0].shape[1], dtype="int64")


def append(cache: tuple | None, pair: tuple) -> tuple:
    """Append keys and values to a cache: none, or a pair that grows."""
    if cache is None:
        return pair
    return tuple(mnp.concatenate(both, axis=1) for both in zip(cache, pair, strict=True))


def up_to_itself(
    X: Float[Array, "batch num_steps num_hiddens"], keys: Float[Array, "batch_heads num_keys size"]
) -> Bool[Array, "num_steps num_keys"] | None:
    """Mask by which X's steps, the keys' last ones, see no later key; None if X is one step."""
    num_steps, num_keys = X.shape[1], keys.shape[1]
    if num_steps == 1:
        return None
    return steps_below(mnp.arange(num_keys - num_steps, num_keys, dtype="int64") + 1, num_keys)


class TransformerDecoder(AttentionDecoder):
    """Scaled embedding, positional encoding, blocks and an output layer.

    Projected keys and values are cached, those of the encoder once per sentence and those of the
    decoder token by token, so that decoding a token costs the same at every position, but for the
    attention's own sum.
    """

    def __init__(
        self,
        vocab_size: int,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_heads: int,
        num_blks: int,
        dropout: float,
        use_bias: bool = False,
        norm: str = "post",
        activation: str = "relu",
        max_len: int = 1000,
    ):
        super().__init__()
        self.scale = math.sqrt(num_hiddens)
        self.embedding = nn.Embedding(vocab_size, num_hiddens)
        self.pos_encoding = PositionalEncoding(num_hiddens, dropout, max_len)
        self.blks = blocks(
            [
                TransformerDecoderBlock(
                    num_hiddens, ffn_num_hiddens, num_heads, dropout, i, use_bias, norm, activation
                )
                for i in range(num_blks)
            ]
        )
        self.ln = LayerNorm(num_hiddens) if norm == "pre" else None
        self.dense = nn.Dense(vocab_size, flatten=False, in_units=num_hiddens)

    @property
    def attention_weights(self) -> list[list]:
        """Two lists, of self-attention and of attention to the encoder, one array per block."""
        blks = self.blks
        return [
            [blk.attention1.attention_weights for blk in blks],
            [blk.attention2.attention_weights for blk in blks],
        ]

    def check(self, X: Int[Array, "batch num_steps"], state: list) -> None:
        """Raise a ValueError where the inputs do not fit."""
        super().check(X, state)
        H = checks.Spec((*X.shape, self.config["num_hiddens"]), "float32")
        position = state[4] if len(state) > 3 else steps_in(state[2][0])
        checks.positions(H, int(position), **self.pos_encoding.config)

    def init_state(
        self,
        enc_outputs: Float[Array, "batch num_keys num_hiddens"],
        enc_valid_lens: Shaped[Array, " batch"] | None = None,
    ) -> list:
        """Return the state that decoding starts from.

        Returns:
            [encoder outputs, lengths, per block the cached keys and values of self-attention (None
            at first), per block what `TransformerDecoderBlock.project` returns, position]; keys
            and values are (batch * num_heads, n, num_hiddens / num_heads).
        """
        check_masks((enc_outputs.shape[0], 1, enc_outputs.shape[1]), enc_valid_lens)
        return self.with_prepared_keys([enc_outputs, enc_valid_lens, [None] * len(self.blks)])

    def with_prepared_keys(self, state: list) -> list:
        """Prepare what the blocks need of the source if the state has D2L's three entries only."""
        if len(state) > 3:
            return state
        enc_outputs, enc_valid_lens, caches = state
        projected = [blk.project(enc_outputs, enc_valid_lens) for blk in self.blks]
        return [*state, projected, steps_in(caches[0])]

    def forward(
        self, X: Int[Array, "batch num_steps"], state: list
    ) -> tuple[Float[Array, "batch num_steps vocab_size"], list]:
        """Decode ids.

        Args:
            X: the tokens that follow those already decoded.
            state: as returned by `init_state` or by the last call, or D2L's three entries.

        Returns:
            Logits and the new state; the old one stays valid.
        """
        state = self.with_prepared_keys(state)
        self.check(X, state)
        position = state[4]
        H = self.pos_encoding(self.embedding(X) * self.scale, position)
        for blk in self.blks:
            H, state = blk(H, state)
        logits = self.dense(H if self.ln is None else self.ln(H))
        return logits, [*state[:4], position + X.shape[1]]

    def take_rows(self, state: list, rows: Int[Array, " rows"]) -> list:
        """Return the state of some rows of the batch."""
        enc_outputs, enc_valid_lens, caches, projected, position = state

        def pick(x):
            return None if x is None else mnp.take(x, rows, axis=0)

        def pick_heads(x):  # (batch * num_heads, n, d)
            return pick(x.reshape(len(enc_outputs), -1, *x.shape[1:])).reshape(-1, *x.shape[1:])

        return [
            pick(enc_outputs),
            pick(enc_valid_lens),
            nest(pick_heads, caches),
            nest(pick_heads, projected),  # a mask has one head
            position,
        ]
