"""Training, decoding and checkpoints, written once, on the common interface."""

from d2l_ext.training.decoding import beam_search, greedy, sample, translate, translations
from d2l_ext.training.loop import History, fit
from d2l_ext.training.metrics import bleu

__all__ = [
    "History",
    "beam_search",
    "bleu",
    "fit",
    "greedy",
    "sample",
    "translate",
    "translations",
]
