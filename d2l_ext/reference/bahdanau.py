"""Decoders that attend to the encoder's outputs at every step."""

import numpy as np

from d2l_ext.interface import nest
from d2l_ext.reference.layers import Embedding, Linear
from d2l_ext.reference.masking import check_masks, combine_masks
from d2l_ext.reference.recurrent import GRUStack, LSTMStack, stack_states, unstack_states
from d2l_ext.reference.scoring import AdditiveAttention, pool, scoring
from d2l_ext.reference.seq2seq import Decoder


class AttentionDecoder(Decoder):
    """Base class: a decoder with attention over the encoder's outputs.

    ``attention_weights`` holds the weights of the last call, one (batch, 1, num_keys) per step.
    Keys are prepared once per sentence and cached at the end of the state.
    """

    attention_weights = None

    def init_state(self, enc_outputs, enc_valid_lens=None):
        """Return [encoder outputs (batch, num_keys, num_hiddens), hidden state, lengths, keys].

        Args:
            enc_outputs: what the encoder returned: outputs, time first, and state.
            enc_valid_lens: (batch,) or None.
        """
        outputs, hidden_state = enc_outputs
        outputs = np.swapaxes(outputs, 0, 1)
        check_masks((outputs.shape[0], 1, outputs.shape[1]), enc_valid_lens)
        return [outputs, hidden_state, enc_valid_lens, self.attention.prepare_keys(outputs)]

    def batch_size(self, state):
        """Return the number of sentences of a state."""
        return state[0].shape[0]

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
        self.attention = AdditiveAttention(num_hiddens, dropout)
        self.embedding = Embedding(vocab_size, embed_size)
        self.rnn = self.stack(embed_size + num_hiddens, num_hiddens, num_layers, dropout)
        self.dense = Linear(vocab_size)

    def forward(self, X, state):
        """Decode ids.

        Args:
            X: (batch, num_steps).
            state: as returned by `init_state` or by the last call, or D2L's three entries.

        Returns:
            Logits (batch, num_steps, vocab_size) and the new state.
        """
        self.check(X, state)
        enc_outputs, hidden_state, enc_valid_lens, keys = self.with_prepared_keys(state)
        batch, num_keys = enc_outputs.shape[:2]
        mask = combine_masks(num_keys, enc_valid_lens)
        embs = self.embedding(np.asarray(X).T)  # (num_steps, batch, embed_size)
        rnn_masks = self.rnn.masks(len(embs), batch)
        pool_mask = self.attention.dropout.mask((len(embs), batch, 1, num_keys))
        states, outputs, self.attention_weights = unstack_states(hidden_state), [], []
        for t, emb in enumerate(embs):
            query = states[-1][0][:, None]  # (batch, 1, num_hiddens)
            drop = None if pool_mask is None else pool_mask[t].__mul__
            context, weights = pool(self.attention.score(query, keys), enc_outputs, mask, drop)
            x = np.concatenate((context[:, 0], emb), axis=-1)
            states = self.rnn.advance(x, states, [m if m is None else m[t] for m in rnn_masks])
            outputs.append(states[-1][0])
            self.attention_weights.append(weights)
        logits = np.swapaxes(self.dense(np.stack(outputs)), 0, 1)
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
        self.attention = scoring(attention, num_hiddens, dropout)
        self.embedding = Embedding(vocab_size, embed_size)
        self.rnn = GRUStack(embed_size, num_hiddens, num_layers, dropout)
        self.W_c = Linear(num_hiddens, bias=False)
        self.dense = Linear(vocab_size)

    def forward(self, X, state):
        """Decode ids; as `Seq2SeqAttentionDecoder`."""
        self.check(X, state)
        enc_outputs, hidden_state, enc_valid_lens, keys = self.with_prepared_keys(state)
        outputs, states = self.rnn(self.embedding(np.asarray(X).T), unstack_states(hidden_state))
        queries = np.swapaxes(outputs, 0, 1)  # (batch, num_steps, num_hiddens)
        scores = self.attention.score(queries, keys)
        mask = combine_masks(scores.shape[-1], enc_valid_lens)
        contexts, weights = pool(scores, enc_outputs, mask, self.attention.dropout)
        self.attention_weights = list(np.swapaxes(weights, 0, 1)[:, :, None])
        attentional = np.tanh(self.W_c(np.concatenate((contexts, queries), axis=-1)))
        return self.dense(attentional), [enc_outputs, stack_states(states), enc_valid_lens, keys]
