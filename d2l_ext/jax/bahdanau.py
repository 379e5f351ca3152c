"""Decoders that attend to the encoder's outputs at every step."""

import functools

from flax import nnx
from jax import numpy as jnp

from d2l_ext.interface import nest
from d2l_ext.jax.layers import Embedding, Linear
from d2l_ext.jax.masking import check_masks, combine_masks
from d2l_ext.jax.recurrent import GRUStack, LSTMStack, loop, stack_states, unstack_states
from d2l_ext.jax.scoring import AdditiveAttention, pool, scoring
from d2l_ext.jax.seq2seq import Decoder


class AttentionDecoder(Decoder):
    """Base class: a decoder with attention over the encoder's outputs.

    ``attention_weights`` holds the weights of the last call, (batch, 1, num_keys) for each step.
    Keys are prepared once per sentence and cached at the end of the state.
    """

    def __init__(self):
        self._attention_weights = nnx.data(None)

    @property
    def attention_weights(self):
        """Weights of the last call, (num_steps, batch, 1, num_keys)."""
        return self._attention_weights

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
        return [outputs, hidden_state, enc_valid_lens, self.attention.prepare_keys(outputs)]

    def with_prepared_keys(self, state):
        """Prepare the keys if the state has D2L's three entries only."""
        return state if len(state) > 3 else [*state, self.attention.prepare_keys(state[0])]

    def take_rows(self, state, rows):
        """Return the state of some rows of the batch."""
        enc_outputs, hidden_state, enc_valid_lens, keys = state
        hidden_state = nest(lambda H: H[:, rows], hidden_state)
        lens = None if enc_valid_lens is None else enc_valid_lens[rows]
        return [enc_outputs[rows], hidden_state, lens, keys[rows]]


class Seq2SeqAttentionDecoder(AttentionDecoder):
    """Bahdanau's decoder: the last hidden state is the query, the context an input (2015).

    c_t = sum_i a(s_{t-1}, h_i) h_i    s_t = GRU([c_t, y_{t-1}], s_{t-1})    logits = W s_t + b
    """

    stack = GRUStack

    def __init__(self, vocab_size, embed_size, num_hiddens, num_layers, dropout=0):
        super().__init__()
        self.attention = AdditiveAttention(num_hiddens, dropout)
        self.embedding = Embedding(vocab_size, embed_size)
        self.rnn = self.stack(embed_size + num_hiddens, num_hiddens, num_layers, dropout)
        self.dense = Linear(num_hiddens, vocab_size)

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
        enc_outputs, hidden_state, enc_valid_lens, keys = self.with_prepared_keys(state)
        batch, num_keys, num_hiddens = enc_outputs.shape
        mask = combine_masks(num_keys, enc_valid_lens)
        embs = self.embedding(X.T)  # (num_steps, batch, embed_size)
        # The first layer's input is [context, embedding]; the embedding's part of its gates does
        # not depend on the recurrence.
        weight_ih, _, bias_ih, _ = self.rnn.weights(0)
        emb_gates = embs @ weight_ih[:, num_hiddens:].T + bias_ih
        rnn_masks = self.rnn.masks(len(embs), embs, training)
        pool_shape = (len(embs), batch, 1, num_keys)
        pool_mask = self.attention.dropout.mask(pool_shape, embs.dtype, training)

        def step(states, inputs):
            gates, rnn_masks, pool_mask = inputs
            query = states[-1][0][:, None]  # (batch, 1, num_hiddens)
            drop = None if pool_mask is None else pool_mask.__mul__
            context, weights = pool(self.attention.score(query, keys), enc_outputs, mask, drop)
            gates = gates + context[:, 0] @ weight_ih[:, :num_hiddens].T
            states = self.rnn.advance(gates, states, rnn_masks)
            return states, (states[-1][0], weights)

        inputs = (emb_gates, rnn_masks, pool_mask)
        states, (outputs, weights) = loop(step, unstack_states(hidden_state), inputs)
        self.keep("_attention_weights", weights)
        logits = self.dense(outputs).swapaxes(0, 1)
        return logits, [enc_outputs, stack_states(states), enc_valid_lens, keys]


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

    def __init__(
        self, vocab_size, embed_size, num_hiddens, num_layers, dropout=0, attention="bilinear"
    ):
        super().__init__()
        self.attention = scoring(attention, num_hiddens, dropout)
        self.embedding = Embedding(vocab_size, embed_size)
        self.rnn = GRUStack(embed_size, num_hiddens, num_layers, dropout)
        self.W_c = Linear(2 * num_hiddens, num_hiddens, bias=False)
        self.dense = Linear(num_hiddens, vocab_size)

    def __call__(self, X, state, training=False):
        """Decode ids; as `Seq2SeqAttentionDecoder`."""
        self.check(X, state)
        enc_outputs, hidden_state, enc_valid_lens, keys = self.with_prepared_keys(state)
        outputs, states = self.rnn(
            self.embedding(X.T), unstack_states(hidden_state), training=training
        )
        queries = outputs.swapaxes(0, 1)  # (batch, num_steps, num_hiddens)
        scores = self.attention.score(queries, keys)
        mask = combine_masks(keys.shape[1], enc_valid_lens)
        dropout = functools.partial(self.attention.dropout, training=training)
        contexts, weights = pool(scores, enc_outputs, mask, dropout)
        self.keep("_attention_weights", weights.swapaxes(0, 1)[:, :, None])
        attentional = jnp.tanh(self.W_c(jnp.concatenate((contexts, queries), axis=-1)))
        return self.dense(attentional), [enc_outputs, stack_states(states), enc_valid_lens, keys]
