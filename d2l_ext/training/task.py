"""What is trained on what: the parts of a corpus, and a model of a size."""

import hashlib
from collections.abc import Sequence
from types import ModuleType

from d2l_ext.data import BucketedData, load_pairs, split_by_source
from d2l_ext.interface import Module
from d2l_ext.training.settings import Settings


class Task:
    """The data of a run: training, validation and test parts that share no source sentence.

    Attributes:
        train, val: `BucketedData`.
        test_pairs: a list of (source, target).
        digest: SHA-256 of the pairs, to notice that a file has changed.
    """

    def __init__(self, settings: Settings):
        pairs = load_pairs(settings.data)[: settings.max_pairs or None]
        self.digest = digest(pairs)
        train, val, self.test_pairs = parts(pairs, settings)
        if not val:
            raise ValueError(
                f"{settings.data}: {len(pairs)} sentence pairs are too few for a validation part"
                f" of {settings.val_fraction:g}"
            )
        self.train = BucketedData(train, settings.buckets, settings.batch_size, settings.min_freq)
        self.val = BucketedData(
            val,
            settings.buckets,
            settings.batch_size,
            src_vocab=self.train.src_vocab,
            tgt_vocab=self.train.tgt_vocab,
        )


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
    """Build a module from a column's classes, for vocabularies of these sizes."""
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
