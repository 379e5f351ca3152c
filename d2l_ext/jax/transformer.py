"""The Transformer: blocks of self-attention and position-wise networks."""

import functools
import math
from collections.abc import Callable

import jax
import numpy as np
from flax import nnx
from jax import numpy as jnp
from jaxtyping import Bool, Float, Int, Shaped

from d2l_ext import checks
from d2l_ext.caches import room
from d2l_ext.jax.bahdanau import AttentionDecoder
from d2l_ext.jax.layers import Array, Dropout, Embedding, LazyLinear, Linear, Module
from d2l_ext.jax.masking import check_masks, combine_masks
from d2l_ext.jax.multihead import MultiHeadAttention
from d2l_ext.jax.normalization import LayerNorm
from d2l_ext.jax.positional import Offset, PositionalEncoding
from d2l_ext.jax.seq2seq import Encoder
from d2l_ext.nested import nest

ACTIVATIONS = {"relu": nnx.relu, "gelu": functools.partial(nnx.gelu, approximate=False)}


class PositionWiseFFN(Module):
    """The same two-layer network at every position: dense2(activation(dense1(x))).

    ``activation`` is "relu" or "gelu", the exact one with the error function.
    """

    def __init__(self, ffn_num_hiddens: int, ffn_num_outputs: int, activation: str = "relu"):
        checks.choice("activation", activation, tuple(ACTIVATIONS))
        self.activation = ACTIVATIONS[activation]
        self.dense1 = LazyLinear(ffn_num_hiddens)
        self.dense2 = Linear(ffn_num_hiddens, ffn_num_outputs)

    def __call__(
        self, X: Float[Array, "*batch size"], training: bool = False
    ) -> Float[Array, "*batch ffn_num_outputs"]:
        """Map (..., size) to (..., ffn_num_outputs); nothing depends on ``training``."""
        return self.dense2(self.activation(self.dense1(X)))


class AddNorm(Module):
    """Residual connection, then layer normalisation: LayerNorm(X + dropout(Y))."""

    def __init__(self, norm_shape: int, dropout: float, eps: float = 1e-5):
        self.dropout = Dropout(dropout)
        self.ln = LayerNorm(norm_shape, eps)

    def __call__(
        self,
        X: Float[Array, "*batch norm_shape"],
        Y: Float[Array, "*batch norm_shape"],
        training: bool = False,
    ) -> Float[Array, "*batch norm_shape"]:
        """Add (..., norm_shape) and (..., norm_shape), and normalise."""
        return self.ln(self.dropout(Y, training=training) + X)

    def wrap(
        self,
        X: Float[Array, "*batch norm_shape"],
        sublayer: Callable[[Array], Array],
        norm: str,
        training: bool,
    ) -> Float[Array, "*batch norm_shape"]:
        """Put the connection around a sublayer.

        "post" (as in D2L) normalises the sum; "pre" (Xiong et al., 2020) the sublayer's input,
        X + dropout(sublayer(LayerNorm(X))).
        """
        if norm == "pre":
            return X + self.dropout(sublayer(self.ln(X)), training=training)
        return self(X, sublayer(X), training=training)


class TransformerEncoderBlock(Module):
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

    def __call__(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        valid_lens: Shaped[Array, " batch"] | None = None,
        training: bool = False,
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Map (batch, num_steps, num_hiddens) to the same shape; ``valid_lens`` (batch,)."""
        self.check(X, valid_lens)

        def attend_to_itself(x):
            return self.attention(x, x, x, valid_lens, training=training)

        X = self.addnorm1.wrap(X, attend_to_itself, self.norm, training)
        return self.addnorm2.wrap(X, self.ffn, self.norm, training)


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
        self.scale = math.sqrt(num_hiddens)
        self.embedding = Embedding(vocab_size, num_hiddens)
        self.pos_encoding = PositionalEncoding(num_hiddens, dropout, max_len)
        self.blks = nnx.List(
            [
                TransformerEncoderBlock(
                    num_hiddens, ffn_num_hiddens, num_heads, dropout, use_bias, norm, activation
                )
                for _ in range(num_blks)
            ]
        )
        self.ln = LayerNorm(num_hiddens) if norm == "pre" else None

    @property
    def attention_weights(self) -> list[Float[Array, "batch_heads num_steps num_steps"] | None]:
        """One (batch * num_heads, num_steps, num_steps) per block."""
        return [blk.attention_weights for blk in self.blks]

    def __call__(
        self,
        X: Int[Array, "batch num_steps"],
        valid_lens: Shaped[Array, " batch"] | None = None,
        training: bool = False,
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Encode ids (batch, num_steps) to (batch, num_steps, num_hiddens)."""
        self.check(X, valid_lens)
        H = self.embedding(X) * self.scale
        H = self.pos_encoding(H, training=training)
        for blk in self.blks:
            H = blk(H, valid_lens, training=training)
        return H if self.ln is None else self.ln(H)


class TransformerDecoderBlock(Module):
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

    def __call__(
        self, X: Float[Array, "batch num_steps num_hiddens"], state: list, training: bool = False
    ) -> tuple[Float[Array, "batch num_steps num_hiddens"], list]:
        """Decode the next steps.

        Args:
            state: as in `TransformerDecoder.init_state`, or D2L's three entries.
            training: whether dropout acts.

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
            caches[self.i] = append(caches[self.i], self.attention1.project(x, x), position)
            keys, values = caches[self.i]
            mask = up_to_itself(x, keys, position)
            return self.attention1.attend(x, keys, values, mask, training)

        def attend_to_encoder(x):
            return self.attention2.attend(x, *projected[self.i], training)

        X = self.addnorm1.wrap(X, attend_to_past, self.norm, training)
        X = self.addnorm2.wrap(X, attend_to_encoder, self.norm, training)
        X = self.addnorm3.wrap(X, self.ffn, self.norm, training)
        return X, [enc_outputs, enc_valid_lens, caches, projected, position]


def steps_in(cache: tuple | list | None) -> Int[np.ndarray, ""]:
    """Return how many steps a block's cached keys have, an array (); none at first."""
    return np.array(0 if cache is None else cache[0].shape[1], np.int64)


def append(cache: tuple | list | None, pair: tuple, position: Offset) -> tuple | list:
    """Append keys and values to a cache: none, a pair that grows, or a list that has room."""
    if cache is None:
        return pair
    both = list(zip(cache, pair, strict=True))
    if isinstance(cache, tuple):
        return tuple(jnp.concatenate(arrays, axis=1) for arrays in both)
    fill = jax.lax.dynamic_update_slice_in_dim
    return [fill(reserved, new, position, axis=1) for reserved, new in both]


def up_to_itself(
    X: Float[Array, "batch num_steps num_hiddens"],
    keys: Float[Array, "batch_heads num_keys size"],
    position: Offset,
) -> Bool[Array, "num_steps num_keys"]:
    """Mask by which X's steps, from a position on, see no later key."""
    steps = position + jnp.arange(X.shape[1])
    return steps[:, None] >= jnp.arange(keys.shape[1])


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
        self.embedding = Embedding(vocab_size, num_hiddens)
        self.pos_encoding = PositionalEncoding(num_hiddens, dropout, max_len)
        self.blks = nnx.List(
            [
                TransformerDecoderBlock(
                    num_hiddens, ffn_num_hiddens, num_heads, dropout, i, use_bias, norm, activation
                )
                for i in range(num_blks)
            ]
        )
        self.ln = LayerNorm(num_hiddens) if norm == "pre" else None
        self.dense = Linear(num_hiddens, vocab_size)

    @property
    def attention_weights(self) -> list[list]:
        """Two lists, of self-attention and of attention to the encoder, one array per block."""
        return [
            [blk.attention1.attention_weights for blk in self.blks],
            [blk.attention2.attention_weights for blk in self.blks],
        ]

    def check(self, X: Int[Array, "batch num_steps"], state: list) -> None:
        """Raise a ValueError where the inputs do not fit."""
        super().check(X, state)
        # In compiled code the position is known here or never.
        position = state[4] if len(state) > 3 else steps_in(state[2][0])
        position = None if isinstance(position, jax.core.Tracer) else int(position)
        H = checks.Spec((*X.shape, self.pos_encoding.num_hiddens), "float32")
        checks.positions(H, position, **self.pos_encoding.config)

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

    def __call__(
        self, X: Int[Array, "batch num_steps"], state: list, training: bool = False
    ) -> tuple[Float[Array, "batch num_steps vocab_size"], list]:
        """Decode ids.

        Args:
            X: the tokens that follow those already decoded.
            state: as returned by `init_state` or by the last call, or D2L's three entries.
            training: whether dropout acts.

        Returns:
            Logits and the new state; the old one stays valid.
        """
        state = self.with_prepared_keys(state)
        self.check(X, state)
        position = state[4]
        H = self.embedding(X) * self.scale
        H = self.pos_encoding(H, position, training=training)
        for blk in self.blks:
            H, state = blk(H, state, training=training)
        logits = self.dense(H if self.ln is None else self.ln(H))
        return logits, [*state[:4], position + X.shape[1]]

    def reserve(self, state: list, num_steps: int, least: int = 0) -> list:
        """Return the state with room for so many more steps, so that its shapes no longer change.

        Caches become lists of two arrays (batch * num_heads, size, num_hiddens / num_heads) that
        are filled in place. (Of a single array, XLA would copy keys and values out at every token.)
        One that must grow at least doubles, and gets the size ``least`` at least.
        """
        enc_outputs, enc_valid_lens, caches, projected, position = state
        sizes = [0 if cache is None else cache[0].shape[1] for cache in caches]
        size = room(sizes, int(position) + num_steps, least)
        if size is None:
            return state

        def grow(cache, like):
            batch_heads, _, d = like.shape
            grown = [jnp.zeros((batch_heads, size, d), like.dtype) for _ in range(2)]
            if cache is None:
                return grown
            return [new.at[:, : x.shape[1]].set(x) for new, x in zip(grown, cache, strict=True)]

        caches = [grow(cache, keys) for cache, (keys, *_) in zip(caches, projected, strict=True)]
        return [enc_outputs, enc_valid_lens, caches, projected, position]

    def take_rows(self, state: list, rows: Int[Array, " rows"]) -> list:
        """Return the state of some rows of the batch."""
        enc_outputs, enc_valid_lens, caches, projected, position = state

        def pick(x):
            return None if x is None else x[rows]

        def pick_heads(x):  # (..., batch * num_heads, n, d)
            *rest, _, n, d = x.shape
            x = x.reshape(*rest, len(enc_outputs), -1, n, d)
            return x[..., rows, :, :, :].reshape(*rest, -1, n, d)

        return [
            pick(enc_outputs),
            pick(enc_valid_lens),
            nest(pick_heads, caches),
            nest(pick_heads, projected),  # a mask has one head
            position,
        ]
