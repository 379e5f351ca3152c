"""Decoders that attend to the encoder's outputs at every step."""

import functools

from flax import nnx
from jax import numpy as jnp
from jaxtyping import Float, Int, Shaped

from d2l_ext.jax.layers import Array, Embedding, Linear, product, times
from d2l_ext.jax.masking import check_masks, combine_masks
from d2l_ext.jax.recurrent import GRUStack, LSTMStack, loop, stack_states, unstack_states
from d2l_ext.jax.scoring import AdditiveAttention, pool, scoring
from d2l_ext.jax.seq2seq import Decoder
from d2l_ext.nested import nest


class AttentionDecoder(Decoder):
    """Base class: a decoder with attention over the encoder's outputs.

    ``attention_weights`` holds the weights of the last call, (batch, 1, num_keys) for each step.
    Keys and the mask are prepared once per sentence and cached at the end of the state.
    """

    keep_weights = True

    def __init__(self):
        self._attention_weights = nnx.data(None)

    @property
    def attention_weights(self) -> Float[Array, "num_steps batch 1 num_keys"] | None:
        """Weights of the last call, (num_steps, batch, 1, num_keys)."""
        return self._attention_weights

    def batch_size(self, state: list) -> int:
        """Return the number of sentences of a state."""
        return state[0].shape[0]

    def init_state(
        self, enc_outputs: tuple, enc_valid_lens: Shaped[Array, " batch"] | None = None
    ) -> list:
        """Return [outputs (batch, num_keys, num_hiddens), hidden state, lengths, keys, mask].

        Args:
            enc_outputs: what the encoder returned: outputs, time first, and state.
        """
        outputs, hidden_state = enc_outputs
        outputs = outputs.swapaxes(0, 1)
        check_masks((outputs.shape[0], 1, outputs.shape[1]), enc_valid_lens)
        return self.with_prepared_keys([outputs, hidden_state, enc_valid_lens])

    def with_prepared_keys(self, state: list) -> list:
        """Prepare keys and mask if the state has D2L's three entries only."""
        if len(state) > 3:
            return state
        enc_outputs, _, enc_valid_lens = state
        mask = combine_masks(enc_outputs.shape[1], enc_valid_lens)
        return [*state, self.attention.prepare_keys(enc_outputs), mask]

    def take_rows(self, state: list, rows: Int[Array, " rows"]) -> list:
        """Return the state of some rows of the batch."""
        enc_outputs, hidden_state, enc_valid_lens, keys, mask = state
        hidden_state = nest(lambda H: H[:, rows], hidden_state)

        def pick(x):
            return None if x is None else x[rows]

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
        self.embedding = Embedding(vocab_size, embed_size)
        self.rnn = self.stack(embed_size + num_hiddens, num_hiddens, num_layers, dropout)
        self.dense = Linear(num_hiddens, vocab_size)

    def __call__(
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
        batch, num_keys, num_hiddens = enc_outputs.shape
        embs = self.embedding(X.T)  # (num_steps, batch, embed_size)
        # The first layer's input is [context, embedding]; the embedding's part of its gates does
        # not depend on the recurrence.
        rnn_weights = [self.rnn.layer_weights(layer) for layer in range(self.rnn.num_layers)]
        weight_ih, _, bias_ih, _ = rnn_weights[0]
        emb_gates = product(embs, weight_ih[:, num_hiddens:].T) + bias_ih
        rnn_masks = self.rnn.masks(len(embs), embs, training)
        pool_mask = self.attention.dropout.mask((len(embs), batch, 1, num_keys), embs, training)

        def step(states, inputs):
            gates, drop, drops = inputs
            query = states[-1][0][:, None]  # (batch, 1, num_hiddens)
            scores = self.attention.score(query, keys)
            context, weights = pool(scores, enc_outputs, mask, times(drop))
            gates = gates + context[:, 0] @ weight_ih[:, :num_hiddens].T
            states = self.rnn.advance(gates, states, drops, rnn_weights)
            return states, (states[-1][0], weights)

        inputs = (emb_gates, pool_mask, rnn_masks)
        states, (outputs, weights) = loop(step, unstack_states(hidden_state), inputs)
        self.keep("_attention_weights", weights if self.keep_weights else None)
        logits = self.dense(outputs).swapaxes(0, 1)
        return logits, [enc_outputs, stack_states(states), enc_valid_lens, keys, mask]


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
        self.embedding = Embedding(vocab_size, embed_size)
        self.rnn = GRUStack(embed_size, num_hiddens, num_layers, dropout)
        self.W_c = Linear(2 * num_hiddens, num_hiddens, bias=False)
        self.dense = Linear(num_hiddens, vocab_size)

    def __call__(
        self, X: Int[Array, "batch num_steps"], state: list, training: bool = False
    ) -> tuple[Float[Array, "batch num_steps vocab_size"], list]:
        """Decode ids; as `Seq2SeqAttentionDecoder`."""
        self.check(X, state)
        enc_outputs, hidden_state, enc_valid_lens, keys, mask = self.with_prepared_keys(state)
        outputs, states = self.rnn(
            self.embedding(X.T), unstack_states(hidden_state), training=training
        )
        queries = outputs.swapaxes(0, 1)  # (batch, num_steps, num_hiddens)
        scores = self.attention.score(queries, keys)
        dropout = functools.partial(self.attention.dropout, training=training)
        contexts, weights = pool(scores, enc_outputs, mask, dropout)
        per_step = weights.swapaxes(0, 1)[:, :, None]
        self.keep("_attention_weights", per_step if self.keep_weights else None)
        attentional = jnp.tanh(self.W_c(jnp.concatenate((contexts, queries), axis=-1)))
        logits = self.dense(attentional)
        return logits, [enc_outputs, stack_states(states), enc_valid_lens, keys, mask]
