"""Translation: sentence pairs in three parts, an encoder and a decoder, and BLEU."""

import hashlib
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from d2l_ext.data import BucketedData, Subwords, Vocab, load_pairs, split_by_source
from d2l_ext.data.text import EOS
from d2l_ext.data.translation import BOS, PAD
from d2l_ext.interface import Model, Module, Trainer
from d2l_ext.training.evaluation import evaluate, mean_loss
from d2l_ext.training.settings import Settings
from d2l_ext.training.tasks.base import Task


class TranslationTask(Task):
    """Training, validation and test parts that share no source sentence.

    Args:
        settings: of the run.
        subwords: those of both languages, where a run has them already; else they are trained.

    Attributes:
        train, val: `BucketedData`.
        test_pairs: a list of (source, target).
    """

    train: BucketedData
    tgt_vocab: Vocab

    def __init__(self, settings: Settings, subwords: tuple[Subwords, Subwords] | None = None):
        super().__init__(settings)
        pairs = load_pairs(settings.data)[: settings.max_pairs or None]
        self.digest = digest(pairs)
        train, val, self.test_pairs = parts(pairs, settings)
        if not val:
            raise ValueError(
                f"{settings.data}: {len(pairs)} sentence pairs are too few for a validation part"
                f" of {settings.val_fraction:g}"
            )
        vocabs = self._vocabularies(train, subwords)
        sizes = (settings.buckets, settings.batch_size, settings.min_freq)
        self.train = BucketedData(train, *sizes, *vocabs)
        self.src_vocab, self.tgt_vocab = self.train.src_vocab, self.train.tgt_vocab
        self.val = BucketedData(
            val,
            settings.buckets,
            settings.batch_size,
            src_vocab=self.src_vocab,
            tgt_vocab=self.tgt_vocab,
        )

    def _vocabularies(
        self, pairs: list[tuple[str, str]], subwords: tuple[Subwords, Subwords] | None
    ) -> tuple[Vocab | None, Vocab | None]:
        """Return the subwords of both languages; None for words, which `BucketedData` counts."""
        if self.settings.tokens == "words":
            return None, None
        if subwords is not None:
            return subwords
        sources, targets = zip(*pairs, strict=True)
        size = self.settings.vocab_size
        return (
            Subwords.train(sources, size, [PAD, EOS]),
            Subwords.train(targets, size, [PAD, BOS, EOS]),
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
            f"vocabularies of {len(self.train.src_vocab)} and {len(self.tgt_vocab)}"
            f" {self.settings.tokens}",
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
