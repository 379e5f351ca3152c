"""What is measured: the sizes of a model and its batch, and the random arrays of that batch."""

import dataclasses

import numpy as np

PAD, BOS, EOS = 0, 1, 2


@dataclasses.dataclass(frozen=True)
class Setting:
    """Sizes; the defaults are D2L's chapter on Bahdanau attention with wider layers.

    Attributes:
        model: "bahdanau" or "transformer".
        batch, num_steps, vocab_size: of the batch; source and target are equally long.
        num_hiddens, num_layers, dropout: of the model; embeddings have the size num_hiddens, and a
            Transformer has num_layers blocks.
        num_heads, ffn_num_hiddens: of a Transformer.
    """

    model: str = "bahdanau"
    batch: int = 128
    num_steps: int = 9
    vocab_size: int = 200
    num_hiddens: int = 256
    num_layers: int = 2
    dropout: float = 0.2
    num_heads: int = 4
    ffn_num_hiddens: int = 64

    def arrays(self):
        """Return a batch in D2L's order: source, target input, source lengths, labels."""
        rng = np.random.default_rng(0)
        shape = self.batch, self.num_steps
        src, tgt = (rng.integers(EOS + 1, self.vocab_size, shape).astype("int32") for _ in "ab")
        lens = rng.integers((self.num_steps + 1) // 2, self.num_steps + 1, self.batch)
        tgt_in = np.concatenate((np.full((self.batch, 1), BOS, "int32"), tgt[:, :-1]), axis=1)
        return src, tgt_in, lens.astype("int32"), tgt

    def products(self):
        """List the matrix products of one training step of the Bahdanau model.

        Returns:
            Tuples (count, batch, m, k, n): so many products (batch, m, k) (batch, k, n).
        """
        B, T, H, V, L = (
            self.batch,
            self.num_steps,
            self.num_hiddens,
            self.vocab_size,
            self.num_layers,
        )
        once = [
            *[(T * B, H, 3 * H)] * L,  # the encoder's inputs
            (T * B, H, H),  # the keys
            (T * B, H, 3 * H),  # the decoder's embeddings
            (T * B, H, V),  # logits
        ]
        each_step = [
            *[(B, H, 3 * H)] * L,  # the encoder's states
            (B, H, H),  # the query
            *[(B, H, 3 * H)] * 2 * L,  # the decoder's states and inputs (context or layer below)
            (B * T, H, 1),  # scores
        ]
        found = []
        for count, shapes in ((1, once), (T, each_step)):
            for m, k, n in shapes:
                found += [(count, 1, m, k, n), (count, 1, m, n, k)]  # forward; the input's gradient
                found += [(1, 1, k, count * m, n)]  # the weight's gradient, all steps at once
        # The context, a product for each sentence: forward, gradients of weights and of values.
        return [*found, (T, B, 1, T, H), (T, B, 1, H, T), (1, B, T, T, H)]


@dataclasses.dataclass(frozen=True)
class Heads:
    """Sizes of one multi-head self-attention."""

    batch: int
    num_steps: int
    num_hiddens: int
    num_heads: int


@dataclasses.dataclass(frozen=True)
class Language:
    """Sizes of a language model and its batch.

    Attributes:
        batch, num_steps, vocab_size: of the batch.
        num_hiddens, ffn_num_hiddens, num_heads, num_kv_heads, num_blks: of the model.
        num_tokens: how many tokens are added to prompts of 16 when text is generated.
    """

    batch: int = 8
    num_steps: int = 256
    vocab_size: int = 1000
    num_hiddens: int = 256
    ffn_num_hiddens: int = 688
    num_heads: int = 8
    num_kv_heads: int = 2
    num_blks: int = 6
    num_tokens: int = 128

    def tokens(self):
        """Return ids (batch, num_steps) and the next ones."""
        shape = self.batch, self.num_steps + 1
        text = np.random.default_rng(0).integers(self.vocab_size, size=shape)
        return text[:, :-1], text[:, 1:]

    def prompts(self):
        """Return ids (batch, 16), or fewer if texts are shorter."""
        return self.tokens()[0][:, :16]


@dataclasses.dataclass(frozen=True)
class Long:
    """Sizes of attention over a long text, in one head."""

    num_steps: int = 16384
    num_hiddens: int = 64


@dataclasses.dataclass(frozen=True)
class Serving:
    """Sizes of a Transformer that translates a batch.

    Attributes:
        batch, num_steps, vocab_size: of the sources.
        num_hiddens, num_layers, num_heads, ffn_num_hiddens: of the model.
        num_tokens: of every translation.
        beam: hypotheses of each sentence; 1 is greedy.
    """

    batch: int = 32
    num_steps: int = 9
    vocab_size: int = 200
    num_hiddens: int = 256
    num_layers: int = 2
    num_heads: int = 4
    ffn_num_hiddens: int = 64
    num_tokens: int = 100
    beam: int = 1
