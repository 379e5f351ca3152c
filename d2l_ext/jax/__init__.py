"""The JAX column: D2L's attention chapters as Flax NNX modules."""

from d2l_ext.jax.bahdanau import (
    AttentionDecoder,
    LSTMAttentionDecoder,
    LuongDecoder,
    Seq2SeqAttentionDecoder,
)
from d2l_ext.jax.bert import BERTEncoder, BERTMaskLM, MaskLM
from d2l_ext.jax.blockwise import blockwise_attention, online_softmax
from d2l_ext.jax.feedforward import FeedForward
from d2l_ext.jax.gpt import GPT, GPTBlock, GroupedQueryAttention
from d2l_ext.jax.linear import LinearAttention
from d2l_ext.jax.masking import causal_mask, masked_softmax, padding_mask, sequence_mask
from d2l_ext.jax.moe import MixtureOfExperts, load_balancing_loss
from d2l_ext.jax.multihead import MultiHeadAttention
from d2l_ext.jax.normalization import LayerNorm, RMSNorm
from d2l_ext.jax.positional import LearnedPositionalEncoding, PositionalEncoding
from d2l_ext.jax.recurrent import GRU, LSTM
from d2l_ext.jax.rotary import alibi, permutation, rotate
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
from d2l_ext.jax.vision import PatchEmbedding, ViT, ViTBlock, ViTMLP

__all__ = [
    "GPT",
    "GRU",
    "LSTM",
    "AddNorm",
    "AdditiveAttention",
    "AttentionDecoder",
    "BERTEncoder",
    "BERTMaskLM",
    "BidirectionalEncoder",
    "BilinearAttention",
    "CosineAttention",
    "Decoder",
    "DotProductAttention",
    "Encoder",
    "EncoderDecoder",
    "FeedForward",
    "GPTBlock",
    "GaussianAttention",
    "GroupedQueryAttention",
    "LSTMAttentionDecoder",
    "LSTMDecoder",
    "LSTMEncoder",
    "LayerNorm",
    "LearnedPositionalEncoding",
    "LinearAttention",
    "LuongDecoder",
    "MaskLM",
    "MixtureOfExperts",
    "MultiHeadAttention",
    "PatchEmbedding",
    "PositionWiseFFN",
    "PositionalEncoding",
    "RMSNorm",
    "Seq2SeqAttentionDecoder",
    "Seq2SeqDecoder",
    "Seq2SeqEncoder",
    "TransformerDecoder",
    "TransformerDecoderBlock",
    "TransformerEncoder",
    "TransformerEncoderBlock",
    "ViT",
    "ViTBlock",
    "ViTMLP",
    "alibi",
    "attention",
    "blockwise_attention",
    "causal_mask",
    "load_balancing_loss",
    "masked_loss",
    "masked_softmax",
    "online_softmax",
    "padding_mask",
    "permutation",
    "rotate",
    "sequence_mask",
]
