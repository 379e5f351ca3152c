"""Sentence pairs to padded arrays of token indices, with the meaning of D2L 1.0's ``MTFraEng``."""

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import numpy as np
from jaxtyping import Int64

from d2l_ext.data.text import EOS, preprocess, tokenize
from d2l_ext.data.vocabulary import Vocab

PAD, BOS = "<pad>", "<bos>"

# src, tgt_in, src_valid_len, tgt_out: in a batch as in the whole.
Arrays: TypeAlias = tuple[
    Int64[np.ndarray, "n num_steps"],
    Int64[np.ndarray, "n num_steps"],
    Int64[np.ndarray, " n"],
    Int64[np.ndarray, "n num_steps"],
]


class TranslationData:
    """The first ``num_train + num_val`` of `pairs`, in their order, as arrays.

    Every sentence ends with ``<eos>`` and is brought to `num_steps` tokens: a shorter one is filled
    with ``<pad>``, a longer one is cut, as in D2L, and then has no ``<eos>``.

    D2L's class yields one pair more (641 where 512 + 128 are asked for, its loop ends one line
    late); this one yields what is asked for, so one validation pair and possibly the vocabulary
    differ. With ``num_val`` lowered by one, D2L's arrays are exactly these. The special tokens
    are always in the vocabulary here, in D2L only if they occur `min_freq` times.

    Args:
        pairs: a list of (source, target) strings, as `load_pairs` returns them.
        num_steps: tokens of a sentence.
        num_train, num_val: how many pairs are for training, and for validation.
        batch_size: pairs of a batch.
        min_freq: a token seen less often is ``<unk>``.

    Attributes:
        src: source tokens (n, num_steps), int64 as all of them, of the training pairs first and
            then the validation pairs, n in all.
        tgt_in: ``<bos>`` and all target tokens but the last (n, num_steps), the decoder's input.
        src_valid_len: number of source tokens that are not ``<pad>``, with ``<eos>`` (n,).
        tgt_out: target tokens (n, num_steps), what the decoder should say.
        arrays: the tuple of these four.
        src_vocab, tgt_vocab: built from these n pairs, after cutting, as in D2L.
        pad, bos, eos: indices in the target vocabulary.

    Raises:
        ValueError: sizes that are not positive (`num_val` may be 0), fewer pairs than asked for, or
            a sentence with no word.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[str, str]],
        num_steps: int = 9,
        num_train: int = 512,
        num_val: int = 128,
        batch_size: int = 128,
        min_freq: int = 2,
    ):
        _check_sizes(1, num_steps=num_steps, num_train=num_train, batch_size=batch_size)
        _check_sizes(0, num_val=num_val)
        if len(pairs) < num_train + num_val:
            raise ValueError(
                f"pairs: got {len(pairs)}, must be at least num_train + num_val ="
                f" {num_train + num_val}"
            )
        self.num_steps, self.num_train, self.num_val = num_steps, num_train, num_val
        self.batch_size, self.min_freq = batch_size, min_freq

        sources, targets = zip(*pairs[: num_train + num_val], strict=True)
        sources, targets = self._padded(sources), self._padded(targets)
        self.src_vocab = Vocab(sources, min_freq, [PAD, EOS])
        self.tgt_vocab = Vocab(targets, min_freq, [PAD, BOS, EOS])
        self.arrays = self._arrays(sources, targets)
        self.src, self.tgt_in, self.src_valid_len, self.tgt_out = self.arrays

    @property
    def train_size(self) -> int:
        """The number of training pairs."""
        return self.num_train

    @property
    def num_batches(self) -> int:
        """The number of training batches in an epoch."""
        return math.ceil(self.num_train / self.batch_size)

    @property
    def pad(self) -> int:
        """The index of ``<pad>`` in the target vocabulary."""
        return self.tgt_vocab[PAD]

    @property
    def bos(self) -> int:
        """The index of ``<bos>`` in the target vocabulary."""
        return self.tgt_vocab[BOS]

    @property
    def eos(self) -> int:
        """The index of ``<eos>`` in the target vocabulary."""
        return self.tgt_vocab[EOS]

    def build(self, src_sentences: Sequence[str], tgt_sentences: Sequence[str]) -> Arrays:
        """Return the four arrays, in the order of `arrays`, of new sentences.

        Words that the vocabularies do not have become ``<unk>``.

        Raises:
            ValueError: no sentences, lists of different lengths, or a sentence with no word.
        """
        _check_sentences("src_sentences", src_sentences)
        _check_sentences("tgt_sentences", tgt_sentences)
        if len(src_sentences) != len(tgt_sentences):
            raise ValueError(
                f"tgt_sentences: got {len(tgt_sentences)}, must be as many as src_sentences,"
                f" {len(src_sentences)}"
            )
        return self._arrays(self._padded(src_sentences), self._padded(tgt_sentences))

    def batches(self, seed: int, epoch: int, train: bool = True) -> Iterator[Arrays]:
        """Yield (src, tgt_in, src_valid_len, tgt_out), `batch_size` pairs at a time.

        Training pairs come in a permutation that NumPy draws from (`seed`, `epoch`), so it is the
        same whatever framework trains; validation pairs come in their order. The last batch is
        smaller where `batch_size` does not divide their number.
        """
        if train:
            order = np.random.default_rng([seed, epoch]).permutation(self.num_train)
        else:
            order = np.arange(self.num_train, self.num_train + self.num_val)
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            src, tgt_in, src_valid_len, tgt_out = self.arrays
            yield src[rows], tgt_in[rows], src_valid_len[rows], tgt_out[rows]

    def _padded(self, sentences: Sequence[str]) -> list[list[str]]:
        """One list of `num_steps` tokens for each sentence."""
        rows = [tokenize(preprocess(sentence))[: self.num_steps] for sentence in sentences]
        return [row + [PAD] * (self.num_steps - len(row)) for row in rows]

    def _arrays(self, sources: list[list[str]], targets: list[list[str]]) -> Arrays:
        src = np.array(self.src_vocab[sources], dtype=np.int64)  # (n, num_steps)
        tgt_out = np.array(self.tgt_vocab[targets], dtype=np.int64)  # (n, num_steps)
        first = np.full((len(tgt_out), 1), self.bos, dtype=np.int64)  # (n, 1)
        tgt_in = np.concatenate([first, tgt_out[:, :-1]], axis=1)  # (n, num_steps)
        src_valid_len = (src != self.src_vocab[PAD]).sum(axis=1, dtype=np.int64)  # (n,)
        return src, tgt_in, src_valid_len, tgt_out


def _check_sizes(least: int, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < least:
            raise ValueError(f"{name}: got {size}, must be at least {least}")


def _check_sentences(name: str, sentences: Sequence[str]) -> None:
    # A string is a sequence of strings too, and would pass for a list of one-letter sentences.
    if isinstance(sentences, str) or len(sentences) == 0:
        raise ValueError(f"{name}: got {sentences!r}, must be a list of at least one sentence")
