"""The Transformer: blocks of self-attention and position-wise networks."""

import functools
import math

import jax
import numpy as np
from flax import linen as nn
from jax import numpy as jnp

from d2l_ext import checks
from d2l_ext.interface import room
from d2l_ext.jax.bahdanau import AttentionDecoder
from d2l_ext.jax.layers import Dropout, LayerNorm, Module, seen
from d2l_ext.jax.masking import attend, check_masks
from d2l_ext.jax.multihead import MultiHeadAttention
from d2l_ext.jax.positional import PositionalEncoding
from d2l_ext.jax.seq2seq import Encoder

ACTIVATIONS = {"relu": nn.relu, "gelu": functools.partial(nn.gelu, approximate=False)}


class PositionWiseFFN(Module):
    """The same two-layer network at every position: dense2(activation(dense1(x))).

    ``activation`` is "relu" or "gelu", the exact one with the error function.
    """

    ffn_num_hiddens: int
    ffn_num_outputs: int
    activation: str = "relu"

    def __post_init__(self):
        checks.choice("activation", self.activation, tuple(ACTIVATIONS))
        super().__post_init__()

    def setup(self):
        self.dense1 = nn.Dense(self.ffn_num_hiddens)
        self.dense2 = nn.Dense(self.ffn_num_outputs)

    def __call__(self, X, training=False):
        """Map (..., size) to (..., ffn_num_outputs); nothing depends on ``training``."""
        return self.dense2(ACTIVATIONS[self.activation](self.dense1(X)))


class AddNorm(Module):
    """Residual connection, then layer normalisation: LayerNorm(X + dropout(Y))."""

    norm_shape: int
    dropout: float
    eps: float = 1e-5

    def setup(self):
        self.drop = Dropout(self.dropout, name="dropout")
        self.ln = LayerNorm(self.eps)

    def __call__(self, X, Y, training=False):
        """Add (..., norm_shape) and (..., norm_shape), and normalise."""
        return self.ln(self.drop(Y, training=training) + X)

    def wrap(self, X, sublayer, norm, training):
        """Put the connection around a sublayer.

        "post" (as in D2L) normalises the sum; "pre" (Xiong et al., 2020) the sublayer's input,
        X + dropout(sublayer(LayerNorm(X))).
        """
        if norm == "pre":
            return X + self.drop(sublayer(self.ln(X)), training=training)
        return self(X, sublayer(X), training=training)


class Options:
    """Mixin that checks, when a module is constructed, what its blocks would notice later."""

    def __post_init__(self):
        checks.choice("norm", self.norm, ("post", "pre"))
        checks.multiple("num_hiddens", self.num_hiddens, self.num_heads)
        checks.choice("activation", self.activation, tuple(ACTIVATIONS))
        super().__post_init__()


class TransformerEncoderBlock(Options, Module):
    """Self-attention and a position-wise network, each with its `AddNorm`."""

    num_hiddens: int
    ffn_num_hiddens: int
    num_heads: int
    dropout: float
    use_bias: bool = False
    norm: str = "post"
    activation: str = "relu"

    def setup(self):
        sizes = self.num_hiddens, self.num_heads
        self.attention = MultiHeadAttention(*sizes, self.dropout, self.use_bias)
        self.addnorm1 = AddNorm(self.num_hiddens, self.dropout)
        self.ffn = PositionWiseFFN(self.ffn_num_hiddens, self.num_hiddens, self.activation)
        self.addnorm2 = AddNorm(self.num_hiddens, self.dropout)

    def check(self, X, valid_lens=None):
        """Raise a ValueError where the inputs do not fit."""
        checks.attention_inputs(seen(X), seen(X), seen(X))
        check_masks((*X.shape[:2], X.shape[1]), valid_lens)

    def __call__(self, X, valid_lens=None, training=False):
        """Map (batch, num_steps, num_hiddens) to the same shape; ``valid_lens`` (batch,)."""
        self.check(X, valid_lens)

        def attend_to_itself(x):
            return self.attention(x, x, x, valid_lens, training=training)

        X = self.addnorm1.wrap(X, attend_to_itself, self.norm, training)
        return self.addnorm2.wrap(X, self.ffn, self.norm, training)

    @nn.nowrap
    def attention_weights(self, sown):
        """Return the weights of the last call, (batch * num_heads, num_steps, num_steps)."""
        return super().attention_weights(sown["attention"])


class TransformerEncoder(Options, Encoder):
    """Scaled embedding, positional encoding and blocks; with pre-norm, a last layer norm."""

    vocab_size: int
    num_hiddens: int
    ffn_num_hiddens: int
    num_heads: int
    num_blks: int
    dropout: float
    use_bias: bool = False
    norm: str = "post"
    activation: str = "relu"
    max_len: int = 1000

    def setup(self):
        self.embedding = nn.Embed(self.vocab_size, self.num_hiddens)
        self.pos_encoding = PositionalEncoding(self.num_hiddens, self.dropout, self.max_len)
        sizes = self.num_hiddens, self.ffn_num_hiddens, self.num_heads
        options = self.use_bias, self.norm, self.activation
        self.blks = {
            f"block{i}": TransformerEncoderBlock(*sizes, self.dropout, *options)
            for i in range(self.num_blks)
        }
        self.ln = LayerNorm() if self.norm == "pre" else None

    def __call__(self, X, valid_lens=None, training=False):
        """Encode ids (batch, num_steps) to (batch, num_steps, num_hiddens)."""
        self.check(X, valid_lens)
        H = self.embedding(X) * math.sqrt(self.num_hiddens)
        H = self.pos_encoding(H, training=training)
        for blk in self.blks.values():
            H = blk(H, valid_lens, training=training)
        return H if self.ln is None else self.ln(H)

    @nn.nowrap
    def attention_weights(self, sown):
        """Return one (batch * num_heads, num_steps, num_steps) per block."""
        blks = [sown[f"blks_block{i}"] for i in range(self.num_blks)]
        return [Module.attention_weights(self, blk["attention"]) for blk in blks]


class TransformerDecoderBlock(Options, Module):
    """Causal self-attention, attention to the encoder and a position-wise network.

    ``i`` is the block's index: where its caches stand in the state.
    """

    num_hiddens: int
    ffn_num_hiddens: int
    num_heads: int
    dropout: float
    i: int
    use_bias: bool = False
    norm: str = "post"
    activation: str = "relu"

    def setup(self):
        sizes = self.num_hiddens, self.num_heads
        self.attention1 = MultiHeadAttention(*sizes, self.dropout, self.use_bias)
        self.addnorm1 = AddNorm(self.num_hiddens, self.dropout)
        self.attention2 = MultiHeadAttention(*sizes, self.dropout, self.use_bias)
        self.addnorm2 = AddNorm(self.num_hiddens, self.dropout)
        self.ffn = PositionWiseFFN(self.ffn_num_hiddens, self.num_hiddens, self.activation)
        self.addnorm3 = AddNorm(self.num_hiddens, self.dropout)

    def __call__(self, X, state, training=False):
        """Decode the next steps.

        Args:
            X: (batch, num_steps, num_hiddens).
            state: as in `TransformerDecoder.init_state`, or D2L's three entries.
            training: whether dropout acts.

        Returns:
            Like X, and the state, in which this block's cache is new.
        """
        if len(state) == 3:
            past = state[2][self.i]
            state = [*state, [None] * len(state[2]), 0 if past is None else past[0].shape[1]]
        enc_outputs, enc_valid_lens, caches, projected, position = state
        caches, projected = list(caches), list(projected)
        if projected[self.i] is None:
            projected[self.i] = self.attention2.project(enc_outputs, enc_outputs)
        enc_mask = attend(enc_outputs.shape[1], enc_valid_lens)

        def attend_to_past(x):
            caches[self.i] = append(caches[self.i], self.attention1.project(x, x), position)
            keys, values = caches[self.i]
            # Step t of X stands at position + t and sees the keys up to there.
            steps = position + jnp.arange(x.shape[1])
            mask = steps[:, None] >= jnp.arange(keys.shape[1])
            return self.attention1.attend(x, keys, values, mask, training)

        def attend_to_encoder(x):
            return self.attention2.attend(x, *projected[self.i], enc_mask, training)

        X = self.addnorm1.wrap(X, attend_to_past, self.norm, training)
        X = self.addnorm2.wrap(X, attend_to_encoder, self.norm, training)
        X = self.addnorm3.wrap(X, self.ffn, self.norm, training)
        return X, [enc_outputs, enc_valid_lens, caches, projected, position]


def append(cache, pair, position):
    """Append keys and values to a cache: none, a pair that grows, or an array that has room."""
    if cache is None:
        return pair
    if isinstance(cache, (tuple, list)):
        return tuple(jnp.concatenate(both, axis=1) for both in zip(cache, pair, strict=True))
    return jax.lax.dynamic_update_slice_in_dim(cache, jnp.stack(pair), position, axis=2)


class TransformerDecoder(Options, AttentionDecoder):
    """Scaled embedding, positional encoding, blocks and an output layer.

    Projected keys and values are cached, those of the encoder once per sentence and those of the
    decoder token by token, so that decoding a token costs the same at every position, but for the
    attention's own sum.
    """

    vocab_size: int
    num_hiddens: int
    ffn_num_hiddens: int
    num_heads: int
    num_blks: int
    dropout: float
    use_bias: bool = False
    norm: str = "post"
    activation: str = "relu"
    max_len: int = 1000

    def setup(self):
        self.embedding = nn.Embed(self.vocab_size, self.num_hiddens)
        self.pos_encoding = PositionalEncoding(self.num_hiddens, self.dropout, self.max_len)
        sizes = self.num_hiddens, self.ffn_num_hiddens, self.num_heads
        options = self.use_bias, self.norm, self.activation
        self.blks = {
            f"block{i}": TransformerDecoderBlock(*sizes, self.dropout, i, *options)
            for i in range(self.num_blks)
        }
        self.ln = LayerNorm() if self.norm == "pre" else None
        self.dense = nn.Dense(self.vocab_size)

    def check(self, X, state):
        """Raise a ValueError where the inputs do not fit."""
        super().check(X, state)
        # In compiled code the position is known here or never.
        position = None if isinstance(state[4], jax.core.Tracer) else int(state[4])
        H = checks.Seen((*X.shape, self.num_hiddens), "float32")
        checks.positions(H, position, self.num_hiddens, self.dropout, self.max_len)

    def init_state(self, enc_outputs, enc_valid_lens=None):
        """Return the state that decoding starts from.

        Args:
            enc_outputs: (batch, num_keys, num_hiddens).
            enc_valid_lens: (batch,) or None.

        Returns:
            [encoder outputs, lengths, per block the cached keys and values of self-attention (None
            at first), per block the encoder's projected keys and values, position]; keys and
            values are (batch * num_heads, n, num_hiddens / num_heads).
        """
        check_masks((enc_outputs.shape[0], 1, enc_outputs.shape[1]), enc_valid_lens)
        blks = self.blks.values()
        projected = [blk.attention2.project(enc_outputs, enc_outputs) for blk in blks]
        return [enc_outputs, enc_valid_lens, [None] * len(blks), projected, np.zeros((), np.int64)]

    def __call__(self, X, state, training=False):
        """Decode ids.

        Args:
            X: (batch, num_steps), the tokens that follow those already decoded.
            state: as returned by `init_state` or by the last call.
            training: whether dropout acts.

        Returns:
            Logits (batch, num_steps, vocab_size) and the new state; the old one stays valid.
        """
        self.check(X, state)
        position = state[4]
        H = self.embedding(X) * math.sqrt(self.num_hiddens)
        H = self.pos_encoding(H, position, training=training)
        for blk in self.blks.values():
            H, state = blk(H, state, training=training)
        logits = self.dense(H if self.ln is None else self.ln(H))
        return logits, [*state[:4], position + X.shape[1]]

    def reserve(self, state, num_steps, least=0):
        """Return the state with room for so many more steps, so that its shapes no longer change.

        Caches become arrays (2, batch * num_heads, size, num_hiddens / num_heads) that are filled
        in place. One that must grow at least doubles, and gets the size ``least`` at least.
        """
        enc_outputs, enc_valid_lens, caches, projected, position = state
        sizes = [0 if cache is None else cache[0].shape[1] for cache in caches]
        size = room(sizes, int(position) + num_steps, least)
        if size is None:
            return state

        def grow(cache, pair):
            batch_heads, _, d = pair[0].shape
            grown = jnp.zeros((2, batch_heads, size, d), pair[0].dtype)
            return grown if cache is None else grown.at[:, :, : cache[0].shape[1]].set(cache)

        caches = [grow(cache, pair) for cache, pair in zip(caches, projected, strict=True)]
        return [enc_outputs, enc_valid_lens, caches, projected, position]

    def select(self, state, rows):
        """Return the state of some rows of the batch."""
        enc_outputs, enc_valid_lens, caches, projected, position = state

        def pick(x):  # (..., batch * num_heads, n, d)
            *rest, _, n, d = x.shape
            x = x.reshape(*rest, len(enc_outputs), self.num_heads, n, d)
            return x[..., rows, :, :, :].reshape(*rest, -1, n, d)

        return [
            enc_outputs[rows],
            None if enc_valid_lens is None else enc_valid_lens[rows],
            jax.tree.map(pick, caches),
            jax.tree.map(pick, projected),
            position,
        ]

    @nn.nowrap
    def attention_weights(self, sown):
        """Return two lists, of self-attention and of attention to the encoder, one per block."""
        blks = [sown[f"blks_block{i}"] for i in range(self.num_blks)]
        names = "attention1", "attention2"
        return [[Module.attention_weights(self, blk[name]) for blk in blks] for name in names]
