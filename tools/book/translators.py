"""The translators that chapters 4 and 7 read: ``python -m tools.book translators`` trains them.

Both are trained on the same sentences of the corpus's grammar, more than the corpus has, without
those that are kept back, and have the same number of parameters, within a tenth. The Transformer,
which has to learn that sentences have an order, goes through them more often. What is needed to
judge them is in the checkpoint: the sentences kept back, with all translations that corpus and
grammar have of them, and the losses.
"""

import functools
import hashlib

import numpy as np

import d2l_ext
from d2l_ext.data import BucketedData, load_pairs, preprocess
from d2l_ext.data.sources import TRANSLATORS
from d2l_ext.training import checkpoint, fit
from tools.corpus import corpus

STARTS = ("the", "my", "his", "her", "our", "your", "a", "we", "he", "she", "i", "they")
NUM_HELD_OUT, NUM_SOURCES = 64, 16_000
NUM_STEPS = 12  # tokens of the longest sentence
BATCH_SIZE, WARM_UP, DROPOUT = 128, 100, 0.1
EPOCHS = {"bahdanau": 7, "transformer": 21}
RATES = {"bahdanau": 0.008, "transformer": 0.004}


def is_short(source: str) -> bool:
    """Whether a sentence is one of those that the chapters translate."""
    return source.lower().split()[0] in STARTS and 4 <= len(source.split()) <= 7


def held_out() -> dict[str, list[str]]:
    """Return sentences of the corpus that are kept back, with all their translations.

    The corpus seldom has more than one, and the grammar may have another (*apporte*, *apportez*).
    """
    found = {}
    for source, target in load_pairs("bundled"):
        if is_short(source):
            found.setdefault(source, set()).add(target)
    sources, grammar = sorted(found, key=_place)[:NUM_HELD_OUT], grammatical()
    return {s: sorted(found[s] | grammar.get(s, set())) for s in sources}


@functools.cache
def grammatical() -> dict[str, set[str]]:
    """Return the short sentences of the grammar, with their translations."""
    found = {}
    for construction in corpus.QUOTAS:
        for source, target in construction():
            if is_short(source := corpus.typeset(source)):
                found.setdefault(source, set()).add(corpus.typeset(target))
    return found


def training_pairs(num_sources: int = NUM_SOURCES) -> list[tuple[str, str]]:
    """Return pairs of the grammar, without those whose source is kept back."""
    kept_back = {preprocess(source) for source in held_out()}
    found = {s: t for s, t in grammatical().items() if preprocess(s) not in kept_back}
    sources = sorted(found, key=_place)[:num_sources]
    return [(source, target) for source in sources for target in sorted(found[source])]


def models(api, num_source: int, num_target: int) -> dict:
    """Return ``{name: module}``: the decoder that looks back, and the Transformer.

    Args:
        api: a column.
        num_source, num_target: sizes of the vocabularies.
    """
    sizes = {"num_hiddens": 48, "ffn_num_hiddens": 96, "num_heads": 4, "num_blks": 2}
    sizes |= {"dropout": DROPOUT, "norm": "pre"}
    return {
        "bahdanau": api.EncoderDecoder(
            api.BidirectionalEncoder(num_source, 48, 64, 1, DROPOUT),
            api.Seq2SeqAttentionDecoder(num_target, 48, 64, 1, DROPOUT),
        ),
        "transformer": api.EncoderDecoder(
            api.TransformerEncoder(num_source, **sizes), api.TransformerDecoder(num_target, **sizes)
        ),
    }


def train(name: str, backend: str = "torch") -> None:
    """Train one of them and write its checkpoint into the package.

    Args:
        name: "bahdanau" or "transformer".
        backend: what it is trained in.
    """
    be, kept_back = d2l_ext.backend(backend), held_out()
    data = BucketedData(training_pairs(), (8, 10, NUM_STEPS), BATCH_SIZE)
    pairs = [(source, target) for source, targets in kept_back.items() for target in targets]
    vocabularies = {"src_vocab": data.src_vocab, "tgt_vocab": data.tgt_vocab}
    validation = BucketedData(pairs, (NUM_STEPS,), BATCH_SIZE, **vocabularies)
    module = models(be.api, len(data.src_vocab), len(data.tgt_vocab))[name]
    model = be.model(module, *next(iter(data.batches(0, 0)))[:3])
    trainer = be.trainer(model, lr=RATES[name], max_norm=1.0, pad=data.pad)
    num_epochs, curve = EPOCHS[name], []
    total = num_epochs * data.num_batches

    def measure(epoch, history):
        losses = [trainer.loss(batch) for batch in validation.batches(0, 0)]
        curve.append((trainer.num_steps, round(float(np.mean(losses)), 4)))

    def schedule(step):
        return RATES[name] * min(step / WARM_UP, 0.5 + 0.5 * np.cos(np.pi * step / total))

    history = fit(trainer, data, num_epochs, on_epoch=measure, schedule=schedule)
    info = {"held_out": pairs, "num_pairs": len(data.pairs), "validation": curve}
    info["losses"] = [round(loss, 4) for loss in history.losses]
    checkpoint.save(TRANSLATORS / f"{name}.safetensors", model, **vocabularies, info=info)


def _place(text: str) -> bytes:
    """Return where a sentence stands in an order that depends on nothing else."""
    return hashlib.sha256(text.encode()).digest()
