"""A text to batches of hidden words, for masked language models."""

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Int64

from d2l_ext import checks
from d2l_ext.data.language import split_text
from d2l_ext.data.vocabulary import Vocab

PAD, CLS, SEP, MASK = "<pad>", "<cls>", "<sep>", "<mask>"
RATE = 0.15  # share of the tokens that are predicted
MASKED, RANDOM = 0.8, 0.1  # of these, the share that is hidden and the share that is exchanged

Batch: TypeAlias = tuple[
    Int64[np.ndarray, "batch num_steps"],
    Int64[np.ndarray, "batch num_steps"],
    Int64[np.ndarray, " batch"],
    Int64[np.ndarray, "batch num_preds"],
    Int64[np.ndarray, "batch num_preds"],
]


class MaskedData:
    """The lines of a text as batches in which some words are hidden (Devlin et al., 2019).

    A line becomes ``<cls> words <sep>``, filled up with ``<pad>``. Of its words 15 % are to be
    predicted, at least one: of these 80 % are replaced by ``<mask>``, 10 % by a word drawn at
    random, and 10 % stay. Which, is drawn anew in each epoch. The order of the lines is that of the
    text, and the last of them are for validation.

    Args:
        text: a string; empty lines are left out.
        num_steps: tokens of an example; a longer line is cut.
        batch_size: lines of a batch.
        val_fraction: share of the lines for validation.
        min_freq: a word seen less often is ``<unk>``.
        vocab: a vocabulary to use instead of the text's own.

    Attributes:
        vocab: its tokens.
        train_lines, val_lines: lists of ids, without the marks.
        num_preds: how many words of a line are predicted at most.
        num_cut: how many lines were cut.
        pad: the label that does not count.

    Raises:
        ValueError: sizes that are not positive, a text too short for both parts, or a vocabulary
            without the marks.
    """

    def __init__(
        self,
        text: str,
        num_steps: int = 64,
        batch_size: int = 32,
        val_fraction: float = 0.1,
        min_freq: int = 0,
        vocab: Vocab | None = None,
    ):
        checks.positive("num_steps - 2", num_steps - 2)
        checks.positive("batch_size", batch_size)
        checks.share("val_fraction", val_fraction)
        self.num_steps, self.batch_size = num_steps, batch_size
        lines = [words for line in text.splitlines() if (words := split_text(line, "word"))]
        num_train = len(lines) - max(1, round(val_fraction * len(lines)))
        if num_train < 1:
            raise ValueError(f"text: got {len(lines)} lines, must have one for each part")
        if vocab is None:
            vocab = Vocab(lines[:num_train], min_freq, [PAD, CLS, SEP, MASK])
        if missing := [mark for mark in (PAD, CLS, SEP, MASK) if mark not in vocab]:
            raise ValueError(f"vocab: lacks {', '.join(missing)}")
        self.vocab, self.pad = vocab, vocab[PAD]
        self.num_preds = num_predictions(num_steps - 2)
        self.num_cut = sum(len(line) > num_steps - 2 for line in lines)
        ids = [np.array(vocab[line[: num_steps - 2]], np.int64) for line in lines]
        self.train_lines, self.val_lines = ids[:num_train], ids[num_train:]
        marks = vocab[[PAD, CLS, SEP, MASK]]
        self._words = np.setdiff1d(np.arange(len(vocab)), marks)

    @property
    def num_batches(self) -> int:
        """The number of training batches in an epoch."""
        return math.ceil(len(self.train_lines) / self.batch_size)

    def batches(self, seed: int, epoch: int, train: bool = True) -> Iterator[Batch]:
        """Yield (tokens, segments, valid_lens, pred_positions, labels); the last may be smaller.

        Segments are all 0. Positions and labels of a line with fewer predictions end with 0 and
        ``<pad>``. Order and hidden words are drawn in NumPy from (`seed`, `epoch`), for training
        and validation apart; validation lines come in their order.
        """
        rng = np.random.default_rng([seed, epoch, train])
        lines = self.train_lines if train else self.val_lines
        order = rng.permutation(len(lines)) if train else np.arange(len(lines))
        for first in range(0, len(lines), self.batch_size):
            chosen = [lines[i] for i in order[first : first + self.batch_size]]
            tokens, segments, valid_lens = self.examples(chosen)
            positions, labels = self._hide(tokens, valid_lens, rng)
            yield tokens, segments, valid_lens, positions, labels

    def examples(
        self, lines: Sequence[np.ndarray]
    ) -> tuple[
        Int64[np.ndarray, "batch num_steps"],
        Int64[np.ndarray, "batch num_steps"],
        Int64[np.ndarray, " batch"],
    ]:
        """Put the marks around lines of ids; return tokens, segments and lengths."""
        tokens = np.full((len(lines), self.num_steps), self.pad, np.int64)
        for row, line in zip(tokens, lines, strict=True):
            row[: len(line) + 2] = [self.vocab[CLS], *line, self.vocab[SEP]]
        valid_lens = np.array([len(line) + 2 for line in lines], np.int64)
        return tokens, np.zeros_like(tokens), valid_lens

    def encode(self, text: str) -> Int64[np.ndarray, " num_tokens"]:
        """Turn a line into ids, cut to what the model sees."""
        return np.array(self.vocab[split_text(text, "word")[: self.num_steps - 2]], np.int64)

    def _hide(
        self, tokens: np.ndarray, valid_lens: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Hide words in place; return their positions and what they were."""
        positions = np.zeros((len(tokens), self.num_preds), np.int64)
        labels = np.full((len(tokens), self.num_preds), self.pad, np.int64)
        for row, length, places, words in zip(tokens, valid_lens, positions, labels, strict=True):
            num = num_predictions(length - 2)
            places[:num] = np.sort(1 + rng.choice(length - 2, num, replace=False))
            words[:num] = row[places[:num]]
            coins, others = rng.random(num), rng.choice(self._words, num)
            hidden = np.where(coins < MASKED, self.vocab[MASK], others)
            row[places[:num]] = np.where(coins < MASKED + RANDOM, hidden, words[:num])
        return positions, labels


def num_predictions(num_words: int) -> int:
    """Return how many of so many words are predicted."""
    return max(1, round(RATE * num_words))
