"""The Transformer's decoder for one token at a time, in as few operations as translating needs."""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch.nn import functional as F

from d2l_ext.nested import nest
from d2l_ext.torch.layers import Array
from d2l_ext.torch.multihead import MultiHeadAttention
from d2l_ext.torch.transformer import AddNorm, TransformerDecoder, TransformerDecoderBlock


class TokenStep:
    """What a `TransformerDecoder` does with one token per sentence, without keeping weights.

    The sums are the decoder's own, which says what they mean. But for a single token calls take
    longer than sums: so one product gives query, key and value, which go straight into the
    cache's room, the mask over the source is added, not chosen by, and nothing is repeated that
    does not change from token to token.

    Args:
        decoder: the decoder, whose parameters must not change meanwhile.
    """

    def __init__(self, decoder: TransformerDecoder):
        self.decoder = decoder
        self.P = decoder.pos_encoding.P.to(decoder.dense.weight)
        self.blks = [BlockStep(blk) for blk in decoder.blks.values()]

    def prepare(self, state: list) -> list:
        """Return a state of `TransformerDecoder.init_state` as a call takes it.

        In the place of the encoder's outputs it has the number of each row's sentence.
        """
        enc_outputs, _, caches, projected, position = state
        projected = [blk.prepare(*each) for blk, each in zip(self.blks, projected, strict=True)]
        sentences = torch.arange(len(enc_outputs), device=enc_outputs.device)
        return [sentences, None, caches, projected, int(position)]

    def take_rows(self, state: list, rows: Int[Array, " rows"]) -> list:
        """Return the state of some rows; what is of the source is left if its sentences are."""
        sentences, _, caches, projected, position = state
        taken = sentences[rows]
        if not torch.equal(taken, sentences):

            def pick(x):  # (batch * num_heads, n, d)
                return x.view(len(sentences), -1, *x.shape[1:])[rows].flatten(0, 1)

            projected = nest(pick, projected)
        caches = [
            None if cache is None else blk.take_rows(cache, rows, position)
            for blk, cache in zip(self.blks, caches, strict=True)
        ]
        return [taken, None, caches, projected, position]

    def __call__(
        self, X: Int[Array, "batch num_steps"], state: list
    ) -> tuple[Float[Array, "batch 1 vocab_size"], list]:
        """Return logits after the last token and the new state, which has room for all tokens."""
        self.decoder.check(X, state)
        for tokens in X.split(1, dim=1):
            logits, state = self._one(tokens, state)
        return logits, state

    def _one(
        self, X: Int[Array, "batch 1"], state: list
    ) -> tuple[Float[Array, "batch 1 vocab_size"], list]:
        decoder, position = self.decoder, state[4]
        H = decoder.embedding(X)
        decoder.pos_encoding.check(H, position)
        H = (H * decoder.scale)[:, 0] + self.P[position]  # (batch, num_hiddens)
        for blk, cache, source in zip(self.blks, state[2], state[3], strict=True):
            H = blk(H, cache, source, position)
        logits = decoder.dense(H if decoder.ln is None else decoder.ln(H))
        return logits[:, None], [*state[:4], position + 1]


class BlockStep:
    """What a `TransformerDecoderBlock` does with one token per sentence, (batch, num_hiddens)."""

    def __init__(self, blk: TransformerDecoderBlock):
        self.blk = blk
        parts = [blk.attention1.W_q, blk.attention1.W_k, blk.attention1.W_v]
        self.weight = torch.cat([W.weight for W in parts])  # (3 num_hiddens, num_hiddens)
        self.bias = None if parts[0].bias is None else torch.cat([W.bias for W in parts])
        self.spare = None  # the cache before rows were taken, whose room is used again

    def prepare(self, keys: Array, values: Array, mask: Array | None) -> tuple:
        """Turn what `TransformerDecoderBlock.project` returns into what `attend` takes.

        Where a sentence has no key to attend to, nothing is masked and its values are zero.
        """
        if mask is None:
            return keys, values, None
        mask = self.blk.attention2.per_head(mask)
        has_key = mask.any(dim=-1, keepdim=True)  # (batch_heads, 1, 1)
        added = torch.zeros_like(mask, dtype=keys.dtype).masked_fill(has_key & ~mask, -torch.inf)
        return keys, values * has_key, added.expand(len(keys), -1, -1)

    def take_rows(self, cache: Array, rows: Int[Array, " rows"], position: int) -> Array:
        """Return a cache of some rows, up to a position; of fresh room, each page costs time."""
        heads = self.blk.attention1.num_heads
        shape = 2, len(rows) * heads, *cache.shape[2:]
        taken = self.spare
        if taken is None or taken.shape != shape:
            taken = cache.new_empty(shape)
        old, new = (x.unflatten(1, (-1, heads))[:, :, :, :position] for x in (cache, taken))
        torch.index_select(old, 1, rows, out=new)
        self.spare = cache
        return taken

    def __call__(
        self, X: Float[Array, "batch num_hiddens"], cache: Array, source: tuple, position: int
    ) -> Float[Array, "batch num_hiddens"]:
        """Decode a token, and fill the room of the cache at a position."""
        blk = self.blk
        X = wrap(X, blk.addnorm1, lambda x: self.attend_to_past(x, cache, position), blk.norm)
        X = wrap(X, blk.addnorm2, lambda x: self.attend_to_encoder(x, *source), blk.norm)
        return wrap(X, blk.addnorm3, blk.ffn, blk.norm)

    def attend_to_past(
        self,
        X: Float[Array, "batch num_hiddens"],
        cache: Float[Array, "2 batch_heads size head_size"],
        position: int,
    ) -> Float[Array, "batch num_hiddens"]:
        """Attend to the tokens so far and to this one, whose key and value are new."""
        size, d = cache.shape[2:]
        parts = F.linear(X, self.weight, self.bias).view(len(X), 3, -1, d).transpose(0, 1)
        cache.view(2, len(X), -1, size, d)[:, :, :, position] = parts[1:]
        keys, values = cache[:, :, : position + 1]
        return attend(self.blk.attention1, parts[0], keys, values)

    def attend_to_encoder(
        self,
        X: Float[Array, "batch num_hiddens"],
        keys: Float[Array, "batch_heads num_keys head_size"],
        values: Float[Array, "batch_heads num_keys head_size"],
        added: Float[Array, "batch_heads 1 num_keys"] | None,
    ) -> Float[Array, "batch num_hiddens"]:
        """Attend to the source."""
        heads = self.blk.attention2
        return attend(heads, heads.W_q(X), keys, values, added)


def attend(
    heads: MultiHeadAttention,
    queries: Float[Array, "batch ..."],
    keys: Float[Array, "batch_heads num_keys head_size"],
    values: Float[Array, "batch_heads num_keys head_size"],
    added: Float[Array, "batch_heads 1 num_keys"] | None = None,
) -> Float[Array, "batch num_hiddens"]:
    """Attend with one query, as `MultiHeadAttention.attend`; a mask is added, 0 or -inf."""
    queries = (queries / math.sqrt(keys.shape[2])).reshape(len(keys), 1, -1)
    keys = keys.transpose(1, 2)
    scores = torch.bmm(queries, keys) if added is None else torch.baddbmm(added, queries, keys)
    output = torch.bmm(scores.softmax(dim=-1), values)  # (batch_heads, 1, head_size)
    return heads.W_o(output.view(-1, heads.num_heads * values.shape[2]))


def wrap(
    X: Float[Array, "batch num_hiddens"],
    addnorm: AddNorm,
    sublayer: Callable[[Array], Array],
    norm: str,
) -> Float[Array, "batch num_hiddens"]:
    """`AddNorm.wrap`, where nothing is dropped."""
    return X + sublayer(addnorm.ln(X)) if norm == "pre" else addnorm.ln(X + sublayer(X))
