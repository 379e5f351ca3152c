"""GPT: a language model of causal blocks, with what has been added to it since.

Old options make GPT-2 (Radford et al., 2019): ``position="learned", norm="layer",
activation="gelu_tanh"``. The defaults make Llama (Touvron et al., 2023); with ``window``, Mistral;
with ``num_experts`` too, Mixtral. `d2l_ext.training.huggingface` reads the weights of all of these.
"""

import math

import keras
import tensorflow as tf
from jaxtyping import Float, Int

from d2l_ext import checks
from d2l_ext.nested import leaves, nest
from d2l_ext.tensorflow.caching import append, check_room, reserved, visible
from d2l_ext.tensorflow.feedforward import FeedForward
from d2l_ext.tensorflow.layers import Array, Dropout, Layer, dense, embedding, kept, spec
from d2l_ext.tensorflow.masking import unchecked_masked_softmax
from d2l_ext.tensorflow.moe import MixtureOfExperts
from d2l_ext.tensorflow.normalization import LayerNorm, RMSNorm
from d2l_ext.tensorflow.positional import known, positions
from d2l_ext.tensorflow.rotary import biases, rotations_from, turn

NORMS = {"rms": RMSNorm, "layer": LayerNorm}
EXPERTS_ASKED = 2  # as in Mixtral


class GroupedQueryAttention(Layer):
    """Causal self-attention in which groups of heads share keys and values (Ainslie et al., 2023).

    Heads are as in `MultiHeadAttention`, but head h attends to key head h // group, of num_kv_heads
    = num_heads / group: one key head makes multi-query attention, as many as heads the ordinary
    one. Positions enter as rotary embedding of queries and keys or as biases of the scores (ALiBi);
    "learned" ones are added before, by `GPT`. Window and sinks: `caching.visible`.
    """

    keep_weights = True

    def __init__(
        self,
        num_hiddens: int,
        num_heads: int,
        num_kv_heads: int,
        dropout: float = 0,
        use_bias: bool = False,
        position: str | None = "rotary",
        window: int | None = None,
        num_sinks: int = 0,
        base: float = 10000.0,
    ):
        super().__init__()
        checks.heads(num_hiddens, num_heads, num_kv_heads, position)
        checks.window(window, num_sinks)
        self.num_heads, self.num_kv_heads = num_heads, num_kv_heads
        self.position, self.base = position, base
        self.window, self.num_sinks = window, num_sinks
        kv_size = num_hiddens // num_heads * num_kv_heads
        self.W_q = dense(num_hiddens, use_bias)
        self.W_k = dense(kv_size, use_bias)
        self.W_v = dense(kv_size, use_bias)
        self.W_o = dense(num_hiddens, use_bias)
        self.dropout = Dropout(dropout)
        self.attention_weights = None  # (batch * num_heads, num_queries, num_keys)

    def check(self, X: Float[Array, "batch num_steps num_hiddens"]) -> None:
        """Raise a ValueError where the input does not fit."""
        checks.sequence(spec(X), self.config["num_hiddens"])

    def call(
        self, X: Float[Array, "batch num_steps num_hiddens"], training: bool = False
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Map (batch, num_steps, num_hiddens) to the same shape."""
        self.check(X)
        return self.extend(X, training=training)[0]

    def extend(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        cache: tuple[Array, Array] | Array | None = None,
        position: int | Int[Array, ""] = 0,
        training: bool = False,
    ) -> tuple[Float[Array, "batch num_steps num_hiddens"], tuple[Array, Array] | Array | None]:
        """Attend with the next steps of a sequence, to what is cached and to themselves.

        Args:
            X: (batch, num_steps, num_hiddens).
            cache: keys and values as in `caching.append`, or None: nothing is cached.
            position: of the first step.
            training: whether dropout acts.

        Returns:
            Like X, and the new cache.
        """
        steps = at = positions(X, position)
        queries, keys, values = self.project(X, position)
        if cache is not None:
            (keys, values), at, cache = append(
                cache, (keys, values), position, self.window, self.num_sinks
            )
        return self.W_o(self.attend(queries, keys, values, steps, at, training)), cache

    def project(
        self, X: Float[Array, "batch num_steps num_hiddens"], position: int | Int[Array, ""] = 0
    ) -> tuple[
        Float[Array, "batch num_heads num_steps size"],
        Float[Array, "batch num_kv_heads num_steps size"],
        Float[Array, "batch num_kv_heads num_steps size"],
    ]:
        """Return queries (batch, num_heads, num_steps, d) and keys, values of num_kv_heads."""
        queries = self.split(self.W_q(X), self.num_heads)
        keys, values = (self.split(W(X), self.num_kv_heads) for W in (self.W_k, self.W_v))
        if self.position == "rotary":
            rotation = rotations_from(X, position, queries.shape[3], self.base)
            queries, keys = turn(queries, *rotation), turn(keys, *rotation)
        return queries, keys, values

    def attend(
        self,
        queries: Float[Array, "batch num_heads num_queries size"],
        keys: Float[Array, "batch num_kv_heads num_keys size"],
        values: Float[Array, "batch num_kv_heads num_keys size"],
        steps: Int[Array, " num_queries"],
        positions: Int[Array, " num_keys"],
        training: bool = False,
    ) -> Float[Array, "batch num_queries num_hiddens"]:
        """Attend by positions.

        Args:
            queries: (batch, num_heads, num_queries, d).
            keys, values: (batch, num_kv_heads, num_keys, d).
            steps: positions of the queries (num_queries,).
            positions: positions of the keys (num_keys,).
            training: whether dropout acts.

        Returns:
            (batch, num_queries, num_hiddens).
        """
        batch, num_heads, num_queries, d = keras.ops.shape(queries)
        num_keys, group = keras.ops.shape(keys)[2], num_heads // self.num_kv_heads
        heads = (batch, num_heads, num_queries)
        # A group's queries stand one after the other, so that keys are neither repeated nor copied.
        groups = (batch, self.num_kv_heads, group * num_queries)
        scores = tf.matmul(tf.reshape(queries, (*groups, d)), keys, transpose_b=True)
        scores = tf.reshape(scores, (*heads, num_keys)) / math.sqrt(d)
        if self.position == "alibi":
            scores += tf.cast(biases(num_heads, steps[:, None] - positions), scores.dtype)
        mask = visible(steps[:, None], positions, self.window, self.num_sinks)
        weights = unchecked_masked_softmax(scores, mask)
        per_head = tf.reshape(weights, (batch * num_heads, num_queries, num_keys))
        self.attention_weights = kept(per_head) if self.keep_weights else None
        dropped = tf.reshape(self.dropout(weights, training=training), (*groups, num_keys))
        output = tf.transpose(tf.reshape(dropped @ values, (*heads, d)), (0, 2, 1, 3))
        return tf.reshape(output, (batch, num_queries, num_heads * d))

    def split(
        self, X: Float[Array, "batch num_steps heads_size"], num_heads: int
    ) -> Float[Array, "batch num_heads num_steps size"]:
        """(batch, num_steps, num_heads * d) to (batch, num_heads, num_steps, d)."""
        batch, num_steps, size = keras.ops.shape(X)
        X = tf.reshape(X, (batch, num_steps, num_heads, size // num_heads))
        return tf.transpose(X, (0, 2, 1, 3))


class GPTBlock(Layer):
    """Attention and a position-wise network, each on normalised input and added to it."""

    def __init__(
        self,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_heads: int,
        num_kv_heads: int,
        dropout: float = 0,
        position: str | None = "rotary",
        norm: str = "rms",
        activation: str = "swiglu",
        window: int | None = None,
        num_sinks: int = 0,
        num_experts: int = 0,
        use_bias: bool | None = None,
        eps: float | None = None,
        base: float = 10000.0,
    ):
        super().__init__()
        use_bias = norm == "layer" if use_bias is None else use_bias
        self.norm1 = normalization(norm, num_hiddens, eps)
        heads = num_hiddens, num_heads, num_kv_heads
        options = dropout, use_bias, position, window, num_sinks, base
        self.attention = GroupedQueryAttention(*heads, *options)
        self.dropout1 = Dropout(dropout)
        self.norm2 = normalization(norm, num_hiddens, eps)
        if num_experts:
            k = min(EXPERTS_ASKED, num_experts)
            self.ffn = MixtureOfExperts(num_hiddens, ffn_num_hiddens, num_experts, k, activation)
        else:
            self.ffn = FeedForward(num_hiddens, ffn_num_hiddens, activation)
        self.dropout2 = Dropout(dropout)

    @property
    def attention_weights(self) -> Float[Array, "batch_heads num_queries num_keys"] | None:
        """Weights of the last call, (batch * num_heads, num_queries, num_keys)."""
        return self.attention.attention_weights

    def call(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        cache: tuple[Array, Array] | Array | None = None,
        position: int | Int[Array, ""] = 0,
        training: bool = False,
    ) -> tuple[Float[Array, "batch num_steps num_hiddens"], tuple[Array, Array] | Array | None]:
        """Do what `GroupedQueryAttention.extend` does, with the rest of the block."""
        Y, cache = self.attention.extend(self.norm1(X), cache, position, training)
        X = X + self.dropout1(Y, training=training)
        return X + self.dropout2(self.ffn(self.norm2(X)), training=training), cache


def normalization(norm: str, size: int, eps: float | None) -> LayerNorm | RMSNorm:
    """Build a normalisation by its name; its own epsilon if None."""
    checks.choice("norm", norm, tuple(NORMS))
    return NORMS[norm](size) if eps is None else NORMS[norm](size, eps)


class GPT(Layer):
    """Embedding, blocks, a last normalisation and logits of the next token at every step.

    ``tie_weights`` makes the embedding the output layer too. Learned positions are at most
    ``max_len``. With ``num_experts``, each block's network is a `MixtureOfExperts`, of which two
    are asked. Beyond the options of the models' first papers, ``use_bias`` gives the attention
    biases (None: with layer norm), ``eps`` is the normalisations' epsilon (None: their own) and
    ``base`` that of the rotary wavelengths.
    """

    def __init__(
        self,
        vocab_size: int,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_heads: int,
        num_kv_heads: int,
        num_blks: int,
        dropout: float = 0,
        position: str | None = "rotary",
        norm: str = "rms",
        activation: str = "swiglu",
        window: int | None = None,
        num_sinks: int = 0,
        num_experts: int = 0,
        tie_weights: bool = True,
        max_len: int = 1024,
        use_bias: bool | None = None,
        eps: float | None = None,
        base: float = 10000.0,
    ):
        super().__init__()
        self.num_kv_heads, self.head_size = num_kv_heads, num_hiddens // num_heads
        learned = position == "learned"
        self.embedding = embedding(vocab_size, num_hiddens)
        self.pos_embedding = embedding(max_len, num_hiddens) if learned else None
        self.dropout = Dropout(dropout)
        sizes = num_hiddens, ffn_num_hiddens, num_heads, num_kv_heads
        options = dropout, position, norm, activation, window, num_sinks, num_experts
        self.blks = {
            f"block{i}": GPTBlock(*sizes, *options, use_bias, eps, base) for i in range(num_blks)
        }
        self.norm = normalization(norm, num_hiddens, eps)
        self.tied = ("embedding.weight",) if tie_weights else ()
        self.dense = None if tie_weights else dense(vocab_size, bias=False)

    @property
    def attention_weights(self) -> list[Float[Array, "batch_heads num_queries num_keys"] | None]:
        """One (batch * num_heads, num_queries, num_keys) per block."""
        return [blk.attention_weights for blk in self.blks.values()]

    def check(self, X: Int[Array, "batch num_steps"], state: list | None = None) -> None:
        """Raise a ValueError where the inputs do not fit; a traced position is not known."""
        caches, position = ([], 0) if state is None else state
        batch = spec(leaves(caches)[0]).shape[-4] if caches else spec(X).shape[0]
        checks.decoder_inputs(spec(X), batch, self.config["vocab_size"])
        first = known(X, position)
        if first is None:
            return
        if self.pos_embedding is not None:
            checks.steps(spec(X), first, self.config["max_len"])
        if caches:
            check_room(
                caches[0], first + X.shape[1], self.config["window"], self.config["num_sinks"]
            )

    def init_state(self, batch_size: int | Int[Array, ""]) -> list:
        """Return the state before the first token.

        Returns:
            [per block the cached keys and values (batch, num_kv_heads, n, d), n = 0; the number of
            tokens so far].
        """
        shape = batch_size, self.num_kv_heads, 0, self.head_size
        empty = tf.zeros(shape, self.embedding.compute_dtype)
        return [[(empty, empty) for _ in self.blks], tf.zeros((), "int64")]

    def call(
        self, X: Int[Array, "batch num_steps"], state: list | None = None, training: bool = False
    ) -> (
        Float[Array, "batch num_steps vocab_size"]
        | tuple[Float[Array, "batch num_steps vocab_size"], list]
    ):
        """Predict the next tokens.

        Args:
            X: ids (batch, num_steps).
            state: as returned by `init_state` or by the last call; X follows the tokens before.
            training: whether dropout acts.

        Returns:
            Logits (batch, num_steps, vocab_size); with a state, also the new one; the old one stays
            valid.
        """
        self.check(X, state)
        caches, position = ([None] * len(self.blks), 0) if state is None else state
        H = self.embedding(X)
        if self.pos_embedding is not None:
            H = H + self.pos_embedding(positions(X, position))
        H, new = self.dropout(H, training=training), []
        for blk, cache in zip(self.blks.values(), caches, strict=True):
            H, cache = blk(H, cache, position, training=training)
            new.append(cache)
        logits, position = self._logits(self.norm(H)), tf.convert_to_tensor(position)
        end = position + tf.shape(X, position.dtype)[1]
        return logits if state is None else (logits, [new, end])

    def _logits(
        self, H: Float[Array, "batch num_steps num_hiddens"]
    ) -> Float[Array, "batch num_steps vocab_size"]:
        """Score every token by the output layer, which may be the embedding."""
        if self.dense is not None:
            return self.dense(H)
        *axes, size = keras.ops.shape(H)
        table = tf.convert_to_tensor(self.embedding.embeddings)
        logits = tf.matmul(tf.reshape(H, (-1, size)), table, transpose_b=True)
        return tf.reshape(logits, (*axes, table.shape[0]))

    def reserve(
        self, state: list, num_steps: int | Int[Array, ""], least: int | Int[Array, ""] = 0
    ) -> list:
        """Return the state with room for so many more steps, so that no shape changes in them.

        Caches become tensors of a fixed size, which `caching.append` fills: one compiled function
        does all steps. Their size depends on the position, so this is not to be traced. One that
        must grow at least doubles, and gets the size ``least`` at least; with a window, it never
        exceeds num_sinks + window.
        """
        caches, position = state
        rolling = self.config["window"], self.config["num_sinks"]
        have, size = int(position), int(position) + int(num_steps)
        return [[reserved(cache, have, size, int(least), *rolling) for cache in caches], position]

    def take_rows(self, state: list, rows: Int[Array, " rows"]) -> list:
        """Return the state of some rows of the batch."""
        caches, position = state
        return [nest(lambda x: tf.gather(x, rows, axis=-4), caches), position]
