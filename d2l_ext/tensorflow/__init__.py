"""The TensorFlow column: D2L's attention chapters as Keras layers."""

from d2l_ext.tensorflow import layers  # noqa: F401 - it loads TensorFlow, so it comes first
from d2l_ext.tensorflow.bahdanau import (
    AttentionDecoder,
    LSTMAttentionDecoder,
    LuongDecoder,
    Seq2SeqAttentionDecoder,
)
from d2l_ext.tensorflow.bert import BERTEncoder, BERTMaskLM, MaskLM
from d2l_ext.tensorflow.blockwise import blockwise_attention, online_softmax
from d2l_ext.tensorflow.feedforward import FeedForward
from d2l_ext.tensorflow.gpt import GPT, GPTBlock, GroupedQueryAttention
from d2l_ext.tensorflow.linear import LinearAttention
from d2l_ext.tensorflow.masking import causal_mask, masked_softmax, padding_mask, sequence_mask
from d2l_ext.tensorflow.moe import MixtureOfExperts, load_balancing_loss
from d2l_ext.tensorflow.multihead import MultiHeadAttention
from d2l_ext.tensorflow.normalization import LayerNorm, RMSNorm
from d2l_ext.tensorflow.positional import LearnedPositionalEncoding, PositionalEncoding
from d2l_ext.tensorflow.recurrent import GRU, LSTM
from d2l_ext.tensorflow.rotary import alibi, permutation, rotate
from d2l_ext.tensorflow.scoring import (
    AdditiveAttention,
    BilinearAttention,
    CosineAttention,
    DotProductAttention,
    GaussianAttention,
    attention,
)
from d2l_ext.tensorflow.seq2seq import (
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
from d2l_ext.tensorflow.transformer import (
    AddNorm,
    PositionWiseFFN,
    TransformerDecoder,
    TransformerDecoderBlock,
    TransformerEncoder,
    TransformerEncoderBlock,
)
from d2l_ext.tensorflow.vision import PatchEmbedding, ViT, ViTBlock, ViTMLP

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
