"""What the files of a column promise each other, the same in every column and in the reference.

A column is written out in its framework's own idiom, but its parts meet at the same seams: the
methods and attributes below, with these names, arguments and shapes. A test holds every column
against them (`tests/columns/test_contract.py`). What only one column needs starts with an
underscore, is a function of its file, or is a method that its framework asks for (Keras's
``build``).

Rules:

* **Calls.** ``__call__`` stands for what the framework calls: ``forward`` in PyTorch, MXNet and the
  reference, ``call`` in TensorFlow. In JAX and TensorFlow, whose modules have no mode, what dropout
  depends on has one argument more, ``training``, at the end.
* **Masks** are boolean, True means attend, and are made per sentence: (batch or 1, num_queries or
  1, num_keys), or (num_queries, num_keys) for all sentences, or None for no mask. What multiplies
  the batch axis by the number of heads does so with the mask too (`MultiHeadAttention.attend`).
* **Heads** lie side by side in the batch axis, those of one sentence together: (batch * num_heads,
  n, num_hiddens / num_heads).
* **States** start with D2L's three entries (two for the LSTM without attention); what is cached
  comes after them. A state is opaque to callers, and the old one stays valid after a call, but for
  reserved room (`Decoder.reserve`).
* **Checks.** ``check`` takes what the call takes and raises a ValueError; a call checks first, so
  that what it calls on its way need not.
"""

# Declared, not implemented: bodies are docstrings alone.
# pyright: reportReturnType=false, reportIncompatibleMethodOverride=false

from typing import Any, Protocol

Array = Any  # the framework's own


class Dropout(Protocol):
    """Inverted dropout, with masks from outside or from the framework's generator.

    Attributes:
        rate: the share of the units that are zeroed.
        given: the mask of the next forward pass, or None; at least as large as what is asked for.
        asked: the shape (a tuple) that the last forward pass wanted, or None.
    """

    rate: float
    given: Array
    asked: tuple | None

    def __call__(self, X: Array) -> Array:
        """Return X times its mask, (...) to (...)."""

    def mask(self, shape: tuple, like: Array) -> Array | None:
        """Return the mask, of a shape and with the dtype of ``like``; None where nothing drops."""


class Attention(Protocol):
    """Attention pooling: the classes of ``scoring``, which differ in the score alone.

    Attributes:
        dropout: a `Dropout` of the weights.
        same_size: whether queries and keys must be vectors of one size.
        keep_weights: whether a call keeps its weights; a training step does without.
        attention_weights: of the last call, (batch, num_queries, num_keys), before dropout and
            without a gradient; None before the first call, and where weights are not kept.
    """

    dropout: Dropout
    same_size: bool
    keep_weights: bool
    attention_weights: Array | None

    def __call__(
        self,
        queries: Array,
        keys: Array,
        values: Array,
        valid_lens: Array | None = None,
        mask: Array | None = None,
    ) -> Array:
        """Average values by the weights of their keys.

        Queries (batch, num_queries, query_size), keys (batch, num_keys, key_size) and values
        (batch, num_keys, value_size) give (batch, num_queries, value_size).
        """

    def check(self, queries, keys, values, valid_lens=None, mask=None):
        """Raise a ValueError where the inputs do not fit."""

    def prepare_keys(self, keys: Array) -> Array:
        """Do what depends on the keys only, (batch, num_keys, key_size) to (batch, num_keys, ...).

        Decoders do it once per sentence.
        """

    def score(self, queries: Array, keys: Array) -> Array:
        """Return scores (batch, num_queries, num_keys) of queries and prepared keys, unchecked."""


class MultiHeadAttention(Protocol):
    """Several attentions in parallel, called as `Attention`.

    Attributes:
        num_heads: their number.
        attention: the `Attention` that all heads share, which sees them in the batch axis.
        W_q, W_k, W_v, W_o: the projections.
        attention_weights: of the last call, (batch * num_heads, num_queries, num_keys), or None.
    """

    num_heads: int
    attention: Attention
    W_q: Any
    W_k: Any
    W_v: Any
    W_o: Any
    attention_weights: Array | None

    def __call__(
        self,
        queries: Array,
        keys: Array,
        values: Array,
        valid_lens: Array | None = None,
        mask: Array | None = None,
    ) -> Array:
        """Attend with all heads, to (batch, num_queries, num_hiddens); the mask has no heads."""

    def check(self, queries, keys, values, valid_lens=None, mask=None):
        """Raise a ValueError where the inputs do not fit."""

    def project(self, keys: Array, values: Array) -> tuple[Array, Array]:
        """Project (batch, n, size) and cut into heads; decoders cache the result.

        Returns:
            Keys and values, each (batch * num_heads, n, num_hiddens / num_heads).
        """

    def attend(self, queries: Array, keys: Array, values: Array, mask: Array | None) -> Array:
        """Attend to projected keys and values, unchecked.

        Args:
            queries: (batch, num_queries, query_size), not projected yet.
            keys, values: as `project` returns them.
            mask: per sentence, or None; it is taken to the heads here.

        Returns:
            (batch, num_queries, num_hiddens).
        """

    def per_head(self, mask: Array | None) -> Array | None:
        """Repeat a mask's batch axis, unless it is 1 or missing, to (batch * num_heads, ...)."""

    def transpose_qkv(self, X: Array) -> Array:
        """Cut (batch, n, num_hiddens) into heads."""

    def transpose_output(self, X: Array) -> Array:
        """Undo `transpose_qkv`."""


class Stack(Protocol):
    """Recurrent layers one on the other, with dropout between them.

    A state is a list with, per layer (and direction: forward, then reverse), a tuple of arrays
    (batch, num_hiddens): ``(h,)``, or ``(h, c)``.

    The gates are the input's part, W_ih x + b_ih, of all gates side by side, (batch, num_gates *
    num_hiddens). MXNet has one array (batch, num_hiddens) per gate instead, and such weights: there
    the backward pass of a cut is slow, so that weights are cut once, and not gates at every step.

    Attributes:
        num_inputs, num_hiddens, num_layers: sizes.
        num_gates: 3 for a GRU, 4 for an LSTM.
        num_states: the number of arrays of a layer's state, 1 or 2.
        directions: the suffixes of the parameters' names, ``("",)`` or ``("", "_reverse")``.
    """

    num_inputs: int
    num_hiddens: int
    num_layers: int
    num_gates: int
    num_states: int
    directions: tuple

    @staticmethod
    def step(gates: Array, state: tuple, weight_hh: Array, bias_hh: Array) -> tuple:
        """Do one step of one layer: a layer's state (a tuple) to its new state."""

    def layer_weights(self, layer: int, direction: str = "") -> list:
        """Return W_ih, W_hh, b_ih and b_hh of a layer."""

    def masks(self, num_steps: int, like: Array) -> list:
        """Return, per layer, the dropout mask of its input, or None; the first layer has none.

        Args:
            num_steps: the number of steps.
            like: an array (..., batch, size), whose dtype the masks get.

        Returns:
            A list of (num_steps, batch, num_hiddens times the number of directions), or None.
        """

    def advance(self, gates: Array, states: list, masks: list, weights: list) -> list:
        """Do one step of all layers.

        Args:
            gates: of the first layer.
            states: the state before.
            masks: per layer, the step's dropout mask (batch, num_hiddens), or None.
            weights: per layer, its `layer_weights`, read once for all steps.

        Returns:
            The new state; the step's output is ``states[-1][0]``.
        """

    def __call__(self, X: Array, states: list | None = None, valid_lens: Array | None = None):
        """Run over whole sequences.

        Args:
            X: (num_steps, batch, num_inputs).
            states: the initial state, or None for zeros.
            valid_lens: (batch,) or None.

        Returns:
            Outputs (num_steps, batch, num_hiddens times the number of directions), zero after the
            end, and the final state.
        """

    def scan(self, X: Array, state: tuple, alive: Array | None, layer: int, direction: str):
        """Run one layer in one direction.

        Args:
            X: (num_steps, batch, size).
            state: the layer's state.
            alive: which steps are real, (num_steps, batch, 1 or num_hiddens), or None: all.
            layer, direction: which layer.

        Returns:
            Outputs (num_steps, batch, num_hiddens) and the layer's final state.
        """


class Encoder(Protocol):
    """Maps source ids to what the decoder starts from."""

    def __call__(self, X: Array, valid_lens: Array | None = None):
        """Encode ids (batch, num_steps); lengths (batch,).

        Returns:
            Of a recurrent encoder, outputs (num_steps, batch, num_hiddens) and the final state
            (num_layers, batch, num_hiddens), a tuple of two for an LSTM; of a Transformer, outputs
            (batch, num_steps, num_hiddens) alone.
        """

    def check(self, X, valid_lens=None):
        """Raise a ValueError where the inputs do not fit."""


class Decoder(Protocol):
    """Maps target ids and a state to logits and the new state.

    A state is a list. Without attention it holds the encoder's outputs (num_steps, batch,
    num_hiddens), time first, and the hidden state (num_layers, batch, num_hiddens), a tuple of two
    for an LSTM; for `Seq2SeqDecoder` also the context (batch, num_hiddens).
    """

    def check(self, X, state):
        """Raise a ValueError where the inputs do not fit."""

    def batch_size(self, state: list) -> int:
        """Return the number of sentences of a state."""

    def init_state(self, enc_all_outputs: Any, enc_valid_lens: Array | None = None) -> list:
        """Return the state that decoding starts from, of the encoder's result and its lengths."""

    def __call__(self, X: Array, state: list) -> tuple[Array, list]:
        """Map ids (batch, num_steps) to logits (batch, num_steps, vocab_size) and a new state."""

    def take_rows(self, state: list, rows: Array) -> list:
        """Return the state of some rows (n,) of the batch, repeated or left out."""

    def reserve(self, state: list, num_steps: int, least: int = 0) -> list:
        """Return the state with room for so many more steps, so that none copies those before it.

        Where nothing is copied anyway, or a column copies, that is the state itself. Otherwise a
        cache becomes an array (2, batch * num_heads, size, num_hiddens / num_heads), filled in
        place, whose size at least doubles when it must grow, and is at least ``least``. No gradient
        goes through it, and of two continuations of one state the later one counts.
        """


class AttentionDecoder(Decoder, Protocol):
    """A decoder that attends to the encoder's outputs.

    A recurrent one has the state [outputs (batch, num_keys, num_hiddens), hidden state, lengths
    (batch,) or None], and after these prepared keys (batch, num_keys, ...) and a mask (batch, 1,
    num_keys) or None.

    A Transformer has [outputs (batch, num_keys, num_hiddens), lengths, caches], and after these,
    per block, what `TransformerDecoderBlock.project` returns, and the next token's position ().
    A block's cache is None, or keys and values: a pair of (batch * num_heads, n, num_hiddens /
    num_heads), or what `reserve` makes of it.

    Attributes:
        keep_weights: whether a call keeps its weights.
        attention_weights: of the last call, or None. Of a recurrent decoder, one (batch, 1,
            num_keys) per step, an array or a list; of a Transformer, two lists, of self-attention
            and of attention to the encoder, of one (batch * num_heads, num_steps, num_keys) per
            block.
    """

    keep_weights: bool
    attention_weights: Any

    def with_prepared_keys(self, state: list) -> list:
        """Return a state of D2L's three entries with what is cached; a longer one as it is."""

    def init_state(self, enc_outputs: Any, enc_valid_lens: Array | None = None) -> list:
        """Return the state that decoding starts from; the mask is made once per batch."""


class AddNorm(Protocol):
    """Residual connection and layer normalisation.

    Attributes:
        dropout: a `Dropout` of what the sublayer returns.
        ln: the layer normalisation.
    """

    dropout: Dropout
    ln: Any

    def __call__(self, X: Array, Y: Array) -> Array:
        """Return LayerNorm(X + dropout(Y)), all (..., norm_shape)."""

    def wrap(self, X: Array, sublayer: Any, norm: str) -> Array:
        """Put the connection around a sublayer, a function of (..., norm_shape) to the same.

        Args:
            X: (..., norm_shape).
            sublayer: the function.
            norm: "post" normalises the sum, "pre" the sublayer's input.
        """


class TransformerDecoderBlock(Protocol):
    """Causal self-attention, attention to the encoder and a position-wise network.

    Attributes:
        i: the block's index, where its entries stand in the state's lists.
        norm: "post" or "pre".
        attention1, attention2: `MultiHeadAttention`, to what is decoded and to the encoder.
        addnorm1, addnorm2, addnorm3: an `AddNorm` around each sublayer.
        ffn: the network.
    """

    i: int
    norm: str
    attention1: MultiHeadAttention
    attention2: MultiHeadAttention
    addnorm1: AddNorm
    addnorm2: AddNorm
    addnorm3: AddNorm
    ffn: Any

    def project(self, enc_outputs: Array, enc_valid_lens: Array | None) -> tuple:
        """Prepare what does not change while a sentence is decoded.

        Args:
            enc_outputs: (batch, num_keys, num_hiddens).
            enc_valid_lens: (batch,) or None.

        Returns:
            Keys and values as `MultiHeadAttention.project` returns them, and a mask (batch, 1,
            num_keys), or None.
        """

    def __call__(self, X: Array, state: list) -> tuple[Array, list]:
        """Decode (batch, num_steps, num_hiddens) to the same shape, and the state.

        The state is that of a Transformer (`AttentionDecoder`), or D2L's three entries.
        """


class GroupedQueryAttention(Protocol):
    """Causal self-attention, in which groups of heads share keys and values.

    Heads have an axis of their own here, (batch, num_heads, n, d), so that a group's keys are
    broadcast along it and not repeated.

    A cache is a pair of keys and values (batch, num_kv_heads, n, d), of the steps that the next one
    sees, in order; or what `LanguageModel.reserve` makes of it.

    Attributes:
        num_heads, num_kv_heads: numbers of query heads and of key heads.
        position: "rotary", "alibi", or what enters before ("learned", None).
        base: of the rotary wavelengths.
        window, num_sinks: what a query sees (`Caching.visible`).
        W_q, W_k, W_v, W_o: the projections.
        dropout: a `Dropout` of the weights.
        keep_weights: whether a call keeps its weights.
        attention_weights: of the last call, (batch * num_heads, num_queries, num_keys), or None.
    """

    num_heads: int
    num_kv_heads: int
    position: str | None
    base: float
    window: int | None
    num_sinks: int
    W_q: Any
    W_k: Any
    W_v: Any
    W_o: Any
    dropout: Dropout
    keep_weights: bool
    attention_weights: Array | None

    def check(self, X):
        """Raise a ValueError where the input does not fit."""

    def __call__(self, X: Array) -> Array:
        """Map (batch, num_steps, num_hiddens) to the same shape."""

    def extend(self, X: Array, cache: Any = None, position: Any = 0) -> tuple[Array, Any]:
        """Attend with the next steps, from a position, to a cache and to themselves.

        Returns:
            Like X, and the new cache; None where there was none.
        """

    def project(self, X: Array, position: Any = 0) -> tuple[Array, Array, Array]:
        """Return queries (batch, num_heads, num_steps, d), and keys and values of num_kv_heads."""

    def split(self, X: Array, num_heads: int) -> Array:
        """Cut (batch, num_steps, num_heads * d) into heads, (batch, num_heads, num_steps, d)."""


class LanguageModel(Protocol):
    """Predicts the next token of a text; `Model.decoding` takes it without an encoder.

    A state is a list: per block a cache (`GroupedQueryAttention`), and the number of tokens so far,
    (). It is opaque to callers, and the old one stays valid after a call, but for reserved room.

    Attributes:
        tied: canonical names of the embeddings that are output layers too.
        blks: the blocks, "block0" and so on.
        attention_weights: one (batch * num_heads, num_queries, num_keys) per block, or None.
    """

    tied: tuple
    blks: Any
    attention_weights: list

    def check(self, X, state=None):
        """Raise a ValueError where the inputs do not fit."""

    def init_state(self, batch_size: Any) -> list:
        """Return the state before the first token."""

    def __call__(self, X: Array, state: list | None = None) -> Any:
        """Map ids (batch, num_steps) to logits (batch, num_steps, vocab_size).

        With a state, X follows the tokens before, and the new state is returned too.
        """

    def reserve(self, state: list, num_steps: int, least: int = 0) -> list:
        """Return the state with room for so many more steps, as `Decoder.reserve`.

        A cache becomes (2, batch, num_kv_heads, size, d), which with a window never exceeds
        num_sinks + window: the oldest step is overwritten.
        """

    def take_rows(self, state: list, rows: Array) -> list:
        """Return the state of some rows (n,) of the batch, repeated or left out."""


class Experts(Protocol):
    """Sends each position to a few of several networks.

    Attributes:
        k: how many are asked.
        router: the linear map to scores of the experts.
        experts: the networks, "expert0" and so on.
    """

    k: int
    router: Any
    experts: Any

    def route(self, X: Array) -> tuple[Array, Array, Array]:
        """Choose experts for (..., num_hiddens).

        Returns:
            Shares (..., k), which sum to 1; numbers of the experts (..., k), the most probable
            first and of equals the lower; probabilities of all (..., num_experts).
        """

    def __call__(self, X: Array) -> Array:
        """Map (..., num_hiddens) to the same shape."""


class Caching(Protocol):
    """The functions of ``caching`` that every column has."""

    @staticmethod
    def visible(queries: Any, keys: Array, window: int | None = None, num_sinks: int = 0) -> Array:
        """Return which keys a query sees, by their positions, as a mask that broadcasts."""

    @staticmethod
    def append(
        cache: Any, new: tuple, position: Any, window: int | None = None, num_sinks: int = 0
    ) -> tuple:
        """Append the next steps' keys and values to a cache.

        Returns:
            Keys and values that the new steps may see, their positions, and the new cache.
        """


class Masking(Protocol):
    """The functions of ``masking`` that other files use; all but `check_masks` are unchecked."""

    @staticmethod
    def check_masks(shape: tuple, valid_lens: Array | None = None, mask: Array | None = None):
        """Raise a ValueError where lengths or a mask do not fit scores of a shape."""

    @staticmethod
    def combine_masks(num_keys: int, valid_lens: Array | None = None, mask: Array | None = None):
        """Combine lengths and a mask by "and" into one mask, or None if there is neither.

        Lengths (batch,) alone give (batch, 1, num_keys), (batch, num_queries) give (batch,
        num_queries, num_keys).
        """

    @staticmethod
    def unchecked_masked_softmax(X: Array, mask: Array | None = None) -> Array:
        """Return weights like X; a row without a key to attend to is all zero."""


class Scoring(Protocol):
    """The functions of ``scoring`` that other files use."""

    @staticmethod
    def pool(scores: Array, value: Array, mask: Array | None, dropout: Any) -> tuple[Array, Array]:
        """Normalise scores and average the values with them, unchecked.

        Args:
            scores: (..., num_queries, num_keys).
            value: (..., num_keys, value_size).
            mask: broadcastable to the scores, or None.
            dropout: a function of the weights, or None.

        Returns:
            Output (..., num_queries, value_size) and weights, before dropout, like the scores.
        """

    @staticmethod
    def scoring(name: str, num_hiddens: int, dropout: float) -> Attention:
        """Build an attention by the name of its score; only "additive" uses ``num_hiddens``."""


class Recurrent(Protocol):
    """The functions of ``recurrent`` that other files use."""

    @staticmethod
    def stack_states(states: list) -> Any:
        """Stack a `Stack`'s state: (num_layers, batch, num_hiddens), or a tuple of two."""

    @staticmethod
    def unstack_states(state: Any) -> list:
        """Undo `stack_states`."""


class Layers(Protocol):
    """The functions of ``layers`` that every column has."""

    @staticmethod
    def spec(x: Array | None) -> Any:
        """Describe an array to `checks` as a `Spec`; None stays None."""

    @staticmethod
    def times(mask: Array | None) -> Any:
        """Return the function that multiplies by a mask, as `pool` wants it; None stays None."""
