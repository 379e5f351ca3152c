"""Sentence pairs of different lengths, for training on a real corpus."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from d2l_ext.data.bucketing import bucketed_batches
from d2l_ext.data.sentences import cut
from d2l_ext.data.text import EOS
from d2l_ext.data.translation import BOS, PAD
from d2l_ext.data.vocabulary import Vocab


class BucketedData:
    """Pairs in batches of similar length, each padded to its bucket only.

    A pair goes into the smallest bucket that holds both its sentences with their ``<eos>``; nothing
    is cut, and pairs that are longer than the largest bucket are left out.

    Args:
        pairs: a list of (source, target) strings.
        buckets: sizes, in tokens.
        batch_size: pairs of a batch.
        min_freq: a token seen less often is ``<unk>``.
        src_vocab, tgt_vocab: by default the words of the pairs that are kept.

    Attributes:
        pairs: those that are kept.
        num_left_out: how many are not.
        num_steps: the size of the largest bucket.
        num_tokens: the number of target tokens, with ``<eos>``.
        num_batches: the number of batches in an epoch.
        pad, bos, eos: indices in the target vocabulary.

    Raises:
        ValueError: no pair is kept.
    """

    def __init__(
        self,
        pairs: Sequence[tuple[str, str]],
        buckets: Sequence[int],
        batch_size: int,
        min_freq: int = 2,
        src_vocab: Vocab | None = None,
        tgt_vocab: Vocab | None = None,
    ):
        self.buckets, self.batch_size = tuple(sorted(buckets)), batch_size
        self.num_steps = self.buckets[-1]
        tokens = [(cut(source, src_vocab), cut(target, tgt_vocab)) for source, target in pairs]
        kept = [i for i, sides in enumerate(tokens) if max(map(len, sides)) <= self.num_steps]
        if not kept:
            raise ValueError(
                f"pairs: got {len(pairs)}, must have one of at most {self.num_steps} tokens on each"
                " side"
            )
        self.pairs = [pairs[i] for i in kept]
        self.num_left_out = len(pairs) - len(kept)
        sources, targets = zip(*(tokens[i] for i in kept), strict=True)
        self.src_vocab = src_vocab or Vocab(list(sources), min_freq, [PAD, EOS])
        self.tgt_vocab = tgt_vocab or Vocab(list(targets), min_freq, [PAD, BOS, EOS])
        self.num_tokens = sum(map(len, targets))
        self._examples = [
            (self.src_vocab[source], self.tgt_vocab[target])
            for source, target in zip(sources, targets, strict=True)
        ]
        # How many pairs each bucket holds.
        fill = Counter(
            int(np.searchsorted(self.buckets, max(len(source), len(target))))
            for source, target in self._examples
        )
        self.num_batches = sum(math.ceil(n / batch_size) for n in fill.values())
        self._index()

    @classmethod
    def without_pairs(
        cls, src_vocab: Vocab, tgt_vocab: Vocab, buckets: Sequence[int]
    ) -> "BucketedData":
        """Vocabularies and sizes only: what translating needs."""
        data = cls.__new__(cls)
        data.src_vocab, data.tgt_vocab = src_vocab, tgt_vocab
        data.buckets = tuple(sorted(buckets))
        data._index()
        return data

    def _index(self) -> None:
        self.num_steps = self.buckets[-1]
        self.pad, self.bos, self.eos = (self.tgt_vocab[token] for token in (PAD, BOS, EOS))

    def batches(self, seed: int, epoch: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield (src, tgt_in, src_valid_len, tgt_out), in an order drawn from the seed."""
        return bucketed_batches(
            self._examples,
            self.batch_size,
            seed,
            epoch,
            self.buckets,
            src_pad=self.src_vocab[PAD],
            tgt_pad=self.pad,
            bos=self.bos,
        )
