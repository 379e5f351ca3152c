"""Sentences in, sentences out."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from jaxtyping import Int

from d2l_ext import checks
from d2l_ext.data.sentences import cut, join
from d2l_ext.data.subwords import Subwords
from d2l_ext.data.vocabulary import Vocab
from d2l_ext.interface import Model
from d2l_ext.progress import Bar
from d2l_ext.training.decoding import Decoded, beam_search, greedy, sample

METHODS: dict[str, Callable[..., Decoded]] = {
    "greedy": greedy,
    "sample": sample,
    "beam": beam_search,
}


class Vocabularies(Protocol):
    """What translating needs of the data: `TranslationData` and `BucketedData` have it.

    Attributes:
        src_vocab, tgt_vocab: the vocabularies.
        num_steps: most tokens of a source sentence.
    """

    src_vocab: Vocab
    tgt_vocab: Vocab
    num_steps: int

    @property
    def bos(self) -> int:
        """The index of ``<bos>`` in the target vocabulary."""
        ...

    @property
    def eos(self) -> int:
        """The index of ``<eos>`` in the target vocabulary."""
        ...


@dataclasses.dataclass(frozen=True)
class Alternative:
    """One of the best translations of a beam search.

    Attributes:
        tokens: its tokens, without `<eos>`.
        score, log_prob: as in `Hypothesis`.
    """

    tokens: list[str]
    score: float
    log_prob: float


@dataclasses.dataclass
class Translation:
    """A translated sentence.

    Attributes:
        source: the source's tokens, with `<eos>`; what the attention weights are over.
        tokens: the translation's tokens, without `<eos>`.
        ids: their ids.
        log_prob: log-probability of the translation, with `<eos>`.
        token_log_probs, margins, attention_weights: as in `Decoded`; there is one step more than
            tokens where `<eos>` was reached.
        alternatives: the best translations that a beam search found, this one first; else empty.
    """

    source: list[str]
    tokens: list[str]
    ids: list[int]
    log_prob: float
    token_log_probs: np.ndarray
    margins: np.ndarray
    attention_weights: np.ndarray | None
    alternatives: list["Alternative"] = dataclasses.field(default_factory=list)

    @property
    def text(self) -> str:
        """The translation as one string, tokens separated by spaces."""
        return " ".join(self.tokens)


def translate(
    model: Model,
    data: Vocabularies,
    sentences: Sequence[str],
    method: str = "greedy",
    **options: Any,
) -> list[str]:
    """Translate sentences; arguments as in `translations`.

    Returns:
        A list of strings: words separated by spaces, as `metrics.bleu` takes them, or plain text
        where the tokens are subwords.
    """
    found = translations(model, data, sentences, method, **options)
    if isinstance(data.tgt_vocab, Subwords):
        return [join(t.tokens, data.tgt_vocab) for t in found]
    return [t.text for t in found]


def translations(
    model: Model,
    data: Vocabularies,
    sentences: Sequence[str],
    method: str = "greedy",
    batch_size: int = 128,
    max_steps: int | None = None,
    progress: bool | None = False,
    **options: Any,
) -> list[Translation]:
    """Translate sentences.

    Sentences are prepared as for training; of one with more than ``data.num_steps`` tokens the
    rest is left out. Sentences of similar length are decoded together.

    Args:
        model: a `Model` of an `EncoderDecoder`.
        data: has the two vocabularies and `num_steps`: `TranslationData` or `BucketedData`.
        sentences: a list of strings.
        method: "greedy", "sample" or "beam".
        batch_size: how many sentences are decoded at a time.
        max_steps: most tokens of a translation, with `<eos>`; by default ``data.num_steps``.
        progress: as in `fit`.
        **options: those of the method.

    Returns:
        A list of `Translation`, in the order of the sentences.

    Raises:
        ValueError: a sentence without a word, or an unknown method.
        TypeError: an option that the method does not have.
    """
    checks.choice("method", method, tuple(METHODS))
    sources = [cut(sentence, data.src_vocab) for sentence in sentences]
    order = sorted(range(len(sources)), key=lambda i: len(sources[i]))
    done = {}
    with Bar(len(order), wanted=progress) as shown:
        for start in range(0, len(order), batch_size):
            numbers = order[start : start + batch_size]
            if method == "sample":
                options["sentences"] = numbers
            src, valid_lens = _source_arrays([sources[i] for i in numbers], data)
            decoded = METHODS[method](
                model,
                src,
                valid_lens,
                bos=data.bos,
                eos=data.eos,
                max_steps=max_steps or data.num_steps,
                **options,
            )
            for row, number in enumerate(numbers):
                done[number] = _translation(sources[number], valid_lens[row], decoded, row, data)
            shown.show(len(done), "sentences translated")
    return [done[number] for number in range(len(sources))]


def _source_arrays(
    sources: list[list[str]], data: Vocabularies
) -> tuple[Int[np.ndarray, "batch num_steps"], Int[np.ndarray, " batch"]]:
    """Return ids and lengths, padded to as few sizes as in training."""
    longest = min(max(map(len, sources)), data.num_steps)
    sizes = getattr(data, "buckets", (data.num_steps,))
    num_steps = min(size for size in sizes if size >= longest)
    src = np.full((len(sources), num_steps), data.src_vocab["<pad>"])
    for row, source in zip(src, sources, strict=True):
        ids = data.src_vocab[source[:num_steps]]
        row[: len(ids)] = ids
    return src, np.array([min(len(source), num_steps) for source in sources])


def _translation(
    source: list[str], valid_len: int, decoded: Decoded, row: int, data: Vocabularies
) -> Translation:
    weights = decoded.attention_weights
    hypotheses = [] if decoded.hypotheses is None else decoded.hypotheses[row]
    return Translation(
        source=source[:valid_len],
        tokens=data.tgt_vocab.to_tokens(decoded.tokens[row]),
        ids=decoded.tokens[row],
        log_prob=float(decoded.log_probs[row]),
        token_log_probs=decoded.token_log_probs[row],
        margins=decoded.margins[row],
        attention_weights=None if weights is None else weights[row][..., :valid_len],
        alternatives=[
            Alternative(data.tgt_vocab.to_tokens(h.tokens), h.score, h.log_prob) for h in hypotheses
        ],
    )
