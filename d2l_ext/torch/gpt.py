"""GPT: a language model of causal blocks, with what has been added to it since.

Old options make GPT-2 (Radford et al., 2019): ``position="learned", norm="layer",
activation="gelu_tanh"``. The defaults make Llama (Touvron et al., 2023); with ``window``, Mistral;
with ``num_experts`` too, Mixtral. `d2l_ext.training.huggingface` reads the weights of all of these.
"""

import math

import torch
from jaxtyping import Bool, Float, Int
from torch import nn
from torch.nn import functional as F

from d2l_ext import checks
from d2l_ext.config import Configured
from d2l_ext.nested import nest
from d2l_ext.tables import consecutive_rotations
from d2l_ext.torch.caching import append, reserved, visible
from d2l_ext.torch.feedforward import FeedForward
from d2l_ext.torch.layers import Array, Dropout, spec
from d2l_ext.torch.masking import unchecked_masked_softmax
from d2l_ext.torch.moe import MixtureOfExperts
from d2l_ext.torch.normalization import LayerNorm, RMSNorm
from d2l_ext.torch.rotary import biases, turn

NORMS = {"rms": RMSNorm, "layer": LayerNorm}
EXPERTS_ASKED = 2  # as in Mixtral


class GroupedQueryAttention(Configured, nn.Module):
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
        self.W_q = nn.Linear(num_hiddens, num_hiddens, use_bias)
        self.W_k = nn.Linear(num_hiddens, kv_size, use_bias)
        self.W_v = nn.Linear(num_hiddens, kv_size, use_bias)
        self.W_o = nn.Linear(num_hiddens, num_hiddens, use_bias)
        self.dropout = Dropout(dropout)
        self.attention_weights = None  # (batch * num_heads, num_queries, num_keys)

    def check(self, X: Float[Array, "batch num_steps num_hiddens"]) -> None:
        """Raise a ValueError where the input does not fit."""
        checks.sequence(spec(X), self.config["num_hiddens"])

    def forward(
        self, X: Float[Array, "batch num_steps num_hiddens"]
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Map (batch, num_steps, num_hiddens) to the same shape."""
        self.check(X)
        return self.extend(X)[0]

    def extend(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        cache: tuple[Array, Array] | Array | None = None,
        position: int = 0,
    ) -> tuple[Float[Array, "batch num_steps num_hiddens"], tuple[Array, Array] | Array | None]:
        """Attend with the next steps of a sequence, to what is cached and to themselves.

        Args:
            X: (batch, num_steps, num_hiddens).
            cache: keys and values as in `caching.append`, or None: nothing is cached.
            position: of the first step.

        Returns:
            Like X, and the new cache.
        """
        steps = torch.arange(position, position + X.shape[1], device=X.device)
        queries, keys, values = self.project(X, position)
        positions = steps
        if cache is not None:
            (keys, values), positions, cache = append(
                cache, (keys, values), position, self.window, self.num_sinks
            )
        return self.W_o(self.attend(queries, keys, values, steps, positions)), cache

    def project(
        self, X: Float[Array, "batch num_steps num_hiddens"], position: int = 0
    ) -> tuple[
        Float[Array, "batch num_heads num_steps size"],
        Float[Array, "batch num_kv_heads num_steps size"],
        Float[Array, "batch num_kv_heads num_steps size"],
    ]:
        """Return queries (batch, num_heads, num_steps, d) and keys, values of num_kv_heads."""
        queries = self.split(self.W_q(X), self.num_heads)
        keys, values = (self.split(W(X), self.num_kv_heads) for W in (self.W_k, self.W_v))
        if self.position == "rotary":
            rotation = consecutive_rotations(position, *queries.shape[2:], self.base)
            queries, keys = turn(queries, *rotation), turn(keys, *rotation)
        return queries, keys, values

    def attend(
        self,
        queries: Float[Array, "batch num_heads num_queries size"],
        keys: Float[Array, "batch num_kv_heads num_keys size"],
        values: Float[Array, "batch num_kv_heads num_keys size"],
        steps: Int[Array, " num_queries"],
        positions: Int[Array, " num_keys"],
    ) -> Float[Array, "batch num_queries num_hiddens"]:
        """Attend by positions.

        Args:
            queries: (batch, num_heads, num_queries, d).
            keys, values: (batch, num_kv_heads, num_keys, d).
            steps: positions of the queries (num_queries,).
            positions: positions of the keys (num_keys,).

        Returns:
            (batch, num_queries, num_hiddens).
        """
        bias, mask = None, None
        if self.position == "alibi":
            bias = biases(self.num_heads, steps[:, None] - positions).to(queries)
        if len(steps) > 1:  # one step is the last, and sees all that the cache has kept
            mask = visible(steps[:, None], positions, self.window, self.num_sinks)
        dropout = self.dropout.training and self.dropout.rate
        if self.keep_weights or dropout or len(steps) == 1:  # few weights: nothing to save
            output = self._explicit(queries, keys, values, bias, mask)
        else:
            output = self._fused(queries, keys, values, bias, mask)
        return output.transpose(1, 2).flatten(2)

    def _explicit(
        self,
        queries: Float[Array, "batch num_heads num_queries size"],
        keys: Float[Array, "batch num_kv_heads num_keys size"],
        values: Float[Array, "batch num_kv_heads num_keys size"],
        bias: Float[Array, "num_heads num_queries num_keys"] | None,
        mask: Bool[Array, "num_queries num_keys"] | None,
    ) -> Float[Array, "batch num_heads num_queries size"]:
        """Attend and keep the weights.

        A group's queries stand one after the other, so that keys are neither repeated nor copied.
        """

        def group(X):  # (batch, num_heads, n, size) to (batch, num_kv_heads, group * n, size)
            return X.unflatten(1, (self.num_kv_heads, -1)).flatten(2, 3)

        def heads(X):  # and back
            return X.unflatten(2, (-1, queries.shape[2])).flatten(1, 2)

        scores = heads(group(queries) @ keys.transpose(2, 3)) / math.sqrt(queries.shape[-1])
        weights = unchecked_masked_softmax(scores if bias is None else scores + bias, mask)
        self.attention_weights = weights.detach().flatten(0, 1) if self.keep_weights else None
        return heads(group(self.dropout(weights)) @ values)

    def _fused(
        self,
        queries: Float[Array, "batch num_heads num_queries size"],
        keys: Float[Array, "batch num_kv_heads num_keys size"],
        values: Float[Array, "batch num_kv_heads num_keys size"],
        bias: Float[Array, "num_heads num_queries num_keys"] | None,
        mask: Bool[Array, "num_queries num_keys"] | None,
    ) -> Float[Array, "batch num_heads num_queries size"]:
        """Do the same in one kernel, which never holds all weights at once."""
        self.attention_weights = None
        causal = bias is None and self.window is None and queries.shape[2] == keys.shape[2]
        if bias is not None:
            mask = bias.masked_fill(~mask, -torch.inf)
        return F.scaled_dot_product_attention(
            queries,
            keys,
            values,
            attn_mask=None if causal else mask,
            is_causal=causal,
            enable_gqa=self.num_kv_heads < self.num_heads,
        )

    def split(
        self, X: Float[Array, "batch num_steps heads_size"], num_heads: int
    ) -> Float[Array, "batch num_heads num_steps size"]:
        """(batch, num_steps, num_heads * d) to (batch, num_heads, num_steps, d)."""
        return X.unflatten(-1, (num_heads, -1)).transpose(1, 2)


class GPTBlock(Configured, nn.Module):
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

    def forward(
        self,
        X: Float[Array, "batch num_steps num_hiddens"],
        cache: tuple[Array, Array] | Array | None = None,
        position: int = 0,
    ) -> tuple[Float[Array, "batch num_steps num_hiddens"], tuple[Array, Array] | Array | None]:
        """Do what `GroupedQueryAttention.extend` does, with the rest of the block."""
        Y, cache = self.attention.extend(self.norm1(X), cache, position)
        X = X + self.dropout1(Y)
        return X + self.dropout2(self.ffn(self.norm2(X))), cache


def normalization(norm: str, size: int, eps: float | None) -> LayerNorm | RMSNorm:
    """Build a normalisation by its name; its own epsilon if None."""
    checks.choice("norm", norm, tuple(NORMS))
    return NORMS[norm](size) if eps is None else NORMS[norm](size, eps)


class GPT(Configured, nn.Module):
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
        self.embedding = nn.Embedding(vocab_size, num_hiddens)
        self.pos_embedding = nn.Embedding(max_len, num_hiddens) if learned else None
        self.dropout = Dropout(dropout)
        sizes = num_hiddens, ffn_num_hiddens, num_heads, num_kv_heads
        options = dropout, position, norm, activation, window, num_sinks, num_experts
        self.blks = nn.ModuleDict(
            {f"block{i}": GPTBlock(*sizes, *options, use_bias, eps, base) for i in range(num_blks)}
        )
        self.norm = normalization(norm, num_hiddens, eps)
        self.tied = ("embedding.weight",) if tie_weights else ()
        self.dense = None if tie_weights else nn.Linear(num_hiddens, vocab_size, bias=False)

    @property
    def attention_weights(self) -> list[Float[Array, "batch_heads num_queries num_keys"] | None]:
        """One (batch * num_heads, num_queries, num_keys) per block."""
        return [blk.attention_weights for blk in self.blks.values()]

    def check(self, X: Int[Array, "batch num_steps"], state: list | None = None) -> None:
        """Raise a ValueError where the inputs do not fit."""
        caches, position = ([], 0) if state is None else state
        batch = caches[0][0].shape[0] if caches else X.shape[0]
        checks.decoder_inputs(spec(X), batch, self.config["vocab_size"])
        if self.pos_embedding is not None:
            checks.steps(spec(X), int(position), self.config["max_len"])

    def init_state(self, batch_size: int | Int[Array, ""]) -> list:
        """Return the state before the first token.

        Returns:
            [per block the cached keys and values (batch, num_kv_heads, n, d), n = 0; the number of
            tokens so far].
        """
        shape = int(batch_size), self.num_kv_heads, 0, self.head_size
        empty = self.embedding.weight.new_empty(shape)
        return [[(empty, empty) for _ in self.blks], torch.zeros((), dtype=torch.int64)]

    def forward(
        self, X: Int[Array, "batch num_steps"], state: list | None = None
    ) -> (
        Float[Array, "batch num_steps vocab_size"]
        | tuple[Float[Array, "batch num_steps vocab_size"], list]
    ):
        """Predict the next tokens.

        Args:
            X: ids (batch, num_steps).
            state: as returned by `init_state` or by the last call; X follows the tokens before.

        Returns:
            Logits (batch, num_steps, vocab_size); with a state, also the new one; the old one stays
            valid.
        """
        self.check(X, state)
        caches, position = ([None] * len(self.blks), 0) if state is None else state
        position = int(position)
        H = self.embedding(X)
        if self.pos_embedding is not None:
            steps = torch.arange(position, position + X.shape[1], device=X.device)
            H = H + self.pos_embedding(steps)
        H, new = self.dropout(H), []
        for blk, cache in zip(self.blks.values(), caches, strict=True):
            H, cache = blk(H, cache, position)
            new.append(cache)
        H = self.norm(H)
        logits = F.linear(H, self.embedding.weight) if self.dense is None else self.dense(H)
        return logits if state is None else (logits, [new, torch.tensor(position + X.shape[1])])

    def reserve(
        self, state: list, num_steps: int | Int[Array, ""], least: int | Int[Array, ""] = 0
    ) -> list:
        """Return the state with room for so many more steps, so that none copies those before it.

        Caches become arrays that are filled in place, as in `caching.append`: two continuations of
        one state would write to the same place. One that must grow at least doubles, and gets the
        size ``least`` at least; with a window, it never exceeds num_sinks + window.
        """
        caches, position = state
        rolling = self.config["window"], self.config["num_sinks"]
        size = int(position) + int(num_steps)
        return [
            [reserved(cache, int(position), size, int(least), *rolling) for cache in caches],
            position,
        ]

    def take_rows(self, state: list, rows: Int[Array, " rows"]) -> list:
        """Return the state of some rows of the batch."""
        caches, position = state
        return [nest(lambda x: x[..., rows, :, :, :], caches), position]
