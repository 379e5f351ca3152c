"""The PyTorch column: D2L's attention chapters as `torch.nn` modules."""

from d2l_ext.torch.bahdanau import (
    AttentionDecoder,
    LSTMAttentionDecoder,
    LuongDecoder,
    Seq2SeqAttentionDecoder,
)
from d2l_ext.torch.bert import BERTEncoder, BERTMaskLM, MaskLM
from d2l_ext.torch.blockwise import blockwise_attention, online_softmax
from d2l_ext.torch.feedforward import FeedForward
from d2l_ext.torch.gpt import GPT, GPTBlock, GroupedQueryAttention
from d2l_ext.torch.linear import LinearAttention
from d2l_ext.torch.masking import causal_mask, masked_softmax, padding_mask, sequence_mask
from d2l_ext.torch.moe import MixtureOfExperts, load_balancing_loss
from d2l_ext.torch.multihead import MultiHeadAttention
from d2l_ext.torch.normalization import LayerNorm, RMSNorm
from d2l_ext.torch.positional import LearnedPositionalEncoding, PositionalEncoding
from d2l_ext.torch.recurrent import GRU, LSTM
from d2l_ext.torch.rotary import alibi, permutation, rotate
from d2l_ext.torch.scoring import (
    AdditiveAttention,
    BilinearAttention,
    CosineAttention,
    DotProductAttention,
    GaussianAttention,
    attention,
)
from d2l_ext.torch.seq2seq import (
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
from d2l_ext.torch.transformer import (
    AddNorm,
    PositionWiseFFN,
    TransformerDecoder,
    TransformerDecoderBlock,
    TransformerEncoder,
    TransformerEncoderBlock,
)
from d2l_ext.torch.vision import PatchEmbedding, ViT, ViTBlock, ViTMLP

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
