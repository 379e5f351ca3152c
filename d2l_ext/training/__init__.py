"""Training, decoding and checkpoints, written once, on the common interface."""

from d2l_ext.training.decoding import beam_search, greedy, sample
from d2l_ext.training.loop import History, fit
from d2l_ext.training.metrics import bleu
from d2l_ext.training.translation import Translation, translate, translations

__all__ = [
    "History",
    "Translation",
    "beam_search",
    "bleu",
    "fit",
    "greedy",
    "sample",
    "translate",
    "translations",
]
