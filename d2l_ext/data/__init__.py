"""From text to arrays, with NumPy alone: tokens, vocabularies, batches and sentence pairs."""

from d2l_ext.data.bucketed import BucketedData
from d2l_ext.data.bucketing import bucketed_batches
from d2l_ext.data.images import ImageData, load_images
from d2l_ext.data.language import LanguageData, join_tokens, split_text
from d2l_ext.data.masked import MaskedData
from d2l_ext.data.sources import load_pairs, load_text
from d2l_ext.data.splitting import split_by_source
from d2l_ext.data.subwords import Subwords
from d2l_ext.data.text import detokenize, preprocess, tokenize
from d2l_ext.data.translation import TranslationData
from d2l_ext.data.vocabulary import Vocab

__all__ = [
    "BucketedData",
    "ImageData",
    "LanguageData",
    "MaskedData",
    "Subwords",
    "TranslationData",
    "Vocab",
    "bucketed_batches",
    "detokenize",
    "join_tokens",
    "load_images",
    "load_pairs",
    "load_text",
    "preprocess",
    "split_by_source",
    "split_text",
    "tokenize",
]
