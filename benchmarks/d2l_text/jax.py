"""D2L's decoders in JAX, see the package's docstring for their origin."""

import jax
from flax import linen as nn
from jax import numpy as jnp

from benchmarks.d2l_text import load

d2l = load("jax")


class Seq2SeqAttentionDecoder(nn.Module):
    vocab_size: int
    embed_size: int
    num_hiddens: int
    num_layers: int
    dropout: float = 0

    def setup(self):
        self.attention = d2l.AdditiveAttention(self.num_hiddens, self.dropout)
        self.embedding = nn.Embed(self.vocab_size, self.embed_size)
        self.dense = nn.Dense(self.vocab_size)
        self.rnn = d2l.GRU(self.num_hiddens, self.num_layers, dropout=self.dropout)

    def init_state(self, enc_outputs, enc_valid_lens, *args):
        outputs, hidden_state = enc_outputs
        return (outputs.transpose(1, 0, 2), hidden_state, enc_valid_lens)

    @nn.compact
    def __call__(self, X, state, training=False):
        enc_outputs, hidden_state, enc_valid_lens = state
        X = self.embedding(X).transpose(1, 0, 2)
        outputs, attention_weights = [], []
        for x in X:
            query = jnp.expand_dims(hidden_state[-1], axis=1)
            context, attention_w = self.attention(
                query, enc_outputs, enc_outputs, enc_valid_lens, training=training
            )
            x = jnp.concatenate((context, jnp.expand_dims(x, axis=1)), axis=-1)
            out, hidden_state = self.rnn(x.transpose(1, 0, 2), hidden_state, training=training)
            outputs.append(out)
            attention_weights.append(attention_w)
        self.sow("intermediates", "dec_attention_weights", attention_weights)
        outputs = self.dense(jnp.concatenate(outputs, axis=0))
        return outputs.transpose(1, 0, 2), [enc_outputs, hidden_state, enc_valid_lens]


class TransformerDecoderBlock(nn.Module):
    num_hiddens: int
    ffn_num_hiddens: int
    num_heads: int
    dropout: float
    i: int

    def setup(self):
        self.attention1 = d2l.MultiHeadAttention(self.num_hiddens, self.num_heads, self.dropout)
        self.addnorm1 = d2l.AddNorm(self.dropout)
        self.attention2 = d2l.MultiHeadAttention(self.num_hiddens, self.num_heads, self.dropout)
        self.addnorm2 = d2l.AddNorm(self.dropout)
        self.ffn = d2l.PositionWiseFFN(self.ffn_num_hiddens, self.num_hiddens)
        self.addnorm3 = d2l.AddNorm(self.dropout)

    def __call__(self, X, state, training=False):
        enc_outputs, enc_valid_lens = state[0], state[1]
        past = state[2][self.i]
        key_values = X if past is None else jnp.concatenate((past, X), axis=1)
        state[2][self.i] = key_values
        if training:
            batch_size, num_steps, _ = X.shape
            dec_valid_lens = jnp.tile(jnp.arange(1, num_steps + 1), (batch_size, 1))
        else:
            dec_valid_lens = None
        X2, attention_w1 = self.attention1(
            X, key_values, key_values, dec_valid_lens, training=training
        )
        Y = self.addnorm1(X, X2, training=training)
        Y2, attention_w2 = self.attention2(
            Y, enc_outputs, enc_outputs, enc_valid_lens, training=training
        )
        Z = self.addnorm2(Y, Y2, training=training)
        return self.addnorm3(Z, self.ffn(Z), training=training), state, attention_w1, attention_w2


class TransformerDecoder(nn.Module):
    vocab_size: int
    num_hiddens: int
    ffn_num_hiddens: int
    num_heads: int
    num_blks: int
    dropout: float

    def setup(self):
        self.embedding = nn.Embed(self.vocab_size, self.num_hiddens)
        self.pos_encoding = d2l.PositionalEncoding(self.num_hiddens, self.dropout)
        self.blks = [
            TransformerDecoderBlock(
                self.num_hiddens, self.ffn_num_hiddens, self.num_heads, self.dropout, i
            )
            for i in range(self.num_blks)
        ]
        self.dense = nn.Dense(self.vocab_size)

    def init_state(self, enc_outputs, enc_valid_lens):
        return [enc_outputs, enc_valid_lens, [None] * self.num_blks]

    def __call__(self, X, state, training=False):
        X = self.embedding(X) * jnp.sqrt(jnp.float32(self.num_hiddens))
        X = self.pos_encoding(X, training=training)
        attention_weights = [[None] * len(self.blks) for _ in range(2)]
        for i, blk in enumerate(self.blks):
            X, state, attention_w1, attention_w2 = blk(X, state, training=training)
            attention_weights[0][i] = attention_w1
            attention_weights[1][i] = attention_w2
        self.sow("intermediates", "dec_attention_weights", attention_weights)
        return self.dense(X), state


def model(s):
    """D2L's model of a setting."""
    if s.model == "transformer":
        args = (
            s.vocab_size,
            s.num_hiddens,
            s.ffn_num_hiddens,
            s.num_heads,
            s.num_layers,
            s.dropout,
        )
        parts = d2l.TransformerEncoder(*args), TransformerDecoder(*args)
    else:
        args = s.vocab_size, s.num_hiddens, s.num_hiddens, s.num_layers, s.dropout
        parts = d2l.Seq2SeqEncoder(*args), Seq2SeqAttentionDecoder(*args)
    return d2l.Seq2Seq(*parts, tgt_pad=0, lr=0.005, training=True)


def array(x):
    """D2L's data loader gives NumPy arrays to JAX."""
    return x


def wait(trainer):
    """Wait until the update is done."""
    jax.block_until_ready(trainer.state.params)


def predictor(model, trainer):
    """Return what `predict_step` does before its loop and in it."""
    params = trainer.state.params

    def start(src, lens):
        enc_outputs, _ = model.encoder.apply(
            {"params": params["encoder"]}, src, lens, training=False, mutable="intermediates"
        )
        return model.decoder.init_state(enc_outputs, lens)

    def advance(tokens, state):
        (Y, state), _ = model.decoder.apply(
            {"params": params["decoder"]}, tokens, state, training=False, mutable="intermediates"
        )
        return d2l.argmax(Y, 2).block_until_ready(), state

    return start, advance
