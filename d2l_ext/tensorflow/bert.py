"""BERT: a Transformer encoder that reads in both directions, and learns to fill in hidden words.

The defaults are D2L's. Hugging Face's models normalise the sum of embeddings and use GELU:
``activation="gelu", norm_embedding=True, eps=1e-12``; `d2l_ext.training.huggingface` reads them.
"""

import keras
import tensorflow as tf
from jaxtyping import Float, Int, Shaped

from d2l_ext import checks
from d2l_ext.tensorflow.layers import Array, Dropout, Layer, dense, embedding, spec
from d2l_ext.tensorflow.normalization import LayerNorm
from d2l_ext.tensorflow.transformer import ACTIVATIONS, TransformerEncoderBlock


class BERTEncoder(Layer):
    """Token, segment and position embeddings added up, and blocks (Devlin et al., 2019).

    A segment is which of two texts, 0 or 1, a token belongs to. With ``norm_embedding`` the sum is
    normalised, and dropout acts on it.
    """

    def __init__(
        self,
        vocab_size: int,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_heads: int,
        num_blks: int,
        dropout: float,
        max_len: int = 1000,
        activation: str = "relu",
        norm_embedding: bool = False,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.token_embedding = embedding(vocab_size, num_hiddens)
        self.segment_embedding = embedding(2, num_hiddens)
        sizes = num_hiddens, ffn_num_hiddens, num_heads, dropout
        self.blks = {
            str(i): TransformerEncoderBlock(*sizes, True, "post", activation, eps)
            for i in range(num_blks)
        }
        self.ln = LayerNorm(num_hiddens, eps) if norm_embedding else None
        self.dropout = Dropout(dropout) if norm_embedding else None

    def build(self) -> None:
        """Create the position embedding, N(0, 1)."""
        shape = 1, self.config["max_len"], self.config["num_hiddens"]
        initial = keras.initializers.RandomNormal(stddev=1)
        self.pos_embedding = self.add_weight(shape, initial, name="pos_embedding")

    @property
    def attention_weights(self) -> list[Float[Array, "batch_heads num_steps num_steps"] | None]:
        """One (batch * num_heads, num_steps, num_steps) per block."""
        return [blk.attention_weights for blk in self.blks.values()]

    def check(
        self,
        tokens: Int[Array, "batch num_steps"],
        segments: Int[Array, "batch num_steps"] | None = None,
        valid_lens: Shaped[Array, " batch"] | None = None,
    ) -> None:
        """Raise a ValueError where the inputs do not fit."""
        inputs = spec(tokens), spec(segments), spec(valid_lens)
        checks.bert_inputs(*inputs, self.config["vocab_size"], self.config["max_len"])

    def call(
        self,
        tokens: Int[Array, "batch num_steps"],
        segments: Int[Array, "batch num_steps"] | None = None,
        valid_lens: Shaped[Array, " batch"] | None = None,
        training: bool = False,
    ) -> Float[Array, "batch num_steps num_hiddens"]:
        """Encode ids (batch, num_steps) to (batch, num_steps, num_hiddens).

        Args:
            segments: 0 or 1 for each token; None: all 0.
            valid_lens: how many leading tokens are real; None: all.
            training: whether dropout acts.
        """
        self.check(tokens, segments, valid_lens)
        segments = tf.zeros_like(tokens) if segments is None else segments
        X = self.token_embedding(tokens) + self.segment_embedding(segments)
        X = X + self.pos_embedding[:, : keras.ops.shape(tokens)[1]]
        if self.ln is not None:
            X = self.dropout(self.ln(X), training=training)
        for blk in self.blks.values():
            X = blk(X, valid_lens, training=training)
        return X


class MaskLM(Layer):
    """Logits of the tokens at some positions: linear, activation, layer norm, linear."""

    def __init__(
        self, vocab_size: int, num_hiddens: int, activation: str = "relu", eps: float = 1e-5
    ):
        super().__init__()
        checks.choice("activation", activation, tuple(ACTIVATIONS))
        self._activation = ACTIVATIONS[activation]
        # Named as in D2L's sequence, in which the activation is number 1.
        self.mlp = {
            "0": dense(num_hiddens),
            "2": LayerNorm(num_hiddens, eps),
            "3": dense(vocab_size),
        }

    def check(
        self,
        X: Float[Array, "batch num_steps size"],
        pred_positions: Int[Array, "batch num_preds"],
    ) -> None:
        """Raise a ValueError where the inputs do not fit."""
        checks.predictions(spec(X), spec(pred_positions))

    def call(
        self,
        X: Float[Array, "batch num_steps size"],
        pred_positions: Int[Array, "batch num_preds"],
    ) -> Float[Array, "batch num_preds vocab_size"]:
        """Predict the tokens at ``pred_positions`` from encoded ones, to logits."""
        self.check(X, pred_positions)
        places = tf.cast(pred_positions, "int64")
        X = tf.gather(X, places, batch_dims=1)  # (batch, num_preds, size)
        X = self.mlp["2"](self._activation(self.mlp["0"](X)))
        return self.mlp["3"](X)


class BERTMaskLM(Layer):
    """An encoder and `MaskLM`: what is trained. D2L's BERTModel without next sentences.

    Whether one text follows another is no longer asked since Liu et al. (2019), who found that it
    does not help.
    """

    def __init__(
        self,
        vocab_size: int,
        num_hiddens: int,
        ffn_num_hiddens: int,
        num_heads: int,
        num_blks: int,
        dropout: float,
        max_len: int = 1000,
        activation: str = "relu",
        norm_embedding: bool = False,
        eps: float = 1e-5,
    ):
        super().__init__()
        sizes = vocab_size, num_hiddens, ffn_num_hiddens, num_heads, num_blks
        self.encoder = BERTEncoder(*sizes, dropout, max_len, activation, norm_embedding, eps)
        self.mlm = MaskLM(vocab_size, num_hiddens, activation, eps)

    @property
    def attention_weights(self) -> list[Float[Array, "batch_heads num_steps num_steps"] | None]:
        """One (batch * num_heads, num_steps, num_steps) per block."""
        return self.encoder.attention_weights

    def check(
        self,
        tokens: Int[Array, "batch num_steps"],
        segments: Int[Array, "batch num_steps"] | None,
        valid_lens: Shaped[Array, " batch"] | None,
        pred_positions: Int[Array, "batch num_preds"],
    ) -> None:
        """Raise a ValueError where the inputs do not fit."""
        self.encoder.check(tokens, segments, valid_lens)
        checks.places(spec(pred_positions), *spec(tokens).shape)

    def call(
        self,
        tokens: Int[Array, "batch num_steps"],
        segments: Int[Array, "batch num_steps"] | None,
        valid_lens: Shaped[Array, " batch"] | None,
        pred_positions: Int[Array, "batch num_preds"],
        training: bool = False,
    ) -> Float[Array, "batch num_preds vocab_size"]:
        """Return logits of the tokens at ``pred_positions``; the rest is as in `BERTEncoder`."""
        self.check(tokens, segments, valid_lens, pred_positions)
        return self.mlm(
            self.encoder(tokens, segments, valid_lens, training=training), pred_positions
        )
