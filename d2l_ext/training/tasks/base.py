"""What every task of training has."""

import hashlib
from abc import ABC, abstractmethod
from types import ModuleType
from typing import Any

import numpy as np

from d2l_ext.data import Vocab, load_text
from d2l_ext.interface import Model, Module, Trainer
from d2l_ext.training.settings import Settings


class Task(ABC):
    """The data of a run and what belongs to them.

    Attributes:
        digest: SHA-256 of the corpus, to notice that a file has changed.
        train: the training part, which has batches.
        src_vocab, tgt_vocab: the vocabularies; a model of texts has the second alone, one of images
            none.
    """

    digest: str
    train: Any
    src_vocab: Vocab | None
    tgt_vocab: Any  # Vocab or None

    def __init__(self, settings: Settings):
        self.settings = settings

    @abstractmethod
    def module(self, api: ModuleType) -> Module:
        """Build the model from a column's classes."""

    @abstractmethod
    def summary(self) -> list[str]:
        """Say what the data are, in lines."""

    @abstractmethod
    def evaluate(self, model: Model, trainer: Trainer) -> dict[str, Any]:
        """Measure on the validation part; returns what the log gets, "val_loss" among it."""

    def test(self, model: Model, trainer: Trainer) -> dict[str, Any]:
        """Measure on what was held out of training: the test part if there is one."""
        return self.evaluate(model, trainer)

    @abstractmethod
    def score(self, measured: dict[str, Any]) -> float:
        """Return what the best model has most of."""

    @abstractmethod
    def show(self, score: float) -> str:
        """Write a score, with the name of what it measures."""


class TextsTask(Task):
    """A task on a text, whose best model has the least loss."""

    src_vocab = None
    tgt_vocab: Vocab

    def read(self) -> str:
        """Return the text, and keep its digest."""
        text = load_text(self.settings.data)
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        return text

    def score(self, measured: dict[str, Any]) -> float:
        """The negative loss."""
        return -measured["val_loss"]

    def show(self, score: float) -> str:
        """Perplexity, of which less is better."""
        return f"perplexity {np.exp(-score):.2f}"
