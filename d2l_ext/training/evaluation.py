"""How well a model does on sentences it was not trained on."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from d2l_ext.data.sentences import join
from d2l_ext.data.text import preprocess
from d2l_ext.data.vocabulary import UNK
from d2l_ext.interface import Batch, Model, Trainer
from d2l_ext.training.translation import Translation, Vocabularies, translations

_HAN = re.compile("[\u4e00-\u9fff]")


@dataclasses.dataclass
class Evaluation:
    """Translations and their score.

    Attributes:
        sources: the distinct source sentences.
        references: for each, a list of its translations in the corpus.
        found: for each, the model's `Translation`.
        bleu: corpus BLEU from 0 to 100, of plain text against plain text, in lower case.
        cased: the same with case, which words in D2L's manner do not have.
        with_unk: share of the translations in which there is an ``<unk>``.
        signature: sacrebleu's, which says exactly how `bleu` was computed.
    """

    sources: list[str]
    references: list[list[str]]
    found: list[Translation]
    bleu: float
    cased: float
    with_unk: float
    signature: str


def evaluate(
    model: Model,
    data: Vocabularies,
    pairs: Sequence[tuple[str, str]],
    limit: int | None = None,
    **options: Any,
) -> Evaluation:
    """Translate the source sentences of pairs and compare with all their translations.

    Args:
        model: a `Model`.
        data: has the vocabularies, as in `translations`.
        pairs: a list of (source, target); the targets of a source that occurs several times are
            all right.
        limit: only the first so many distinct sources.
        **options: of `translations`.

    Returns:
        An `Evaluation`.
    """
    references = {}
    first_spelling = {}
    for source, target in pairs:
        key = preprocess(source)
        first_spelling.setdefault(key, source)
        references.setdefault(key, []).append(target)
    sources = list(first_spelling.values())[:limit]
    references = list(references.values())[:limit]
    found = translations(model, data, sources, **options)
    most = max(map(len, references))
    # Columns of references; None where a sentence has fewer, which the annotation leaves out.
    columns: Any = [[r[i] if i < len(r) else None for r in references] for i in range(most)]
    texts = [join(t.tokens, data.tgt_vocab) for t in found]
    tokenize = tokenizer([text for row in references for text in row])
    metric = BLEU(lowercase=True, tokenize=tokenize)
    return Evaluation(
        sources,
        references,
        found,
        bleu=metric.corpus_score(texts, columns).score,
        cased=BLEU(tokenize=tokenize).corpus_score(texts, columns).score,
        with_unk=sum(UNK in t.tokens for t in found) / len(found),
        signature=str(metric.get_signature()),
    )


def tokenizer(references: Sequence[str]) -> str:
    """Return how sacrebleu cuts texts: 13a, its default, or characters where most are Chinese."""
    chinese = sum(_HAN.search(text) is not None for text in references)
    return "zh" if chinese > len(references) / 2 else "13a"


def mean_loss(trainer: Trainer, batches: Iterable[Batch], pad: int | None) -> float:
    """Return the loss per target token over batches, without dropout."""
    total, tokens = 0.0, 0
    for batch in batches:
        labels = batch[-1]
        real = labels.size if pad is None else int(np.count_nonzero(labels != pad))
        total, tokens = total + trainer.loss(batch) * real, tokens + real
    return total / tokens
