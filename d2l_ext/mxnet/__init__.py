"""The MXNet column: D2L's attention chapters as Gluon blocks.

Importing it turns on NumPy's arrays and shapes in MXNet, for the importing thread; another thread
that builds modules calls ``mxnet.npx.set_np()`` first. Operators run where they are called, without
MXNet's queues, unless the environment names another engine (``MXNET_ENGINE_TYPE``). Training runs
eagerly: hybridised steps and whole unrolled graphs were measured, and are not faster. Decoding runs
one recorded graph per token.
"""

from d2l_ext.mxnet import layers  # noqa: F401  # before the others: it imports MXNet
from d2l_ext.mxnet.bahdanau import (
    AttentionDecoder,
    LSTMAttentionDecoder,
    LuongDecoder,
    Seq2SeqAttentionDecoder,
)
from d2l_ext.mxnet.bert import BERTEncoder, BERTMaskLM, MaskLM
from d2l_ext.mxnet.blockwise import blockwise_attention, online_softmax
from d2l_ext.mxnet.feedforward import FeedForward
from d2l_ext.mxnet.gpt import GPT, GPTBlock, GroupedQueryAttention
from d2l_ext.mxnet.linear import LinearAttention
from d2l_ext.mxnet.masking import causal_mask, masked_softmax, padding_mask, sequence_mask
from d2l_ext.mxnet.moe import MixtureOfExperts, load_balancing_loss
from d2l_ext.mxnet.multihead import MultiHeadAttention
from d2l_ext.mxnet.normalization import LayerNorm, RMSNorm
from d2l_ext.mxnet.positional import LearnedPositionalEncoding, PositionalEncoding
from d2l_ext.mxnet.recurrent import GRU, LSTM
from d2l_ext.mxnet.rotary import alibi, permutation, rotate
from d2l_ext.mxnet.scoring import (
    AdditiveAttention,
    BilinearAttention,
    CosineAttention,
    DotProductAttention,
    GaussianAttention,
    attention,
)
from d2l_ext.mxnet.seq2seq import (
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
from d2l_ext.mxnet.transformer import (
    AddNorm,
    PositionWiseFFN,
    TransformerDecoder,
    TransformerDecoderBlock,
    TransformerEncoder,
    TransformerEncoderBlock,
)
from d2l_ext.mxnet.vision import PatchEmbedding, ViT, ViTBlock, ViTMLP

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
