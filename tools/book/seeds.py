"""Chapter 3's comparison: what attention and a bidirectional encoder add, one at a time.

``python -m tools.book seeds`` trains each model with several seeds on the sentences of chapters 3
and 4 and keeps what it found in ``chapters/seeds.json``, from which the chapter has its table. With
the first seed, two of the models are those that the chapters train before the reader's eyes: a test
holds what their notebooks print against the table.
"""

import json

import numpy as np

import d2l_ext
from d2l_ext.data import TranslationData, load_pairs, preprocess, split_by_source
from d2l_ext.training import bleu, fit, translations
from tools.book.labels import CHAPTERS
from tools.book.translators import is_short

KEPT = CHAPTERS / "seeds.json"
HERE = "{seeds}"  # what the table replaces in a chapter
SEEDS = range(3)
NUM_TRAIN, NUM_NEW, NUM_EPOCHS = 1024, 64, 12
# What differs: (the encoder, the decoder). No dropout in any.
MODELS = {
    "one vector": ("Seq2SeqEncoder", "Seq2SeqDecoder"),
    "one vector, source read in both directions": ("BidirectionalEncoder", "Seq2SeqDecoder"),
    "attention": ("Seq2SeqEncoder", "Seq2SeqAttentionDecoder"),
    "attention, source read in both directions": (
        "BidirectionalEncoder",
        "Seq2SeqAttentionDecoder",
    ),
}


def sentences() -> tuple[TranslationData, dict[str, list[str]]]:
    """Return the data of chapters 3 and 4, and ``{new source: its translations}``.

    No sentence is both in the training data and among the new ones, not with two translations
    either.
    """
    pairs = [pair for pair in load_pairs("bundled") if is_short(pair[0])]
    pairs = [pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))]
    train, new = split_by_source(pairs, (0.9, 0.1), seed=0)
    train, new = train[:NUM_TRAIN], new[:NUM_NEW]
    references = {}
    for source, target in new:
        references.setdefault(source, []).append(preprocess(target))
    sizes = {"num_steps": 9, "num_train": NUM_TRAIN, "num_val": NUM_NEW, "batch_size": 64}
    return TranslationData([*train, *new], **sizes), references


def compare(backend: str = "torch") -> dict[str, dict[str, list]]:
    """Return ``{model: {"bleu": [mean, with each seed], "exact": [sentences, with each seed]}}``.

    In float64, where rounding does not show: the table is the same whatever framework trains.
    """
    data, references = sentences()
    found = {}
    for name, classes in MODELS.items():
        runs = [score(backend, classes, data, references, seed) for seed in SEEDS]
        means, exact = zip(*runs, strict=True)
        found[name] = {"bleu": [round(mean, 3) for mean in means], "exact": list(exact)}
    return found


def score(backend, classes, data, references, seed, num_epochs=NUM_EPOCHS):
    """Train one model and return its mean BLEU and how many sentences it translates exactly."""
    be = d2l_ext.backend(backend)
    encoder, decoder = (getattr(be.api, name) for name in classes)
    net = be.api.EncoderDecoder(
        encoder(len(data.src_vocab), 64, 64, 1), decoder(len(data.tgt_vocab), 64, 64, 1)
    )
    example = next(data.batches(seed=0, epoch=0))[:3]
    model = be.model(net, *example, seed=seed, dtype="float64")
    trainer = be.trainer(model, lr=0.01, max_norm=1.0, pad=data.pad)
    fit(trainer, data, num_epochs, seed=seed)
    found = translations(model, data, list(references))
    scores = [
        max(bleu(t.text, reference, k=2) for reference in known)
        for t, known in zip(found, references.values(), strict=True)
    ]
    return float(np.mean(scores)), sum(score == 1 for score in scores)


def kept() -> dict[str, dict[str, list]]:
    """Return what `compare` found last."""
    return json.loads(KEPT.read_text(encoding="utf-8"))


def table(found: dict[str, dict[str, list]]) -> str:
    """Return what was found in Markdown: the mean over the seeds, and what each seed gave."""
    lines = ["| | mean BLEU | with each seed | translated exactly |", "|---|---|---|---|"]
    for name, runs in found.items():
        each = ", ".join(f"{value:.3f}" for value in runs["bleu"])
        exact = ", ".join(map(str, runs["exact"]))
        lines.append(f"| {name} | {np.mean(runs['bleu']):.3f} | {each} | {exact} |")
    return "\n".join(lines)
