"""Decoders that attend to the encoder's outputs at every step."""

import functools

import jax
from flax import linen as nn
from jax import numpy as jnp

from d2l_ext import checks
from d2l_ext.jax.masking import attend, check_masks
from d2l_ext.jax.recurrent import GRUStack, LSTMStack, join, loop, split
from d2l_ext.jax.scoring import SCORING, AdditiveAttention, pool, scoring
from d2l_ext.jax.seq2seq import Decoder


class AttentionDecoder(Decoder):
    """Base class: a decoder with attention over the encoder's outputs.

    ``attention_weights``, sown by every call, are (num_steps, batch, 1, num_keys).
    Keys are prepared once per sentence and cached at the end of the state.
    """

    def batch_size(self, state):
        """Return the number of sentences of a state."""
        return state[0].shape[0]

    def init_state(self, enc_outputs, enc_valid_lens=None):
        """Return [encoder outputs (batch, num_keys, num_hiddens), hidden state, lengths, keys].

        Args:
            enc_outputs: what the encoder returned: outputs, time first, and state.
            enc_valid_lens: (batch,) or None.
        """
        outputs, hidden_state = enc_outputs
        outputs = outputs.swapaxes(0, 1)
        check_masks((outputs.shape[0], 1, outputs.shape[1]), enc_valid_lens)
        return [outputs, hidden_state, enc_valid_lens, self.attn.prepare_keys(outputs)]

    def complete(self, state):
        """Prepare the keys if the state has D2L's three entries only."""
        return state if len(state) > 3 else [*state, self.attn.prepare_keys(state[0])]

    def select(self, state, rows):
        """Return the state of some rows of the batch."""
        enc_outputs, hidden_state, enc_valid_lens, keys = state
        hidden_state = join([tuple(h[rows] for h in layer) for layer in split(hidden_state)])
        lens = None if enc_valid_lens is None else enc_valid_lens[rows]
        return [enc_outputs[rows], hidden_state, lens, keys[rows]]


class Seq2SeqAttentionDecoder(AttentionDecoder):
    """Bahdanau's decoder: the last hidden state is the query, the context an input (2015).

    c_t = sum_i a(s_{t-1}, h_i) h_i    s_t = GRU([c_t, y_{t-1}], s_{t-1})    logits = W s_t + b
    """

    vocab_size: int
    embed_size: int
    num_hiddens: int
    num_layers: int
    dropout: float = 0

    stack = GRUStack

    def setup(self):
        self.attn = AdditiveAttention(self.num_hiddens, self.dropout, name="attention")
        self.embedding = nn.Embed(self.vocab_size, self.embed_size)
        num_inputs = self.embed_size + self.num_hiddens
        self.rnn = self.stack(num_inputs, self.num_hiddens, self.num_layers, self.dropout)
        self.dense = nn.Dense(self.vocab_size)

    def __call__(self, X, state, training=False):
        """Decode ids.

        Args:
            X: (batch, num_steps).
            state: as returned by `init_state` or by the last call, or D2L's three entries.
            training: whether dropout acts.

        Returns:
            Logits (batch, num_steps, vocab_size) and the new state.
        """
        self.check(X, state)
        enc_outputs, hidden_state, enc_valid_lens, keys = self.complete(state)
        batch, num_keys, num_hiddens = enc_outputs.shape
        mask = attend(num_keys, enc_valid_lens)
        embs = self.embedding(X.T)  # (num_steps, batch, embed_size)
        # The first layer's input is [context, embedding]; the embedding's part of its gates does
        # not depend on the recurrence.
        weight_ih, _, bias_ih, _ = self.rnn.weights(0)
        emb_gates = embs @ weight_ih[:, num_hiddens:].T + bias_ih
        rnn_masks = self.rnn.masks(len(embs), embs, training)
        pool_shape = (len(embs), batch, 1, num_keys)
        pool_mask = self.attn.drop.mask(pool_shape, embs.dtype, training)

        def step(states, inputs):
            gates, rnn_masks, pool_mask = inputs
            query = states[-1][0][:, None]  # (batch, 1, num_hiddens)
            drop = None if pool_mask is None else pool_mask.__mul__
            context, weights = pool(self.attn.score(query, keys), enc_outputs, mask, drop)
            gates = gates + context[:, 0] @ weight_ih[:, :num_hiddens].T
            states = self.rnn.advance(gates, states, rnn_masks)
            return states, (states[-1][0], weights)

        inputs, states = (emb_gates, rnn_masks, pool_mask), split(hidden_state)
        if self.is_initializing():  # Flax creates no parameters inside a loop
            step(states, jax.tree.map(lambda x: x[0], inputs))
        states, (outputs, weights) = loop(step, states, inputs)
        self.sow("intermediates", "attention_weights", weights)
        logits = self.dense(outputs).swapaxes(0, 1)
        return logits, [enc_outputs, join(states), enc_valid_lens, keys]


class LSTMAttentionDecoder(Seq2SeqAttentionDecoder):
    """Bahdanau's decoder with an LSTM; the hidden state is a tuple (H, C)."""

    stack = LSTMStack


class LuongDecoder(AttentionDecoder):
    """Luong's global attention (2015): the new hidden state is the query.

    s_t = GRU(y_{t-1}, s_{t-1})    c_t = sum_i a(s_t, h_i) h_i
    logits = W tanh(W_c [c_t; s_t]) + b

    Without the paper's input feeding, the recurrence does not depend on the attention, so that all
    steps attend in one product.
    """

    vocab_size: int
    embed_size: int
    num_hiddens: int
    num_layers: int
    dropout: float = 0
    attention: str = "bilinear"

    def __post_init__(self):
        checks.choice("attention", self.attention, tuple(SCORING))
        super().__post_init__()

    def setup(self):
        self.attn = scoring(self.attention, self.num_hiddens, self.dropout, name="attention")
        self.embedding = nn.Embed(self.vocab_size, self.embed_size)
        self.rnn = GRUStack(self.embed_size, self.num_hiddens, self.num_layers, self.dropout)
        self.W_c = nn.Dense(self.num_hiddens, use_bias=False)
        self.dense = nn.Dense(self.vocab_size)

    def __call__(self, X, state, training=False):
        """Decode ids; as `Seq2SeqAttentionDecoder`."""
        self.check(X, state)
        enc_outputs, hidden_state, enc_valid_lens, keys = self.complete(state)
        outputs, states = self.rnn(self.embedding(X.T), split(hidden_state), training=training)
        queries = outputs.swapaxes(0, 1)  # (batch, num_steps, num_hiddens)
        scores = self.attn.score(queries, keys)
        mask = attend(keys.shape[1], enc_valid_lens)
        dropout = functools.partial(self.attn.drop, training=training)
        contexts, weights = pool(scores, enc_outputs, mask, dropout)
        self.sow("intermediates", "attention_weights", weights.swapaxes(0, 1)[:, :, None])
        attentional = jnp.tanh(self.W_c(jnp.concatenate((contexts, queries), axis=-1)))
        return self.dense(attentional), [enc_outputs, join(states), enc_valid_lens, keys]
