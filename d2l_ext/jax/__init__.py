"""The JAX column: D2L's attention chapters as Flax NNX modules."""

from d2l_ext.jax.bahdanau import (
    AttentionDecoder,
    LSTMAttentionDecoder,
    LuongDecoder,
    Seq2SeqAttentionDecoder,
)
from d2l_ext.jax.masking import causal_mask, masked_softmax, padding_mask, sequence_mask
from d2l_ext.jax.multihead import MultiHeadAttention
from d2l_ext.jax.positional import LearnedPositionalEncoding, PositionalEncoding
from d2l_ext.jax.recurrent import GRU, LSTM
from d2l_ext.jax.scoring import (
    AdditiveAttention,
    BilinearAttention,
    CosineAttention,
    DotProductAttention,
    GaussianAttention,
    attention,
)
from d2l_ext.jax.seq2seq import (
    BidirectionalEncoder,
    Decoder,
    Encoder,
    EncoderDecoder,
    LSTMDecoder,
    LSTMEncoder,
    Seq2SeqDecoder,
    Seq2SeqEncoder,
    masked_loss,
)
from d2l_ext.jax.transformer import (
    AddNorm,
    PositionWiseFFN,
    TransformerDecoder,
    TransformerDecoderBlock,
    TransformerEncoder,
    TransformerEncoderBlock,
)

__all__ = [
    "GRU",
    "LSTM",
    "AddNorm",
    "AdditiveAttention",
    "AttentionDecoder",
    "BidirectionalEncoder",
    "BilinearAttention",
    "CosineAttention",
    "Decoder",
    "DotProductAttention",
    "Encoder",
    "EncoderDecoder",
    "GaussianAttention",
    "LSTMAttentionDecoder",
    "LSTMDecoder",
    "LSTMEncoder",
    "LearnedPositionalEncoding",
    "LuongDecoder",
    "MultiHeadAttention",
    "PositionWiseFFN",
    "PositionalEncoding",
    "Seq2SeqAttentionDecoder",
    "Seq2SeqDecoder",
    "Seq2SeqEncoder",
    "TransformerDecoder",
    "TransformerDecoderBlock",
    "TransformerEncoder",
    "TransformerEncoderBlock",
    "attention",
    "causal_mask",
    "masked_loss",
    "masked_softmax",
    "padding_mask",
    "sequence_mask",
]
