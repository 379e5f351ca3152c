"""Decoders that attend to the encoder's outputs at every step."""

import functools

import keras
import tensorflow as tf
from jaxtyping import Float, Int, Shaped

from d2l_ext.nested import nest
from d2l_ext.tensorflow.layers import Array, dense, embedding, kept, linear, spec, times
from d2l_ext.tensorflow.masking import check_masks, combine_masks
from d2l_ext.tensorflow.recurrent import (
    GRUStack,
    LSTMStack,
    loop,
    stack_states,
    unstack_states,
)
from d2l_ext.tensorflow.scoring import AdditiveAttention, pool, scoring
from d2l_ext.tensorflow.seq2seq import Decoder


class AttentionDecoder(Decoder):
    """Base class: a decoder with attention over the encoder's outputs.

    ``attention_weights`` holds the weights of the last call, one (batch, 1, num_keys) per step.
    Keys and the mask are prepared once per sentence and cached at the end of the state.
    """

    keep_weights = True

    def __init__(self):
        super().__init__()
        self._attention_weights = None  # (num_steps, batch, 1, num_keys)

    @property
    def attention_weights(self) -> list[Float[Array, "batch 1 num_keys"]] | None:
        """A list of one (batch, 1, num_keys) per step of the last call."""
        weights = self._attention_weights
        return None if weights is None else tf.unstack(weights)

    def batch_size(self, state: list) -> int:
        """Return the number of sentences of a state."""
        return spec(state[0]).shape[0]

    def init_state(
        self, enc_outputs: tuple, enc_valid_lens: Shaped[Array, " batch"] | None = None
    ) -> list:
        """Return [outputs (batch, num_keys, num_hiddens), hidden state, lengths, keys, mask].

        Args:
            enc_outputs: what the encoder returned: outputs, time first, and state.
        """
        outputs, hidden_state = enc_outputs
        outputs = tf.transpose(outputs, (1, 0, 2))
        batch, num_keys, _ = spec(outputs).shape
        check_masks((batch, 1, num_keys), enc_valid_lens)
        return self.with_prepared_keys([outputs, hidden_state, enc_valid_lens])

    def with_prepared_keys(self, state: list) -> list:
        """Prepare keys and mask if the state has D2L's three entries only."""
        if len(state) > 3:
            return state
        enc_outputs, _, enc_valid_lens = state
        mask = combine_masks(tf.shape(enc_outputs)[1], enc_valid_lens)
        return [*state, self.attention.prepare_keys(enc_outputs), mask]

    def take_rows(self, state: list, rows: Int[Array, " rows"]) -> list:
        """Return the state of some rows of the batch."""
        enc_outputs, hidden_state, enc_valid_lens, keys, mask = state
        hidden_state = nest(lambda H: tf.gather(H, rows, axis=1), hidden_state)

        def pick(x):
            return None if x is None else tf.gather(x, rows)

        return [pick(enc_outputs), hidden_state, pick(enc_valid_lens), pick(keys), pick(mask)]


class Seq2SeqAttentionDecoder(AttentionDecoder):
    """Bahdanau's decoder: the last hidden state is the query, the context an input (2015).

    c_t = sum_i a(s_{t-1}, h_i) h_i    s_t = GRU([c_t, y_{t-1}], s_{t-1})    logits = W s_t + b
    """

    stack = GRUStack

    def __init__(
        self,
        vocab_size: int,
        embed_size: int,
        num_hiddens: int,
        num_layers: int,
        dropout: float = 0,
    ):
        super().__init__()
        self.attention = AdditiveAttention(num_hiddens, dropout)
        self.embedding = embedding(vocab_size, embed_size)
        self.rnn = self.stack(embed_size + num_hiddens, num_hiddens, num_layers, dropout)
        self.dense = dense(vocab_size)

    def build(self) -> None:
        """Create the weights of the recurrent layers, which are used step by step, not called."""
        self.rnn.build()

    def call(
        self, X: Int[Array, "batch num_steps"], state: list, training: bool = False
    ) -> tuple[Float[Array, "batch num_steps vocab_size"], list]:
        """Decode ids.

        Args:
            state: as returned by `init_state` or by the last call, or D2L's three entries.
            training: whether dropout acts.

        Returns:
            Logits and the new state.
        """
        self.check(X, state)
        enc_outputs, hidden_state, enc_valid_lens, keys, mask = self.with_prepared_keys(state)
        batch, num_keys, num_hiddens = keras.ops.shape(enc_outputs)
        embs = tf.transpose(self.embedding(X), (1, 0, 2))  # (num_steps, batch, embed_size)
        num_steps = keras.ops.shape(embs)[0]
        # The first layer's input is [context, embedding]; the embedding's part of its gates does
        # not depend on the recurrence.
        rnn_weights = [self.rnn.layer_weights(layer) for layer in range(self.rnn.num_layers)]
        weight_ih, _, bias_ih, _ = rnn_weights[0]
        weight_context = weight_ih[:, :num_hiddens]
        emb_gates = linear(embs, weight_ih[:, num_hiddens:], bias_ih)
        rnn_masks = self.rnn.masks(num_steps, embs, training)
        pool_mask = self.attention.dropout.mask((num_steps, batch, 1, num_keys), embs, training)

        def step(before, inputs):
            states, _ = before
            gates, drop, drops = inputs
            query = states[-1][0][:, None]  # (batch, 1, num_hiddens)
            scores = self.attention.score(query, keys)
            context, weights = pool(scores, enc_outputs, mask, times(drop))
            gates += tf.matmul(context[:, 0], weight_context, transpose_b=True)
            return self.rnn.advance(gates, states, drops, rnn_weights), weights

        inputs = (emb_gates, pool_mask, rnn_masks)
        start = unstack_states(hidden_state), tf.zeros((batch, 1, num_keys), embs.dtype)
        states, weights = loop(step, start, inputs)
        self._attention_weights = kept(weights) if self.keep_weights else None
        logits = tf.transpose(self.dense(states[-1][0]), (1, 0, 2))
        final = stack_states(tf.nest.map_structure(lambda steps: steps[-1], states))
        return logits, [enc_outputs, final, enc_valid_lens, keys, mask]


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
        self,
        vocab_size: int,
        embed_size: int,
        num_hiddens: int,
        num_layers: int,
        dropout: float = 0,
        attention: str = "bilinear",
    ):
        super().__init__()
        self.attention = scoring(attention, num_hiddens, dropout)
        self.embedding = embedding(vocab_size, embed_size)
        self.rnn = GRUStack(embed_size, num_hiddens, num_layers, dropout)
        self.W_c = dense(num_hiddens, bias=False)
        self.dense = dense(vocab_size)

    def call(
        self, X: Int[Array, "batch num_steps"], state: list, training: bool = False
    ) -> tuple[Float[Array, "batch num_steps vocab_size"], list]:
        """Decode ids; as `Seq2SeqAttentionDecoder`."""
        self.check(X, state)
        enc_outputs, hidden_state, enc_valid_lens, keys, mask = self.with_prepared_keys(state)
        embs = tf.transpose(self.embedding(X), (1, 0, 2))
        outputs, states = self.rnn(embs, unstack_states(hidden_state), training=training)
        queries = tf.transpose(outputs, (1, 0, 2))  # (batch, num_steps, num_hiddens)
        scores = self.attention.score(queries, keys)
        dropout = functools.partial(self.attention.dropout, training=training)
        contexts, weights = pool(scores, enc_outputs, mask, dropout)
        per_step = tf.transpose(weights, (1, 0, 2))[:, :, None]
        self._attention_weights = kept(per_step) if self.keep_weights else None
        attentional = tf.tanh(self.W_c(tf.concat((contexts, queries), axis=-1)))
        logits = self.dense(attentional)
        return logits, [enc_outputs, stack_states(states), enc_valid_lens, keys, mask]
