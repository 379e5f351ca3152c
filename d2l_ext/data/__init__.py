"""From text to arrays, with NumPy alone: tokens, vocabularies, batches and sentence pairs."""

from d2l_ext.data.bucketing import bucketed_batches
from d2l_ext.data.sources import load_pairs
from d2l_ext.data.splitting import split_by_source
from d2l_ext.data.text import preprocess, tokenize
from d2l_ext.data.translation import TranslationData
from d2l_ext.data.vocabulary import Vocab

__all__ = [
    "TranslationData",
    "Vocab",
    "bucketed_batches",
    "load_pairs",
    "preprocess",
    "split_by_source",
    "tokenize",
]
