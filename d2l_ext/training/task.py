"""What is trained on what: a corpus in parts, a model of a size, and how well it does."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np

from d2l_ext.data import (
    BucketedData,
    LanguageData,
    Vocab,
    load_pairs,
    load_text,
    split_by_source,
)
from d2l_ext.interface import Model, Module, Trainer
from d2l_ext.training.evaluation import evaluate, mean_loss
from d2l_ext.training.settings import Settings


class Task(ABC):
    """The data of a run and what belongs to them.

    Attributes:
        digest: SHA-256 of the corpus, to notice that a file has changed.
        train: the training part, which has batches.
        src_vocab, tgt_vocab: the vocabularies; a language model has the second alone.
    """

    digest: str
    train: Any
    src_vocab: Vocab | None
    tgt_vocab: Vocab

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

    @abstractmethod
    def score(self, measured: dict[str, Any]) -> float:
        """Return what the best model has most of."""

    @abstractmethod
    def show(self, score: float) -> str:
        """Write a score, with the name of what it measures."""


def task(settings: Settings) -> Task:
    """Return the task of a run."""
    return (TextTask if settings.model == "gpt" else TranslationTask)(settings)


class TranslationTask(Task):
    """Training, validation and test parts that share no source sentence.

    Attributes:
        train, val: `BucketedData`.
        test_pairs: a list of (source, target).
    """

    def __init__(self, settings: Settings):
        super().__init__(settings)
        pairs = load_pairs(settings.data)[: settings.max_pairs or None]
        self.digest = digest(pairs)
        train, val, self.test_pairs = parts(pairs, settings)
        if not val:
            raise ValueError(
                f"{settings.data}: {len(pairs)} sentence pairs are too few for a validation part"
                f" of {settings.val_fraction:g}"
            )
        self.train = BucketedData(train, settings.buckets, settings.batch_size, settings.min_freq)
        self.src_vocab, self.tgt_vocab = self.train.src_vocab, self.train.tgt_vocab
        self.val = BucketedData(
            val,
            settings.buckets,
            settings.batch_size,
            src_vocab=self.src_vocab,
            tgt_vocab=self.tgt_vocab,
        )

    def module(self, api: ModuleType) -> Module:
        """Build the model."""
        return build_module(api, self.settings, len(self.train.src_vocab), len(self.tgt_vocab))

    def summary(self) -> list[str]:
        """Say what the data are."""
        left_out = self.train.num_left_out + self.val.num_left_out
        longer = f" ({left_out} longer than {self.train.num_steps} tokens left out)"
        return [
            f"{self.settings.data}: {len(self.train.pairs)} training pairs, {len(self.val.pairs)}"
            f" for validation, {len(self.test_pairs)} for the test{longer if left_out else ''}",
            f"vocabularies of {len(self.train.src_vocab)} and {len(self.tgt_vocab)} tokens",
        ]

    def evaluate(self, model: Model, trainer: Trainer) -> dict[str, Any]:
        """Translate the validation part, and measure BLEU and the loss."""
        found = evaluate(model, self.train, self.val.pairs, self.settings.bleu_sentences)
        val_loss = mean_loss(trainer, self.val.batches(0, 0), self.val.pad)
        return {"val_loss": val_loss, "bleu": found.bleu, "signature": found.signature}

    def score(self, measured: dict[str, Any]) -> float:
        """BLEU."""
        return measured["bleu"]

    def show(self, score: float) -> str:
        """BLEU, with a digit."""
        return f"BLEU {score:.1f}"


class TextTask(Task):
    """A text, the end of which is for validation.

    Attributes:
        train: `LanguageData`.
    """

    src_vocab = None

    def __init__(self, settings: Settings):
        super().__init__(settings)
        text = load_text(settings.data)
        self.digest = hashlib.sha256(text.encode()).hexdigest()
        self.train = LanguageData(
            text,
            settings.num_steps,
            settings.batch_size,
            settings.level,
            settings.val_fraction,
            settings.min_freq if settings.level == "word" else 0,
        )
        self.tgt_vocab = self.train.vocab

    def module(self, api: ModuleType) -> Module:
        """Build the model."""
        s = self.settings
        return api.GPT(
            len(self.tgt_vocab),
            *(s.num_hiddens, s.ffn_num_hiddens, s.num_heads, s.num_kv_heads, s.num_layers),
            dropout=s.dropout,
            position=s.position,
            norm=s.norm,
            activation=s.activation,
            window=s.window or None,
            num_experts=s.num_experts,
            max_len=max(1024, s.num_steps),
        )

    def summary(self) -> list[str]:
        """Say what the data are."""
        data = self.train
        return [
            f"{self.settings.data}: {len(data.train_tokens):,} {data.level}s for training,"
            f" {len(data.val_tokens):,} for validation",
            f"vocabulary of {len(self.tgt_vocab)} {data.level}s",
        ]

    def evaluate(self, model: Model, trainer: Trainer) -> dict[str, Any]:
        """Measure loss and perplexity, exp(loss)."""
        val_loss = mean_loss(trainer, self.train.batches(0, 0, train=False), None)
        return {"val_loss": val_loss, "perplexity": float(np.exp(val_loss))}

    def score(self, measured: dict[str, Any]) -> float:
        """The negative loss."""
        return -measured["val_loss"]

    def show(self, score: float) -> str:
        """Perplexity, of which less is better."""
        return f"perplexity {np.exp(-score):.2f}"


def digest(pairs: Sequence[tuple[str, str]]) -> str:
    """Return the SHA-256 of pairs: a corpus has no checksum of its own."""
    text = "\n".join(f"{source}\t{target}" for source, target in pairs)
    return hashlib.sha256(text.encode()).hexdigest()


def parts(
    pairs: Sequence[tuple[str, str]], settings: Settings
) -> tuple[list[tuple[str, str]], ...]:
    """Split pairs into the training, validation and test parts."""
    fractions = (settings.val_fraction, settings.test_fraction)
    return split_by_source(pairs, (1 - sum(fractions), *fractions), settings.seed)


def build_module(api: ModuleType, settings: Settings, src_size: int, tgt_size: int) -> Module:
    """Build a translator from a column's classes, for vocabularies of these sizes."""
    s = settings
    if s.model == "transformer":
        sizes = (s.num_hiddens, s.ffn_num_hiddens, s.num_heads, s.num_layers, s.dropout)
        encoder = api.TransformerEncoder(src_size, *sizes)
        return api.EncoderDecoder(encoder, api.TransformerDecoder(tgt_size, *sizes))
    sizes = (s.embed_size, s.num_hiddens, s.num_layers, s.dropout)
    if s.model == "luong":
        decoder = api.LuongDecoder(tgt_size, *sizes, attention=s.attention)
    elif s.model == "bahdanau":
        decoder = api.Seq2SeqAttentionDecoder(tgt_size, *sizes)
    else:
        decoder = api.Seq2SeqDecoder(tgt_size, *sizes)
    return api.EncoderDecoder(api.Seq2SeqEncoder(src_size, *sizes), decoder)
